"""vsGRPO (arXiv 2504.00883): accuracy, plus 1 for the tag structure in the think and observe modes; for its experiment
with a length reward plus 1 for a thought of `words` words (the paper prints no formula)."""

from __future__ import annotations

from fractions import Fraction

from spatial_jax.blocks import block, has_content
from spatial_jax.forms import extract_answer, matches_format
from spatial_jax.rewards.base import Context, Kind, Record, Score, Spec, check_choice
from spatial_jax.rewards.kinds.mra import truth_number
from spatial_jax.rewards.parsing.numbers import parse_number

MODES = {"vanilla": "none", "think": "think_answer", "observe": "observe_answer"}


def min_relative(predicted: Fraction, truth: Fraction) -> float:
    """clip(1 - |p - g| / min(p, g), 0, 1); equality where either is not positive. The paper prints the error only."""
    smaller = min(predicted, truth)
    if smaller <= 0:
        return float(predicted == truth)
    return max(0.0, 1.0 - float(abs(predicted - truth) / smaller))


def score(response: str, record: Record, spec: Spec, context: Context) -> Score:
    """Numeric questions (question_type "number"): `min_relative` of the number. Others: exact character match."""
    form_name = MODES[spec["mode"]]
    answer = extract_answer(response, form_name)
    right = 0.0
    if answer is not None and record.get("question_type") == "number":
        predicted = parse_number(answer, str(record.get("unit", "")), ranges=False)
        right = min_relative(predicted, truth_number(record, spec)) if predicted is not None else 0.0
    elif answer is not None:
        right = float(answer.strip() == str(record["answer"]).strip())
    form = float(matches_format(response, form_name))
    if spec["mode"] == "vanilla":
        return Score(right, right, form)
    thought = block(response, spec["mode"]) or ""
    long = bool(spec["words"]) and len(thought.split()) >= spec["words"]
    return Score(right + form + long, right, form)


def _check(record: Record, spec: Spec) -> None:
    check_choice(spec, "mode", tuple(MODES))
    if spec["words"] < 0 or (spec["words"] and spec["mode"] == "vanilla"):
        raise ValueError(f"reward vsgrpo: words = {spec['words']!r} asks for thoughts, in the mode {spec['mode']!r}")
    if record.get("question_type") == "number":
        truth_number(record, spec)
    elif not has_content(str(record["answer"])):
        raise ValueError("the answer is empty")


KIND = Kind(
    "vsgrpo",
    {"mode": "vanilla", "words": 0},
    score,
    _check,
    own_format=lambda spec: MODES.get(spec.get("mode", "vanilla"), "none"),
)

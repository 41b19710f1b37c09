"""ViLaSR (arXiv 2506.09965): 0.5 * accuracy + 0.5 * format, paid only where the answer is at least partly right."""

from __future__ import annotations

from spatial_jax.blocks import assistant_turns, has_content, strip_end_marks
from spatial_jax.forms import matches_format
from spatial_jax.rewards.base import Context, Kind, Record, Score, Spec, check_choice
from spatial_jax.rewards.kinds.mra import mean_relative_accuracy
from spatial_jax.rewards.parsing.numbers import first_number

_NUMERIC = ("number",)


def _answer(text: str) -> str:
    """The first answer block's content, the whole turn where there is none."""
    start = text.find("<answer>")
    end = text.find("</answer>", start) if start >= 0 else -1
    return (text[start + len("<answer>") : end] if end >= 0 else text).strip()


def _accuracy(last_turn: str, record: Record, comparison: str) -> float:
    """Choice and words: equality after stripping, case counts. Numbers: MRA of the first number."""
    answer, truth = _answer(last_turn), _answer(str(record["answer"]))
    if record.get("question_type") not in _NUMERIC:
        return float(has_content(answer) and answer == truth)
    predicted, true = first_number(answer), first_number(truth)
    return mean_relative_accuracy(predicted, true, comparison) if predicted is not None and true is not None else 0.0


def score(response: str, record: Record, spec: Spec, context: Context) -> Score:
    """The response is the whole conversation in chat markup (as the tokens decode, tool turns included), or one
    turn.
    """
    turns = assistant_turns(strip_end_marks(response))
    right = _accuracy(turns[-1] if turns else "", record, spec["comparison"])
    form = float(matches_format(response, "drawing"))
    return Score(0.5 * right + 0.5 * form if right > 0 else 0.0, right, form)


def _check(record: Record, spec: Spec) -> None:
    check_choice(spec, "comparison", ("<", "<="))
    truth = _answer(str(record["answer"]))
    if not has_content(truth) or (record.get("question_type") in _NUMERIC and first_number(truth) is None):
        raise ValueError(
            f"answer {record['answer']!r} cannot be compared with for question_type {record.get('question_type')!r}"
        )


KIND = Kind("vilasr", {"comparison": "<"}, score, _check, own_format=lambda spec: "drawing")

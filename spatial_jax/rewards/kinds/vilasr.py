"""ViLaSR (arXiv 2506.09965): 0.5 * accuracy + 0.5 * format, paid only where accuracy is above the threshold beta
(`gate`, 0 as published: at least partly right).
"""

from __future__ import annotations

import re

from spatial_jax.blocks import assistant_turns, first_block, has_content, strip_end_marks
from spatial_jax.forms import FORMS, matches_format
from spatial_jax.rewards.base import Context, Kind, Record, Score, Spec, check_choice
from spatial_jax.rewards.kinds.mra import mean_relative_accuracy
from spatial_jax.rewards.parsing.numbers import first_number
from spatial_jax.rewards.released import draws, mra_float32

_NUMERIC = ("number", "regression", "numerical")
_CHOICE = ("mcq", "multiple choice")
_BARE_NUMBER = re.compile(r"[-+]?(?:\d{1,400}(?:\.\d{1,400})?|\.\d{1,400})")


def _kind(record: Record) -> str:
    """The question's type: the released data's own "problem_type" where the record has one."""
    return str(record.get("problem_type") or record.get("question_type") or "").lower()


def _answer(text: str) -> str:
    """The first answer block's content, the whole turn where there is none."""
    content = first_block(text)
    return text.strip() if content is None else content


def _accuracy(last_turn: str, record: Record, spec: Spec) -> float:
    """Choice and words: equality after stripping, case counts. Numbers: MRA of the first number, exact, or with
    `released` in float32; `released` knows no words. A turn without an answer block answers only where it is nothing
    but the answer: the released code takes the first number of its thought.
    """
    answer, truth = _answer(last_turn), _answer(str(record["answer"]))
    if _kind(record) not in _NUMERIC:
        known = _kind(record) in _CHOICE or not spec["released"]
        return float(known and has_content(answer) and answer == truth)
    if first_block(last_turn) is None and not spec["released"] and not _BARE_NUMBER.fullmatch(answer):
        return 0.0
    predicted, true = first_number(answer), first_number(truth)
    if predicted is None or true is None:
        return 0.0
    if spec["released"]:
        return mra_float32(predicted, true, strict=True)
    return mean_relative_accuracy(predicted, true, spec["comparison"])


def score(response: str, record: Record, spec: Spec, context: Context) -> Score:
    """The response is the whole conversation in chat markup (as the tokens decode, tool turns included), or one turn;
    its form is that of a conversation with any of the tools. `released` keeps the published arithmetic (float32) and
    format predicate, which takes empty thoughts.
    """
    turns = assistant_turns(strip_end_marks(response))
    right = _accuracy(turns[-1] if turns else "", record, spec)
    drawing = (form.name for form in FORMS.values() if form.several_turns)
    kept = draws(response) if spec["released"] else any(matches_format(response, name) for name in drawing)
    return Score(0.5 * right + 0.5 * kept if right > spec["gate"] else 0.0, right, float(kept))


def _check(record: Record, spec: Spec) -> None:
    check_choice(spec, "comparison", ("<", "<="))
    truth = _answer(str(record["answer"]))
    if not has_content(truth) or (_kind(record) in _NUMERIC and first_number(truth) is None):
        raise ValueError(
            f"answer {record['answer']!r} cannot be compared with for question_type {record.get('question_type')!r}"
        )


KIND = Kind("vilasr", {"comparison": "<", "released": False}, score, _check, own_format=lambda spec: "drawing")

"""The rewards of Video-R1 (`video_r1`) and SpaceR (`spacer`) as their code does it: accuracy by the question's type,
plus 1 for the format of a think and an answer block.

SpaceR's term for cognitive maps is not offered, as it needs the scenes' own maps: a response with <map> tags is scored
as one without. An empty answer is never right here; the released rewards call it so where the truth has no text either.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from spatial_jax.blocks import first_block, has_content, strip_end_marks
from spatial_jax.rewards.base import Context, Kind, Record, Score, Spec
from spatial_jax.rewards.released import mra_float64, thinks_then_answers
from spatial_jax.rewards.similarity import rouge, word_error_rate

TYPES = ("multiple choice", "numerical", "regression", "OCR", "free-form")
_OWN = {"mcq": "multiple choice", "choice": "multiple choice", "word": "multiple choice", "free": "free-form"}
# In the order in which SpaceR looks for them: a "ten" anywhere comes before a "twenty", words before digits.
_SMALL = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
    *("fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_TENS = ("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {
    **{word: n for n, word in enumerate(_SMALL, 1)},
    **{word: 10 * n for n, word in enumerate(_TENS, 3)},
    **{"zero": 0, "a": 1, "an": 1},
}
_WORD = re.compile(r"\b(?:" + "|".join(_WORDS) + r")\b")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")


def problem_type(record: Record, number: str) -> str:
    """The record's own "problem_type", else that of its question_type; a number is of type `number`."""
    kind = str(record.get("problem_type") or "")
    return kind or {**_OWN, "number": number, "count": number}.get(str(record.get("question_type")), "")


def _blocks(response: str, record: Record) -> tuple[str, str]:
    """The response's answer ("" without a block) and the truth, which may stand in a block too."""
    truth = str(record["answer"])
    inner = first_block(truth)
    return first_block(response) or "", truth.strip() if inner is None else inner


def _to_float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _no_commas(text: str) -> float | None:
    return _to_float(text.replace(",", ""))


def _regression(said: str, truth: str) -> float:
    """1 less the relative error, at least 0."""
    number, true = _no_commas(said), _no_commas(truth)
    if number is None or true is None:
        return 0.0
    share = (abs(number - true) + 1e-9) / (abs(true) + 1e-9)
    # as Python's min and max treat what is no number
    return 1 - min(1.0, max(0.0, share))


def _same_number(said: str, truth: str) -> float:
    """Video-R1: both or neither with a point or comma, and equal to two decimals."""
    number, true = _no_commas(said), _no_commas(truth)
    alike = any(mark in said for mark in ".,") == any(mark in truth for mark in ".,")
    return float(alike and number is not None and true is not None and round(number, 2) == round(true, 2))


def spoken_number(text: str) -> float | None:
    """SpaceR: the first word of its table that occurs anywhere ("a" is 1), else the first digits, without a sign."""
    text = text.strip().lower()
    words = set(_WORD.findall(text))
    for word, value in _WORDS.items() if words else ():
        if word in words:
            return float(value)
    digits = _DIGITS.search(text)
    return _to_float(digits.group()) if digits else None


def _relative(said: str, truth: str) -> float:
    number, true = spoken_number(said), _to_float(truth)
    return 0.0 if number is None or true is None else mra_float64(number, true)


def _accuracy(said: str, truth: str, kind: str, numerical: Callable[[str, str], float]) -> float:
    if not has_content(said):
        return 0.0
    if kind == "multiple choice":
        return float(said == truth)
    if kind == "numerical":
        return numerical(said, truth)
    if kind == "regression":
        return _regression(said, truth)
    if kind == "OCR":
        return max(0.0, 1 - word_error_rate(truth, said))
    return min(1.0, rouge(truth, said)) if kind == "free-form" else 0.0


def _kind(name: str, numerical: Callable[[str, str], float], number: str) -> Kind:
    def score(response: str, record: Record, spec: Spec, context: Context) -> Score:
        text = strip_end_marks(response)
        said, truth = _blocks(text, record)
        right = _accuracy(said, truth, problem_type(record, number), numerical)
        form = float(thinks_then_answers(text))
        return Score(right + form, right, form)

    def check(record: Record, spec: Spec) -> None:
        kind = problem_type(record, number)
        _, truth = _blocks("", record)
        if kind not in TYPES:
            raise ValueError(f"reward {name} knows the types {', '.join(TYPES)}; problem_type is {kind!r}")
        if not has_content(truth) or (kind in ("numerical", "regression") and _no_commas(truth) is None):
            raise ValueError(f"answer {record['answer']!r} cannot be compared with for the type {kind!r}")

    return Kind(name, {}, score, check, own_format=lambda spec: "think_answer")


VIDEO_R1 = _kind("video_r1", _same_number, "regression")
SPACER = _kind("spacer", _relative, "numerical")

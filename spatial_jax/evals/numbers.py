"""English number words and the first number of a text, as the harnesses read them."""

from __future__ import annotations

import math
import re

from spatial_jax.rewards.parsing.number_words import ONES, TENS

UNITS_TO_TWENTY = {**ONES, "twenty": 20}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_WORD = "|".join(sorted({*UNITS_TO_TWENTY, *TENS, *_SCALES}, key=len, reverse=True))
_PHRASE = rf"\b(?:{_WORD})(?:(?:\s+and\s+|[\s-]+)(?:{_WORD}))*\b"
_FIRST = re.compile(rf"(?P<digits>[-+]?(?:\d+\.\d+|\.\d+|\d+))|(?P<words>{_PHRASE})", re.IGNORECASE)


def words_to_number(phrase: str) -> int:
    """21 for "twenty-one", 350 for "three hundred and fifty"."""
    total, current = 0, 0
    for word in re.findall(r"[a-z]+", phrase.lower()):
        if word in UNITS_TO_TWENTY:
            current += UNITS_TO_TWENTY[word]
        elif word in TENS:
            current += TENS[word]
        elif word == "hundred":
            current = max(current, 1) * 100
        elif word in _SCALES:
            total, current = total + max(current, 1) * _SCALES[word], 0
    return total + current


def first_number(text: str) -> float | None:
    """lmms-eval's VSI-Bench rule: the first number token or English number phrase of the text ("3,500" is 3), None
    without any.
    """
    match = _FIRST.search(text)
    if not match:
        return None
    if match.group("digits"):
        return float(match.group("digits"))
    try:
        return float(words_to_number(match.group("words")))
    except OverflowError:  # "hundred hundred hundred ...": as float() reads digits without end
        return math.inf

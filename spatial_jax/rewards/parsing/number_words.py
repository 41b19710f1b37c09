"""English number words: "twenty-one", "two hundred and five", "one and a half", "two point five", "minus three", "a
dozen".
"""

from __future__ import annotations

import re
from fractions import Fraction

ONES = {
    word: n
    for n, word in enumerate(
        (
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        )
    )
}
TENS = {
    word: 10 * n
    for n, word in enumerate(("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), 2)
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "dozen": 12}
_WORD = re.compile(r"[a-z]+|[^\sa-z-]")
# A text without one of these holds no number in words.
_START = re.compile(rf"\b(?:{'|'.join([*ONES, *TENS])}|an?\s+(?:{'|'.join(_SCALES)}))\b")
_MAX_WORDS = 4096
_MAX_VALUE = 10**30  # as digits with their exponent: what is larger is no quantity, and must not outgrow a float


def find_number_words(text: str) -> list[tuple[Fraction, int, int]]:
    """(value, start, end) of each number written in words, in order; at most the first 4096 words of the text are
    read, and a number beyond 10^30 ("hundred hundred hundred ...") is none.
    """
    lowered = text.lower()
    if _START.search(lowered) is None:
        return []
    words = []
    for match in _WORD.finditer(lowered):
        words.append((match.group(), match.start(), match.end()))
        if len(words) >= _MAX_WORDS:
            break
    found = []
    i = 0
    while i < len(words):
        value, used = _read(words, i)
        if value is None:
            i += 1
            continue
        start, end = words[i][1], words[i + used - 1][2]
        if i and words[i - 1][0] in ("minus", "negative"):
            value, start = -value, words[i - 1][1]
        if abs(value) <= _MAX_VALUE:
            found.append((value, start, end))
        i += used
    return found


def _read(words: list[tuple[str, int, int]], i: int) -> tuple[Fraction | None, int]:
    """The number that starts at word i and how many words it takes; (None, 0) when there is none."""

    def word(k: int) -> str:
        return words[k][0] if k < len(words) else ""

    if word(i) in ("a", "an") and word(i + 1) in _SCALES:
        total, current, k = 0, 1, i + 1
    elif word(i) in ONES or word(i) in TENS:
        total, current, k = 0, 0, i
    else:
        return None, 0
    previous = ""
    while True:
        w = word(k)
        if w in TENS and previous in ("", "scale"):
            current, previous = current + TENS[w], "tens"
        elif w in ONES and (previous in ("", "scale") or (previous == "tens" and 0 < ONES[w] < 10)):
            current, previous = current + ONES[w], "ones"
        elif w in ("hundred", "dozen"):
            # Past the bound only that it is past it counts; multiplying on would take quadratic time.
            current, previous = min(max(current, 1), 10 * _MAX_VALUE) * _SCALES[w], "scale"
        elif w in _SCALES:
            total, current, previous = total + max(current, 1) * _SCALES[w], 0, "scale"
        elif w == "and" and previous == "scale" and (word(k + 1) in ONES or word(k + 1) in TENS):
            pass
        else:
            break
        k += 1
    value = Fraction(total + current)
    if word(k) == "and" and word(k + 1) in ("a", "one") and word(k + 2) in ("half", "quarter"):
        value, k = value + Fraction(1, 2 if word(k + 2) == "half" else 4), k + 3
    elif word(k) == "point" and word(k + 1) in ONES:
        digits, k = "", k + 1
        while word(k) in ONES and ONES[word(k)] < 10 and len(digits) < 12:
            digits, k = digits + str(ONES[word(k)]), k + 1
        if digits:
            value += Fraction(int(digits), 10 ** len(digits))
    return value, k - i

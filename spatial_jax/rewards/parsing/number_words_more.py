"""Numbers in words beyond plain English cardinals: fractions ("half a", "three quarters of a"), Chinese numerals
(\u4e09, \u4e24\u767e\u96f6\u4e94, \u4e00\u70b9\u4e94, \u534a), and small numbers of Spanish, German and French.

Each finder gives (value, start, end) in order; a fraction's end takes in "of a", so that a unit follows it directly.
"""

from __future__ import annotations

import re
from fractions import Fraction

Found = list[tuple[Fraction, int, int]]

_PARTS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fifth": 5, "fifths": 5}
_TOPS = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4}
_FRACTION = re.compile(
    r"\b(?:(a|one|two|three|four)[\s-]{1,3})?(half|halves|thirds?|quarters?|fifths?)\b"
    r"(?:\s{1,3}of)?(?:\s{1,3}(?:an?|the|one))?(?![A-Za-z])",
    re.IGNORECASE,
)
_SMALL: dict[str, int | Fraction] = {
    "dos": 2,
    "tres": 3,
    "cuatro": 4,
    "cinco": 5,
    "seis": 6,
    "siete": 7,
    "ocho": 8,
    "nueve": 9,
    "diez": 10,
    "doce": 12,
    "veinte": 20,
    "medio": Fraction(1, 2),
    "media": Fraction(1, 2),
    "eins": 1,
    "zwei": 2,
    "drei": 3,
    "vier": 4,
    "f\u00fcnf": 5,
    "sechs": 6,
    "sieben": 7,
    "acht": 8,
    "neun": 9,
    "zehn": 10,
    "zw\u00f6lf": 12,
    "zwanzig": 20,
    "anderthalb": Fraction(3, 2),
    "zweieinhalb": Fraction(5, 2),
    "halber": Fraction(1, 2),
    "halben": Fraction(1, 2),
    "halbes": Fraction(1, 2),
    "deux": 2,
    "trois": 3,
    "quatre": 4,
    "cinq": 5,
    "sept": 7,
    "huit": 8,
    "neuf": 9,
    "dix": 10,
    "douze": 12,
    "vingt": 20,
    "demi": Fraction(1, 2),
    "demie": Fraction(1, 2),
}
_SMALL_WORD = re.compile(r"(?<!\w)(?:" + "|".join(sorted(_SMALL, key=len, reverse=True)) + r")(?!\w)", re.IGNORECASE)
_DIGITS = {
    c: n
    for n, cs in enumerate(
        ("\u96f6\u3007", "\u4e00", "\u4e8c\u4e24\u5169", *"\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d")
    )
    for c in cs
}
_PLACES = {"\u5341": 10, "\u767e": 100, "\u5343": 1000, "\u4e07": 10_000}
# Not an ordinal, and not the first sign of "some", "the same", "together", "directly", "certainly", "beside".
_CHINESE = re.compile(
    "(?<![\u7b2c\u552f\u7edf\u540c])(?:\u534a"
    "|(?!\u4e00[\u4e9b\u6837\u822c\u76f4\u8d77\u5b9a\u8fb9\u65c1\u81f4\u4e0b\u5207\u65b9\u4fa7])"
    f"[{''.join(_DIGITS)}\u5341\u767e\u5343\u4e07]{{1,24}}(?:[\u70b9\u9ede][{''.join(_DIGITS)}]{{1,12}})?)"
)


def find_fractions(text: str) -> Found:
    """Fractions in English words."""
    return [
        (Fraction(_TOPS.get((m.group(1) or "one").lower(), 1), _PARTS[m.group(2).lower()]), m.start(), m.end())
        for m in _FRACTION.finditer(text)
    ]


def find_small_words(text: str) -> Found:
    """Small numbers in Spanish, German and French."""
    return [(Fraction(_SMALL[m.group().lower()]), m.start(), m.end()) for m in _SMALL_WORD.finditer(text)]


def find_chinese(text: str) -> Found:
    """Chinese numerals."""
    return [(_chinese(m.group()), m.start(), m.end()) for m in _CHINESE.finditer(text)]


def chinese_digit(sign: str) -> int | None:
    """The value of one Chinese digit, None for another sign."""
    return _DIGITS.get(sign)


def _chinese(numeral: str) -> Fraction:
    if numeral == "\u534a":
        return Fraction(1, 2)
    whole, _, decimals = numeral.replace("\u9ede", "\u70b9").partition("\u70b9")
    if not any(place in whole for place in _PLACES):
        value = Fraction(int("".join(str(_DIGITS[c]) for c in whole)))
    else:
        total = section = digit = 0
        for sign in whole:
            if sign in _DIGITS:
                digit = _DIGITS[sign]
            elif _PLACES[sign] == 10_000:
                total, section, digit = (total + section + digit) * 10_000, 0, 0
            else:
                section, digit = section + (digit or 1) * _PLACES[sign], 0
        value = Fraction(total + section + digit)
    for place, sign in enumerate(decimals, 1):
        value += Fraction(_DIGITS[sign], 10**place)
    return value

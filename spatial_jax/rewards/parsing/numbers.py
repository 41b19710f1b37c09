"""Quantities in text, exactly: signs, thousands, decimals, exponents, fractions, number words, units, compounds (5 ft 3
in), ranges.

Values are Fractions of the decimal that was written, so no score depends on binary rounding. A token of more than 40
characters or an exponent beyond +-30 is no quantity, which bounds the work.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from fractions import Fraction

from spatial_jax.rewards.parsing.cues import answer_scope, claims, first_sentence, is_negated
from spatial_jax.rewards.parsing.latex import plain
from spatial_jax.rewards.parsing.number_words import find_number_words
from spatial_jax.rewards.parsing.number_words_more import chinese_digit, find_chinese, find_fractions, find_small_words
from spatial_jax.rewards.parsing.text import clean
from spatial_jax.rewards.parsing.units import UNIT_PATTERN, UNITS, convert, unit_of

_MAX_TOKEN = 40
_MAX_EXPONENT = 30

_QUANTITY = re.compile(
    r"(?=[-+.0-9])(?P<sign>(?<![0-9A-Za-z.)\]])[-+](?=[0-9.]))?"
    r"(?<![A-Za-z0-9_])(?<![0-9]\.)"
    r"(?:(?P<whole>[0-9]{1,9})\s{1,2}(?P<top>[0-9]{1,4})/(?P<bottom>[0-9]{1,4})(?![0-9.])"
    r"|(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?:[eE](?P<e>[-+]?[0-9]{1,3})(?![0-9])|\s{0,2}[x×*]\s{0,2}10\s?\^\s?\(?(?P<ten>[-+]?[0-9]{1,3})\)?)?"
    r"(?:\s?/\s?(?P<over>[0-9]{1,6})(?![0-9.]))?)"
    rf"(?:\s{{0,3}}-?(?P<unit>{UNIT_PATTERN}))?",
    re.IGNORECASE,
)
_RANGE = re.compile(r"\s{0,3}(?:-|–|~|to|through|up to)\s{0,3}", re.IGNORECASE)
_PLUS_MINUS = re.compile(r"\s{0,3}(?:±|\+/-|\+-|plus or minus)\s{0,3}", re.IGNORECASE)
_COMPOUND = re.compile(r"[\s,]{0,3}(?:and\s{1,3})?")
_ENUMERATION = re.compile(
    r"[\s,;|/&–-]{0,8}(?:(?:and/or|or|and|oder|und|ou|et|\u6216\u8005?|\u548c)\s{0,3})?[\s(\[]{0,4}", re.IGNORECASE
)
_OR = re.compile(r"\bor\s+(?:maybe\s+|perhaps\s+|even\s+)?$", re.IGNORECASE)
_CLAIM = 400  # characters of an announcement, or from the end, that are looked at first
_WORDS = 2048  # a number in words stands in the last so many characters, or it is no answer
_EQUALS = re.compile(r"[=\u2248]")
_DECIMAL_COMMA = re.compile(rf"(?<![0-9.,])([0-9]{{1,6}}),([0-9]{{1,2}})(?=\s{{0,2}}(?:{UNIT_PATTERN}))", re.IGNORECASE)
_ONLY_COMMA = re.compile(r"[-+]?[0-9]{1,6},[0-9]{1,2}\.?")
_UNIT_AFTER = re.compile(rf"\s{{0,3}}-?({UNIT_PATTERN})", re.IGNORECASE)
_AND_HALF = re.compile(
    r"\s{1,3}(?:and\s{1,3}an?|y|et)\s{1,3}(half|quarter|medio|media|demie?)\b|(\u534a)", re.IGNORECASE
)
_ONE_UNIT = re.compile(rf"(?<!\w)(an?|une?|una|eine?[nr]?)\s{{1,3}}(?:{UNIT_PATTERN})", re.IGNORECASE)
_FINER = {
    "'": ("in", "inch", "inches", '"', "''"),
    "ft": ("in", "inch", "inches", '"'),
    "foot": ("in", "inch", "inches"),
    "feet": ("in", "inch", "inches", '"'),
    "m": ("cm",),
    "meter": ("cm", "centimeters"),
    "meters": ("cm", "centimeters"),
    "metre": ("cm", "centimetres"),
    "metres": ("cm", "centimetres"),
    "km": ("m",),
    "yd": ("ft",),
    "yards": ("feet",),
}


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A number with its unit ("" for none; a key of UNITS) at text[start:end]. A range has low < high; `value` is its
    middle.
    """

    low: Fraction
    high: Fraction
    unit: str
    start: int
    end: int

    @property
    def value(self) -> Fraction:
        return (self.low + self.high) / 2

    @property
    def is_range(self) -> bool:
        return self.low != self.high


def find_quantities(text: str) -> list[Quantity]:
    """Every quantity of a cleaned text (`clean`), in order; ranges and compounds are one quantity each."""
    plain: list[Quantity] = []
    for match in _QUANTITY.finditer(text):
        quantity = _to_quantity(match, text)
        if quantity is not None:
            plain.append(quantity)
    return _join(plain, text)


def _to_quantity(match: re.Match[str], text: str) -> Quantity | None:
    unit, end = match.group("unit") or "", match.end()
    if unit and not _is_unit(match, text):
        unit, end = "", match.start("unit")
    # "3rd", "2D", "10x": a number glued to letters is a name, not a quantity.
    if not unit and match.end("number") > 0 and end < len(text) and re.match("[A-Za-z_]", text[end]):
        return None
    value = _to_fraction(match)
    if value is None:
        return None
    return Quantity(value, value, unit_of(unit), match.start(), end)


def _is_unit(match: re.Match[str], text: str) -> bool:
    """Quote marks are feet and inches only where they cannot be quoting the number."""
    unit = match.group("unit")
    before = text[match.start() - 1] if match.start() else ""
    if unit == '"':
        after_feet = re.search(r"[0-9]'\s?$", text[max(0, match.start() - 4) : match.start()]) is not None
        return after_feet or (before not in ('"', "'") and text.count('"') == 1)
    if unit == "'":
        return before not in ('"', "'")
    return True


def _to_fraction(match: re.Match[str]) -> Fraction | None:
    if match.end() - match.start() > 2 * _MAX_TOKEN:
        return None
    sign = -1 if match.group("sign") == "-" else 1
    if match.group("whole"):
        if int(match.group("bottom")) == 0:
            return None
        return sign * (int(match.group("whole")) + Fraction(int(match.group("top")), int(match.group("bottom"))))
    number = match.group("number")
    exponent = int(match.group("e") or match.group("ten") or 0)
    over = int(match.group("over") or 1)
    if len(number) > _MAX_TOKEN or abs(exponent) > _MAX_EXPONENT or over == 0:
        return None
    value = sign * Fraction(number.replace(",", ""))
    return value if exponent == 0 and over == 1 else value * Fraction(10) ** exponent / over


def _join(plain: list[Quantity], text: str) -> list[Quantity]:
    """Joins compounds (5 ft 3 in), ranges (2-3 m, between 2 and 3) and tolerances (3 +- 0.5) into one quantity each."""
    joined: list[Quantity] = []
    for item in plain:
        last = joined[-1] if joined else None
        if last is None or item.start - last.end > 16:
            joined.append(item)
            continue
        between = text[last.end : item.start]
        compound = _compound(last, item, between)
        if compound is not None:
            joined[-1] = compound
        elif _PLUS_MINUS.fullmatch(between):
            joined[-1] = dataclasses.replace(last, end=item.end, unit=last.unit or item.unit)
        elif _is_range(last, item, between, text):
            both = _range(last, item)
            joined[-1:] = [both] if both else [last, item]
        else:
            joined.append(item)
    return joined


def _compound(first: Quantity, second: Quantity, between: str) -> Quantity | None:
    finer = _FINER.get(first.unit, ())
    unit = second.unit or ("in" if first.unit == "'" and not between else "")
    if unit not in finer or first.is_range or second.low < 0 or not _COMPOUND.fullmatch(between):
        return None
    rest = convert(second.low, unit, first.unit)
    assert rest is not None
    total = first.low + (rest if first.low >= 0 else -rest)
    return Quantity(total, total, first.unit, first.start, second.end)


def _is_range(first: Quantity, second: Quantity, between: str, text: str) -> bool:
    if first.is_range:
        return False
    if _RANGE.fullmatch(between):
        return True
    return between.strip().lower() in ("and", "&") and text[
        max(0, first.start - 10) : first.start
    ].rstrip().lower().endswith("between")


def _range(first: Quantity, second: Quantity) -> Quantity | None:
    """The range from first to second in second's unit, None when the ends do not belong together."""
    low = convert(first.low, first.unit, second.unit) if first.unit else first.low
    if low is None or low > second.low:
        return None
    return Quantity(low, second.low, second.unit, first.start, second.end)


def _is_hedge(first: Quantity, second: Quantity, text: str) -> bool:
    """Two different quantities offered side by side ("3 or 4", "1 2 3 4") are no answer. A restatement in another unit
    (2 m, 200 cm, 6.6 ft) is.
    """
    between = text[first.end : second.start]
    if len(between) > 40 or not (_ENUMERATION.fullmatch(between) or _OR.search(between)):
        return False
    other = convert(second.value, second.unit, first.unit)
    if other is None or first.unit == second.unit or not (first.unit and second.unit):
        return other != first.value
    return abs(other - first.value) > abs(first.value) / 50


def parse_quantity(text: str) -> Quantity | None:
    """The quantity that a response gives as its answer, or None. What the last announcement says, to the end of its
    sentence and after its last "=", else the last quantity of the text; number words only where there are no digits.
    Different numbers offered side by side and numbers that are denied are no answer.
    """
    scope = answer_scope(clean(text))
    if scope is None:
        return None
    text = _with_points(plain(scope))
    for claim in claims(text):
        claim = claim[:_CLAIM]
        sentence = first_sentence(claim)
        for part in (_EQUALS.split(sentence)[-1], sentence, claim):
            found = _find(part)
            if found:
                return None if len(found) > 1 and _is_hedge(found[0], found[1], part) else found[0]
    for window in (_CLAIM, _WORDS, len(text)):
        # the last two are asked for; a third shows that the window cut neither
        part = text[-window:]
        found = _find(part)
        if len(found) > 2 or window >= len(text):
            break
    text = part
    if not found:
        return None
    return None if len(found) > 1 and _is_hedge(found[-2], found[-1], text) else found[-1]


def _with_points(text: str) -> str:
    """A decimal comma before a unit, or in an answer that is one number, as a point: "2,5 m" is 2.5 m, "1,500 m" is
    not.
    """
    if _ONLY_COMMA.fullmatch(text):
        return text.replace(",", ".")
    return _DECIMAL_COMMA.sub(r"\1.\2", text) if "," in text else text


def _find(text: str) -> list[Quantity]:
    """The quantities of a text that are not denied, in digits or else in words."""
    found = find_quantities(text) or (_from_words(text) if len(text) <= _WORDS else [])
    return [q for q in found if not is_negated(text[max(0, q.start - 48) : q.start])]


def _from_words(text: str) -> list[Quantity]:
    """Quantities in words: English fractions, then cardinals, Chinese numerals, other languages, and "a metre". A
    fraction needs a unit, or must be the whole text.
    """
    cardinals = [_word_quantity(text, *found) for found in find_number_words(text)]
    parts = [_word_quantity(text, *found) for found in find_fractions(text)]
    fractions = [
        part
        for part in parts
        if (part.unit or _is_all(text, part)) and not any(c.start < part.start < c.end for c in cardinals)
    ]
    starts = {part.start for part in fractions}
    found = sorted([*fractions, *(c for c in cardinals if c.start not in starts)], key=lambda q: q.start)
    for word in () if found else find_chinese(text) or find_small_words(text):
        # what an earlier one has taken in ("dos metros y medio") is not another
        if not found or word[1] >= found[-1].end:
            found.append(_word_quantity(text, *word))
    if not found:
        one = _ONE_UNIT.search(text)
        found = [_word_quantity(text, Fraction(1), one.start(), one.end(1))] if one else []
    return found


def _is_all(text: str, quantity: Quantity) -> bool:
    return not text[: quantity.start].strip(" \n.,:(") and not text[quantity.end :].strip(" \n.,:)!")


def _word_quantity(text: str, value: Fraction, start: int, end: int) -> Quantity:
    """A number in words with the unit that follows it, and what may follow the unit: "and a half", or in Chinese half
    (半) or a tenth (一米五 is 1.5 m).
    """
    after = _UNIT_AFTER.match(text, end)
    spelling = unit_of(after.group(1)) if after and after.group(1) not in ("'", '"') else ""
    if not spelling or after is None:
        return Quantity(value, value, "", start, end)
    end = after.end()
    more = _AND_HALF.match(text, end)
    if more:
        value, end = value + Fraction(1, 4 if more.group(1) and more.group(1).lower() == "quarter" else 2), more.end()
    tenth = chinese_digit(text[end : end + 1]) if value.denominator == 1 and not more else None
    if tenth:
        value, end = value + Fraction(tenth, 10), end + 1
    return Quantity(value, value, spelling, start, end)


def parse_number(text: str, unit: str = "", *, ranges: bool = True) -> Fraction | None:
    """A response's answer as an exact number in `unit` ("" for a pure number), None when there is none or its unit does
    not convert. A range counts as its middle where `ranges`, else as no answer.
    """
    target = unit_of(unit)
    quantity = parse_quantity(text)
    if quantity is None or (quantity.is_range and not ranges):
        return None
    return convert(quantity.value, quantity.unit, target)


def first_number(text: str) -> Fraction | None:
    """The first signed plain decimal of a text, as ViLaSR's released reward reads it: ".5" and digits of any script
    count, thousands (1,200 is 1) and exponents do not.
    """
    match = re.search(r"[-+]?(?:(?<!\d)\d{1,400}\.\d{1,400}|\.\d{1,400}|(?<!\d)\d{1,400})", text)
    if match is None:
        return None
    return Fraction("".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in match.group()))


__all__ = ["UNITS", "Quantity", "find_quantities", "first_number", "parse_number", "parse_quantity"]

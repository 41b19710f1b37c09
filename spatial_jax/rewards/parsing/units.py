"""Units that answers are written in, as exact factors of a dimension's base unit."""

from __future__ import annotations

import re
from fractions import Fraction

_INCH = Fraction(254, 10_000)
_FOOT = 12 * _INCH

# spelling -> (dimension, factor to its base unit: m, m2, deg, px, percent, s)
_LENGTHS = {
    "m": Fraction(1),
    "meter": Fraction(1),
    "meters": Fraction(1),
    "metre": Fraction(1),
    "metres": Fraction(1),
    "米": Fraction(1),
    "cm": Fraction(1, 100),
    "centimeter": Fraction(1, 100),
    "centimeters": Fraction(1, 100),
    "centimetre": Fraction(1, 100),
    "centimetres": Fraction(1, 100),
    "厘米": Fraction(1, 100),
    "mm": Fraction(1, 1000),
    "millimeter": Fraction(1, 1000),
    "millimeters": Fraction(1, 1000),
    "millimetre": Fraction(1, 1000),
    "millimetres": Fraction(1, 1000),
    "毫米": Fraction(1, 1000),
    "km": Fraction(1000),
    "kilometer": Fraction(1000),
    "kilometers": Fraction(1000),
    "kilometre": Fraction(1000),
    "kilometres": Fraction(1000),
    "ft": _FOOT,
    "foot": _FOOT,
    "feet": _FOOT,
    "'": _FOOT,
    "in": _INCH,
    "inch": _INCH,
    "inches": _INCH,
    '"': _INCH,
    "''": _INCH,
    "yd": 3 * _FOOT,
    "yard": 3 * _FOOT,
    "yards": 3 * _FOOT,
    "mi": 5280 * _FOOT,
    "mile": 5280 * _FOOT,
    "miles": 5280 * _FOOT,
}
# The same units in the other languages that answers come in.
_METRE, _CENTIMETRE, _KILOMETRE = Fraction(1), Fraction(1, 100), Fraction(1000)
_LENGTHS.update(dict.fromkeys(("metro", "metros", "m\u00e8tre", "m\u00e8tres", "\u516c\u5c3a"), _METRE))
_LENGTHS.update(
    dict.fromkeys(
        (
            "\u30e1\u30fc\u30c8\u30eb",
            "\ubbf8\ud130",
            "\u043c\u0435\u0442\u0440\u0430",
            "\u043c\u0435\u0442\u0440\u043e\u0432",
        ),
        _METRE,
    )
)
_LENGTHS.update(
    dict.fromkeys(
        ("zentimeter", "cent\u00edmetro", "cent\u00edmetros", "centim\u00e8tre", "centim\u00e8tres"), _CENTIMETRE
    )
)
_LENGTHS.update(
    dict.fromkeys(
        (
            "\u516c\u5206",
            "\u30bb\u30f3\u30c1\u30e1\u30fc\u30c8\u30eb",
            "\u30bb\u30f3\u30c1",
            "\uc13c\ud2f0\ubbf8\ud130",
        ),
        _CENTIMETRE,
    )
)
_LENGTHS.update(dict.fromkeys(("\u516c\u91cc", "\u5343\u7c73", "kil\u00f3metros", "kilom\u00e8tres"), _KILOMETRE))
_LENGTHS.update({"\u82f1\u5c3a": _FOOT, "\u82f1\u5bf8": _INCH})
_WORDS_SQUARED = (
    "m",
    "meter",
    "meters",
    "metre",
    "metres",
    "cm",
    "centimeter",
    "centimeters",
    "centimetre",
    "centimetres",
    "ft",
    "foot",
    "feet",
    "in",
    "inch",
    "inches",
    "yard",
    "yards",
    "米",
)
_SHORT_SQUARED = ("m", "cm", "mm", "km", "ft", "in")

UNITS: dict[str, tuple[str, Fraction]] = {name: ("length", factor) for name, factor in _LENGTHS.items()}
for _name in _WORDS_SQUARED:
    _area = ("area", _LENGTHS[_name] ** 2)
    for _spelling in (f"square {_name}", f"sq {_name}", f"sq. {_name}", f"{_name} squared", f"{_name}^2"):
        UNITS[_spelling] = _area
for _name in _SHORT_SQUARED:
    UNITS[f"{_name}2"] = ("area", _LENGTHS[_name] ** 2)
UNITS.update({"sqm": ("area", Fraction(1)), "平方米": ("area", Fraction(1)), "sqft": ("area", _FOOT**2)})
_SQUARE_METRES = ("\u5e73\u7c73", "quadratmeter", "metros cuadrados", "m\u00e8tres carr\u00e9s")
UNITS.update({name: ("area", Fraction(1)) for name in _SQUARE_METRES})
_DEGREES = ("deg", "degree", "degrees", "°", "\u5ea6", "grad", "grados", "degr\u00e9s")
UNITS.update({name: ("angle", Fraction(1)) for name in _DEGREES})
UNITS.update({name: ("pixels", Fraction(1)) for name in ("px", "pixel", "pixels")})
UNITS.update({name: ("percent", Fraction(1)) for name in ("%", "percent", "per cent")})
UNITS.update({name: ("time", Fraction(1)) for name in ("s", "sec", "second", "seconds")})

# "in" is far more often a word than a unit: a unit only where no word follows.
_SPELLINGS = "|".join(
    re.escape(name).replace(r"\ ", r"\s{1,3}")
    for name in sorted(UNITS, key=len, reverse=True)
    if name not in ("in", '"', "'")
)
_MORE = "A-Za-z0-9\u00c0-\u024f"  # what would make a unit's letters part of a longer word; Chinese signs would not
UNIT_PATTERN = rf"(?:{_SPELLINGS})(?![{_MORE}])|in(?![A-Za-z0-9])(?!\s{{1,3}}[A-Za-z])|'|\""


def unit_of(text: str) -> str:
    """The spelling in UNITS of a unit as it was written; "" for no unit. ValueError for an unknown one."""
    name = re.sub(r"\s+", " ", text.strip().lower())
    if name and name not in UNITS:
        raise ValueError(
            f"unit {text!r} is unknown; one of {', '.join(sorted(n for n in UNITS if n.isascii() and n.isalnum()))}"
        )
    return name


def convert(value: Fraction, unit: str, target: str) -> Fraction | None:
    """`value` in `target` units, exactly; a number without a unit is already in them. None when the dimensions
    differ.
    """
    if not unit or unit == target:
        return value
    if not target:
        return None
    dimension, factor = UNITS[unit]
    target_dimension, target_factor = UNITS[target]
    return value * factor / target_factor if dimension == target_dimension else None

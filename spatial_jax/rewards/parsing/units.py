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
UNITS.update({name: ("angle", Fraction(1)) for name in ("deg", "degree", "degrees", "°")})
UNITS.update({name: ("pixels", Fraction(1)) for name in ("px", "pixel", "pixels")})
UNITS.update({name: ("percent", Fraction(1)) for name in ("%", "percent", "per cent")})
UNITS.update({name: ("time", Fraction(1)) for name in ("s", "sec", "second", "seconds")})

# "in" is far more often a word than a unit: a unit only where no word follows.
_SPELLINGS = "|".join(
    re.escape(name).replace(r"\ ", r"\s{1,3}")
    for name in sorted(UNITS, key=len, reverse=True)
    if name not in ("in", '"', "'")
)
UNIT_PATTERN = rf"(?:{_SPELLINGS})(?![A-Za-z0-9])|in(?![A-Za-z0-9])(?!\s{{1,3}}[A-Za-z])|'|\""


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

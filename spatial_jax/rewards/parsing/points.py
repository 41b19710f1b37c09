"""Points of a picture in a response: "(x, y)", "[x, y]", JSON with point_2d or point, tags with x= and y=."""

from __future__ import annotations

import re

from spatial_jax.reading import parse_json
from spatial_jax.rewards.parsing.cues import after_cue
from spatial_jax.rewards.parsing.text import clean

Point = tuple[float, float]

_NUMBER = r"([-+]?[0-9]{1,9}(?:\.[0-9]{0,12})?)"
_PAIR = re.compile(rf"[\[(]\s{{0,8}}{_NUMBER}\s{{0,8}},\s{{0,8}}{_NUMBER}\s{{0,8}}[\])]")
_TAG = re.compile(
    rf"<point[^>]{{0,200}}?\bx\s?=\s?[\"']?{_NUMBER}[\"']?\s{{1,8}}y\s?=\s?[\"']?{_NUMBER}[\"']?", re.IGNORECASE
)
_TUPLE = re.compile(r"\(([-+]?\d+\.?\d*(?:,\s*[-+]?\d+\.?\d*){0,7})\)")


def parse_points(text: str) -> list[Point]:
    """The points that a response gives as its answer, in order and as written: those after its last "answer is", else
    all of them. Groups of other than two numbers are no points; nothing is scaled.
    """
    text = clean(text)
    for part in (after_cue(text), text):
        if part is not None:
            found = [(float(m[1]), float(m[2])) for m in _PAIR.finditer(part)]
            found = found or [(float(m[1]), float(m[2])) for m in _TAG.finditer(part)]
            if found:
                return found
    return []


def number_tuples(text: str) -> list[list[str]]:
    """Every "(a, b, ...)" of the harnesses' common rule, its numbers as texts: a blank before a comma or inside a
    bracket, or a number that starts with a dot, is no tuple.
    """
    return [[part.strip() for part in match.split(",")] for match in _TUPLE.findall(text)]


def json_region(text: str) -> object:
    """The JSON value of a truth. ValueError where it is none."""
    try:
        return parse_json(text)
    except ValueError as error:
        raise ValueError(f"answer {text[:60]!r} is no JSON region ({error})") from None

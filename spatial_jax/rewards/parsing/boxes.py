"""Boxes [x1, y1, x2, y2] in a response."""

from __future__ import annotations

import re

from spatial_jax.rewards.parsing.cues import after_cue
from spatial_jax.rewards.parsing.text import clean

_NUMBER = r"(-?[0-9]{1,9}(?:\.[0-9]{1,12})?)"
_GAP = r"\s{0,8},\s{0,8}"
_CORNERS = r"\s{0,4}[)\]]\s{0,4},?\s{0,4}[\[(]\s{0,4}"
_BOX = re.compile(rf"[\[(]\s{{0,8}}{_NUMBER}{_GAP}{_NUMBER}(?:{_GAP}|{_CORNERS}){_NUMBER}{_GAP}{_NUMBER}\s{{0,8}}[\])]")
_BARE = re.compile(rf"\s{{0,8}}{_NUMBER}[\s,]{{1,8}}{_NUMBER}[\s,]{{1,8}}{_NUMBER}[\s,]{{1,8}}{_NUMBER}[\s.]{{0,8}}")
_SEPARATORS = re.compile(r"[\s,;|/&\[\]()]*(?:or|and)?[\s,;|/&\[\]()]*", re.IGNORECASE)

Box = tuple[float, float, float, float]


def find_boxes(text: str) -> list[tuple[Box, int, int]]:
    """(box, start, end) of every bracketed group of four numbers, also "(x1, y1), (x2, y2)", in order."""
    return [((float(m[1]), float(m[2]), float(m[3]), float(m[4])), m.start(), m.end()) for m in _BOX.finditer(text)]


def parse_box(text: str) -> Box | None:
    """The box a response gives as its answer: the first after the last "answer is", else the last one; a bare "x1, y1,
    x2, y2" counts when it is the whole answer. Different boxes side by side are no answer. Corners are returned as
    written, not sorted.
    """
    text = clean(text)
    tail = after_cue(text)
    for part, pick in ((tail, 0), (text, -1)):
        if part is None:
            continue
        found = find_boxes(part)
        if not found:
            bare = _BARE.fullmatch(part)
            if bare:
                return (float(bare[1]), float(bare[2]), float(bare[3]), float(bare[4]))
            continue
        if len(found) > 1:
            first, second = (found[0], found[1]) if pick == 0 else (found[-2], found[-1])
            if first[0] != second[0] and _SEPARATORS.fullmatch(part[first[2] : second[1]]):
                return None
        return found[pick][0]
    return None

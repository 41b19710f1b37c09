"""Boxes with a label: outlines of 4 pixels with the label inside (ViLaSR's Object Mapper)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

from spatial_jax.drawing.tool import Entry, Operation, Size, has_numbers, put_marks

WIDTH = 4
TEXT_OFFSET = (8, 6)  # of the label from the box's upper left corner
LONGEST_LABEL = 60


class Box:
    name, action, marks = "box", "Object Mapper", True
    shows_label = True
    example = '{"index": 1, "bbox_2d": [x1, y1, x2, y2], "label": "name"}'
    does = "Object Mapper draws boxes"

    def read(self, item: Mapping[str, Any]) -> tuple[float, ...] | None:
        """(x1, y1, x2, y2), corners in any order."""
        return tuple(map(float, item["bbox_2d"])) if has_numbers(item, "bbox_2d", 4) else None

    def place(self, base: Entry, operations: Sequence[Operation], fit: Callable[[Size], Size]) -> Entry:
        return dataclasses.replace(base, drawn=put_marks(base.drawn, operations))

    def show(self, picture: Image.Image, operation: Operation, colour: str, size: Size) -> Image.Image:
        left, right = sorted(operation.points[0::2])
        top, bottom = sorted(operation.points[1::2])
        pen = ImageDraw.Draw(picture)
        pen.rectangle((left, top, right, bottom), outline=colour, width=WIDTH)
        pen.text((left + TEXT_OFFSET[0], top + TEXT_OFFSET[1]), printable(operation.label), fill=colour)
        return picture


def printable(label: str) -> str:
    """The label in one line of what the default font has."""
    return " ".join(label.split())[:LONGEST_LABEL].encode("latin-1", "replace").decode("latin-1")


TOOL = Box()

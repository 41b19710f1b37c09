"""A part of a picture, cut out and shown as large as the whole was: a closer look, as a picture of its own size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

from spatial_jax.drawing.tool import DrawingError, Entry, Operation, Size, has_numbers

SMALLEST = 4  # pixels of a side: less holds nothing to look at


class Crop:
    name, action, marks = "crop", "Magnifier", False
    shows_label = True
    example = '{"index": 1, "crop_2d": [x1, y1, x2, y2], "label": "name"}'
    does = "Magnifier cuts a box out and shows it larger"

    def read(self, item: Mapping[str, Any]) -> tuple[float, ...] | None:
        """(x1, y1, x2, y2), corners in any order."""
        return tuple(map(float, item["crop_2d"])) if has_numbers(item, "crop_2d", 4) else None

    def place(self, base: Entry, operations: Sequence[Operation], fit: Callable[[Size], Size]) -> Entry:
        """The cut, at the area of the picture it is cut from; marks on that are part of what is seen, and stay."""
        (operation,) = operations
        left, top, right, bottom = _inside(operation, base.size)
        scale = math.sqrt(base.size[0] * base.size[1] / ((right - left) * (bottom - top)))
        try:
            size = fit((max(round((right - left) * scale), 1), max(round((bottom - top) * scale), 1)))
        except ValueError as error:  # a strip that no picture may be as thin as
            raise DrawingError(f"the cut {operation.label!r} cannot be shown: {error}", "nothing_seen") from None
        marks = tuple((mark, base.size) for mark in base.drawn)
        return Entry(base.original, size, (), (*base.under, *marks, (operation, size)))

    def show(self, picture: Image.Image, operation: Operation, colour: str, size: Size) -> Image.Image:
        return picture.crop(_inside(operation, picture.size)).resize(size, Image.Resampling.BICUBIC)


def _inside(operation: Operation, size: Size) -> tuple[int, int, int, int]:
    """Whole pixels of the part that lies in a picture of this size. DrawingError where it is next to nothing."""
    xs, ys = sorted(operation.points[0::2]), sorted(operation.points[1::2])
    left, top = max(math.floor(xs[0]), 0), max(math.floor(ys[0]), 0)
    right, bottom = min(math.ceil(xs[1]), size[0]), min(math.ceil(ys[1]), size[1])
    if right - left < SMALLEST or bottom - top < SMALLEST:
        raise DrawingError(
            f"the cut {operation.label!r} holds less than {SMALLEST} pixels of the picture", "nothing_seen"
        )
    return left, top, right, bottom


TOOL = Crop()

"""Lines from a red dot to a blue one (ViLaSR's Path Tracer)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

from spatial_jax.drawing.tool import Entry, Operation, Size, has_numbers, put_marks

WIDTH, RADIUS = 4, 4
_ENDS = ("start_point_2d", "end_point_2d")


class Path:
    name, action, marks = "path", "Path Tracer", True
    shows_label = False
    example = '{"index": 1, "start_point_2d": [x, y], "end_point_2d": [x, y], "label": "name"}'
    does = "Path Tracer lines from start to end"

    def read(self, item: Mapping[str, Any]) -> tuple[float, ...] | None:
        """(x1, y1, x2, y2), from the first point to the second."""
        if not all(has_numbers(item, key, 2) for key in _ENDS):
            return None
        return tuple(float(v) for key in _ENDS for v in item[key])

    def place(self, base: Entry, operations: Sequence[Operation], fit: Callable[[Size], Size]) -> Entry:
        return dataclasses.replace(base, drawn=put_marks(base.drawn, operations))

    def show(self, picture: Image.Image, operation: Operation, colour: str, size: Size) -> Image.Image:
        x1, y1, x2, y2 = (int(v) for v in operation.points)
        pen = ImageDraw.Draw(picture)
        pen.line((x1, y1, x2, y2), fill="black", width=WIDTH)
        for (x, y), dot in (((x1, y1), "red"), ((x2, y2), "blue")):
            pen.ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), fill=dot)
        return picture


TOOL = Path()

"""What a policy asks to be drawn: boxes and paths with a label, on a picture named by its number."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from spatial_jax.drawing.grammar import BOX, PATH, is_box, is_path, json_blocks, read_items


class DrawingError(ValueError):
    """A turn whose operations cannot be carried out: it ends its sample."""


@dataclasses.dataclass(frozen=True)
class Operation:
    """A box (x1, y1, x2, y2, corners in any order) or a path from (x1, y1) to (x2, y2), in pixels of the picture
    `index` (from 1).
    """

    kind: Literal["box", "path"]
    index: int
    label: str
    points: tuple[float, float, float, float]


def parse(turn: str) -> list[Operation]:
    """All operations of a turn, boxes before paths, each kind in the order of the text. Blocks that are no JSON list
    and items that are neither kind are passed over. DrawingError where nothing is left, or where an item names no
    picture (numbers begin at 1).
    """
    items = [item for block in json_blocks(turn) for item in read_items(block) or ()]
    found = [_operation("box", item, item[BOX]) for item in items if is_box(item)]
    found += [
        _operation("path", item, [v for key in PATH for v in item[key]])
        for item in items
        if is_path(item) and not is_box(item)
    ]
    if not found:
        raise DrawingError("the turn has neither an answer nor an operation")
    return found


def _operation(kind: Literal["box", "path"], item: dict[str, Any], points: list[float]) -> Operation:
    index = item.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or index < 1:
        raise DrawingError(f"operation {item['label']!r}: index {index!r} names no picture; they are numbered from 1")
    x1, y1, x2, y2 = map(float, points)
    return Operation(kind, index, item["label"], (x1, y1, x2, y2))

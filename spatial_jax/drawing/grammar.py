"""Drawing operations in a turn's text: fenced JSON lists of boxes and paths (ViLaSR, arXiv 2506.09965). Model output is
data: read by a JSON parser, never evaluated.
"""

from __future__ import annotations

import json
from typing import Any

_FENCE, _CLOSE, _THOUGHT_ENDS = "```json", "```", "</think>"
# A block of more characters is not read.
_LONGEST = 100_000
BOX, PATH = "bbox_2d", ("start_point_2d", "end_point_2d")


def json_blocks(turn: str) -> list[str]:
    """Text of every fenced block whose opening line is exactly ```json; one that is not closed goes to the end of the
    turn, or of the thought it stands in.
    """
    blocks: list[str] = []
    lines: list[str] | None = None
    for line in turn.splitlines():
        if lines is None:
            lines = [] if line.strip() == _FENCE else None
        elif line.strip() == _CLOSE:
            blocks.append("\n".join(lines))
            lines = None
        else:
            lines.append(line)
    if lines is not None:
        blocks.append("\n".join(lines).split(_THOUGHT_ENDS)[0])
    return blocks


def released_blocks(text: str) -> list[str]:
    """The blocks as ViLaSR's released reward takes them: from every line that is ```json to the next three backticks,
    wherever these stand.
    """
    blocks, position = [], 0
    for line in text.splitlines(keepends=True):
        position += len(line)
        if line.strip() == _FENCE:
            end = text.find("```", position)
            blocks.append(text[position:] if end < 0 else text[position:end])
    return blocks


def read_items(block: str) -> list[Any] | None:
    """The JSON list in a block (single quotes are accepted, as by the released parser), None where it is none."""
    if len(block) > _LONGEST:
        return None
    for candidate in (block, block.replace("'", '"')):
        try:
            items = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        return items if isinstance(items, list) else None
    return None


def is_box(item: object) -> bool:
    """Whether an item has bbox_2d of four numbers and a label."""
    return _labelled(item) and _numbers(item, BOX, 4)


def is_path(item: object) -> bool:
    """Whether an item has two points of two numbers and a label."""
    return _labelled(item) and all(_numbers(item, key, 2) for key in PATH)


def valid_block(block: str) -> bool:
    """Whether a block is a list, not empty, of boxes and paths. `index` is not required."""
    items = read_items(block)
    return bool(items) and all(is_box(item) or is_path(item) for item in items or ())


def _labelled(item: object) -> bool:
    return isinstance(item, dict) and isinstance(item.get("label"), str)


def _numbers(item: Any, key: str, count: int) -> bool:
    value = item.get(key)
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e6 for v in value)
    )

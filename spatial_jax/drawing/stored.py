"""Turns that draw, from pixels of the pictures as somebody saw them to pixels of the stored ones: what a record keeps,
so that they fit whatever size a policy sees.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from spatial_jax.drawing.album import Album
from spatial_jax.drawing.grammar import json_blocks, parse, read_call, read_items
from spatial_jax.drawing.tool import Size, has_numbers
from spatial_jax.drawing.tools import PUBLISHED

_KEYS = ("bbox_2d", "crop_2d", "start_point_2d", "end_point_2d")
_MOST = 1_000  # pictures of a conversation
Write = Callable[[str, float, int, int], str]  # (axis, value, decimals, picture) -> placeholder: records.coordinate


def stored_turns(
    said: Sequence[str],
    stored: Sequence[Size],
    seen: Sequence[Size],
    write: Write,
    tools: Sequence[str] = PUBLISHED,
    fit: Callable[[Size], Size] = lambda size: size,
) -> tuple[list[str], int]:
    """(the turns with coordinate placeholders, how many pictures they give). `stored`, `seen`: (width, height) of each
    picture; `write`: how a record writes a coordinate. DrawingError where a turn cannot be carried out; a repeated
    drawing is none of it.

    A cut-out is as large as its picture (crop.py), at whatever size that is seen: coordinates on it are written in the
    stored picture's scale as those on the picture are, right up to the rounding of its size to what a model can see.
    """
    album, out = Album(seen, fit, near=None), []
    for text in said:
        text = "\n".join(text.splitlines())
        before = list(album.entries)
        album.draw(parse(text, tools), _MOST)
        for block in dict.fromkeys(json_blocks(text)):
            items = read_items(block)
            if items is not None and block.strip():
                written = (_item(item, before, stored, seen, write, tools) for item in items)
                lines = [line for line in written if line is not None]
                text = text.replace(block, "[" + ",\n ".join(lines) + "]")
        out.append(text)
    return out, len(album.entries) - len(seen)


def _item(
    item: Any, entries: Sequence[Any], stored: Sequence[Size], seen: Sequence[Size], write: Write, tools: Sequence[str]
) -> str | None:
    """An item of a call with placeholders; one that calls none of the tools stays as it is. None for one that calls
    none and that no JSON can say: a Python literal may hold bytes and sets.
    """
    if not isinstance(item, dict) or read_call(item, tools) is None:
        try:
            return json.dumps(item)
        except (TypeError, ValueError):
            return None
    base = entries[item["index"] - 1].original
    scale = [stored[base][axis] / seen[base][axis] for axis in (0, 1)]
    parts = []
    for key, value in item.items():
        if not isinstance(key, str):
            continue  # JSON has no such key, and no tool reads it
        if key in _KEYS and (has_numbers(item, key, 4) or has_numbers(item, key, 2)):
            points = [write("xy"[i % 2], v * scale[i % 2], 0, base + 1) for i, v in enumerate(value)]
            parts.append(f"{json.dumps(key)}: [{', '.join(points)}]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, default=repr, skipkeys=True)}")
    return "{" + ", ".join(parts) + "}"

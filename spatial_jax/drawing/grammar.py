"""Operations in a turn's text: fenced JSON lists whose items call tools (ViLaSR, arXiv 2506.09965). Model output is
data: read by parsers, never evaluated.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from spatial_jax.drawing.tool import DrawingError, Operation
from spatial_jax.drawing.tools import PUBLISHED, TOOLS
from spatial_jax.reading import parse_json

_FENCE, _CLOSE, _THOUGHT_ENDS = "```json", "```", "</think>"
# A block of more characters is not read.
_LONGEST = 100_000
_LONGEST_LITERAL = 20_000


def json_blocks(turn: str) -> list[str]:
    """Text of every fenced block whose opening line is exactly ```json, to the next line that ends with the fence; one
    that is not closed goes to the end of the turn, or of the thought it stands in.
    """
    blocks: list[str] = []
    lines: list[str] | None = None
    for line in turn.splitlines():
        if lines is None:
            lines = [] if line.strip() == _FENCE else None
        elif line.rstrip().endswith(_CLOSE):
            last = line.rstrip().removesuffix(_CLOSE)
            blocks.append("\n".join([*lines, last] if last.strip() else lines))
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
    """The list in a block: JSON, JSON with single quotes, or a Python literal (the released parser's form, in which a
    label may hold a quote of the other kind). None where it is none of these.
    """
    if len(block) > _LONGEST:
        return None
    for read in (parse_json, lambda text: parse_json(text.replace("'", '"')), _literal):
        try:
            items = read(block)
        except ValueError:
            continue
        return items if isinstance(items, list) else None
    return None


def _literal(text: str) -> Any:
    """A Python literal, parsed and not run. ValueError for anything else, and for a long one: nesting costs the parser
    its stack.
    """
    if len(text) > _LONGEST_LITERAL:
        raise ValueError("too long")
    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("no literal") from error


def read_call(item: object, tools: Sequence[str] = PUBLISHED) -> tuple[str, tuple[float, ...]] | None:
    """(tool, numbers) of an item with a label; of several tools that it could be, the first. None where it is of
    none.
    """
    if not isinstance(item, dict) or not isinstance(item.get("label"), str):
        return None
    for name in tools:
        points = TOOLS[name].read(item)
        if points is not None:
            return name, points
    return None


def valid_block(block: str, tools: Sequence[str] = PUBLISHED) -> bool:
    """Whether a block is a list, not empty, of calls of these tools. `index` is not required."""
    items = read_items(block)
    return bool(items) and all(read_call(item, tools) for item in items or ())


def parse(turn: str, tools: Sequence[str] = PUBLISHED) -> list[Operation]:
    """All operations of a turn, tool by tool, each in the order of the text. Blocks that are no JSON list and items
    that call none of the tools are passed over. DrawingError where nothing is left, or where an item names no picture
    (numbers begin at 1).
    """
    items = [item for block in json_blocks(turn) for item in read_items(block) or ()]
    calls = [(item, call) for item in items if (call := read_call(item, tools))]
    found = [_operation(name, item, call[1]) for name in tools for item, call in calls if call[0] == name]
    if not found:
        raise DrawingError("the turn has neither an answer nor an operation", "no_operation")
    return found


def _operation(kind: str, item: dict[str, Any], points: tuple[float, ...]) -> Operation:
    index = item.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or index < 1:
        raise DrawingError(
            f"operation {item['label']!r}: index {index!r} names no picture; they are numbered from 1", "no_picture"
        )
    return Operation(kind, index, item["label"], points)

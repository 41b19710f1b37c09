"""JSON from outside, read so that no text can end a run: whatever is wrong with it is one ValueError.

`json.loads` alone answers hostile text with RecursionError (100,000 brackets), with numbers that no float holds (and
that overflow later, where nobody expects it), and with lists where a dict was meant. Files of lines are cut at line
feeds alone: `str.splitlines` also cuts at U+2028, U+2029 and U+0085, which JSON leaves inside its strings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST_DIGITS = 308  # what a float can hold
DEEPEST = 64  # levels; real data have fewer than ten, and deeper ones end any function that goes down by itself


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. ValueError, one line, for anything else: what is no JSON or no UTF-8, is nested too
    deep, or holds a number that no float can hold.
    """
    try:
        value = json.loads(text, parse_int=_whole, parse_float=_real)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if depth_of(value) > DEEPEST:
        raise ValueError("nested too deep")
    return value


def depth_of(value: Any) -> int:
    """Levels of lists and dicts in a value, counted up to DEEPEST + 1."""
    level, depth = [value], 0
    while depth <= DEEPEST:
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list))]
        if not inner:
            break
        level, depth = [part for items in inner for part in items if isinstance(part, (dict, list))], depth + 1
    return depth


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Like `parse_json`, for what must be an object; ValueError where it is a list, a text or a number."""
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError(f"is a {type(value).__name__} where an object belongs")
    return value


def read_json(path: Any, advice: str = "") -> Any:
    """The value of a JSON file (a Path, or anything with read_bytes). ValueError names the file and ends with
    `advice`; OSError where it cannot be read.
    """
    try:
        return parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error})" + (f"; {advice}" if advice else "")) from None


def read_object(path: Any, advice: str = "") -> dict[str, Any]:
    """Like `read_json`, for a file that must hold an object."""
    value = read_json(path, advice)
    if not isinstance(value, dict):
        found = f"{path}: holds a {type(value).__name__} where an object belongs"
        raise ValueError(found + (f"; {advice}" if advice else ""))
    return value


def lines_of(text: str) -> list[str]:
    """The lines of a text, cut at line feeds alone."""
    return text.split("\n")


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """(line number from 1, object) of each line of a JSON-lines file that is not blank; None in place of a line that
    holds no object.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield number, parse_object(line)
                except ValueError:
                    yield number, None

"""JSON as a run's files hold it, read so that no file ends a reader: damaged lines are left out and counted."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from spatial_jax.reading import DEEPEST, depth_of


def plain_json(text: str | bytes) -> Any:
    """The value of a JSON text. ValueError, one line, where it is none or deeper than DEEPEST; whole numbers that no
    float holds are infinite.
    """
    try:
        value = json.loads(text, parse_int=_whole)
    except RecursionError:
        raise ValueError("nested too deep") from None
    opening = (b"{", b"[") if isinstance(text, bytes) else ("{", "[")
    if sum(text.count(bracket) for bracket in opening) > DEEPEST and depth_of(value) > DEEPEST:  # type: ignore[arg-type]
        raise ValueError("nested too deep")
    return value


def read_rows(path: str | os.PathLike) -> tuple[list[dict[str, Any]], int]:
    """(objects, damaged) of a file with one JSON object a line, and how many lines are none. Lines end at line feeds
    alone: texts may hold other separators. A last line without one may be half written
    and then counts as nothing.
    """
    rows, damaged = [], 0
    *lines, last = Path(path).read_bytes().split(b"\n")
    for line in filter(bytes.strip, [*lines, last]):
        try:
            row = plain_json(line.decode("utf-8", "replace"))
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            damaged += line is not last
    return rows, damaged


def _whole(text: str) -> float:
    return int(text) if len(text) < 300 else math.copysign(math.inf, -1 if text[0] == "-" else 1)

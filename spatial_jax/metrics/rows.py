"""JSON as a run's files hold it, read so that no file ends a reader: damaged lines are left out and counted."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.reading import parse_json


def read_rows(path: str | os.PathLike) -> tuple[list[dict[str, Any]], int]:
    """(objects, damaged) of a file with one JSON object a line, and how many lines are none. Lines end at line feeds
    alone: texts may hold other separators. A last line without one may be half written
    and then counts as nothing.
    """
    rows, damaged = [], 0
    *lines, last = Path(path).read_bytes().split(b"\n")
    for line in filter(bytes.strip, [*lines, last]):
        try:
            row = parse_json(line.decode("utf-8", "replace"))
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            damaged += line is not last
    return rows, damaged


def strict(value: Any) -> Any:
    """Non-finite numbers as strings, since strict JSON has none and a NaN loss must not be lost."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [strict(item) for item in value]
    return value


def as_plain(value: Any) -> Any:
    """NumPy and JAX scalars and arrays as Python numbers and lists."""
    if isinstance(value, (str, bool, int, float)) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)

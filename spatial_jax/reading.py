"""JSON from outside, read so that no text can end a run: whatever is wrong with it is one ValueError.

`json.loads` alone answers hostile text with RecursionError (100,000 brackets), with numbers that no float holds (and
that overflow later, where nobody expects it), and with lists where a dict was meant. Files of lines are cut at line
feeds alone: `str.splitlines` also cuts at U+2028, U+2029 and U+0085, which JSON leaves inside its strings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

MOST_DIGITS = 308  # what a float can hold
LARGEST = 2**31 - 1  # of a whole number in `Fields`, where nothing else is said
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
    brackets = (b"{", b"[") if isinstance(text, bytes) else ("{", "[")
    # Counting brackets is quick, and few of them cannot be deep: most lines of a run's files are spared the walk.
    opened = sum(text.count(bracket) for bracket in brackets)  # type: ignore[arg-type]
    if opened > DEEPEST and depth_of(value) > DEEPEST:
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
        # As text: json takes bytes with a byte-order mark or of UTF-16, which no other reader of such files does.
        return parse_json(path.read_bytes().decode("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error})" + (f"; {advice}" if advice else "")) from None


def read_object(path: Any, advice: str = "") -> dict[str, Any]:
    """Like `read_json`, for a file that must hold an object."""
    value = read_json(path, advice)
    if not isinstance(value, dict):
        found = f"{path}: holds a {type(value).__name__} where an object belongs"
        raise ValueError(found + (f"; {advice}" if advice else ""))
    return value


def read_optional(path: Any, advice: str = "") -> dict[str, Any]:
    """Like `read_object`; {} where there is no such file."""
    return read_object(path, advice) if path.is_file() else {}


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


class Fields:
    """A JSON object whose values are checked as they are read. A missing field or null gives the default; without a
    default it is an error. `where` names the object in errors.
    """

    def __init__(self, values: dict[str, Any], where: str):
        self.values, self.where = values, where

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(key) is not None

    def _wrong(self, key: str, need: str) -> ValueError:
        shown = repr(self.values[key])
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return ValueError(f"{self.where}: {key} is {shown}, need {need}")

    def _missing(self, key: str) -> ValueError:
        return ValueError(f"{self.where}: {key} is missing; it cannot be guessed, add it")

    def section(self, key: str) -> Fields:
        """The object under `key`; an empty one when it is missing."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return Fields(value or {}, f"{self.where}: {key}")

    def integer(self, key: str, default: int | None = None, *, low: int = 1, high: int = LARGEST) -> int:
        """A whole number from `low` to `high`."""
        value = self.values.get(key)
        if value is None:
            if default is None:
                raise self._missing(key)
            return default
        if not _is_whole(value, low, high):
            raise self._wrong(key, f"a whole number from {low} to {high}")
        return int(value)

    def number(self, key: str, default: float, *, low: float = 0.0) -> float:
        """A finite number above `low`."""
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300 or value <= low:
            raise self._wrong(key, f"a finite number above {low:g}")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """true or false."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return default if value is None else value

    def text(self, key: str, default: str = "") -> str:
        """A string."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(key, "a string")
        return default if value is None else value

    def integers(self, key: str, default: Sequence[int], *, high: int = LARGEST) -> tuple[int, ...]:
        """A list of whole numbers from 0 to `high`."""
        value = self.values.get(key)
        if value is None:
            return tuple(default)
        if not isinstance(value, list) or not all(_is_whole(item, 0, high) for item in value):
            raise self._wrong(key, f"a list of whole numbers from 0 to {high}")
        return tuple(int(item) for item in value)

    def numbers(self, key: str, default: Sequence[float], count: int) -> tuple[float, ...]:
        """A list of `count` finite numbers."""
        value = self.values.get(key)
        if value is None:
            return tuple(default)
        good = isinstance(value, list) and len(value) == count
        if not good or not all(type(item) in (int, float) and abs(item) < 1e300 for item in value):
            raise self._wrong(key, f"a list of {count} numbers")
        return tuple(float(item) for item in value)

    def token_ids(self, key: str) -> tuple[int, ...] | None:
        """One token id or a list of them, as a tuple; None when missing."""
        value = self.values.get(key)
        if value is None:
            return None
        ids = value if isinstance(value, list) else [value]
        if not all(_is_whole(item, 0, LARGEST) for item in ids):
            raise self._wrong(key, "a token id or a list of token ids")
        return tuple(int(item) for item in ids)

    def token_id(self, key: str) -> int | None:
        """One token id; None when missing."""
        return self.integer(key, low=0) if self.has(key) else None


def _is_whole(value: Any, low: int, high: int) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and value == int(value) and low <= value <= high

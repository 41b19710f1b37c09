"""A checkpoint's JSON files, read as data from strangers: every fault is one ValueError that names file and field."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LARGEST = 2**31 - 1


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file, {} when there is no such file. ValueError names a file that does not parse, is nested
    beyond what can be parsed, or holds anything but an object.
    """
    if not path.is_file():
        return {}
    advice = "download or export the checkpoint again"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); {advice}") from None
    except RecursionError:
        raise ValueError(f"{path}: nested too deep to be a checkpoint's JSON; {advice}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: holds a JSON {type(value).__name__} where an object should be; {advice}")
    return value


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
        if not _whole(value, low, high):
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
        if not isinstance(value, list) or not all(_whole(item, 0, high) for item in value):
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
        if not all(_whole(item, 0, LARGEST) for item in ids):
            raise self._wrong(key, "a token id or a list of token ids")
        return tuple(int(item) for item in ids)

    def token_id(self, key: str) -> int | None:
        """One token id; None when missing."""
        return self.integer(key, low=0) if self.has(key) else None


def _whole(value: Any, low: int, high: int) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and value == int(value) and low <= value <= high

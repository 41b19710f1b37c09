"""Allowed values of numeric settings, written in their types: `steps: Count = 1000`, `top_p: ShareAbove0 = 0.7`.

`spatial_jax.config` holds every value against the range of its field when a configuration is built; `check_ranges` does
the same for settings that were put together by hand.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

_LARGEST = 10**15


@dataclasses.dataclass(frozen=True)
class Range:
    """Finite numbers from `low` to `high`, the ends left out where `above` or `below` say so, or one of `also`."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    also: tuple[int, ...] = ()

    def problem(self, value: Any) -> str:
        """What a value must be; "" where it is."""
        if isinstance(value, int) and abs(value) > _LARGEST:
            return f"it must be {self}, of at most 15 digits"
        inside = (value > self.low if self.above else value >= self.low) and (
            value < self.high if self.below else value <= self.high
        )
        return "" if (math.isfinite(value) and inside) or value in self.also else f"it must be {self}"

    def __str__(self) -> str:
        ends = []
        if self.low > -math.inf:
            ends.append(f"above {self.low:g}" if self.above else f"at least {self.low:g}")
        if self.high < math.inf:
            ends.append(f"below {self.high:,}" if self.below else f"at most {self.high:,}")
        also = f", or {' or '.join(map(str, self.also))}" if self.also else ""
        return (" and ".join(ends) or "a finite number") + also


@dataclasses.dataclass(frozen=True)
class Ascending:
    """A list of sizes that is not empty, each larger than the one before."""

    def problem(self, value: Any) -> str:
        """What a list must be; "" where it is."""
        rising = bool(value) and all(a < b for a, b in itertools.pairwise(value))
        return "" if rising else "it must be a list of sizes, each larger than the one before"


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of the names of a table. It is asked for when a value is looked at: it may stand above the settings."""

    names: Callable[[], Iterable[str]]

    def problem(self, value: Any) -> str:
        """What a value must be; "" where it is."""
        known = list(self.names())
        return "" if value in known else f"it must be one of {', '.join(map(repr, known))}"


Count = Annotated[int, Range(1)]  # at least one
AtLeast2 = Annotated[int, Range(2)]
Whole = Annotated[int, Range(0)]  # 0 turns something off, or counts nothing
Ways = Annotated[int, Range(-1)]  # devices; -1 chooses, 0 leaves things as they are
Axis = Annotated[int, Range(1, also=(-1,))]  # devices along a mesh axis
Seed = Annotated[int, Range(0, 4_000_000)]  # times 1,009, a seed of 32 bits
Seed32 = Annotated[int, Range(0, 2**31 - 1)]
Finite = Annotated[float, Range()]
NotNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, above=True)]
Share = Annotated[float, Range(0, 1)]  # both ends included
ShareBelow1 = Annotated[float, Range(0, 1, below=True)]
ShareAbove0 = Annotated[float, Range(0, 1, above=True)]
AtLeast1 = Annotated[float, Range(1)]
Above1 = Annotated[float, Range(1, above=True)]
Buckets = Annotated[tuple[Count, ...], Ascending()]


def shorten(value: Any, most: int = 80) -> str:
    """A value for one line: a long one is cut, a number of many digits is told by their count."""
    if isinstance(value, int) and abs(value) > _LARGEST:
        return f"a number of {value.bit_length() * 3 // 10} digits"
    text = repr(value)
    return text if len(text) <= most else text[: most - 4] + " ..."


def rules_of(hint: Any) -> tuple[Any, list[Any]]:
    """(the type without its rules, the rules) of a field's type."""
    if typing.get_origin(hint) is Annotated:
        inner, *rules = typing.get_args(hint)
        return inner, rules
    return hint, []


def check_ranges(settings: Any, where: str = "config") -> None:
    """Raises ValueError, one line that names the key, the value and what is allowed."""
    for name, hint, value in _leaves(settings, where):
        _check(hint, value, name)


def _leaves(settings: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        value, name = getattr(settings, field.name), f"{where}.{field.name}"
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, name)
        else:
            yield name, hints[field.name], value


def _check(hint: Any, value: Any, where: str) -> None:
    if value is None:
        return
    inner, rules = rules_of(hint)
    for rule in rules:
        if problem := rule.problem(value):
            raise ValueError(f"{where} = {shorten(value)}; {problem}")
    if typing.get_origin(inner) is tuple:
        for i, item in enumerate(value):
            if dataclasses.is_dataclass(item):
                check_ranges(item, f"{where}[{i}]")
            else:
                _check(typing.get_args(inner)[0], item, f"{where}[{i}]")
    elif not rules:
        for option in typing.get_args(inner):  # of a union with None
            if rules_of(option)[1]:
                _check(option, value, where)

"""How a recipe's `sweep()` writes its members: lists of overrides, {"algorithm.kl_coef": 1e-4, "train.seed": 1}.

`grid` takes every combination, `zip_values` walks its lists together, `chain` puts lists of members one after another,
`product` combines lists of members. The names leave out the leading "config."
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

Overrides = dict[str, Any]


def grid(values: Mapping[str, Sequence[Any]]) -> list[Overrides]:
    """Every combination; the last name varies fastest."""
    return [dict(zip(values, choice)) for choice in itertools.product(*values.values())]


def zip_values(values: Mapping[str, Sequence[Any]]) -> list[Overrides]:
    """The first of each, the second of each, ... Raises ValueError when the lists differ in length."""
    lengths = {name: len(choices) for name, choices in values.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"zipped: the lists differ in length: {', '.join(f'{name} {n}' for name, n in lengths.items())}"
        )
    return [dict(zip(values, choice)) for choice in zip(*values.values())]


def chain(*members: Sequence[Overrides]) -> list[Overrides]:
    """One list after another."""
    return list(itertools.chain(*members))


def product(*members: Sequence[Overrides]) -> list[Overrides]:
    """Each member of the first list with each of the second, and so on. Raises ValueError when two lists set the same
    key.
    """
    out = []
    for parts in itertools.product(*members):
        merged: Overrides = {}
        for part in parts:
            twice = merged.keys() & part.keys()
            if twice:
                raise ValueError(f"product: {min(twice)} is set twice")
            merged |= part
        out.append(merged)
    return out


def seeds(count: int) -> list[Overrides]:
    """`count` repetitions that differ in the seeds of sampling and of the data's order."""
    return [{"train.seed": seed, "data.seed": seed} for seed in range(count)]

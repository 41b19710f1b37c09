"""The question families by name. A family is one function (view, rng, options) -> drafts, registered with an
example.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable

from data_prep.synthesis.draft import Draft
from data_prep.synthesis.options import Options
from data_prep.synthesis.view import SceneView

Generate = Callable[[SceneView, random.Random, Options], Iterable[Draft]]


@dataclasses.dataclass(frozen=True)
class Family:
    """A question family: what it asks, an example, and what a scene needs for it."""

    name: str
    generate: Generate
    example: str
    needs: str


FAMILIES: dict[str, Family] = {}


def family(name: str, *, example: str, needs: str = "objects") -> Callable[[Generate], Generate]:
    """Registers a family function under `name`."""

    def register(generate: Generate) -> Generate:
        FAMILIES[name] = Family(name, generate, example, needs)
        return generate

    return register


def chosen(names: str) -> list[Family]:
    """The families named in a comma-separated list, or all; an unknown name is an error that lists the known ones."""
    import data_prep.synthesis.families  # noqa: F401  registers them

    if names == "all":
        return list(FAMILIES.values())
    picked = []
    for name in filter(None, (n.strip() for n in names.split(","))):
        if name not in FAMILIES:
            raise ValueError(f"--families: {name!r} is unknown: use all or some of {', '.join(FAMILIES)}")
        picked.append(FAMILIES[name])
    return picked

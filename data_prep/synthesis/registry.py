"""What a question family is: one function (view, rng, options) -> drafts under a name, with an example."""

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


def family(name: str, *, example: str, needs: str = "objects") -> Callable[[Generate], Family]:
    """Makes the function under it the family `name`; families/__init__.py lists it."""
    return lambda generate: Family(name, generate, example, needs)

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
    """A question family: what it asks, an example, and what a scene needs for it. `judged`: only a judge can grade its
    answers; such a family, and one that is not `spatial`, is asked where it is named, and is not part of "all".
    """

    name: str
    generate: Generate
    example: str
    needs: str
    judged: bool = False
    spatial: bool = True


def family(
    name: str, *, example: str, needs: str = "objects", judged: bool = False, spatial: bool = True
) -> Callable[[Generate], Family]:
    """Makes the function under it the family `name`; families/__init__.py lists it."""
    return lambda generate: Family(name, generate, example, needs, judged, spatial)

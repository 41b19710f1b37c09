"""A furnished home and the camera's way through it, both drawn from one seed."""

from __future__ import annotations

import dataclasses

import numpy as np

from data_prep.sources.base import BadItem
from data_prep.sources.camera import Camera, look
from data_prep.sources.layout import Body
from data_prep.sources.walks.furnish import furnish
from data_prep.sources.walks.path import Hand, Path, walk_path
from data_prep.sources.walks.plan import Plan, draw_plan

DRAWS = 60


@dataclasses.dataclass
class Home:
    """`bodies`: walls, casings and instances (`is_object`), in one order; `cameras`: one a frame."""

    plan: Plan
    bodies: list[Body]
    path: Path
    cameras: list[Camera]

    @property
    def instances(self) -> list[int]:
        """Numbers of the bodies that are things; the place of one in this list is its id."""
        return [i for i, body in enumerate(self.bodies) if body.is_object]


def draw_home(rng: np.random.Generator, rooms: int, frames: int, size: tuple[int, int], hand: Hand) -> Home:
    """A home of at most `rooms` rooms that a person can walk through, seen in `frames` frames of `size` (width,
    height); one whose way is barred is drawn again. BadItem where none came out.
    """
    for _ in range(DRAWS):
        plan = draw_plan(rng, rooms)
        bodies = furnish(plan, rng)
        try:
            path = walk_path(plan, bodies, frames, hand, rng)
        except BadItem:
            continue
        return Home(plan, bodies, path, _cameras(path, size, rng))
    raise BadItem(f"no home that can be walked through in {DRAWS} draws")


def _cameras(path: Path, size: tuple[int, int], rng: np.random.Generator) -> list[Camera]:
    width, height = size
    focal = max(size) / 2 / np.tan(np.radians(rng.uniform(70, 82)) / 2)
    center = ((width - 1) / 2, (height - 1) / 2)
    return [
        look(width, height, float(focal), center, place, *map(float, angles))
        for place, angles in zip(path.positions, path.angles)
    ]

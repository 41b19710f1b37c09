"""A topic of our own on walks: whether one can go straight over the floor from one thing to another. One frame shows
both ends, so that the way can be drawn on it; asked with demonstrations alone.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from data_prep.synthesis.vsi.heldout import APART
from data_prep.synthesis.vsi.scene import Room

if TYPE_CHECKING:
    from data_prep.synthesis.vsi.questions import Settings

FREE = 0.35  # metres to each side of the way that nothing may reach into where it is called free
OPTIONS = ("yes", "no")
WORDINGS = {
    "straight_way": (
        "Can one walk straight from the {s} to the {t} without going around anything?",
        "Is the straight way over the floor from the {s} to the {t} free?",
        "Someone walks in a straight line from the {s} to the {t}. Is the way clear?",
        "Is there nothing to walk around on the straight line from the {s} to the {t}?",
    )
}
Asked = tuple[dict[str, str], str, dict[str, Any]]


def _straight_way(room: Room, rng: random.Random, settings: Settings) -> Iterator[Asked]:
    """Free: nothing within FREE of the way, all of which one frame shows. Not free: a thing stands on it that the frame
    with both ends shows clearly. What lies between is not asked.
    """
    if room.sights is None or room.ways is None:
        return
    pairs = list(itertools.combinations(room.single(), 2))
    for pair in rng.sample(pairs, len(pairs)):
        start, goal = rng.sample(pair, 2)
        a, b = (room.sights.names[name][0] for name in (start, goal))
        frame = room.sights.together([a, b])
        places = [room.sights.solids.middle(i) for i in (a, b)]
        if frame is None or math.dist(*places) < APART or room.ways.walled(*places):
            continue
        on_it = [room.ways.footprints[k].thing for k in room.ways.blocking(places[0], places[1], 0.0)]
        seen = [thing for thing in on_it if thing in room.sights.frames[frame].boxes]
        free = not room.ways.blocking(places[0], places[1], FREE) and room.sights.floor_way(a, b) is not None
        if free or seen:
            inputs = {"options": list(OPTIONS), "on_the_way": seen}
            yield {"s": start, "t": goal}, "yes" if free else "no", inputs


MAKERS: dict[str, Callable[[Room, random.Random, Any], Iterator[Asked]]] = {"straight_way": _straight_way}

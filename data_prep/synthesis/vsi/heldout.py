"""VSI-Bench's two topics that VSI-100k leaves out: route planning and the order of first appearance. They need to know
where one can walk and when a thing comes into view, so only walks have them.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.synthesis.vsi import measures
from data_prep.synthesis.vsi.scene import Room
from data_prep.synthesis.vsi.ways import FLAT, Footprint

if TYPE_CHECKING:
    from data_prep.synthesis.vsi.questions import Settings

TURNS = ("turn left", "turn right", "turn back")
CLEAR = 40.0  # degrees: how far from straight ahead and from straight behind a turn to a side must be
BEHIND = 155.0  # degrees from which on it is a turn back
STOP = 0.35  # metres before a thing at which one stops
APART = 0.8  # metres that a leg is long at least
LISTED = 4  # things whose order is asked
TRIES = 24

WORDINGS = {
    "route_planning": (
        "You stand at the {s}, facing the {f}, and want to go to the {t}. These are your steps: {steps} Which turns"
        " belong in the gaps, in order?",
        "Starting at the {s} with the {f} straight ahead, a robot has to reach the {t}. Its plan: {steps} What is to be"
        " filled in for the gaps, one after the other?",
        "A route leads from the {s} (you face the {f}) to the {t}. {steps} Name the missing turns in their order.",
        "You begin by the {s} and look at the {f}. To arrive at the {t} you do this: {steps} Which turns are missing?",
    ),
    "obj_appearance_order": (
        "In which order do these things come into view for the first time: {list}?",
        "When the video plays, what is the order of first appearance of {list}?",
        "Sort by when the video shows each for the first time: {list}.",
        "Of {list}: which is seen first, which next, and so on?",
    ),
}
NOTE = "\nEach gap [?] is one of: turn left, turn right, turn back."

Asked = tuple[dict[str, str], str, dict[str, Any]]


def turn_of(angle: float) -> str:
    """The turn that an angle asks for (degrees, left positive); "" where it is not clear."""
    if abs(angle) >= BEHIND:
        return TURNS[2]
    if CLEAR <= abs(angle) <= 180 - CLEAR:
        return TURNS[0] if angle > 0 else TURNS[1]
    return ""


def _place(room: Room, name: str) -> np.ndarray:
    return room.objects[name][0].center[:2]


def _stop(room: Room, name: str, start: np.ndarray) -> np.ndarray:
    """Where one stops who walks from `start` to a thing: before it, or on it where it is flat."""
    thing, end = room.objects[name][0], _place(room, name)
    if thing.center[2] + thing.lengths[2] / 2 < FLAT:
        return end
    share = Footprint(end, thing.lengths[:2] / 2, thing.axes[0, :2]).enter(start, end, STOP)
    return start + min(1.0, share) * (end - start)


def _turn(room: Room, here: list[np.ndarray], ahead: list[np.ndarray], name: str) -> str:
    """The turn towards a thing of one who looks along `ahead` [2]; "" where it is not the same from all places `here`
    where one may be standing and for all ways one may have come.
    """
    target = _place(room, name)
    found = {turn_of(measures.turn(place, place + way, target)) for place in here for way in ahead}
    return found.pop() if len(found) == 1 else ""


def _legs(room: Room, names: list[str]) -> dict[str, list[str]]:
    """For each thing those that one can walk to from it, straight ahead."""
    assert room.ways is not None
    out: dict[str, list[str]] = {name: [] for name in names}
    for a, b in itertools.combinations(names, 2):
        start, end = _place(room, a), _place(room, b)
        if math.dist(start, end) >= APART and room.ways.straight(start, end):
            out[a].append(b)
            out[b].append(a)
    return out


def _route(room: Room, rng: random.Random, settings: Settings) -> Iterator[Asked]:
    if room.ways is None:
        return
    names = room.single()
    legs = _legs(room, names)
    for _ in range(TRIES):
        found = _draw_route(room, rng, names, legs, rng.randint(1, 3))
        if found is None:
            continue
        start, face, stops, turns, first = found
        lines, gap = [], iter(turns)
        if first:
            lines.append("[?]")
            next(gap)
        for number, name in enumerate(stops):
            lines.append(f"Go forward until the {name}.")
            if number + 1 < len(stops):
                lines.append("[?]")
        steps = " ".join(f"({i + 1}) {line}" for i, line in enumerate(lines))
        answer = ", ".join(turns)
        others = [", ".join(o) for o in itertools.product(TURNS, repeat=len(turns)) if ", ".join(o) != answer]
        options = [answer, *rng.sample(others, min(3, len(others)))]
        rng.shuffle(options)
        yield (
            {"s": start, "f": face, "t": stops[-1], "steps": steps, "note": NOTE},
            answer,
            {"turns": turns, "stops": [start, *stops], "facing": face, "first": first, "options": options},
        )


def _draw_route(
    room: Room, rng: random.Random, names: list[str], legs: dict[str, list[str]], gaps: int
) -> tuple[str, str, list[str], list[str], bool] | None:
    """(start, what it faces, things to stop at, turns, whether the first turn is at the start) of a route, or None."""
    ready = [name for name in names if legs[name]]
    if len(ready) < 3:
        return None
    assert room.ways is not None
    start = rng.choice(ready)
    before, turns, stops = [_place(room, start)], [], []
    first = rng.random() < 0.5
    if first:
        face = rng.choice([name for name in names if name != start])
        if math.dist(_place(room, face), before[0]) < APART:
            return None
        goal = rng.choice(legs[start])
        turns.append(_turn(room, before, [_place(room, face) - before[0]], goal))
    else:
        goal = face = rng.choice(legs[start])
    if goal == face and first:
        return None
    stops.append(goal)
    while len(turns) < gaps and all(turns):
        ahead = [_place(room, stops[-1]) - place for place in before]
        stop = _stop(room, stops[-1], before[0])
        onward = [n for n in legs[stops[-1]] if n not in (*stops, start)]
        goal = rng.choice(onward) if onward else ""
        if not goal or not room.ways.straight(stop, _place(room, goal)):
            return None
        before = [stop, _place(room, stops[-1])]
        turns.append(_turn(room, before, ahead, goal))
        stops.append(goal)
    return (start, face, stops, turns, first) if turns and all(turns) else None


def _order(room: Room, rng: random.Random, settings: Settings) -> Iterator[Asked]:
    names = list(room.first)
    for _ in range(TRIES):
        chosen: list[str] = []
        for name in rng.sample(names, len(names)):
            glimpse, clear = room.first[name]
            # No two may come into view while the other does.
            if all(clear < room.first[o][0] or room.first[o][1] < glimpse for o in chosen):
                chosen.append(name)
            if len(chosen) == LISTED:
                break
        if len(chosen) < LISTED:
            continue
        true = ", ".join(sorted(chosen, key=lambda name: room.first[name]))
        others = [", ".join(o) for o in itertools.permutations(chosen) if ", ".join(o) != true]
        options = [true, *rng.sample(others, 3)]
        rng.shuffle(options)
        frames = {name: list(room.first[name]) for name in chosen}
        yield {"list": ", ".join(rng.sample(chosen, LISTED))}, true, {"first": frames, "options": options}


MAKERS: dict[str, Callable[[Room, random.Random, Any], Iterator[Asked]]] = {
    "route_planning": _route,
    "obj_appearance_order": _order,
}

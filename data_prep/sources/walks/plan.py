"""One to three rooms side by side, with doorways between them, windows and an entrance: floor plan and walls.

World frame: x, y along the floor, z up, floor at z = 0, metres. Rooms are rectangles along the axes.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from data_prep.sources.layout import Body
from data_prep.sources.primitives import Primitive, box
from data_prep.sources.walks.shapes import ROOMS

THICK = 0.14  # metres, of a wall
SIDES = ((0, -1), (0, 1), (1, -1), (1, 1))  # (axis of its normal, direction): west, east, south, north
SIZES = {
    "living room": (3.8, 5.2),
    "bedroom": (3.2, 4.4),
    "kitchen": (3.2, 4.4),
    "study": (3.0, 4.2),
    "bathroom": (2.4, 3.2),
}
DOOR_HEIGHT = 2.05


@dataclasses.dataclass(frozen=True)
class Area:
    """A room: its use and the low and high corner of its floor."""

    use: str
    low: tuple[float, float]
    high: tuple[float, float]

    @property
    def polygon(self) -> np.ndarray:
        """Corners [4, 2] of the floor, against the clock."""
        (a, b), (c, d) = self.low, self.high
        return np.array([[a, b], [c, b], [c, d], [a, d]])

    def face(self, side: tuple[int, int]) -> float:
        """Coordinate of the wall's inner face along its normal."""
        return (self.high if side[1] > 0 else self.low)[side[0]]


@dataclasses.dataclass(frozen=True)
class Opening:
    """A hole or leaf in a room's wall: `kind` doorway, entrance or window; `span` along the wall, `levels` its lower
    and upper edge; `other` the room behind a doorway.
    """

    kind: str
    room: int
    side: tuple[int, int]
    span: tuple[float, float]
    levels: tuple[float, float]
    other: int = -1

    @property
    def middle(self) -> float:
        return (self.span[0] + self.span[1]) / 2


@dataclasses.dataclass
class Plan:
    """Rooms in the order they are walked through; `height` of the ceiling."""

    rooms: list[Area]
    openings: list[Opening]
    height: float

    def of_room(self, room: int) -> list[tuple[str, tuple[int, int], tuple[float, float]]]:
        """(kind, side, span) of everything in a room's walls, a doorway from both of its rooms."""
        out = []
        for o in self.openings:
            if o.room == room:
                out.append((o.kind, o.side, o.span))
            elif o.other == room:
                out.append((o.kind, (o.side[0], -o.side[1]), o.span))
        return out

    @property
    def area(self) -> float:
        """Floor of all rooms, m2; what lies under walls and in doorways does not count."""
        return float(sum((a.high[0] - a.low[0]) * (a.high[1] - a.low[1]) for a in self.rooms))


def draw_plan(rng: np.random.Generator, most: int) -> Plan:
    """A floor plan of one to `most` rooms."""
    count = int(rng.integers(1, most + 1))
    uses = list(rng.choice([use for use in ROOMS if count > 1 or use != "bathroom"], count, replace=False))
    while True:
        rooms = [_area(str(uses[0]), rng, (0.0, 0.0))]
        openings: list[Opening] = []
        for use in uses[1:]:
            found = _attach(str(use), rooms, rng)
            if found is None:
                break
            area, opening = found
            rooms.append(area)
            openings.append(opening)
        if len(rooms) == count:
            break
    plan = Plan(rooms, openings, float(rng.uniform(2.4, 2.75)))
    _add_entrance(plan, rng)
    _add_windows(plan, rng)
    return plan


def _area(use: str, rng: np.random.Generator, low: tuple[float, float]) -> Area:
    w, d = rng.uniform(*SIZES[use], 2)
    return Area(use, low, (low[0] + float(w), low[1] + float(d)))


def _attach(use: str, rooms: list[Area], rng: np.random.Generator) -> tuple[Area, Opening] | None:
    """A room next to the last one, and the doorway between them."""
    last = rooms[-1]
    for _ in range(20):
        axis, sign = SIDES[rng.integers(4)]
        size = rng.uniform(*SIZES[use], 2)
        along = 1 - axis
        low, high = last.low[along], last.high[along]
        start = float(rng.uniform(low - size[along] + 1.8, high - 1.8))
        corner = [0.0, 0.0]
        corner[along] = start
        corner[axis] = last.face((axis, sign)) + (THICK if sign > 0 else -THICK - size[axis])
        area = Area(use, (corner[0], corner[1]), (corner[0] + float(size[0]), corner[1] + float(size[1])))
        if any(_overlap(area, other) for other in rooms):
            continue
        width = float(rng.uniform(0.84, 0.95))
        least, most = max(low, start) + 0.3, min(high, start + size[along]) - 0.3 - width
        if most < least:
            continue
        begin = float(rng.uniform(least, most))
        opening = Opening("doorway", len(rooms) - 1, (axis, sign), (begin, begin + width), (0, DOOR_HEIGHT), len(rooms))
        return area, opening
    return None


def _overlap(a: Area, b: Area) -> bool:
    return all(a.low[k] < b.high[k] + THICK - 1e-9 and b.low[k] < a.high[k] + THICK - 1e-9 for k in (0, 1))


def _outer(plan: Plan, room: int, side: tuple[int, int]) -> bool:
    """Whether no other room lies right behind this wall of a room."""
    area, (axis, sign) = plan.rooms[room], side
    along, face = 1 - axis, plan.rooms[room].face(side) + sign * THICK
    for k, other in enumerate(plan.rooms):
        near = k != room and abs(other.face((axis, -sign)) - face) < 1e-6
        if near and other.low[along] < area.high[along] + 0.3 and area.low[along] < other.high[along] + 0.3:
            return False
    return True


def _add_entrance(plan: Plan, rng: np.random.Generator) -> None:
    sides = [SIDES[k] for k in rng.permutation(4) if _outer(plan, 0, SIDES[k])]
    for axis, sign in sides[:1]:
        area, width = plan.rooms[0], 0.9
        low, high = area.low[1 - axis] + 0.2, area.high[1 - axis] - 0.2 - width
        begin = float(rng.choice((low, high))) if rng.random() < 0.6 else float(rng.uniform(low, high))
        plan.openings.append(Opening("entrance", 0, (axis, sign), (begin, begin + width), (0, DOOR_HEIGHT)))


def _add_windows(plan: Plan, rng: np.random.Generator) -> None:
    for room, area in enumerate(plan.rooms):
        taken = {side for _, side, _ in plan.of_room(room)}
        sides = [SIDES[k] for k in rng.permutation(4) if SIDES[k] not in taken and _outer(plan, room, SIDES[k])]
        for axis, sign in sides[: int(rng.integers(0 if area.use == "bathroom" else 1, 3))]:
            low, high = area.low[1 - axis], area.high[1 - axis]
            width = float(rng.uniform(0.9, min(1.7, high - low - 1.0)))
            begin = float(rng.uniform(low + 0.4, high - 0.4 - width))
            sill = float(rng.uniform(0.8, 1.0))
            plan.openings.append(Opening("window", room, (axis, sign), (begin, begin + width), (sill, 2.1)))


def slab(
    side: tuple[int, int], face: tuple[float, float], span: tuple[float, float], levels: tuple[float, float]
) -> Primitive:
    """A box along a wall in world coordinates: `face` its two coordinates along the wall's normal."""
    axis = side[0]
    center, sides = [0.0, 0.0, (levels[0] + levels[1]) / 2], [0.0, 0.0, levels[1] - levels[0]]
    center[axis], sides[axis] = (face[0] + face[1]) / 2, abs(face[1] - face[0])
    center[1 - axis], sides[1 - axis] = (span[0] + span[1]) / 2, span[1] - span[0]
    return box(tuple(center), tuple(sides), "wall")


def walls_of(plan: Plan, room: int) -> Body:
    """The walls of a room as one body in world coordinates: the half of each wall's thickness that is its own, with
    holes for doorways.
    """
    area, solids = plan.rooms[room], []
    for side in SIDES:
        axis, sign = side
        face = (area.face(side), area.face(side) + sign * THICK / 2)
        begin, end = area.low[1 - axis] - THICK / 2, area.high[1 - axis] + THICK / 2
        holes = sorted(span for kind, at, span in plan.of_room(room) if kind == "doorway" and at == side)
        for low, high in holes:
            solids.append(slab(side, face, (begin, low), (0, plan.height)))
            solids.append(slab(side, face, (low, high), (DOOR_HEIGHT, plan.height)))
            begin = high
        solids.append(slab(side, face, (begin, end), (0, plan.height)))
    return Body("wall", "", (255, 255, 255), "plain", solids, np.zeros(3), 0.0, 0.0, is_object=False)

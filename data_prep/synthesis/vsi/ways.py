"""Where a person can go straight ahead: rooms, the doorways between them, and what stands in the way. Seen from above,
metres.
"""

from __future__ import annotations

import dataclasses

import numpy as np

PERSON = 0.2  # metres that a person needs to each side
FLAT, ABOVE = 0.05, 1.1  # metres: lower tops are walked over; what begins higher hangs on a wall


@dataclasses.dataclass(frozen=True)
class Footprint:
    """What a thing covers of the floor: middle [2], half sides [2] and the direction [2] of the first; `thing`: its
    instance, where things have one.
    """

    middle: np.ndarray
    half: np.ndarray
    along: np.ndarray
    thing: str = ""

    def local(self, points: np.ndarray) -> np.ndarray:
        """Points [n, 2] in the rectangle's own frame."""
        away = points - self.middle
        return np.stack([away @ self.along, away @ np.array([-self.along[1], self.along[0]])], -1)

    def enter(self, start: np.ndarray, end: np.ndarray, margin: float = 0.0) -> float:
        """Share of the way from start to end at which it meets the rectangle widened by `margin`; inf: never."""
        a, b = self.local(np.stack([start, end]))
        step, reach = b - a, self.half + margin
        first, last = 0.0, 1.0
        for k in (0, 1):
            if abs(step[k]) < 1e-12:
                if abs(a[k]) > reach[k]:
                    return np.inf
                continue
            near, far = sorted(((-reach[k] - a[k]) / step[k], (reach[k] - a[k]) / step[k]))
            first, last = max(first, near), min(last, far)
        return first if first <= last else np.inf

    def holds(self, point: np.ndarray) -> bool:
        """Whether the point lies inside."""
        return bool((np.abs(self.local(point[None])[0]) <= self.half).all())


@dataclasses.dataclass(frozen=True)
class Ways:
    """`polygons`: each room's outline [corners, 2]; `doorways` [n, 2, 2]: the ends of each threshold; `footprints`:
    what stands on the floor.
    """

    polygons: list[np.ndarray]
    doorways: list[np.ndarray]
    footprints: list[Footprint]

    def straight(self, start: np.ndarray, end: np.ndarray) -> bool:
        """Whether a person can go straight from one place [2] to another: through no wall but by a doorway, and past
        everything that stands there, but for what holds the start or the end itself.
        """
        return not self.walled(start, end) and not self.blocking(start, end, PERSON)

    def blocking(self, start: np.ndarray, end: np.ndarray, margin: float) -> list[int]:
        """Places in `footprints` of what the straight way passes closer than `margin` metres, but for what holds its
        ends.
        """
        return [
            k
            for k, f in enumerate(self.footprints)
            if f.enter(start, end, margin) <= 1.0 and not f.holds(end) and not f.holds(start)
        ]

    def walled(self, start: np.ndarray, end: np.ndarray) -> bool:
        """Whether a straight line between two places [2] passes through a wall elsewhere than by a doorway."""
        for polygon in self.polygons:
            for a, b in zip(polygon, np.roll(polygon, -1, 0)):
                crossing = _crossing(start, end, a, b)
                if crossing is not None and not any(_within(crossing, door) for door in self.doorways):
                    return True
        return False


def _crossing(p: np.ndarray, q: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """Where two pieces of line cross."""
    u, v = q - p, b - a
    cross = u[0] * v[1] - u[1] * v[0]
    if abs(cross) < 1e-12:
        return None
    w = a - p
    s, t = (w[0] * v[1] - w[1] * v[0]) / cross, (w[0] * u[1] - w[1] * u[0]) / cross
    return p + s * u if 0 <= s <= 1 and 0 <= t <= 1 else None


def _within(point: np.ndarray, door: np.ndarray, wall: float = 0.3) -> bool:
    """Whether a place on a wall lies in a doorway, with room to both sides."""
    along = door[1] - door[0]
    width = float(np.hypot(*along))
    along = along / width
    away = point - door[0]
    at, off = float(away @ along), abs(float(away[0] * along[1] - away[1] * along[0]))
    return off < wall and PERSON <= at <= width - PERSON

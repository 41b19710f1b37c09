"""By how much each part of what is unsure moves a measure: first order, by the parts that the records keep.

A picture shares the error of its scale, of a shift of its depths, of its focal length and of the direction of gravity,
and a part of how far noise draws the middles of boxes; each object has its own noise, along the line of sight and along
the sides of its box. A measure is a function of the objects as they stand (`Pose`); it is evaluated again with each
part moved a little. An order or a ratio is so free of the shared scale by itself, and a difference is not.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

from data_prep.synthesis.view import SceneView, Thing

STEP = 0.05  # of a deviation: small enough for the first order, large enough for rounding
Vector = tuple[float, float, float]


@dataclasses.dataclass(frozen=True, slots=True)
class Pose:
    """What a measure may read of an object: depth, centre [3], sides [3], rotation [9] (metres, camera frame)."""

    depth: float
    center: Vector
    extent: Vector
    rotation: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Moves:
    """By how much a measure moves when each part is off by one deviation: `scale`, shared by the picture; `shift`, with
    shift, focal length, gravity and what noise does to all middles alike, shared too; `own`, the objects' own noise.
    `unseen`: what a far end that was not seen may add; it is no deviation but a doubt, and what it moves much is not
    asked.
    """

    scale: float = 0.0
    shift: float = 0.0
    own: float = 0.0
    unseen: float = 0.0

    @property
    def sd(self) -> float:
        """One standard deviation of the measure."""
        return math.sqrt(self.scale**2 + self.shift**2 + self.own**2)

    def parts(self) -> dict[str, float]:
        """The three parts, as a question's record keeps them."""
        return {"scale": self.scale, "shift": self.shift, "own": self.own}

    def times(self, factor: float) -> Moves:
        """In another unit."""
        return Moves(self.scale * factor, self.shift * factor, self.own * factor, self.unseen * factor)

    def plus(self, own: float) -> Moves:
        """With a further independent error of the measure's own."""
        return dataclasses.replace(self, own=math.hypot(self.own, own))


Measure = Callable[[Sequence[Pose], tuple[float, ...]], float]


def pose(thing: Thing) -> Pose:
    """A thing as it was measured."""
    return Pose(thing.depth, thing.center, thing.extent, thing.rotation)


def _axis(p: Pose, i: int) -> Vector:
    return p.rotation[i], p.rotation[3 + i], p.rotation[6 + i]


def _along(p: Pose, direction: Vector, by: float) -> Pose:
    x, y, z = p.center
    return dataclasses.replace(p, center=(x + by * direction[0], y + by * direction[1], z + by * direction[2]))


def _back(p: Pose, by: float) -> Pose:
    """Farther away along the line of sight, by metres."""
    length = math.hypot(*p.center)
    return _along(p, (p.center[0] / length, p.center[1] / length, p.center[2] / length), by)


def _stretch(p: Pose, across: float, ahead: float) -> Vector:
    """Sides of a box whose points are stretched by 1 + `across` sideways and 1 + `ahead` along the optical axis."""
    sides = []
    for i in range(3):
        part = _axis(p, i)[2] ** 2
        sides.append(p.extent[i] * (1 + across * (1 - part) + ahead * part))
    return sides[0], sides[1], sides[2]


def _scale(p: Pose, s: float) -> Pose:
    x, y, z = (v * (1 + s) for v in p.center)
    a, b, c = (v * (1 + s) for v in p.extent)
    return Pose(p.depth * (1 + s), (x, y, z), (a, b, c), p.rotation)


def _shift(p: Pose, t: float) -> Pose:
    x, y, z = p.center
    moved = (x + t * x / z, y + t * y / z, z + t) if z > 0 else p.center
    return Pose(p.depth + t, moved, _stretch(p, t / z, 0.0) if z > 0 else p.extent, p.rotation)


def _refocus(p: Pose, f: float) -> Pose:
    """Seen through a focal length larger by `f` of itself: nearer to the optical axis, at the same depth."""
    x, y, z = p.center
    return Pose(p.depth, (x * (1 - f), y * (1 - f), z), _stretch(p, -f, 0.0), p.rotation)


_SHARED: dict[str, Callable[[Pose, float], Pose]] = {"scale": _scale, "shift": _shift, "focal": _refocus}


def _from_depth(thing: Thing, before: Pose, after: Pose) -> Pose:
    """What the picture's errors move: the depth always, centre and sides where they come from it."""
    return after if thing.moved else dataclasses.replace(before, depth=after.depth)


def _own(thing: Thing, p: Pose) -> Iterator[tuple[Callable[[Pose, float], Pose], float]]:
    """The independent parts of a thing's own error: how each moves its pose, and one deviation of it."""
    sd = thing.sd
    if sd.get("depth", 0.0) > 0:
        yield (lambda q, e: dataclasses.replace(q, depth=q.depth + e)), sd["depth"]
    for i in range(3):
        if (side := sd.get(f"extent_{i}", sd.get("extent", 0.0))) > 0:
            yield (lambda q, e, i=i: dataclasses.replace(q, extent=_with(q.extent, i, e))), side
    if "side_0" in sd:
        for i in range(3):
            yield (lambda q, e, i=i: _along(q, _axis(q, i), e)), sd[f"side_{i}"]
        yield _back, sd.get("along", 0.0)
        return
    for i, name in enumerate("xyz"):
        unit = (float(i == 0), float(i == 1), float(i == 2))
        if (error := sd.get(f"center_{name}", sd.get("center", 0.0) / math.sqrt(3))) > 0:
            yield (lambda q, e, unit=unit: _along(q, unit, e)), error


def _with(values: Vector, i: int, by: float) -> Vector:
    out = list(values)
    out[i] += by
    return out[0], out[1], out[2]


def _found_again(gravity: tuple[float, ...], key: str, by: float, tip: float) -> tuple[float, ...]:
    """Gravity as it is found in depth that is off by `by` in one of its shared parts: a scale leaves it, a longer focal
    length narrows the floor, a shift pitches it by `tip` a metre.
    """
    gx, gy, gz = gravity
    if key == "focal":
        gx, gy = gx * (1 + by), gy * (1 + by)
    elif key == "shift":
        gz += tip * by
    length = math.hypot(gx, gy, gz)
    return gx / length, gy / length, gz / length


def _tip(gravity: tuple[float, ...], axis: str, by: float) -> tuple[float, ...]:
    """The direction turned by `by` radians in pitch (towards the optical axis) or in roll (to the right)."""
    gx, gy, gz = gravity
    right = (gy, -gx, 0.0) if math.hypot(gx, gy) > 1e-3 else (1.0, 0.0, 0.0)
    length = math.hypot(*right)
    right = (right[0] / length, right[1] / length, right[2])
    ahead = (right[1] * gz - right[2] * gy, right[2] * gx - right[0] * gz, right[0] * gy - right[1] * gx)
    turned = tuple(g + by * a for g, a in zip(gravity, ahead if axis == "pitch" else right))
    length = math.hypot(*turned)
    return tuple(v / length for v in turned)


def moves(view: SceneView, things: Sequence[Thing], measure: Measure) -> tuple[float, Moves]:
    """(the measure of the things, by how much each part moves it). A measure that is nan keeps moves of zero."""
    poses, gravity = [pose(t) for t in things], view.gravity
    value = measure(poses, gravity)
    if math.isnan(value) or (not view.shared and not any(t.sd for t in things)):
        return value, Moves()

    def change(moved: Sequence[Pose], level: tuple[float, ...] = gravity) -> float:
        return abs(measure(moved, level) - value) / STEP

    scale = shift = own = unseen = 0.0
    for key, sd in view.shared.items():
        if key in ("pitch", "roll"):
            shift = math.hypot(shift, change(poses, _tip(gravity, key, STEP * sd)) if gravity else 0.0)
            continue
        if key == "tip":
            continue
        move = _SHARED[key]
        level: tuple[float, ...] = gravity
        if "tip" in view.shared and gravity:
            level = _found_again(gravity, key, STEP * sd, view.shared["tip"])
        part = change([_from_depth(t, p, move(p, STEP * sd)) for p, t in zip(poses, things)], level)
        scale, shift = (math.hypot(scale, part), shift) if key == "scale" else (scale, math.hypot(shift, part))
    drawn = [t.sd.get("near", 0.0) for t in things]
    if any(drawn):
        shift = math.hypot(shift, change([_back(p, STEP * sd) for p, sd in zip(poses, drawn)]))
    for i, thing in enumerate(things):
        for step, sd in _own(thing, poses[i]):
            if sd > 0:
                own = math.hypot(own, change([*poses[:i], step(poses[i], STEP * sd), *poses[i + 1 :]]))
        if (doubt := thing.sd.get("unseen", 0.0)) > 0:
            axis = _axis(poses[i], int(thing.sd["unseen_axis"]))
            unseen += change([*poses[:i], _along(poses[i], axis, STEP * doubt), *poses[i + 1 :]])
    return value, Moves(scale, shift, own, unseen)

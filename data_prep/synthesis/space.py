"""Small geometry in the camera frame (x right, y down, z forward), relative to a unit gravity vector that points down.
Metres.
"""

from __future__ import annotations

import math

import numpy as np

from data_prep.geometry.distances import Solid, solid_distance
from data_prep.synthesis.view import Thing

Vector = tuple[float, float, float]


def dot(a: Vector, b: tuple[float, ...]) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def minus(a: Vector, b: Vector) -> Vector:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def vertical_extent(thing: Thing, gravity: tuple[float, ...]) -> float:
    """Height of the oriented box along gravity; nan when a side that it needs was not measured."""
    r = thing.rotation
    shares = [abs(r[i] * gravity[0] + r[3 + i] * gravity[1] + r[6 + i] * gravity[2]) for i in range(3)]
    return sum(side * share for side, share in zip(thing.extent, shares) if share > 1e-3)  # level sides add nothing


def drop(a: Vector, b: Vector, gravity: tuple[float, ...]) -> float:
    """How much lower b lies than a."""
    return dot(minus(b, a), gravity)


def horizontal(v: Vector, gravity: tuple[float, ...]) -> Vector:
    """The part of v that is perpendicular to gravity."""
    d = dot(v, gravity)
    return (v[0] - d * gravity[0], v[1] - d * gravity[1], v[2] - d * gravity[2])


def horizontal_distance(a: Vector, b: Vector, gravity: tuple[float, ...]) -> float:
    return math.hypot(*horizontal(minus(b, a), gravity))


def turn(stand: Vector, face: Vector, target: Vector, gravity: tuple[float, ...]) -> float | None:
    """Angle in degrees from the facing direction to the target, seen from above: 0 ahead, +90 right, -90 left, 180
    behind. None when one of the two directions is shorter than 20 cm on the floor.
    """
    f = horizontal(minus(face, stand), gravity)
    t = horizontal(minus(target, stand), gravity)
    if math.hypot(*f) < 0.2 or math.hypot(*t) < 0.2:
        return None
    cross = (f[1] * t[2] - f[2] * t[1], f[2] * t[0] - f[0] * t[2], f[0] * t[1] - f[1] * t[0])
    # In a frame with x right, y down, z forward the cross product ahead x right points down, along gravity.
    return math.degrees(math.atan2(dot(cross, gravity), dot(f, t)))


def solid(thing: Thing) -> Solid:
    """The thing's oriented box."""
    return Solid(np.array(thing.center), np.array(thing.rotation).reshape(3, 3), np.array(thing.extent) / 2)


def nearest_distance(a: Thing, b: Thing) -> tuple[float, float] | None:
    """(distance, one standard deviation) between the visible surfaces of two things: at least their boxes' distance, at
    most that of their sampled clouds, which miss tips and rims. None when the two bounds are more than 15 % apart.
    """
    cloud_a, cloud_b = a.cloud().astype(np.float64), b.cloud().astype(np.float64)
    if len(cloud_a) < 64 or len(cloud_b) < 64 or not (a.has_box and b.has_box):
        return None
    squares = (cloud_a**2).sum(1)[:, None] + (cloud_b**2).sum(1) - 2 * cloud_a @ cloud_b.T  # a few hundred points each
    most = math.sqrt(max(0.0, float(squares.min())))
    least = solid_distance(solid(a), solid(b), 1e-4, 60)
    return ((most + least) / 2, (most - least) / math.sqrt(12)) if 0 <= most - least <= 0.15 * most else None

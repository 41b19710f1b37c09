"""Small geometry in the camera frame (x right, y down, z forward), relative to a unit gravity vector that points down.
Metres.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from data_prep.geometry.boxes import ENDS, largest_of
from data_prep.geometry.distances import Solid, solid_distance
from data_prep.geometry.sides import SURE
from data_prep.synthesis.deviations import Moves, Pose, moves
from data_prep.synthesis.view import SceneView, Thing

SAMPLED = 0.02  # of a distance: what a few hundred points of a surface leave open
LEFT = 1.2  # standard deviation of the largest of a few draws, over that of one, with what a sample of points misses
Vector = tuple[float, float, float]


def dot(a: Vector, b: tuple[float, ...]) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def minus(a: Vector, b: Vector) -> Vector:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


LEVEL = 0.15  # share of gravity along a side up to which it is a level one


def vertical_extent(thing: Thing | Pose, gravity: tuple[float, ...]) -> float:
    """Height of the oriented box along gravity; nan when an upright side was not measured. A level side adds what a
    tilt makes of it, one that was not measured as much as the longest that was.
    """
    r, known = thing.rotation, [side for side in thing.extent if side > 0]
    height = 0.0
    for i, side in enumerate(thing.extent):
        share = abs(r[i] * gravity[0] + r[3 + i] * gravity[1] + r[6 + i] * gravity[2])
        height += share * (side if side > 0 or share > LEVEL else max(known, default=math.nan))
    return height


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


def _spacing(cloud: np.ndarray) -> float:
    """Typical gap between neighbouring points of a sampled surface: the root of its area over the number of points."""
    side = np.sort(np.ptp(cloud, axis=0))
    return float(np.sqrt(side[1] * side[2] / len(cloud)))


def nearest_distance(view: SceneView, a: Thing, b: Thing) -> tuple[float, Moves] | None:
    """(distance between the visible surfaces of two things, what moves it): at most that of their sampled clouds, which
    miss tips and rims, and at least their boxes' distance, or a spacing of the samples less where a box is not known.
    None when the two bounds are more than 15 % apart.
    """
    cloud_a, cloud_b = a.cloud().astype(np.float64), b.cloud().astype(np.float64)
    if len(cloud_a) < 64 or len(cloud_b) < 64:
        return None
    squares = (cloud_a**2).sum(1)[:, None] + (cloud_b**2).sum(1) - 2 * cloud_a @ cloud_b.T  # a few hundred points each
    i, j = np.unravel_index(int(np.argmin(squares)), squares.shape)
    most = math.sqrt(max(0.0, float(squares[i, j])))
    least = most - 0.5 * (_spacing(cloud_a) + _spacing(cloud_b))
    if a.has_box and b.has_box and not (a.sd.get("edge") or b.sd.get("edge")):
        least = solid_distance(solid(a), solid(b), 1e-4, 60)
    if not 0 <= most - least <= 0.15 * most:
        return None
    ends = [_at(thing, point) for thing, point in ((a, cloud_a[i]), (b, cloud_b[j]))]
    _, moved = moves(view, ends, lambda poses, _: math.dist(poses[0].center, poses[1].center))
    value, edges = (most + least) / 2, 0.0
    unit = (cloud_b[j] - cloud_a[i]) / max(most, 1e-9)
    for thing, point in ((a, cloud_a[i]), (b, cloud_b[j])):
        # Of many noisy points the nearest is one that noise has brought nearer.
        grain = thing.sd.get("grain", 0.0) * abs(float(unit @ point)) / float(np.linalg.norm(point))
        value += grain * largest_of(thing.sd.get("draws", 0.0) / ENDS)
        # The points keep off the mask's edge by more than twice its error; a gap begins there: across the picture by so
        # many pixels (`edge_inside`), along the line of sight by what these cover of a slanted face.
        along = min(1.0, abs(float(unit @ point)) / float(np.linalg.norm(point)))
        level = math.sqrt(1 - along**2)
        across, along = thing.sd.get("edge", 0.0) * level, thing.sd.get("edge_along", 0.0) * along
        # Which of a thing's slanted faces the gap begins at is not known: half of it is taken off.
        value, edges = value - thing.sd.get("edge_inside", 0.0) * level - SURE * along / 2, edges + across + along
        moved = moved.plus(LEFT * grain)
    # Parts that are all rim may lie nearer, though not nearer than the boxes around them.
    thin = a.sd.get("thin", 0.0) + b.sd.get("thin", 0.0)
    if thin and a.has_box and b.has_box:
        thin = min(thin, max(0.0, value - solid_distance(solid(a), solid(b), 1e-4, 60)))
    moved = dataclasses.replace(moved, unseen=thin)
    # One segmenter's edges are wide or narrow for all of a picture: their errors add up.
    return value, moved.plus((most - least) / math.sqrt(12)).plus(edges).plus(SAMPLED * most)


def _at(thing: Thing, point: np.ndarray) -> Thing:
    """The thing as one point of its visible surface, as unsure along the line of sight as its depth."""
    x, y, z = map(float, point)
    sd = {"side_0": 0.0, "side_1": 0.0, "side_2": 0.0, "along": thing.sd.get("depth", 0.0)}
    return dataclasses.replace(thing, center=(x, y, z), sd=sd, moved=True)

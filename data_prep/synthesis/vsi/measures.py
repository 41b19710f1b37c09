"""The two sets of definitions behind room-scale questions: VSI-100k's (centres) and VSI-Bench's (nearest points).
Metres, z up.
"""

from __future__ import annotations

import math

import numpy as np

from data_prep.geometry.distances import Solid, solid_distance
from data_prep.synthesis.vsi.scene import Instance


def centre_distance(a: Instance, b: Instance) -> float:
    """Euclidean distance of the geometric centres."""
    return float(np.linalg.norm(a.center - b.center))


def box_distance(a: Instance, b: Instance) -> float:
    """Distance of two solid oriented boxes (0 when they touch), within a millimetre."""
    first, second = (Solid(box.centroid, box.axes.T, box.lengths / 2) for box in (a, b))
    return solid_distance(first, second, 1e-6, 500)


def nearest_distance(a: Instance, b: Instance) -> float:
    """Smallest distance between the points of the two, or between their boxes where a cloud is missing."""
    first, second = a.tree, b.tree
    if first is None or second is None:
        return box_distance(a, b)
    small, large = (first, second) if first.n < second.n else (second, first)
    return float(large.query(small.data, k=1)[0].min())


def turn(stand: np.ndarray, face: np.ndarray, target: np.ndarray) -> float:
    """Angle in degrees from the facing direction to the target seen from above (z up): 0 ahead, +90 left, -90 right,
    180 behind. The sign is that of the cross product (face - stand) x (target - stand).
    """
    f, t = face[:2] - stand[:2], target[:2] - stand[:2]
    return math.degrees(math.atan2(f[0] * t[1] - f[1] * t[0], f[0] * t[0] + f[1] * t[1]))


def side(angle: float) -> str:
    """ "left" or "right" (VSI-Bench easy, VSI-100k)."""
    return "left" if angle > 0 else "right"


def side_or_back(angle: float) -> str:
    """ "left", "right" or, from 135 degrees on, "back" (VSI-Bench medium)."""
    return "back" if abs(angle) >= 135 else side(angle)


def quadrant(angle: float) -> str:
    """ "front-left", "front-right", "back-left" or "back-right" (VSI-Bench hard)."""
    return f"{'front' if abs(angle) < 90 else 'back'}-{side(angle)}"


def alpha_shape_area(points: np.ndarray, radius: float = 0.5, cell: float = 0.05) -> float:
    """Area in m2 of the 2-D alpha shape of points [n, >= 2]: Delaunay triangles whose circumradius is at most `radius`.

    Points are first thinned to one a cell of `cell` metres (0: not), which bounds the time and changes the area by less
    than the outline's cells. Raises ValueError with fewer than three distinct points.
    """
    from scipy.spatial import Delaunay, QhullError

    flat = np.asarray(points, np.float64)[:, :2]
    flat = flat[np.isfinite(flat).all(1)]
    if cell:
        # The first point of a cell, not its middle: the outline stays on points that were scanned.
        _, first = np.unique(np.floor(flat / cell).astype(np.int64), axis=0, return_index=True)
        flat = flat[np.sort(first)]
    if len(flat) < 3:
        raise ValueError("an alpha shape needs three distinct points")
    try:
        corners = flat[Delaunay(flat).simplices]
    except QhullError as error:
        raise ValueError("the points lie on a line: no alpha shape") from error
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = 0.5 * np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    # Triangles of three points in a row have no area and an infinite radius: they are left out as too wide.
    with np.errstate(divide="ignore", invalid="ignore"):
        circumradius = sides.prod(1) / (4 * area)
    return float(area[circumradius <= radius].sum())

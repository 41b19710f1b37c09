"""The floor, found in a cloud by RANSAC, and gravity from it."""

from __future__ import annotations

import dataclasses

import numpy as np

from data_prep.geometry.boxes import CAMERA_DOWN


@dataclasses.dataclass
class Plane:
    """n.x + d = 0 with unit `normal` [3] pointing up (against gravity), positive above. `share`: of the points, how
    many lie on it; `rms`: their root mean square distance from it, metres.
    """

    normal: np.ndarray
    d: float
    share: float
    rms: float

    def height(self, points: np.ndarray) -> np.ndarray:
        """Heights above the plane [n] of points [n, 3]."""
        return points @ self.normal + self.d


def _tolerance(points: np.ndarray, relative: float) -> np.ndarray:
    return np.maximum(0.01, relative * points[:, 2])


def fit_floor(
    points: np.ndarray,
    *,
    tries: int = 400,
    relative: float = 0.01,
    least_share: float = 0.06,
    most_tilt: float = 55.0,
    most_below: float = 0.04,
    seed: int = 0,
) -> Plane | None:
    """The floor of a cloud [n, 3] (camera frame), or None.

    Of the planes through three points that are tilted by less than `most_tilt` degrees from level for a camera held
    upright, the one with most points on it (within 1 cm or `relative` of their depth) among those with at most
    `most_below` of the points clearly below: a floor has nothing under it. Accepted with `least_share` of all points on
    it; refined by least squares.
    """
    if len(points) < 100:
        return None
    points = points[np.linspace(0, len(points) - 1, min(len(points), 3000)).astype(int)].astype(np.float64)
    rng = np.random.default_rng(seed)
    near = np.flatnonzero(points[:, 2] <= np.quantile(points[:, 2], 0.8))
    picks = points[near[rng.integers(0, len(near), (tries, 3))]]
    normals = np.cross(picks[:, 1] - picks[:, 0], picks[:, 2] - picks[:, 0])
    length = np.linalg.norm(normals, axis=1)
    normals = normals[length > 1e-9] / length[length > 1e-9, None]
    picks = picks[length > 1e-9]
    normals *= np.where(normals @ CAMERA_DOWN > 0, -1.0, 1.0)[:, None]
    level = normals @ -CAMERA_DOWN > np.cos(np.radians(most_tilt))
    normals, offsets = normals[level], -(normals[level] * picks[level, 0]).sum(1)
    if not len(normals):
        return None
    tolerance = _tolerance(points, relative)
    heights = points @ normals.T + offsets
    on = (np.abs(heights) < tolerance[:, None]).mean(0)
    below = (heights < -3 * tolerance[:, None]).mean(0)
    on[(below > most_below) | (offsets <= 0)] = 0  # the camera is above the floor
    best = int(np.argmax(on))
    if on[best] < least_share:
        return None
    return _refine(points, normals[best], float(offsets[best]), tolerance)


def _refine(points: np.ndarray, normal: np.ndarray, d: float, tolerance: np.ndarray) -> Plane:
    """Least squares over the points near a plane, weighted by 1 / tolerance^2, repeated."""
    for _ in range(4):
        near = np.abs(points @ normal + d) < 1.5 * tolerance
        weight = 1 / tolerance[near] ** 2
        middle = (points[near] * weight[:, None]).sum(0) / weight.sum()
        spread = (points[near] - middle) * np.sqrt(weight)[:, None]
        normal = np.linalg.svd(spread, full_matrices=False)[2][2]
        normal = normal if normal @ CAMERA_DOWN < 0 else -normal
        d = -float(normal @ middle)
    distance = points[near] @ normal + d
    return Plane(normal, d, float(near.mean()), float(np.sqrt((distance**2).mean())))

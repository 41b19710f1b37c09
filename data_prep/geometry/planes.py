"""The floor, found in a cloud by RANSAC, and gravity from it."""

from __future__ import annotations

import dataclasses

import numpy as np

from data_prep.geometry.boxes import CAMERA_DOWN
from data_prep.sources.base import DepthNoise


@dataclasses.dataclass
class Plane:
    """n.x + d = 0 with unit `normal` [3] pointing up (against gravity), positive above. `share`: of the points, how
    many lie on it; `rms`: their root mean square distance from it, metres; `sharp`: of those on it, how many lie within
    half the tolerance (half of them where points only cross it, more where they lie on it); `sigma`: error of the
    normal in pitch and in roll, radians, one standard deviation each; `tip`: by how much it pitches for a shift of all
    depths, radians a metre.
    """

    normal: np.ndarray
    d: float
    share: float
    rms: float
    sharp: float = 1.0
    sigma: tuple[float, float] = (0.0, 0.0)
    tip: float = 0.0

    def height(self, points: np.ndarray) -> np.ndarray:
        """Heights above the plane [n] of points [n, 3]."""
        return points @ self.normal + self.d


TRIES = 400  # planes through three points
RELATIVE = 0.01  # of its depth: how far from a plane a point of it may lie
BENT = 0.4  # radians for noise as large as the depth: measured on rendered floors
FLAT = 0.002  # radians: floors are no flatter, and cameras no better calibrated
MOST = 0.05  # of a depth: beyond that anything fits
GRAZE = 1.0  # of a depth's noise, one deviation: seen at a slant, two or three of what leads off the plane


def _tolerance(points: np.ndarray, noise: DepthNoise) -> np.ndarray:
    depth = points[:, 2]
    return np.maximum(np.maximum(0.01, RELATIVE * depth), np.minimum(GRAZE * noise.sigma(depth), MOST * depth))


def fit_floor(
    points: np.ndarray,
    *,
    least_share: float = 0.06,
    most_tilt: float = 55.0,
    most_below: float = 0.04,
    noise: DepthNoise | None = None,
) -> Plane | None:
    """The floor of a cloud [n, 3] (camera frame), or None.

    Of the planes through three points that are tilted by less than `most_tilt` degrees from level for a camera held
    upright, the one with most points on it (within 1 cm, RELATIVE of their depth, or what `noise` makes of it) among
    those with at most `most_below` of the points clearly below: a floor has nothing under it. Accepted with
    `least_share` of all points on it; refined by least squares.
    """
    if len(points) < 100:
        return None
    noise, pixels = noise or DepthNoise(), len(points)
    points = points[np.linspace(0, len(points) - 1, min(len(points), 3000)).astype(int)].astype(np.float64)
    rng = np.random.default_rng(0)  # one picture has one floor, however often it is measured
    # Planes are drawn through nearer points: the farthest are the noisiest, and three of them tip a plane most.
    near = np.flatnonzero(points[:, 2] <= np.quantile(points[:, 2], 0.8))
    picks = points[near[rng.integers(0, len(near), (TRIES, 3))]]
    normals = np.cross(picks[:, 1] - picks[:, 0], picks[:, 2] - picks[:, 0])
    length = np.linalg.norm(normals, axis=1)
    normals = normals[length > 1e-9] / length[length > 1e-9, None]
    picks = picks[length > 1e-9]
    normals *= np.where(normals @ CAMERA_DOWN > 0, -1.0, 1.0)[:, None]
    level = normals @ -CAMERA_DOWN > np.cos(np.radians(most_tilt))
    normals, offsets = normals[level], -(normals[level] * picks[level, 0]).sum(1)
    if not len(normals):
        return None
    tolerance = _tolerance(points, noise)
    heights = points @ normals.T + offsets
    on = (np.abs(heights) < tolerance[:, None]).mean(0)
    below = (heights < -3 * tolerance[:, None]).mean(0)
    on[(below > most_below) | (offsets <= 0)] = 0  # the camera is above the floor
    best = int(np.argmax(on))
    if on[best] < least_share:
        return None
    return _refine(points, normals[best], float(offsets[best]), tolerance, noise, pixels)


def _refine(
    points: np.ndarray, normal: np.ndarray, d: float, tolerance: np.ndarray, noise: DepthNoise, pixels: int
) -> Plane:
    """Least squares over the points near a plane, weighted by 1 / tolerance^2, repeated; `pixels`: of the whole
    cloud.
    """
    for _ in range(4):
        near = np.abs(points @ normal + d) < 1.5 * tolerance
        weight = 1 / tolerance[near] ** 2
        middle = (points[near] * weight[:, None]).sum(0) / weight.sum()
        spread = (points[near] - middle) * np.sqrt(weight)[:, None]
        normal = np.linalg.svd(spread, full_matrices=False)[2][2]
        normal = normal if normal @ CAMERA_DOWN < 0 else -normal
        d = -float(normal @ middle)
    distance = points[near] @ normal + d
    rms, share = float(np.sqrt((distance**2).mean())), float(near.mean())
    # The shorter spread of the points within the plane: over it the normal tips most easily.
    spread = np.linalg.svd(points[near] - points[near].mean(0), full_matrices=False)[1][1] / np.sqrt(near.sum())
    tip = rms / max(1e-9, float(spread)) / np.sqrt(max(1.0, share * pixels / noise.correlation**2))
    far = float(np.median(points[near, 2]))
    # Noise is larger far away and cut off by the tolerance: the plane seems to tip.
    pitch = BENT * float(noise.sigma(np.array(far))) / far
    on = np.abs(distance) < tolerance[near]
    sharp = float((np.abs(distance) < 0.5 * tolerance[near]).sum() / max(1, on.sum()))
    roll = float(np.hypot(FLAT, tip))
    return Plane(normal, d, share, rms, sharp, (float(np.hypot(roll, pitch)), roll), d / far**2)

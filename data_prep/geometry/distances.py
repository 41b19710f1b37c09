"""Distances between two objects: between the centres of their boxes and between the nearest points that can be seen."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from data_prep.geometry.boxes import horizontal_frame
from spatial_jax.data.records import SceneObject


@dataclasses.dataclass
class Distance:
    """Metres, with one standard deviation each. `centre`: between box centres; `horizontal` and `vertical`: its parts
    (vertical is positive when the second is higher); `nearest`: between the nearest visible points, nan without
    clouds.
    """

    centre: float
    centre_sigma: float
    horizontal: float
    vertical: float
    nearest: float
    nearest_sigma: float


def nearest_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Smallest distance between two clouds [n, 3] and [m, 3]; nan when one is empty."""
    if not len(a) or not len(b):
        return float("nan")
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return float(np.sqrt(max(0.0, float(squared.min()))))


@dataclasses.dataclass(frozen=True)
class Solid:
    """A solid oriented box: its middle [3], its unit axes as the columns of `axes` [3, 3], and half its sides [3]."""

    middle: np.ndarray
    axes: np.ndarray
    half: np.ndarray

    def nearest_to(self, point: np.ndarray) -> np.ndarray:
        """The point of the box that is nearest to `point`."""
        return self.middle + self.axes @ np.clip(self.axes.T @ (point - self.middle), -self.half, self.half)


def solid_distance(a: Solid, b: Solid, tolerance: float, iterations: int) -> float:
    """Distance of two boxes by alternating projection (0 when they touch), until a step gains less than `tolerance`
    metres.
    """
    point, previous = b.middle, math.inf
    for _ in range(iterations):
        on_a = a.nearest_to(point)
        point = b.nearest_to(on_a)
        gap = float(np.linalg.norm(point - on_a))
        if previous - gap < tolerance:
            break
        previous = gap
    return gap


def _spacing(cloud: np.ndarray) -> float:
    """Typical gap between neighbouring points of a sampled surface: the root of its area over the number of points."""
    if len(cloud) < 2:
        return 0.0
    side = np.sort(cloud.max(0) - cloud.min(0))
    return float(np.sqrt(side[1] * side[2] / len(cloud)))


def pair_distance(a: SceneObject, b: SceneObject, gravity: tuple[float, ...] = ()) -> Distance:
    """Distances between two objects of a record. A shared depth bias moves both alike: only its share of the distance
    remains.
    """
    first, second = np.array(a.center, np.float64), np.array(b.center, np.float64)
    step = second - first
    centre = float(np.linalg.norm(step))
    up = horizontal_frame(np.array(gravity) if len(gravity) else None)[:, 2]
    vertical = float(step @ up)
    errors = [o.json_field("uncertainty") for o in (a, b)]
    along = step / max(centre, 1e-9)
    parts = [sum((along[i] * e.get(f"center_{axis}", 0.0)) ** 2 for i, axis in enumerate("xyz")) for e in errors]
    clouds = [o.cloud().astype(np.float64) for o in (a, b)]
    nearest = nearest_distance(*clouds)
    spread = [0.5 * _spacing(c) for c in clouds]
    depth = [e.get("depth", 0.0) for e in errors]
    nearest_sigma = float(np.sqrt(sum(v**2 for v in (*spread, *depth))))
    return Distance(
        centre,
        float(np.sqrt(sum(parts))),
        float(np.sqrt(max(0.0, centre**2 - vertical**2))),
        vertical,
        nearest,
        nearest_sigma,
    )

"""Distances between solid boxes: how near two objects can be to each other at the least."""

from __future__ import annotations

import dataclasses
import math

import numpy as np


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

"""Lidar points as a sparse depth picture."""

from __future__ import annotations

import numpy as np

NEAREST = 0.5  # metres


def sparse_depth(points: np.ndarray, camera: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    """float32 [h, w] depth of points [n, 3] (camera frame) at the pixels that they fall on, 0 elsewhere; of several on
    one pixel the nearest. `size`: (width, height).
    """
    width, height = size
    fx, fy, cx, cy = camera
    points = points[np.isfinite(points).all(1) & (points[:, 2] > NEAREST)]
    column = np.rint(fx * points[:, 0] / points[:, 2] + cx).astype(np.int64)
    row = np.rint(fy * points[:, 1] / points[:, 2] + cy).astype(np.int64)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    depth = np.full(width * height, np.inf, np.float32)
    np.minimum.at(depth, row[inside] * width + column[inside], points[inside, 2].astype(np.float32))
    return np.where(np.isfinite(depth), depth, 0).reshape(height, width)

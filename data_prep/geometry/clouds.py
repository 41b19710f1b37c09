"""From depth, mask and intrinsics to points: unprojection, mask erosion, outlier removal, depth statistics.

Camera frame: x right, y down, z forward (depth), pixel centres at whole numbers. Depth is along the optical axis, not along the ray.
"""
from __future__ import annotations

import numpy as np


def valid_depth(depth: np.ndarray) -> np.ndarray:
    """bool [h, w]: finite and positive."""
    return np.isfinite(depth) & (depth > 0)


def unproject(depth: np.ndarray, intrinsics: tuple[float, float, float, float], mask: np.ndarray | None = None) -> np.ndarray:
    """Points float32 [n, 3] of the valid pixels (inside `mask`), row by row."""
    keep = valid_depth(depth)
    if mask is not None:
        keep &= mask
    rows, columns = np.nonzero(keep)
    return lift(rows, columns, depth[rows, columns], intrinsics)


def lift(rows: np.ndarray, columns: np.ndarray, depth: np.ndarray, intrinsics: tuple[float, float, float, float]) -> np.ndarray:
    """Points float32 [n, 3] of pixels (rows [n], columns [n]) at depths [n]."""
    fx, fy, cx, cy = intrinsics
    return np.stack([(columns - cx) / fx * depth, (rows - cy) / fy * depth, depth], -1).astype(np.float32)


def erode(mask: np.ndarray, steps: int = 1) -> np.ndarray:
    """The mask without its outer `steps` pixels (4-neighbours; the picture's edge does not count as outside)."""
    for _ in range(steps):
        padded = np.pad(mask, 1, constant_values=True)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask


def core(mask: np.ndarray, least: int = 24, share: float = 0.4) -> np.ndarray:
    """The mask eroded by 1 to 3 pixels, as far as at least `least` pixels and `share` of it remain: depth edges are where depth lies."""
    best, full = mask, int(mask.sum())
    for _ in range(3 if full > 2500 else 1):
        inner = erode(best)
        if inner.sum() < max(least, share * full):
            break
        best = inner
    return best


def inliers(depths: np.ndarray, spread: float = 6.0, floor: float = 0.02) -> np.ndarray:
    """bool [n]: depths within `spread` robust deviations (1.4826 MAD, at least `floor` of the median) of the main body of depths.

    A mask that leaks onto the background gives two groups of depths far apart: the larger group is kept (split at the widest gap)."""
    keep = np.ones(len(depths), bool)
    if len(depths) < 8:
        return keep
    order = np.sort(depths)
    gaps = np.diff(order)
    cut = int(np.argmax(gaps))
    if gaps[cut] > max(0.08 * order[cut], 0.1 * (order[-1] - order[0]) + 12 * np.median(gaps)):
        keep = depths <= order[cut] if cut + 1 >= len(order) / 2 else depths > order[cut]
    middle = np.median(depths[keep])
    scale = max(1.4826 * float(np.median(np.abs(depths[keep] - middle))), floor * float(middle))
    return keep & (np.abs(depths - middle) <= spread * scale)


def depth_statistics(depths: np.ndarray) -> dict[str, float]:
    """median, q20, q80 and rel_std (1.4826 MAD over the median) of depths [n]; empty when there are none."""
    if not len(depths):
        return {}
    q20, median, q80 = np.quantile(depths, (0.2, 0.5, 0.8))
    return {"median": float(median), "q20": float(q20), "q80": float(q80), "rel_std": float(1.4826 * np.median(np.abs(depths - median)) / median)}


def sample(points: np.ndarray, count: int) -> np.ndarray:
    """At most `count` points [<= count, 3], evenly spaced in the order given (the same every time)."""
    if len(points) <= count:
        return points
    return points[np.linspace(0, len(points) - 1, count).round().astype(int)]

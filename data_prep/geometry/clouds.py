"""From depth, mask and intrinsics to points: unprojection, mask erosion, outlier removal, depth statistics.

Camera frame: x right, y down, z forward (depth), pixel centres at whole numbers. Depth is along the optical axis, not
along the ray.
"""

from __future__ import annotations

import numpy as np


def valid_depth(depth: np.ndarray) -> np.ndarray:
    """bool [h, w]: finite and positive."""
    return np.isfinite(depth) & (depth > 0)


def unproject(
    depth: np.ndarray, intrinsics: tuple[float, float, float, float], mask: np.ndarray | None = None
) -> np.ndarray:
    """Points float32 [n, 3] of the valid pixels (inside `mask`), row by row."""
    keep = valid_depth(depth)
    if mask is not None:
        keep &= mask
    rows, columns = np.nonzero(keep)
    return lift(rows, columns, depth[rows, columns], intrinsics)


def lift(
    rows: np.ndarray, columns: np.ndarray, depth: np.ndarray, intrinsics: tuple[float, float, float, float]
) -> np.ndarray:
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
    """The mask eroded by 1 to 3 pixels, as far as at least `least` pixels and `share` of it remain: depth edges are
    where depth lies.
    """
    best, full = mask, int(mask.sum())
    for _ in range(3 if full > 2500 else 1):
        inner = erode(best)
        if inner.sum() < max(least, share * full):
            break
        best = inner
    return best


def _at(ordered: np.ndarray, share: float) -> float:
    """Quantile of sorted values, interpolated between neighbours."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low]) + (place - low) * float(ordered[high] - ordered[low])


def inliers(depths: np.ndarray, spread: float = 6.0, floor: float = 0.02) -> np.ndarray:
    """bool [n]: depths within `spread` robust deviations (1.4826 MAD, at least `floor` of the median) of the main body
    of depths.

    A mask that leaks onto the background gives two groups of depths far apart: the larger group is kept (split at the
    widest gap).
    """
    keep = np.ones(len(depths), bool)
    if len(depths) < 8:
        return keep
    order = np.sort(depths)
    gaps = order[1:] - order[:-1]
    cut = int(np.argmax(gaps))
    if gaps[cut] > max(0.08 * order[cut], 0.1 * (order[-1] - order[0]) + 12 * float(np.median(gaps))):
        near = cut + 1 >= len(order) / 2
        keep = depths <= order[cut] if near else depths > order[cut]
        order = order[: cut + 1] if near else order[cut + 1 :]
    middle = _at(order, 0.5)
    scale = max(1.4826 * _at(np.sort(np.abs(order - middle)), 0.5), floor * middle)
    return keep & (np.abs(depths - middle) <= spread * scale)


def depth_statistics(depths: np.ndarray) -> dict[str, float]:
    """median, q20, q80 and rel_std (1.4826 MAD over the median) of depths [n]; empty when there are none."""
    if not len(depths):
        return {}
    order = np.sort(depths)
    median = _at(order, 0.5)
    deviation = _at(np.sort(np.abs(order - median)), 0.5)
    return {"median": median, "q20": _at(order, 0.2), "q80": _at(order, 0.8), "rel_std": 1.4826 * deviation / median}


def sample(points: np.ndarray, count: int) -> np.ndarray:
    """At most `count` points [<= count, 3], evenly spaced in the order given (the same every time)."""
    if len(points) <= count:
        return points
    return points[np.linspace(0, len(points) - 1, count).round().astype(int)]

"""How much of a mask has depth, and whether it reaches the mask's edges: sensors leave holes, lidars leave most of it
empty.
"""

from __future__ import annotations

import numpy as np

CELLS = 6  # a side: the mask's rectangle in cells, for the question whether depth is spread over all of it
EDGE_PIXELS, EDGE_SHARE = 2.5, 0.05  # an end is reached within so many pixels, or so much of the side


def coverage(mask: np.ndarray, valid: np.ndarray) -> tuple[float, float]:
    """(share of the mask's pixels with valid depth, share of the mask that lies in cells with some valid depth), bool
    [h, w] each. A lidar's points over the whole mask give a small first and a large second number; a missing half makes
    both small.
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0.0, 0.0
    cell = _cells(rows) * CELLS + _cells(columns)
    inside = valid[rows, columns]
    whole = np.bincount(cell, minlength=CELLS * CELLS)
    some = np.bincount(cell[inside], minlength=CELLS * CELLS) > 0
    return float(inside.mean()), float(whole[some].sum() / whole.sum())


def _cells(places: np.ndarray) -> np.ndarray:
    low, high = int(places.min()), int(places.max())
    return np.minimum((places - low) * CELLS // (high - low + 1), CELLS - 1)


def image_directions(
    center: np.ndarray, rotation: np.ndarray, intrinsics: tuple[float, float, float, float]
) -> np.ndarray:
    """[3, 2]: where each axis (columns of `rotation` [3, 3]) runs in the picture at the point `center` [3], pixels a
    metre (column, row).
    """
    fx, fy, _, _ = intrinsics
    x, y, z = center
    along_x = fx * (rotation[0] * z - x * rotation[2]) / z**2
    along_y = fy * (rotation[1] * z - y * rotation[2]) / z**2
    return np.stack([along_x, along_y], -1)


def unreached_side(mask: np.ndarray, valid: np.ndarray, direction: np.ndarray) -> tuple[float, bool]:
    """(pixels that valid depth stops short of the mask's two ends along `direction` [2] (column, row), whether both
    ends are reached). bool [h, w] each.
    """
    unit = direction / max(1e-9, float(np.hypot(*direction)))

    def ends(where: np.ndarray) -> tuple[float, float]:
        rows, columns = np.nonzero(where)
        place = columns * unit[0] + rows * unit[1]
        return float(place.min()), float(place.max())

    (low, high), (first, last) = ends(mask), ends(valid)
    short = max(first - low, high - last)
    return max(0.0, first - low) + max(0.0, high - last), short <= max(EDGE_PIXELS, EDGE_SHARE * (high - low))

"""Fills an object's measures from depth, mask and intrinsics; what the source already knows is left as it is."""
from __future__ import annotations

import numpy as np

from data_prep.geometry.clouds import core, depth_statistics, inliers, lift, sample, valid_depth
from data_prep.sources.base import Frame, ObjectDraft

CLOUD_POINTS = 256


def mask_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """[x1, y1, x2, y2] around the mask's pixels, outer edges; the mask must not be empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def measure_object(frame: Frame, thing: ObjectDraft, points: int = CLOUD_POINTS) -> None:
    """Box of the mask, depth statistics, cloud sample and, where the source does not know them, the oriented box and all uncertainties."""
    if thing.mask is None or not thing.mask.any():
        return
    left, top, right, bottom = (int(v) for v in mask_box(thing.mask))
    thing.box = thing.box or (left, top, right, bottom)
    if frame.depth is None:
        return
    view = (slice(top, bottom), slice(left, right))
    depth = frame.depth[view]
    rows, columns = np.nonzero(core(thing.mask[view]) & valid_depth(depth))
    depths = depth[rows, columns]
    keep = inliers(depths)
    rows, columns, depths = rows[keep], columns[keep], depths[keep]
    thing.depth = depth_statistics(depths)
    if frame.intrinsics is None or not len(depths):
        return
    cloud = lift(rows + top, columns + left, depths, frame.intrinsics)
    thing.points = sample(cloud, points)

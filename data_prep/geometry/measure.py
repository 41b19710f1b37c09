"""Fills an object's measures from depth, mask and intrinsics; what the source already knows is left as it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from data_prep.geometry.boxes import fit_box
from data_prep.geometry.clouds import core, depth_statistics, inliers, lift, sample, unproject, valid_depth
from data_prep.geometry.planes import fit_floor
from data_prep.geometry.uncertainty import box_sigma, leak, median_sigma
from data_prep.sources.base import Frame, ObjectDraft

CLOUD_POINTS = 256
LEAST_POINTS = 8


def mask_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """[x1, y1, x2, y2] around the mask's pixels, outer edges; the mask must not be empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def local_mean(depth: np.ndarray, use: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """Depth [h, w] averaged over the 3 x 3 pixels around that are in `use` and differ by less than `tolerance` [h, w]:
    noise falls by up to three, edges stay.
    """
    total, count = np.where(use, depth, 0), use.astype(np.float32)
    padded, valid = np.pad(depth, 1), np.pad(use, 1)
    height, width = depth.shape
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            if (dy, dx) == (1, 1):
                continue
            other = padded[dy : dy + height, dx : dx + width]
            near = valid[dy : dy + height, dx : dx + width] & (np.abs(other - depth) < tolerance)
            total, count = total + np.where(near, other, 0), count + near
    return np.where(use, total / np.maximum(count, 1), depth).astype(np.float32)


def measure_object(frame: Frame, thing: ObjectDraft, points: int = CLOUD_POINTS) -> None:
    """Box of the mask, depth statistics, cloud sample and, where the source does not know them, the oriented box; every
    uncertainty.
    """
    if thing.mask is None or not thing.mask.any():
        return
    left, top, right, bottom = (int(v) for v in mask_box(thing.mask))
    thing.box = thing.box or (left, top, right, bottom)
    if frame.depth is None:
        return
    view = (slice(top, bottom), slice(left, right))
    mask, depth = thing.mask[view], frame.depth[view]
    valid = mask & valid_depth(depth)
    rows, columns = np.nonzero(core(mask) & valid)
    depths = depth[rows, columns]
    keep = inliers(depths)
    depths = depths[keep]
    thing.depth = depth_statistics(depths)
    if not len(depths):
        return
    sigma = median_sigma(
        frame.depth_noise, thing.depth["median"], len(depths), thing.depth["rel_std"] * thing.depth["median"]
    )
    thing.uncertainty = {"depth_median": sigma, "depth": sigma}
    if frame.intrinsics is None or frame.depth_flag != "metric":
        return  # a cloud of relative depth is bent: order is all it can give
    thing.points = sample(lift(rows[keep] + top, columns[keep] + left, depths, frame.intrinsics), points)
    if thing.center is None:
        _measure_box(frame, thing, np.where(valid, depth, 0), (float(depths.min()), float(depths.max())), (left, top))


def _measure_box(
    frame: Frame, thing: ObjectDraft, depth: np.ndarray, span: tuple[float, float], corner: tuple[int, int]
) -> None:
    """Oriented box of the mask's points whose depth lies within the span of the inliers (with a little room for the
    rim).
    """
    assert frame.intrinsics is not None
    slack = 0.35 * (span[1] - span[0]) + 0.03 * span[1]
    use = (depth > span[0] - slack) & (depth < span[1] + slack)
    noise = frame.depth_noise.sigma(depth)
    if noise.max() > 0:
        depth = local_mean(depth, use, 3.5 * noise + 0.01 * depth)
    rows, columns = np.nonzero(use)
    if len(rows) < LEAST_POINTS:
        return
    cloud = lift(rows + corner[1], columns + corner[0], depth[rows, columns], frame.intrinsics)
    pixel = thing.depth["median"] / float(np.sqrt(frame.intrinsics[0] * frame.intrinsics[1]))
    box = fit_box(cloud, frame.gravity, pixel, float(noise[rows, columns].mean()) / 3)
    thing.center, thing.extent, thing.rotation = box.center, box.extent, box.rotation
    thing.uncertainty.update(
        box_sigma(box, frame.depth_noise, thing.depth["median"], len(rows), pixel, thing.mask_sigma, leak(cloud, box))
    )
    thing.provenance["measures"] = (
        "depth, mask and intrinsics; unseen back estimated" if box.hidden else "depth, mask and intrinsics"
    )


class Level:
    """Stage: gravity and floor from the cloud of a frame that has depth and a camera but no gravity of its own."""

    name = "level"

    def config(self) -> dict[str, Any]:
        return {"stage": self.name}

    def __call__(self, frame: Frame) -> None:
        if frame.gravity is not None or frame.depth_flag != "metric" or frame.depth is None or frame.intrinsics is None:
            return
        cloud = unproject(frame.depth, frame.intrinsics)
        floor = fit_floor(cloud)
        if floor is not None:
            frame.gravity, frame.floor = -floor.normal, np.append(floor.normal, floor.d)
            frame.provenance["gravity"] = f"floor plane: {floor.share:.0%} of the points, rms {floor.rms:.3f}"
            return
        top = fit_floor(cloud, most_below=1.0, least_share=0.25, most_tilt=45.0)
        if top is not None:  # a table top or shelf is level too, though it is no floor
            frame.gravity = -top.normal
            frame.provenance["gravity"] = f"level surface: {top.share:.0%} of the points, rms {top.rms:.3f}"


class Measure:
    """Stage: every object's measures from depth, mask and intrinsics; the last one."""

    name = "measure"

    def __init__(self, cloud_points: int = 128):
        self.cloud_points = cloud_points

    def config(self) -> dict[str, Any]:
        return {"stage": self.name, "cloud_points": self.cloud_points}

    def __call__(self, frame: Frame) -> None:
        for thing in frame.objects:
            measure_object(frame, thing, self.cloud_points)

"""Fills an object's measures from depth, mask and intrinsics; what the source already knows is left as it is."""

from __future__ import annotations

import collections
import math
from typing import Any

import numpy as np

from data_prep.geometry.clouds import core, depth_statistics, erode, inliers, lift, sample, unproject, valid_depth
from data_prep.geometry.coverage import coverage
from data_prep.geometry.given import has_given_box, measure_in_box, tell_agreement
from data_prep.geometry.pieces import object_pieces
from data_prep.geometry.planes import fit_floor
from data_prep.geometry.sides import measure_box
from data_prep.geometry.uncertainty import median_sigma
from data_prep.sources.base import DepthNoise, Frame, ObjectDraft

CLOUD_POINTS = 256
RIM = 3  # pixels around a mask that are looked at with it
NOISY = 0.25  # of the spread of an object's depths: less noise than that moves their median by nothing
# Slanted clutter is no floor: points lie on a floor and do not only cross it, and no level surface is much larger.
SHARP, LARGER = 0.6, 1.2


def mask_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """[x1, y1, x2, y2] around the mask's pixels, outer edges; the mask must not be empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def tidy_mask(frame: Frame, thing: ObjectDraft) -> None:
    """Leaves stray pixels out of the object's mask, and out of its box where that was drawn around them all. A mask
    whose edge is known exactly (mask_sigma 0) has none.
    """
    assert thing.mask is not None
    if not thing.mask_sigma > 0:
        return
    others = [o.mask for o in frame.objects if o is not thing and o.mask is not None]
    mask, told = object_pieces(thing.mask, frame.depth, others)
    if not told:
        return
    if thing.box is not None and np.abs(np.subtract(thing.box, mask_box(thing.mask))).max() <= 1:
        thing.box = None
    thing.mask = mask
    thing.provenance["mask_pieces"] = (
        f"{told['pieces']} kept, {told['pieces_left_out']} left out with {told['pixels_left_out']} stray pixels"
    )


def _without_noise(found: dict[str, float], noise: DepthNoise, pixels: int) -> dict[str, float]:
    """Depth statistics with the spread that noise made taken off the object's own: quantiles drawn towards the median,
    as far as `pixels` pixels of this correlation differ at all.
    """
    median, spread = found["median"], found["rel_std"] * found["median"]
    apart = 1 - min(1.0, noise.correlation**2 / pixels)
    own = math.sqrt(max(0.0, spread**2 - apart * float(noise.sigma(np.array(median))) ** 2))
    share = own / spread if spread > 0 else 1.0
    return {
        key: value * share if key == "rel_std" else median + (value - median) * share for key, value in found.items()
    }


def _average_depth(depth: np.ndarray, use: np.ndarray, noise: DepthNoise) -> np.ndarray:
    """Depth [h, w] averaged over squares of the pixels in `use`, as wide as it takes for neighbours' noise to differ
    but at most a quarter of what they span: of lopsided depths noise draws the median towards the longer tail, the less
    the smaller it is.
    """
    from scipy.ndimage import uniform_filter

    window = min(2 * math.ceil(noise.correlation) + 1, int(math.sqrt(use.sum()) / 4)) // 2 * 2 + 1
    if window < 3 or not float(noise.sigma(np.array(1.0))) > 0:
        return depth
    known = np.where(use, depth, 0).astype(np.float64)
    share = uniform_filter(use.astype(np.float64), window, mode="constant")
    total = uniform_filter(known, window, mode="constant")
    return np.where(use, total / np.maximum(share, 1e-9), depth).astype(depth.dtype)


def _edge_sigma(mask: np.ndarray, depth: np.ndarray, sigma: float, median: float) -> float:
    """What the mask's edge, known to `sigma` pixels, adds to the error of the median depth, metres: how far the median
    of the whole mask, and of one that is so much smaller, are from it.
    """
    if not sigma > 0:
        return 0.0
    change = 0.0
    for part in (mask, erode(mask, math.ceil(sigma) + 1)):
        depths = depth[part & valid_depth(depth)]
        if len(depths):
            change = max(change, abs(float(np.median(depths[inliers(depths)])) - median))
    return change


def measure_object(frame: Frame, thing: ObjectDraft, points: int = CLOUD_POINTS) -> None:
    """Box of the mask, depth statistics, cloud sample and, where the source does not know them, the oriented box; every
    uncertainty. What cannot be measured stays unknown, with the reason in `thing.unmeasured`.
    """
    if thing.mask is None or not thing.mask.any():
        if thing.mask is None and has_given_box(thing):
            measure_in_box(frame, thing)
        return
    tidy_mask(frame, thing)
    left, top, right, bottom = (int(v) for v in mask_box(thing.mask))
    thing.box = thing.box or (left, top, right, bottom)
    if frame.depth is None:
        return
    # A little wider than the mask, so that its rim is known as a rim (the picture's own edge is none).
    top, left = max(0, top - RIM), max(0, left - RIM)
    view = (slice(top, bottom + RIM), slice(left, right + RIM))
    mask, depth = thing.mask[view], frame.depth[view]
    valid = mask & valid_depth(depth)
    rows, columns = np.nonzero(core(mask) & valid)
    depths = depth[rows, columns]
    keep = inliers(depths)
    depths = depths[keep]
    if not len(depths):
        thing.unmeasured.append("no depth")
        return
    share, cover = coverage(mask, valid)
    inside = np.zeros_like(valid)
    inside[rows[keep], columns[keep]] = True
    found = depth_statistics(depths)
    drift = 0.0
    if float(frame.depth_noise.sigma(np.array(found["median"]))) > NOISY * found["rel_std"] * found["median"]:
        drift = float(np.median(_average_depth(depth, inside, frame.depth_noise)[inside])) - found["median"]
    thing.depth = _without_noise(found, frame.depth_noise, len(depths)) | {"share": share, "cover": cover}
    for key in ("median", "q20", "q80"):
        thing.depth[key] += drift
    sigma = median_sigma(
        frame.depth_noise, thing.depth["median"], len(depths), thing.depth["rel_std"] * thing.depth["median"]
    )
    edge = _edge_sigma(mask, depth, thing.mask_sigma, thing.depth["median"] - drift)
    sigma = math.hypot(sigma, edge, drift / 2)  # the average is not free of what it corrects
    thing.uncertainty = {**thing.uncertainty, "depth_median": sigma, "depth": sigma}
    if frame.intrinsics is None or frame.depth_flag != "metric":
        return  # a cloud of relative depth is bent: order is all it can give
    thing.points = sample(lift(rows[keep] + top, columns[keep] + left, depths, frame.intrinsics), points)
    if thing.center is None:
        measure_box(frame, thing, (float(depths.min()), float(depths.max())), points)


class Level:
    """Stage: gravity and floor from the cloud of a frame that has depth and a camera but no gravity of its own."""

    name = "level"

    def config(self) -> dict[str, Any]:
        return {"stage": self.name}

    def __call__(self, frame: Frame) -> None:
        if frame.gravity is not None or frame.depth_flag != "metric" or frame.depth is None or frame.intrinsics is None:
            return
        cloud = unproject(frame.depth, frame.intrinsics)
        floor = fit_floor(cloud, noise=frame.depth_noise)
        # A table top or shelf is level too, though it is no floor.
        top = fit_floor(cloud, most_below=1.0, least_share=0.25, most_tilt=45.0, noise=frame.depth_noise)
        if floor is not None and floor.sharp >= SHARP and not (top is not None and top.share >= LARGER * floor.share):
            found, name = floor, "floor plane"
            frame.floor = np.append(floor.normal, floor.d)
        elif top is not None and top.sharp >= SHARP:
            found, name = top, "level surface"
        else:
            return
        frame.gravity = -found.normal
        frame.gravity_sigma = {"pitch": found.sigma[0], "roll": found.sigma[1], "tip": found.tip}
        frame.provenance["gravity"] = f"{name}: {found.share:.0%} of the points, rms {found.rms:.3f}"


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
        tell_agreement(frame)
        reasons = collections.Counter(reason for thing in frame.objects for reason in thing.unmeasured)
        if reasons:
            frame.meta["unmeasured"] = dict(sorted(reasons.items()))

"""The oriented box of a mask's points, side by side: which sides can be measured at all, and how unsure each is.

A side is measured only where valid depth reaches both its ends and where its far end is seen. What is not measured is
nan, with the reason; the centre then says how far it may lie along that side.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from data_prep.geometry.boxes import Box, fit_box
from data_prep.geometry.clouds import lift, valid_depth
from data_prep.geometry.coverage import image_directions, unreached
from data_prep.geometry.uncertainty import box_sigma, leak
from data_prep.sources.base import Frame, ObjectDraft

LEAST_POINTS = 8
SIDEWAYS = 0.3  # sine of the angle to the line of sight from which a side's ends are looked for in the picture
NOT_REACHED = "depth does not reach its edges"
NOT_SEEN = "far end not seen"
NO_GRAVITY = "gravity unknown"


@dataclasses.dataclass
class Patch:
    """An object's part of the picture: mask bool [h, w] and depth [h, w] (0 unknown); `corner`: row and column of its
    first pixel in the picture; `span`: nearest and farthest depth that is the object's.
    """

    mask: np.ndarray
    depth: np.ndarray
    corner: tuple[int, int]
    span: tuple[float, float]

    def usable(self, mask: np.ndarray) -> np.ndarray:
        """bool [h, w]: pixels of `mask` whose depth lies within the span, with a little room for the rim."""
        slack = 0.35 * (self.span[1] - self.span[0]) + 0.03 * self.span[1]
        return mask & (self.depth > max(0.0, self.span[0] - slack)) & (self.depth < self.span[1] + slack)


def cut(frame: Frame, mask: np.ndarray, span: tuple[float, float], rim: int) -> Patch:
    """The patch of a mask, `rim` pixels wider on every side."""
    assert frame.depth is not None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = max(0, int(rows[0]) - rim), max(0, int(columns[0]) - rim)
    view = (slice(top, int(rows[-1]) + 1 + rim), slice(left, int(columns[-1]) + 1 + rim))
    depth = frame.depth[view]
    return Patch(mask[view], np.where(valid_depth(depth), depth, 0), (top, left), span)


def local_mean(depth: np.ndarray, use: np.ndarray, tolerance: np.ndarray, window: int = 3) -> np.ndarray:
    """Depth [h, w] averaged over the `window` x `window` pixels around that are in `use` and differ by less than
    `tolerance` [h, w]: noise falls, edges stay.
    """
    reach = window // 2
    total, count = np.zeros(depth.shape), np.zeros(depth.shape)
    padded, valid = np.pad(depth, reach), np.pad(use, reach)
    height, width = depth.shape
    for dy in range(window):
        for dx in range(window):
            other = padded[dy : dy + height, dx : dx + width]
            near = valid[dy : dy + height, dx : dx + width] & (np.abs(other - depth) < tolerance)
            total, count = total + np.where(near, other, 0), count + near
    return np.where(use, total / np.maximum(count, 1), depth).astype(np.float32)


def _fit(
    frame: Frame, patch: Patch, mask: np.ndarray, pixel: float
) -> tuple[Box, np.ndarray, np.ndarray, float] | None:
    """(box, cloud [n, 3], usable pixels [h, w], noise left on a depth) of the patch with another mask; None with too
    few points.
    """
    assert frame.intrinsics is not None
    use = patch.usable(mask)
    rows, columns = np.nonzero(use)
    if len(rows) < LEAST_POINTS:
        return None
    depth, noise = patch.depth, frame.depth_noise.sigma(patch.depth)
    # Of nine pixels as many are independent as the noise's correlation leaves.
    grain = float(noise[rows, columns].mean()) * min(1.0, frame.depth_noise.correlation / 3)
    if grain > 0:
        depth = local_mean(depth, use, 3.5 * noise + 0.01 * depth)
    cloud = lift(rows + patch.corner[0], columns + patch.corner[1], depth[rows, columns], frame.intrinsics)
    return fit_box(cloud, frame.gravity, pixel, grain), cloud, use, grain


def measure_box(frame: Frame, thing: ObjectDraft, span: tuple[float, float]) -> None:
    """Fills in the object's centre, sides, rotation and their uncertainty from depth, mask and intrinsics."""
    assert thing.mask is not None and frame.intrinsics is not None
    patch = cut(frame, thing.mask, span, 0)
    pixel = thing.depth["median"] / float(np.sqrt(frame.intrinsics[0] * frame.intrinsics[1]))
    found = _fit(frame, patch, patch.mask, pixel)
    if found is None:
        return
    box, cloud, use, _ = found
    thing.center, thing.extent, thing.rotation = box.center, box.extent, box.rotation
    noise = frame.depth_noise
    thing.uncertainty.update(
        box_sigma(box, noise, thing.depth["median"], len(cloud), pixel, thing.mask_sigma, leak(cloud, box))
    )
    thing.provenance["measures"] = (
        "depth, mask and intrinsics; unseen back estimated" if box.hidden else "depth, mask and intrinsics"
    )
    _leave_out_unreached(thing, patch, use, box, pixel, frame.intrinsics)


def _leave_out_unreached(
    thing: ObjectDraft,
    patch: Patch,
    use: np.ndarray,
    box: Box,
    pixel: float,
    intrinsics: tuple[float, float, float, float],
) -> None:
    """Sides whose ends valid depth does not reach are not measured, nor is the centre, which stands on all of them."""
    assert thing.extent is not None
    missing = []
    for axis, direction in enumerate(image_directions(box.center, box.rotation, intrinsics)):
        if float(np.hypot(*direction)) * pixel >= SIDEWAYS and not unreached(patch.mask, use, direction)[1]:
            missing.append(axis)
    if missing:
        thing.extent = np.where(np.isin(np.arange(3), missing), np.nan, thing.extent)
        thing.center = None
        thing.unmeasured.append(NOT_REACHED)

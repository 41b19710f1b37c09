"""The oriented box of a mask's points, side by side: which sides can be measured at all, and how unsure each is.

A side is measured only where valid depth reaches both its ends and where its far end is seen. What is not measured is
nan, with the reason; the centre then says how far it may lie along that side.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from data_prep.geometry.boxes import Box, fit_box
from data_prep.geometry.clouds import erode, lift, sample, valid_depth
from data_prep.geometry.coverage import image_directions, unreached_side
from data_prep.geometry.uncertainty import box_sigma, leak
from data_prep.sources.base import Frame, ObjectDraft

LEAST_POINTS = 8
SURE = 2  # deviations of its edge within which a pixel surely is the object's
BLUNT = 1  # pixels more: a mask that is too wide is wider still at corners and along slanted edges
FLAT = 0.4  # of its width: a thing seen less deep than that shows one face
THIN = 0.01  # of a thing's pixels: fewer are no leg of it
JUMP = 0.03  # of the depth, between two pixels
LOOSE = 0.1  # of a thing's largest part: a smaller one may be no part of it
LEANING = 0.1  # of a side: how far a box's centre may be off when it is drawn upright and is not
SIDEWAYS = 0.3  # sine of the angle to the line of sight from which a side's ends are looked for in the picture
NOT_REACHED = "depth does not reach its edges"
NOT_SEEN = "far end not seen"
CUT_OFF = "cut off by the picture's edge"
TOO_FEW = "too few points"
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


def surely_inside(mask: np.ndarray, rim: int) -> np.ndarray:
    """bool [h, w]: pixels of `mask` farther from what is not in it than its edge, known to `rim` pixels, may be off, in
    every direction alike, and from the patch's own edge: a mask that is too wide reaches the picture's edge too. All of
    it where the edge is known exactly.
    """
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] > SURE * rim + BLUNT if rim else mask


ON_FLOOR = 0.015, 0.008  # metres, and share of the depth: so near to the floor a rim's pixel is floor


def _nearest(of: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every pixel [h, w] the distance to the nearest one of `of` (bool, not all False), pixels, and its depth."""
    from scipy.ndimage import distance_transform_edt

    far, (rows, columns) = distance_transform_edt(~of, return_indices=True)
    return far, depth[rows, columns]


def strangers(frame: Frame, patch: Patch, mask: np.ndarray, rim: int) -> np.ndarray:
    """bool [h, w]: pixels of `mask` that are not surely inside it whose depth is what lies beside the mask and not what
    lies within it, or that lie on the floor: a mask drawn too wide takes them in.
    """
    known = patch.depth > 0
    inner = surely_inside(mask, rim)
    band = mask & ~inner & known
    inside, outside = inner & known, ~mask & known
    if not inside.any() or not outside.any():
        return np.zeros_like(mask)

    (far, own), (_, beside) = _nearest(inside, patch.depth), _nearest(outside, patch.depth)
    band &= far <= 3 * SURE * rim  # a thin part far from the core says nothing
    strange = band & (np.abs(patch.depth - own) > np.abs(patch.depth - beside))
    return strange | (band & on_floor(frame, patch, band))


def on_floor(frame: Frame, patch: Patch, where: np.ndarray) -> np.ndarray:
    """bool [h, w]: pixels of `where` that lie on the floor; none where the floor is not known."""
    out = np.zeros_like(where)
    if frame.floor is not None and frame.intrinsics is not None:
        rows, columns = np.nonzero(where)
        depth = patch.depth[rows, columns]
        points = lift(rows + patch.corner[0], columns + patch.corner[1], depth, frame.intrinsics)
        height = points @ frame.floor[:3] + frame.floor[3]
        out[rows, columns] = np.abs(height) < np.maximum(ON_FLOOR[0], ON_FLOOR[1] * depth)
    return out


def cut(frame: Frame, mask: np.ndarray, span: tuple[float, float], rim: int) -> Patch:
    """The patch of a mask, `rim` pixels wider on every side."""
    assert frame.depth is not None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = max(0, int(rows[0]) - rim), max(0, int(columns[0]) - rim)
    view = (slice(top, int(rows[-1]) + 1 + rim), slice(left, int(columns[-1]) + 1 + rim))
    depth = frame.depth[view]
    return Patch(mask[view], np.where(valid_depth(depth), depth, 0), (top, left), span)


def local_mean(depth: np.ndarray, use: np.ndarray, tolerance: np.ndarray, window: int = 3) -> np.ndarray:
    """Depth [h, w] averaged over the 3 x 3 pixels around that are in `use` and differ by less than `tolerance` [h, w]:
    noise falls, edges stay. A `window` of more pixels is averaged over once more, edges or not: noise that asks for it
    hides them anyway.
    """
    total, count = np.zeros(depth.shape), np.zeros(depth.shape)
    padded, valid = np.pad(depth, 1), np.pad(use, 1)
    height, width = depth.shape
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            other = padded[dy : dy + height, dx : dx + width]
            near = valid[dy : dy + height, dx : dx + width] & (np.abs(other - depth) < tolerance)
            total, count = total + np.where(near, other, 0), count + near
    smooth = np.where(use, total / np.maximum(count, 1), 0)
    if window > 3:
        from scipy.ndimage import uniform_filter

        share = uniform_filter(use.astype(np.float64), window, mode="constant")
        smooth = uniform_filter(smooth, window, mode="constant") / np.maximum(share, 1e-9)
    return np.where(use, smooth, depth).astype(np.float32)


@dataclasses.dataclass
class Fit:
    """A box fitted to a patch: its cloud [n, 3], the pixels that it stands on (`use`) and those of its mask that have
    depth (`reach`), bool [h, w], the noise left on one of their depths, metres, and how many independent draws of it
    they hold.
    """

    box: Box
    cloud: np.ndarray
    use: np.ndarray
    reach: np.ndarray
    grain: float
    independent: float


def _window(noise: float, correlation: float, side: float, pixels: int) -> int:
    """Side in pixels of the square over which depth is averaged: the smallest that brings a pixel's `noise` (metres)
    under a twentieth of an object `side` metres wide, at most a quarter of the `pixels` that it spans, and odd.
    """
    wanted = correlation * noise / max(1e-9, 0.05 * side)
    return max(3, 2 * (int(min(wanted, pixels / 4)) // 2) + 1)


def _fit(frame: Frame, patch: Patch, mask: np.ndarray, pixel: float, rim: int) -> Fit | None:
    """The box of the patch with another mask, whose edge is known to `rim` pixels; None with too few points."""
    assert frame.intrinsics is not None
    reach = use = patch.usable(mask)
    if rim and mask.any():
        use = use & ~strangers(frame, patch, mask, rim)
    rows, columns = np.nonzero(use)
    if len(rows) < LEAST_POINTS:
        return None
    depth, noise = patch.depth, frame.depth_noise.sigma(patch.depth)
    grain, independent = float(noise[rows, columns].mean()), float(len(rows))
    if grain > 0:
        correlation = max(1.0, frame.depth_noise.correlation)
        pixels = float(np.sqrt(len(rows)))
        window = _window(grain, correlation, pixels * pixel, int(pixels))
        depth = local_mean(depth, use, 3.5 * noise + 0.01 * depth, window)
        grain *= min(1.0, correlation / window)  # so many of the window's pixels are independent of each other
        independent /= max(correlation, window) ** 2
    cloud = lift(rows + patch.corner[0], columns + patch.corner[1], depth[rows, columns], frame.intrinsics)
    return Fit(
        fit_box(cloud, frame.gravity, pixel, grain, independent=independent), cloud, use, reach, grain, independent
    )


def measure_box(frame: Frame, thing: ObjectDraft, span: tuple[float, float], points: int) -> None:
    """Fills in the object's centre, sides, rotation and their uncertainty from depth, mask and intrinsics, and a sample
    of `points` points of its cloud, its noise averaged down.
    """
    assert thing.mask is not None and frame.intrinsics is not None
    rim = math.ceil(thing.mask_sigma)
    patch = cut(frame, thing.mask, span, 2 * rim + 1 if rim else 0)
    pixel = thing.depth["median"] / float(np.sqrt(frame.intrinsics[0] * frame.intrinsics[1]))
    fit = _fit(frame, patch, patch.mask, pixel, rim)
    if fit is None:
        thing.unmeasured.append(TOO_FEW)
        return
    box = fit.box
    edge = _rim(frame, patch, box, pixel, rim)
    box.far_seen = box.far_seen and edge.far_seen
    share = thing.mask_sigma / rim if rim else 0.0
    thing.uncertainty |= {"shared": 1.0, "grain": fit.grain, "draws": fit.independent, "edge": pixel * thing.mask_sigma}
    thing.uncertainty |= box_sigma(
        box,
        frame.depth_noise,
        thing.depth["median"],
        len(fit.cloud),
        pixel,
        fit.grain,
        edge.extent * share,
        np.hypot(edge.center * share, LEANING * box.extent) if frame.gravity is None else edge.center * share,
        leak(fit.cloud, box),
    )
    thing.center, thing.extent, thing.rotation = box.center, box.extent.copy(), box.rotation
    inner = surely_inside(patch.mask, rim)
    if rim and 2 * (floor := on_floor(frame, patch, inner & fit.use)).sum() < (inner & fit.use).sum():
        inner &= ~floor  # what shows between the legs of a stool; a rug is floor all over
    inner, loose = _body(patch, fit, inner) if rim else (inner, 0.0)
    thing.points = sample(fit.cloud[inner[fit.use]], points)
    if rim:
        thing.uncertainty["edge_inside"] = pixel * (SURE * rim + BLUNT)
        thing.uncertainty["thin"] = max(loose, _thin_parts(fit, inner, rim))
        thing.uncertainty["edge_along"] = _edge_along(fit, inner) * thing.mask_sigma / (SURE * rim)
    thing.provenance["measures"] = "depth, mask and intrinsics"
    _leave_out(frame, thing, patch, fit, pixel)


def _body(patch: Patch, fit: Fit, sure: np.ndarray) -> tuple[np.ndarray, float]:
    """(the pixels of `sure`, bool [h, w], without small parts that a jump of depth splits off; how far those may reach
    beyond the others, metres). A mask that is too wide fills a thing's dents with what lies behind them: parts whose
    depth is what lies beside the mask are not the thing's. Others may be its own.
    """
    from scipy.ndimage import label
    from scipy.spatial import cKDTree

    where, depth = sure & fit.use, np.zeros_like(patch.depth)
    depth[fit.use] = fit.cloud[:, 2]
    jump = JUMP * depth + 4 * fit.grain
    grid = np.zeros((2 * depth.shape[0] - 1, 2 * depth.shape[1] - 1), bool)  # pixels, and between them what joins two
    grid[::2, ::2] = where
    grid[1::2, ::2] = where[1:] & where[:-1] & (np.abs(np.diff(depth, axis=0)) < jump[1:])
    grid[::2, 1::2] = where[:, 1:] & where[:, :-1] & (np.abs(np.diff(depth, axis=1)) < jump[:, 1:])
    parts = label(grid)[0][::2, ::2]
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    small = where & (sizes < LOOSE * sizes.max())[parts]
    if not small.any():
        return sure, 0.0
    body, outside = where & ~small, ~patch.mask & (patch.depth > 0)
    own = _nearest(body, depth)[1]
    beside = _nearest(outside, patch.depth)[1] if outside.any() else np.zeros_like(depth)
    foreign = small & (np.abs(depth - beside) < np.abs(depth - own)) & (beside > 0)
    doubtful = (small & ~foreign)[fit.use]
    if not doubtful.any():
        return sure & ~small, 0.0
    away, _ = cKDTree(fit.cloud[body[fit.use]]).query(fit.cloud[doubtful])
    return sure & ~small, float(away.max())


def _thin_parts(fit: Fit, sure: np.ndarray, rim: int) -> float:
    """How far a thing's parts that are all rim (legs, handles, tips: twice as far from the pixels that are surely its
    own, bool [h, w], as the rim is wide) reach beyond those pixels' points, metres; 0 for a compact thing.
    """
    from scipy.ndimage import distance_transform_edt
    from scipy.spatial import cKDTree

    inside, far = sure[fit.use], distance_transform_edt(~sure)[fit.use] > 2 * SURE * rim
    if not inside.any():
        return float(np.ptp(fit.cloud, axis=0).max())
    if far.sum() < max(LEAST_POINTS, THIN * len(far)):
        return 0.0
    away, _ = cKDTree(fit.cloud[inside]).query(fit.cloud[far])
    return float(away.max())


def _edge_along(fit: Fit, sure: np.ndarray) -> float:
    """How much farther the depths of a thing reach, to the front or to the back, with the rim around the pixels that
    are surely its own (bool [h, w]) than without it, metres: much on a face that is seen at a slant.
    """
    inside, depth = sure[fit.use], fit.cloud[:, 2]
    if not inside.any():
        return float(np.ptp(depth))
    whole, inner = (np.quantile(z, (0.02, 0.98)) for z in (depth, depth[inside]))
    return float(max(0.0, inner[0] - whole[0], whole[1] - inner[1]))


@dataclasses.dataclass
class Rim:
    """How much a box changes with the mask's edge: its sides [3] and its centre along them [3], metres; whether its far
    end is seen in all of them.
    """

    extent: np.ndarray
    center: np.ndarray
    far_seen: bool = True


def _rim(frame: Frame, patch: Patch, box: Box, pixel: float, rim: int) -> Rim:
    """The box measured again with a mask that is `rim` pixels larger, as much smaller, and twice as much smaller (half
    of that change counts): with it go the edge's own pixels and what lies behind them. A side as long as itself where
    the smaller mask is nothing.
    """
    out = Rim(np.zeros(3), np.zeros(3))
    if not rim:
        return out
    for mask, share in (
        (~erode(~patch.mask, rim), 1.0),
        (erode(patch.mask, rim), 1.0),
        (erode(patch.mask, SURE * rim), 1 / SURE),
    ):
        other = _fit(frame, patch, mask, pixel, rim)
        if other is None:
            out.extent = np.maximum(out.extent, share * box.extent)
            continue
        moved = np.abs((other.box.center - box.center) @ box.rotation)
        out.extent = np.maximum(out.extent, share * np.abs(other.box.extent - box.extent))
        out.center = np.maximum(out.center, share * moved)
        out.far_seen = out.far_seen and other.box.far_seen
    return out


def _leave_out(frame: Frame, thing: ObjectDraft, patch: Patch, fit: Fit, pixel: float) -> None:
    """Takes back what cannot be measured: all sides without gravity (the box may be tilted), a side whose edges depth
    does not reach or that the picture's edge cuts (and the centre, which stands on it), a side whose far end is not
    seen (the centre stays, and how far it may lie from there is told as `unseen` along `unseen_axis`).
    """
    assert thing.extent is not None and frame.intrinsics is not None
    box, extent, cut_off = fit.box, thing.extent, _cut_off(thing)
    reasons: dict[str, None] = {}
    for axis, direction in enumerate(image_directions(box.center, box.rotation, frame.intrinsics)):
        if not float(np.hypot(*direction)) * pixel >= SIDEWAYS:
            continue
        if not unreached_side(patch.mask, fit.reach, direction)[1]:
            reasons[NOT_REACHED], extent[axis] = None, np.nan
        # A lidar's rows stop short of both ends by a part of their spacing: the mask tells where the side ends.
        short = unreached_side(patch.mask, patch.mask & (patch.depth > 0), direction)[0] / float(np.hypot(*direction))
        extent[axis] += short
        sd = thing.uncertainty
        sd[f"extent_{axis}"] = math.hypot(sd[f"extent_{axis}"], short / 2)
        if bool((np.abs(direction) * pixel >= SIDEWAYS)[cut_off].any()):
            reasons[CUT_OFF], extent[axis] = None, np.nan
    if reasons:
        thing.center = None
        thing.unmeasured += reasons
    if not box.far_seen:
        # The box stands as deep as wide. Of a flat back nothing is known: a truck that is three times as deep has its
        # middle a width farther away; what is round, or has a slanted back, is hardly as long.
        wide = float(box.extent[1 - box.hidden_axis])
        doubt = wide if wide - 2 * box.hidden < FLAT * wide else 0.6 * wide
        thing.uncertainty |= {"unseen": doubt, "unseen_axis": box.hidden_axis}
        extent[box.hidden_axis] = np.nan
        thing.unmeasured.append(NOT_SEEN)
    if frame.gravity is None:
        extent[:] = np.nan
        thing.unmeasured.append(NO_GRAVITY)


def _cut_off(thing: ObjectDraft) -> np.ndarray:
    """bool [2]: whether the mask runs into the picture's left or right edge, and into its upper or lower one."""
    assert thing.mask is not None
    mask = thing.mask
    return np.array([mask[:, [0, -1]].any(), mask[[0, -1]].any()])

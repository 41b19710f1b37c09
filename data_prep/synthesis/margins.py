"""The rules that decide whether two measures are far enough apart to be asked about, and how exactly a number may be.

Each rule of two returns (sign or winner, margin): margin is the measure over its threshold, so 1.0 is the limit and
None means "do not ask". What is refused is counted by the setting that refused it (`SceneView.refused`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from data_prep.synthesis.deviations import Measure, Moves, Pose, moves
from data_prep.synthesis.options import Options
from data_prep.synthesis.view import SceneView, Thing

FINEST = 0.01  # a number known this well is asked as it is
TOLERANCE_STEP = 0.05  # tolerances are said in whole steps


def axis_gap(view: SceneView, a: Thing, b: Thing, axis: str, options: Options) -> tuple[int, float] | None:
    """(-1 if a is left of / above b, else +1; margin) from the boxes; None inside the margin. axis "x" or "y"."""
    if axis in a.hints or axis in b.hints:
        return None
    if axis == "x":
        gap, side, size_a, size_b = a.u - b.u, view.width, a.width, b.width
        # A long box around a short one is neither left nor right of it, however far apart their middles are.
        overlap = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    else:
        gap, side, size_a, size_b = a.v - b.v, view.height, a.height, b.height
        overlap = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    need_size, need_side = options.gap_of_extent * max(size_a, size_b), options.gap_of_side * side
    margin = abs(gap) / max(need_size, need_side)
    if margin < 1:
        if need_side >= need_size:
            view.refused.add("gap_of_side", options.gap_of_side, abs(gap) / side)
        else:
            view.refused.add("gap_of_extent", options.gap_of_extent, abs(gap) / max(size_a, size_b))
        return None
    if overlap > options.max_overlap * min(size_a, size_b):
        view.refused.add("max_overlap", options.max_overlap, overlap / min(size_a, size_b))
        return None
    return (-1 if gap < 0 else 1), margin


def bearing(view: SceneView, a: Thing, axis: str, options: Options) -> tuple[int, float] | None:
    """(-1 for the left / upper half, +1 for the right / lower half; margin) of one object in the image plane."""
    offset = a.u / view.width - 0.5 if axis == "x" else a.v / view.height - 0.5
    if axis in a.hints:
        return None
    if abs(offset) < options.bearing_margin:
        view.refused.add("bearing_margin", options.bearing_margin, abs(offset))
        return None
    return (-1 if offset < 0 else 1), abs(offset) / options.bearing_margin


def ray_length(view: SceneView, a: Thing) -> float:
    """Distance from the camera to the object's middle (not along the optical axis); plain depth when the camera is
    unknown.
    """
    if not view.intrinsics:
        return a.depth
    fx, fy, cx, cy = view.intrinsics
    # Boxes are given by pixel edges, cx and cy by pixel centres: half a pixel lies between them.
    return a.depth * math.sqrt(1 + ((a.u - 0.5 - cx) / fx) ** 2 + ((a.v - 0.5 - cy) / fy) ** 2)


def depth_order(view: SceneView, a: Thing, b: Thing, options: Options) -> tuple[int, float] | None:
    """(-1 if a is closer than b, else +1; margin): ratio of medians, disjoint [q20, q80], the objects' own deviations
    (what the picture shares turns no order round), and the same order along the ray as along the optical axis (wide
    cameras differ).
    """
    if not (a.has_depth and b.has_depth) or "z" in a.hints or "z" in b.hints:
        return None
    near, far = (a, b) if a.depth < b.depth else (b, a)
    # A ratio, since relative depth has no unit, and nearby things must differ by less than distant ones.
    ratio, gap = far.depth / near.depth, far.depth - near.depth
    if ratio < options.depth_ratio:
        view.refused.add("depth_ratio", options.depth_ratio, ratio)
        return None
    if near.far - far.near >= options.range_overlap * gap:
        view.refused.add("range_overlap", options.range_overlap, (near.far - far.near) / gap)
        return None
    # Only the objects' own deviations: scale and shift of the picture move both alike and turn no order round.
    own = math.hypot(a.sd.get("depth", 0.0), b.sd.get("depth", 0.0))
    if gap < options.sigmas * own:
        view.refused.add("sigmas", options.sigmas, gap / own)
        return None
    # "Closer" is read as a distance: at a wide picture's corner the ray is longer than the depth, and may turn the
    # order.
    rays = ray_length(view, far) / ray_length(view, near)
    if rays < 1 + (options.depth_ratio - 1) / 3:
        view.refused.add("depth_ratio", options.depth_ratio, 1 + 3 * (rays - 1))
        return None
    return (-1 if near is a else 1), math.log(ratio) / math.log(options.depth_ratio)


def ratio_order(
    view: SceneView, things: tuple[Thing, ...], measures: tuple[Measure, Measure], setting: str, options: Options
) -> tuple[int, float] | None:
    """(-1 if the first measure is smaller than the second, else +1; margin) for positive measures of things whose ratio
    must reach the limit that `setting` names, and clear its deviations: the shared scale falls out by itself.
    """
    limit = getattr(options, setting)

    def log_ratio(poses: Sequence[Pose], gravity: tuple[float, ...]) -> float:
        x, y = (measure(poses, gravity) for measure in measures)
        return math.log(y / x) if x > 0 and y > 0 else math.nan

    value, moved = moves(view, things, log_ratio)
    if math.isnan(value):
        return None
    if abs(value) < math.log(limit):
        view.refused.add(setting, limit, math.exp(abs(value)))
        return None
    if not clears(view, abs(value), moved, options):
        return None
    return (-1 if value > 0 else 1), abs(value) / math.log(limit)


def clears(view: SceneView, gap: float, moved: Moves, options: Options) -> bool:
    """Whether a gap is as large as `sigmas` of its deviations and what is left of it when a far end that was not seen
    lies as far away as may be.
    """
    left = gap - moved.unseen  # no noise that may fall either way: it counts whole
    if left >= options.sigmas * moved.sd:
        return True
    view.refused.add("sigmas", options.sigmas, max(0.0, left) / max(1e-9, moved.sd))
    return False


def seen_enough(view: SceneView, value: float, moved: Moves, options: Options) -> bool:
    """Whether what a far end that was not seen may add is small beside the value."""
    if moved.unseen <= options.max_unseen * value:
        return True
    view.refused.add("max_unseen", options.max_unseen, moved.unseen / value)
    return False


def tolerance(view: SceneView, value: float, moved: Moves, options: Options) -> float | None:
    """Within how much of its value a number may be asked: `sigmas` of its deviations, rounded up to whole steps of 5 %;
    0 where it is known so well that nothing need be said. None when it is too vague, or no positive number.
    """
    sd = moved.sd
    if not value > 0 or math.isnan(sd) or not seen_enough(view, value, moved, options):
        return None
    need = options.sigmas * sd / value
    if need > options.most_tolerance:
        view.refused.add("most_tolerance", options.most_tolerance, need)
        return None
    steps = math.ceil(need / TOLERANCE_STEP - 1e-9)
    return 0.0 if need <= FINEST else round(steps * TOLERANCE_STEP, 2)


def not_truncated(view: SceneView, a: Thing, options: Options) -> bool:
    """Whether the object is seen whole enough to have a size: visible, and its box off the picture's border."""
    x1, y1, x2, y2 = a.box
    if a.visible < options.min_visible:
        view.refused.add("min_visible", options.min_visible, a.visible)
        return False
    return x1 >= 1 and y1 >= 1 and x2 <= view.width - 1 and y2 <= view.height - 1

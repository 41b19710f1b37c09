"""The rules that decide whether two measures are far enough apart to be asked about.

Each rule returns (sign or winner, margin): margin is the measure over its threshold, so 1.0 is the limit and None means
"do not ask".
"""

from __future__ import annotations

import math

from data_prep.synthesis.options import Options
from data_prep.synthesis.view import SceneView, Thing


def axis_gap(view: SceneView, a: Thing, b: Thing, axis: str, options: Options) -> tuple[int, float] | None:
    """(-1 if a is left of / above b, else +1; margin) from the boxes; None inside the margin. axis "x" or "y"."""
    if axis in a.hints or axis in b.hints:
        return None
    if axis == "x":
        gap, side, size_a, size_b = a.u - b.u, view.width, a.width, b.width
        overlap = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    else:
        gap, side, size_a, size_b = a.v - b.v, view.height, a.height, b.height
        overlap = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    need = max(options.gap_of_extent * max(size_a, size_b), options.gap_of_side * side)
    margin = abs(gap) / need
    if margin < 1 or overlap > options.max_overlap * min(size_a, size_b):
        return None
    return (-1 if gap < 0 else 1), margin


def bearing(view: SceneView, a: Thing, axis: str, options: Options) -> tuple[int, float] | None:
    """(-1 for the left / upper half, +1 for the right / lower half; margin) of one object in the image plane."""
    offset = a.u / view.width - 0.5 if axis == "x" else a.v / view.height - 0.5
    margin = abs(offset) / options.bearing_margin
    return None if margin < 1 or axis in a.hints else ((-1 if offset < 0 else 1), margin)


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
    """(-1 if a is closer than b, else +1; margin): ratio of medians, disjoint [q20, q80], the stated uncertainty, and
    the same order along the ray as along the optical axis (wide cameras differ).
    """
    if not (a.has_depth and b.has_depth) or "z" in a.hints or "z" in b.hints:
        return None
    near, far = (a, b) if a.depth < b.depth else (b, a)
    ratio = far.depth / near.depth
    if ratio < options.depth_ratio or near.far >= far.near:
        return None
    if far.depth - near.depth < options.sigmas * math.hypot(a.sd.get("depth", 0.0), b.sd.get("depth", 0.0)):
        return None
    if ray_length(view, far) < (1 + (options.depth_ratio - 1) / 3) * ray_length(view, near):
        return None
    return (-1 if near is a else 1), math.log(ratio) / math.log(options.depth_ratio)


def ratio_order(x: float, y: float, limit: float, sd: float = 0.0, sigmas: float = 2.0) -> tuple[int, float] | None:
    """(-1 if x is smaller than y, else +1; margin) for positive measures whose ratio must reach `limit`."""
    if not (x > 0 and y > 0):
        return None
    ratio = y / x if y > x else x / y
    if ratio < limit or abs(x - y) < sigmas * sd:
        return None
    return (-1 if x < y else 1), math.log(ratio) / math.log(limit)


def certain(value: float, sd: float, options: Options) -> bool:
    """Whether a number's stated standard deviation is small enough to ask for it (nan: not stated wrongly, so
    refused).
    """
    return value > 0 and sd <= options.max_relative_sd * value


def not_truncated(view: SceneView, a: Thing, options: Options) -> bool:
    """Whether the object is seen whole enough to have a size: visible, and its box off the picture's border."""
    x1, y1, x2, y2 = a.box
    return a.visible >= options.min_visible and x1 >= 1 and y1 >= 1 and x2 <= view.width - 1 and y2 <= view.height - 1

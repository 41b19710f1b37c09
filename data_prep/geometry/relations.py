"""Which of two objects is closer, further left, higher: only where the margin leaves no doubt."""

from __future__ import annotations

import itertools

from spatial_jax.data.records import SceneObject

DEPTH_RATIO = 1.15  # far / near must reach it, and the [q20, q80] ranges must not overlap
GAP_EXTENT, GAP_SIDE = 0.10, 0.05


def closer(a: SceneObject, b: SceneObject, ratio: float = DEPTH_RATIO, sigmas: float = 2.0) -> int:
    """-1 when `a` is closer to the camera, 1 when `b` is, 0 when the margin (ratio, quantile ranges, `sigmas`
    deviations) is not met.
    """
    near, far = (a, b) if a.depth_median <= b.depth_median else (b, a)
    if not near.depth_median > 0 or far.depth_median < ratio * near.depth_median or near.depth_q80 >= far.depth_q20:
        return 0
    error = [o.json_field("uncertainty").get("depth_median", 0.0) for o in (near, far)]
    if far.depth_median - near.depth_median < sigmas * (error[0] ** 2 + error[1] ** 2) ** 0.5:
        return 0
    return -1 if near is a else 1


def depth_order(objects: list[SceneObject], ratio: float = DEPTH_RATIO) -> list[int] | None:
    """Indices from nearest to farthest, or None when two neighbours in that order do not meet the margin."""
    order = sorted(range(len(objects)), key=lambda i: objects[i].depth_median)
    clear = all(closer(objects[i], objects[j], ratio) == -1 for i, j in itertools.pairwise(order))
    return order if clear else None


def beside(a: SceneObject, b: SceneObject, axis: int, side: int) -> int:
    """-1 when `a` comes first along the picture's axis (0: further left, 1: higher), 1 when `b` does, 0 within the
    margin: centres must be apart by 10 % of the larger extent and 5 % of the picture's side (pixels).
    """
    first, second = ((o.box[axis] + o.box[axis + 2]) / 2 for o in (a, b))
    extent = max(o.box[axis + 2] - o.box[axis] for o in (a, b))
    if abs(first - second) <= max(GAP_EXTENT * extent, GAP_SIDE * side):
        return 0
    return -1 if first < second else 1

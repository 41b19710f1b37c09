"""Pointing: the share of the answered points that lie in the true region (RefSpatial-Bench, Where2Place, PointBench).

The truth is JSON: a box [x1, y1, x2, y2], a polygon [[x, y], ...] of three or more corners, a list of polygons, or a
mask {"size": [height, width], "counts": [...]} (COCO's uncompressed runs, column by column, the first run outside).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spatial_jax.rewards.base import Context, Kind, Record, Spec, answer_kind, check_choice
from spatial_jax.rewards.parsing.points import Point, json_region, parse_points

MOST_POINTS, MOST_PIXELS = 100, 10**8
Ring = list[Point]


def _ring(corners: object) -> Ring | None:
    """Three or more corners, None for anything else."""
    if not isinstance(corners, list) or len(corners) < 3:
        return None
    if not all(isinstance(c, list) and len(c) == 2 and all(isinstance(v, (int, float)) for v in c) for c in corners):
        return None
    return [(float(x), float(y)) for x, y in corners]


def _runs(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in values)


def _mask(region: dict[str, Any]) -> np.ndarray:
    """Runs -> [height, width] bool. ValueError where they do not fill the size."""
    size, counts = region.get("size", ()), region.get("counts", ())
    if not (_runs(size) and _runs(counts) and len(size) == 2 and sum(counts) == size[0] * size[1] <= MOST_PIXELS):
        raise ValueError('a mask answer needs {"size": [height, width], "counts": [runs that fill it]}')
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(size[1], size[0]).T


def truth_region(record: Record) -> np.ndarray | list[Ring]:
    """The mask [height, width], or the rings, of a record's answer. ValueError where it is neither or is empty."""
    region = json_region(str(record["answer"]))
    if isinstance(region, dict):
        mask = _mask(region)
        if not mask.any():
            raise ValueError("the mask answer is empty; no point can lie in it")
        return mask
    rings: list[Ring | None] = []
    if isinstance(region, list):
        if len(region) == 4 and all(isinstance(v, (int, float)) for v in region):
            x1, y1, x2, y2 = (float(v) for v in region)
            if x1 < x2 and y1 < y2:
                return [[(x1, y1), (x2, y1), (x2, y2), (x1, y2)]]
        rings = [_ring(region)] if _ring(region) else [_ring(part) for part in region]
    if not rings or any(ring is None for ring in rings):
        raise ValueError(
            f"answer {str(record['answer'])[:60]!r} is no region: a box [x1, y1, x2, y2] with x1 < x2 and y1 < y2, a"
            " polygon [[x, y], ...] of three or more corners, a list of polygons, or a mask of runs"
        )
    return [ring for ring in rings if ring]


def in_ring(point: Point, ring: Ring) -> bool:
    """Inside a polygon or on its edge (even-odd rule)."""
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]]):
        cross = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        if cross == 0 and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
            return True
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            inside = not inside
    return inside


def _size(record: Record, spec: Spec) -> tuple[float, float] | None:
    """(width, height) that a coordinate runs to; None: unknown (pixels of a record without `model_sizes`)."""
    if spec["units"] != "pixels":
        full = 1000.0 if spec["units"] == "thousand" else 1.0
        return full, full
    sizes = record.get("model_sizes")
    return (float(sizes[0][0]), float(sizes[0][1])) if sizes else None


def _inside(point: Point, region: np.ndarray | list[Ring], size: tuple[float, float] | None) -> bool:
    if size and not (0 <= point[0] <= size[0] and 0 <= point[1] <= size[1]):
        return False
    if isinstance(region, list):
        return sum(in_ring(point, ring) for ring in region) > 0
    height, width = region.shape
    full = size or (float(width), float(height))
    x, y = int(np.floor(point[0] * width / full[0])), int(np.floor(point[1] * height / full[1]))
    return 0 <= x < width and 0 <= y < height and bool(region[y, x])


def _check(record: Record, spec: Spec) -> None:
    check_choice(spec, "units", ("pixels", "thousand", "unit"))
    check_choice(spec, "aim", ("mean", "first", "all"))
    count = spec["count"]
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MOST_POINTS:
        raise ValueError(f"reward point: count = {count!r}; it must be a whole number from 0 (any) to {MOST_POINTS}")
    truth_region(record)


def accuracy(answer: str, record: Record, spec: Spec, context: Context) -> float:
    """`aim`: mean (share of the points inside), first (the first point alone), all (1 where every point is inside).
    `count`: how many points there must be, 0 for any number up to 100. `units` of truth and answer: pixels of the
    picture the model sees, thousand (0 to 1000 each way) or unit (0 to 1).
    """
    points = parse_points(answer)
    if not points or len(points) > MOST_POINTS or (spec["count"] and len(points) != spec["count"]):
        return 0.0
    region, size = truth_region(record), _size(record, spec)
    hits = [_inside(point, region, size) for point in (points[:1] if spec["aim"] == "first" else points)]
    return float(all(hits)) if spec["aim"] == "all" else sum(hits) / len(hits)


KIND: Kind = answer_kind("point", {"units": "pixels", "aim": "mean", "count": 0}, accuracy, _check)

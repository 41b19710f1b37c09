"""3-D boxes that come with a dataset: into the camera's frame, onto the picture, and with names that mean one thing."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from data_prep.sources.base import ObjectDraft

Intrinsics = tuple[float, float, float, float]
NEAR = 0.1  # metres: what lies nearer to the camera's plane is cut off before it is projected
LEAST_SHARE = 0.1  # of its projected box inside the picture
APART = 0.08  # of the picture's width: the outermost of a class is called so where the next one is so far away
LIKE = 1 / 3  # of an object's height: unlabelled regions that are smaller are not meant by its name
_EDGES = [(i, j) for i in range(8) for j in range(i + 1, 8) if bin(i ^ j).count("1") == 1]
_SIGNS = np.array([[(i >> 2 & 1), (i >> 1 & 1), i & 1] for i in range(8)]) - 0.5


@dataclasses.dataclass
class GivenBox:
    """A labelled box in the camera frame (x right, y down, z forward): `center` [3] and `extent` [3] full sides,
    metres; `axes` [3, 3], columns are the box's axes. `sigma`: one standard deviation of the label's centre (each
    coordinate) and of its sides, metres. `visible`: share that nothing hides, as the labels say.
    """

    name: str
    center: np.ndarray
    extent: np.ndarray
    axes: np.ndarray
    sigma: tuple[float, float] = (0.0, 0.0)
    visible: float = 1.0

    def corners(self) -> np.ndarray:
        """Corners [8, 3], camera frame."""
        return self.center + (_SIGNS * self.extent) @ self.axes.T

    def in_record_order(self, up: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """(extent [3], axes [3, 3]) in the records' order: longer horizontal side, shorter one, the vertical pointing
        up; right-handed. `up`: camera frame, None: the camera is held level.
        """
        up = np.array([0.0, -1.0, 0.0]) if up is None else up
        along = self.axes.T @ up
        third = int(np.argmax(np.abs(along)))
        first, second = sorted({0, 1, 2} - {third}, key=lambda i: -self.extent[i])
        vertical = self.axes[:, third] * (1 if along[third] >= 0 else -1)
        axes = np.stack([self.axes[:, first], np.cross(vertical, self.axes[:, first]), vertical], -1)
        return self.extent[[first, second, third]], axes


def is_box(center: np.ndarray, extent: np.ndarray, axes: np.ndarray) -> bool:
    """Whether the numbers are finite, the sides positive and the axes orthonormal."""
    finite = all(np.isfinite(v).all() for v in (center, extent, axes))
    return bool(finite and (extent > 0).all() and np.allclose(axes.T @ axes, np.eye(3), atol=2e-2))


def project(points: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """Places [n, 2] of points [n, 3] in front of the camera, in pixels from the picture's upper left corner (the middle
    of the first pixel is at 0.5, 0.5), as boxes count them.
    """
    fx, fy, cx, cy = camera
    return np.stack([fx * points[:, 0] / points[:, 2] + cx, fy * points[:, 1] / points[:, 2] + cy], -1) + 0.5


def outline(corners: np.ndarray, camera: Intrinsics) -> tuple[float, float, float, float] | None:
    """[x1, y1, x2, y2] around the projection of a box's corners [8, 3] as far as it lies before the camera; it may
    reach beyond the picture. None where nothing does.
    """
    ahead = corners[corners[:, 2] >= NEAR]
    cuts = []
    for i, j in _EDGES:
        a, b = corners[i], corners[j]
        if (a[2] < NEAR) != (b[2] < NEAR):
            cuts.append(a + (NEAR - a[2]) / (b[2] - a[2]) * (b - a))
    points = np.concatenate([ahead, np.array(cuts).reshape(-1, 3)])
    if not len(points):
        return None
    pixels = project(points, camera)
    return (*map(float, pixels.min(0)), *map(float, pixels.max(0)))  # type: ignore[return-value]


def draft_of(
    given: GivenBox,
    size: tuple[int, int],
    camera: Intrinsics,
    up: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    box: Sequence[float] | None = None,
) -> ObjectDraft | None:
    """The object of a labelled box in a picture of `size` (width, height), None where it is not in view. `box`: its
    rectangle in the picture where the dataset has one (else the box's projection); `mask`: bool [h, w].
    """
    width, height = size
    whole = outline(given.corners(), camera)
    if whole is None or given.center[2] <= NEAR:
        return None
    seen = whole if box is None else tuple(map(float, box))
    x1, y1, x2, y2 = max(0.0, seen[0]), max(0.0, seen[1]), min(float(width), seen[2]), min(float(height), seen[3])
    if x2 <= x1 or y2 <= y1:
        return None
    inside = _area(clip(whole, width, height)) / max(1e-9, _area(whole))
    if mask is None and inside < LEAST_SHARE:
        return None
    extent, axes = given.in_record_order(up)
    where, sides = given.sigma
    unsure = {f"center_{axis}": where for axis in "xyz"} | {f"extent_{i}": sides for i in range(3)}
    unsure |= {"center": where * 3**0.5, "extent": sides}
    return ObjectDraft(
        given.name,
        given.name,
        mask,
        None if mask is not None else (x1, y1, x2, y2),
        visible_fraction=min(given.visible, inside),
        center=given.center,
        extent=extent,
        rotation=axes,
        uncertainty=unsure if where or sides else {},
        provenance={"box": "dataset", "measures": "3-D box of the dataset", "caption": "class of the dataset"},
    )


def seen_share(given: GivenBox, depth: np.ndarray, camera: Intrinsics, room: float = 0.1) -> float:
    """Share of a box's rays with known depth that nothing stops before it (0 where it has none): those that end in it,
    against those that end in front. Rays that go on behind it pass through its gaps and say nothing.
    """
    seen = outline(given.corners(), camera)
    if seen is None:
        return 0.0
    height, width = depth.shape
    x1, y1, x2, y2 = (int(v) for v in clip(seen, width, height))
    step = max(1, int(((x2 - x1) * (y2 - y1) / 4000) ** 0.5))
    rows, columns = (g.ravel() for g in np.mgrid[y1:y2:step, x1:x2:step])
    known = depth[rows, columns] > 0
    rows, columns = rows[known], columns[known]
    fx, fy, cx, cy = camera
    rays = np.stack([(columns - cx) / fx, (rows - cy) / fy, np.ones(len(rows))], -1) @ given.axes
    origin = -given.center @ given.axes
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = (np.array([-1, 1])[:, None, None] * given.extent / 2 - origin) / rays
    enter, leave = np.nanmax(ends.min(0), -1), np.nanmin(ends.max(0), -1)
    hit = (enter < leave) & (leave > 0)
    z = depth[rows, columns]
    before = (hit & (z < enter - room)).sum()
    inside = (hit & (z >= enter - room) & (z <= leave + room)).sum()
    return float(inside / max(1, before + inside))


def clip(box: Sequence[float], width: int, height: int) -> tuple[float, float, float, float]:
    """The part of a rectangle [x1, y1, x2, y2] inside a picture."""
    return max(0.0, box[0]), max(0.0, box[1]), min(float(width), box[2]), min(float(height), box[3])


def _area(box: tuple[float, ...]) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Common area of two rectangles [x1, y1, x2, y2] over that of both."""
    common = _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return common / max(1e-9, _area(tuple(a)) + _area(tuple(b)) - common)


def share_inside(a: Sequence[float], b: Sequence[float]) -> float:
    """Share of rectangle `a` that lies in `b`."""
    return _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))) / max(1e-9, _area(tuple(a)))


def name_apart(
    drafts: list[ObjectDraft], width: int, others: Sequence[tuple[str, Sequence[float]]] = ()
) -> list[ObjectDraft]:
    """The drafts with captions that mean one thing each: the class's name where it is alone, "leftmost chair" and
    "rightmost chair" where the next one is clearly away, none for the rest (then nothing is asked about them).

    `others`: (class or "" for any, rectangle) of what is in the picture and is no draft; it is no match for an object
    that is more than three times as high.
    """
    groups: dict[str, list[ObjectDraft]] = collections.defaultdict(list)
    for draft in drafts:
        groups[draft.name].append(draft)
    for name, group in groups.items():
        for draft in group:
            draft.caption = ""
        rest = [tuple(box) for other, box in others if other in ("", name)]
        order = sorted(group, key=_middle)
        if len(order) == 1:
            order[0].caption = "" if any(_rivals(order[0], box) for box in rest) else name
            continue
        gap = APART * width
        words = ("left", "right") if len(order) == 2 else ("leftmost", "rightmost")
        first, last = order[0], order[-1]
        if _middle(order[1]) - _middle(first) >= gap and not any(
            _rivals(first, b) and (b[0] + b[2]) / 2 < _middle(first) + gap for b in rest
        ):
            first.caption = f"{words[0]} {name}"
        if _middle(last) - _middle(order[-2]) >= gap and not any(
            _rivals(last, b) and (b[0] + b[2]) / 2 > _middle(last) - gap for b in rest
        ):
            last.caption = f"{words[1]} {name}"
        if len(order) == 2 and rest:
            for draft in order:
                draft.caption = draft.caption.replace("left ", "leftmost ").replace("right ", "rightmost ")
    return drafts


def _rectangle(draft: ObjectDraft) -> tuple[float, float, float, float]:
    if draft.box is not None:
        return draft.box
    assert draft.mask is not None
    columns, rows = np.flatnonzero(draft.mask.any(0)), np.flatnonzero(draft.mask.any(1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _middle(draft: ObjectDraft) -> float:
    box = _rectangle(draft)
    return (box[0] + box[2]) / 2


def _rivals(draft: ObjectDraft, box: Sequence[float]) -> bool:
    own = _rectangle(draft)
    return box[3] - box[1] >= LIKE * (own[3] - own[1])

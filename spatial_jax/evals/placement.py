"""How well a policy's boxes lie on what they name: intersection over union with the boxes that a question's
demonstration ends with, beside that of the best box that never looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spatial_jax.data import QuestionRecord, resolve
from spatial_jax.data.sampled import turns_before
from spatial_jax.drawing import Album, DrawingError, Operation, Steps, parse
from spatial_jax.rewards.kinds.iou import Box, box_iou

Key = tuple[int, str]  # number (from 0) of the question's picture, label
Size = tuple[int, int]


def right_boxes(record: QuestionRecord, sizes: Sequence[Size]) -> dict[Key, Box]:
    """The last box of each label that the record's demonstration boxes, in pixels of pictures of these (width, height);
    {} of a record without one. Boxes of one label in one turn are several things: they are left out.
    """
    steps = []
    for turn in turns_before(resolve(record, list(sizes))):
        try:
            steps.append(tuple(parse(turn)))
        except DrawingError:
            break
    return {key: boxes[0] for key, boxes in last_boxes(steps, sizes).items() if len(boxes) == 1}


def last_boxes(steps: Sequence[Sequence[Operation]], sizes: Sequence[Size]) -> dict[Key, list[Box]]:
    """The boxes of each label in the last turn that draws it, corners in order. Stops at a turn that cannot be
    drawn.
    """
    album, found = Album(sizes, near=None), dict[Key, list[Box]]()
    for step in steps:
        bases = [entry.original for entry in album.entries]
        try:
            album.draw(step, 1_000)
        except DrawingError:
            break
        now: dict[Key, list[Box]] = {}
        for o in step:
            if o.kind == "box":
                (left, right), (top, bottom) = sorted(o.points[0::2]), sorted(o.points[1::2])
                now.setdefault((bases[o.index - 1], o.label), []).append((left, top, right, bottom))
        found |= now
    return found


def placement(drawn: Steps, right: Mapping[Key, Box], sizes: Sequence[Size]) -> dict[str, float]:
    """Of one answer: "box_iou", the mean over the things that the question is about (0 for one that is not boxed; of
    several boxes of a label the first counts), and "boxed", the share that is boxed at all; {} where nothing is known.
    """
    if not right:
        return {}
    found = last_boxes(drawn.drawn, sizes)
    overlaps = [box_iou(found[key][0], box) if key in found else 0.0 for key, box in right.items()]
    return {"box_iou": float(np.mean(overlaps)), "boxed": sum(key in found for key in right) / len(right)}


def constant_iou(boxes: Sequence[Sequence[float]], sizes: Sequence[Size], steps: int = 28) -> float:
    """The mean overlap with `boxes` (x1, y1, x2, y2; pixels of pictures of `sizes`, one for each) of the one box, in
    shares of the picture, that fits them best: found on a grid of `steps` lines by moving one side at a time from the
    median box until nothing helps.
    """
    shares = np.asarray([[x1 / w, y1 / h, x2 / w, y2 / h] for (x1, y1, x2, y2), (w, h) in zip(boxes, sizes)])
    lines = np.linspace(0.0, 1.0, steps + 1)
    best = np.median(shares, 0)
    value = _mean_iou(best[None], shares)[0]
    while True:
        moved = np.concatenate(
            [np.where(np.arange(4) == side, line, best)[None] for side in range(4) for line in lines]
        )
        values = _mean_iou(moved, shares)
        if values.max() <= value + 1e-12:
            return float(value)
        best, value = moved[values.argmax()], values.max()


def _mean_iou(candidates: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """[c] mean overlap of boxes [c, 4] with boxes [n, 4]."""
    a, b = candidates[:, None], boxes[None]
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    both = sides.prod(-1)
    areas = (np.clip(box[..., 2:] - box[..., :2], 0, None).prod(-1) for box in (a, b))
    return (both / np.maximum(sum(areas) - both, 1e-12)).mean(1)

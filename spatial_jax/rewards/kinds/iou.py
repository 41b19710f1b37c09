"""Box localisation: intersection over union of xyxy boxes (Li 2025), continuous in [0, 1]."""

from __future__ import annotations

from spatial_jax.rewards.base import Context, Kind, Record, Spec, answer_kind
from spatial_jax.rewards.parsing.boxes import Box, parse_box


def box_iou(a: Box, b: Box) -> float:
    """IoU of two boxes [x1, y1, x2, y2]; 0 for an empty or inverted box."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0 or any(box[2] <= box[0] or box[3] <= box[1] for box in (a, b)):
        return 0.0
    inter = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union


def _clip(box: Box, size: tuple[float, float]) -> Box:
    width, height = size
    return (
        min(max(box[0], 0.0), width),
        min(max(box[1], 0.0), height),
        min(max(box[2], 0.0), width),
        min(max(box[3], 0.0), height),
    )


def _truth(record: Record, spec: Spec) -> Box:
    box = parse_box(str(record["answer"]))
    if box is None or box[2] <= box[0] or box[3] <= box[1]:
        raise ValueError(f"answer {record['answer']!r} is not a box [x1, y1, x2, y2] with x1 < x2 and y1 < y2")
    return box


def accuracy(answer: str, record: Record, spec: Spec, context: Context) -> float:
    """IoU with the truth, both in pixels of the picture the model sees; clipped to it where the record has
    `model_sizes`, its (width, height) a picture.
    """
    truth, box = _truth(record, spec), parse_box(answer)
    if box is None:
        return 0.0
    sizes = record.get("model_sizes")
    return box_iou(_clip(box, tuple(sizes[0])) if sizes else box, truth)


KIND: Kind = answer_kind("iou", {}, accuracy, _truth)

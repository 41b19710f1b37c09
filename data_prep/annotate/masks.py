"""Masks of proposals: Segment Anything from boxes, then rules for quality, stability and overlap."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from data_prep.annotate.base import Mask, Proposal, Rejected
from data_prep.annotate.sam import THRESHOLD, SegmentAnything
from data_prep.annotate.sam2 import CLASSES, SegmentAnything2
from data_prep.annotate.weights import ModelSettings, find_weights, identity, in_batches, model_type
from data_prep.sources.base import BadItem

LOW_RESOLUTION = 256  # the side of SAM's own mask


@dataclasses.dataclass
class MaskSettings(ModelSettings):
    """Thresholds: predicted IoU and stability (IoU of the masks cut at +`offset` and -`offset` logits) as in
    segment-anything's automatic masks, a little lower since a box says more than a point; the mask must fill its box
    (IoU of mask box and proposal). Of two masks that overlap more than `most_overlap` (IoU) the better stays; one that
    lies inside another by `most_inside` of itself is a part and goes (SpatialRGPT removes contained masks).
    `most_area`: share of the picture; `most`: objects a picture, best first.
    """

    least_quality: float = 0.8
    least_stability: float = 0.9
    offset: float = 1.0
    least_box: float = 0.5
    least_pixels: int = 100
    most_area: float = 0.6
    most_overlap: float = 0.5
    most_inside: float = 0.85
    most: int = 12
    boxes_at_once: int = 32


def _fits(mask: np.ndarray, box: tuple[float, ...]) -> float:
    """IoU of the mask's bounding box with a proposal."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    own = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    inner = max(0.0, min(own[2], box[2]) - max(own[0], box[0])) * max(0.0, min(own[3], box[3]) - max(own[1], box[1]))
    area = [(b[2] - b[0]) * (b[3] - b[1]) for b in (own, box)]
    return float(inner / max(sum(area) - inner, 1e-9))


def without_overlap(
    masks: list[Mask | Rejected], most_overlap: float, most_inside: float, most: int
) -> list[Mask | Rejected]:
    """The masks with duplicates, parts and surplus ones rejected: best (score times stability) first, ties by order."""
    out = list(masks)
    real = {i: m for i, m in enumerate(masks) if isinstance(m, Mask)}
    order = sorted(real, key=lambda i: (-real[i].score * real[i].stability, i))
    areas = {i: int(real[i].mask.sum()) for i in order}
    kept: list[int] = []
    for i in order:
        mine = real[i].mask
        for j in kept:
            shared = int((mine & masks[j].mask).sum())  # type: ignore[union-attr]
            if shared > most_overlap * (areas[i] + areas[j] - shared):
                out[i] = Rejected("the same as a better mask")
                break
        else:
            kept.append(i)
    for i in kept:
        for j in kept:
            if (
                areas[i] < areas[j]
                and isinstance(out[j], Mask)
                and int((real[i].mask & real[j].mask).sum()) > most_inside * areas[i]
            ):
                out[i] = Rejected("part of another mask")
                break
    for i in [i for i in kept if isinstance(out[i], Mask)][most:]:
        out[i] = Rejected(f"beyond the {most} best")
    return out


class SamMasker:
    """Masker over Segment Anything, SAM 2 or SAM 3, as the checkpoint says."""

    def __init__(self, settings: MaskSettings):
        self.settings, self.name = settings, f"Segment Anything {settings.weights}"
        find_weights(settings.weights)

    def config(self) -> dict[str, Any]:
        return identity("segment_anything", self.settings)

    @functools.cached_property
    def model(self) -> SegmentAnything | SegmentAnything2:
        kind = model_type(self.settings.weights)
        return SegmentAnything2(self.settings, kind) if kind in CLASSES else SegmentAnything(self.settings)

    def masks(
        self, pictures: list[np.ndarray], proposals: list[list[Proposal]]
    ) -> list[list[Mask | Rejected] | BadItem]:
        return in_batches(list(zip(pictures, proposals, strict=True)), self.settings.batch_size, self._masks)

    def _masks(self, batch: list[tuple[np.ndarray, list[Proposal]]]) -> list[list[Mask | Rejected]]:
        live = [i for i, (_, boxes) in enumerate(batch) if boxes]
        out: list[list[Mask | Rejected]] = [[] for _ in batch]
        if live:
            for i, embedding in zip(live, self.model.embed([batch[i][0] for i in live])):
                out[i] = self._one(embedding, *batch[i])
        return out

    def _one(self, embedding: Any, picture: np.ndarray, proposals: list[Proposal]) -> list[Mask | Rejected]:
        s, (height, width) = self.settings, picture.shape[:2]
        found: list[Mask | Rejected] = []
        for first in range(0, len(proposals), s.boxes_at_once):
            some = proposals[first : first + s.boxes_at_once]
            logits, quality = self.model.logits(embedding, np.array([p.box for p in some]), height, width)
            inner, outer = (logits > THRESHOLD + s.offset).sum((1, 2)), (logits > THRESHOLD - s.offset).sum((1, 2))
            stability = (inner / outer.clamp(min=1)).cpu().numpy()
            masks = (logits > THRESHOLD).cpu().numpy()
            found += [self._judge(*row) for row in zip(some, masks, quality, stability)]
        return without_overlap(found, s.most_overlap, s.most_inside, s.most)

    def _judge(self, proposal: Proposal, mask: np.ndarray, quality: float, stability: float) -> Mask | Rejected:
        s, pixels = self.settings, int(mask.sum())
        if pixels < s.least_pixels:
            return Rejected(f"fewer than {s.least_pixels} pixels")
        if pixels > s.most_area * mask.size:
            return Rejected(f"more than {s.most_area:g} of the picture")
        if not quality >= s.least_quality:
            return Rejected(f"predicted IoU below {s.least_quality:g}")
        if not stability >= s.least_stability:
            return Rejected(f"stability below {s.least_stability:g}")
        if _fits(mask, proposal.box) < s.least_box:
            return Rejected("does not fit its box")
        # One cell of SAM's own 256-pixel mask is this many pixels of the picture; its edge is known to about half of
        # one.
        sigma = max(2.0, 0.5 * max(mask.shape) / LOW_RESOLUTION)
        return Mask(mask, float(np.clip(quality, 0, 1)), float(stability), sigma)

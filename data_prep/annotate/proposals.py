"""Object proposals: the region proposal network of torchvision's Faster R-CNN (its class head is thrown away), tuned
for recall.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from data_prep.annotate.base import Proposal
from data_prep.annotate.torchvision_ops import ensure
from data_prep.annotate.weights import (
    ModelError,
    ModelSettings,
    find_weights,
    identity,
    in_batches,
    place,
    read_tensors,
)
from data_prep.sources.base import LEAST_CONFIDENCE, BadItem

BUILDERS = (
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn",
)


@dataclasses.dataclass
class ProposalSettings(ModelSettings):
    """`weights`: a file of torchvision's (its name begins with the builder's, e.g.
    fasterrcnn_resnet50_fpn_coco-258fb6c6.pth), or a directory or hub repository with one such file. `least_score` and
    the shares of the picture bound what is kept; `suppress`: greatest overlap (IoU) between two proposals; `most`:
    proposals a picture, best first; sides in pixels (0: the builder's own).
    """

    least_score: float = LEAST_CONFIDENCE
    most_area: float = 0.75
    least_pixels: int = 25
    suppress: float = 0.5
    most: int = 64
    short_side: int = 0
    long_side: int = 0


def select_boxes(boxes: np.ndarray, scores: np.ndarray, size: tuple[int, int], least: float, bounds: Any) -> np.ndarray:
    """Indices of the best boxes [n, 4] (scores [n], best first) that score `least`, and are neither too small nor
    nearly the whole picture of `size` (width, height), as the settings `bounds` say.
    """
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    good = (scores >= least) & (area >= bounds.least_pixels) & (area <= bounds.most_area * size[0] * size[1])
    return np.flatnonzero(good & np.isfinite(boxes).all(1))[: bounds.most]


class RpnProposer:
    """Proposer over a Faster R-CNN's backbone and RPN."""

    def __init__(self, settings: ProposalSettings):
        self.settings, self.name = settings, f"torchvision RPN {settings.weights}"
        self.path = find_weights(settings.weights)
        files = (
            sorted([*self.path.glob("*.pth"), *self.path.glob("*.safetensors")]) if self.path.is_dir() else [self.path]
        )
        named = [(f, b) for f in files for b in BUILDERS if f.name.startswith(b)]
        if not named:
            raise ModelError(f"proposals: no file of {settings.weights} is named after one of {', '.join(BUILDERS)}")
        self.path, self.builder = named[0]

    def config(self) -> dict[str, Any]:
        return identity("torchvision.rpn", self.settings)

    @functools.cached_property
    def model(self) -> Any:
        ensure()
        from torchvision.models import detection

        sizes = {k: v for k, v in (("min_size", self.settings.short_side), ("max_size", self.settings.long_side)) if v}
        model: Any = getattr(detection, self.builder)(weights=None, weights_backbone=None, num_classes=2, **sizes)
        del model.roi_heads
        tensors = {k: v for k, v in read_tensors(self.path).items() if not k.startswith("roi_heads.")}
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise ModelError(
                f"proposals: {self.path} does not fit {self.builder}: {' '.join(str(error).split())[:200]}"
            ) from None
        return place(model, self.settings)

    def propose(self, pictures: list[np.ndarray]) -> list[list[Proposal] | BadItem]:
        return in_batches(pictures, self.settings.batch_size, self._propose)

    def _propose(self, pictures: list[np.ndarray]) -> list[list[Proposal]]:
        import torch
        from torchvision.models.detection.rpn import concat_box_prediction_layers
        from torchvision.ops import nms

        model, dtype = self.model, getattr(torch, self.settings.precision)
        tensors = [
            torch.from_numpy(np.array(p)).permute(2, 0, 1).to(self.settings.device).to(dtype) / 255 for p in pictures
        ]
        images, _ = model.transform(tensors)
        features = list(model.backbone(images.tensors).values())
        rpn = model.rpn
        objectness, deltas = rpn.head(features)
        anchors = rpn.anchor_generator(images, features)
        levels = [o[0].numel() for o in objectness]
        flat, deltas = concat_box_prediction_layers(objectness, deltas)
        boxes = rpn.box_coder.decode(deltas.float(), anchors).view(len(pictures), -1, 4)
        found = rpn.filter_proposals(
            boxes, flat.float(), images.image_sizes, levels
        )  # its forward() would throw the scores away
        out = []
        for picture, size, box, score in zip(pictures, images.image_sizes, *found):
            height, width = picture.shape[:2]
            keep = nms(box, score, self.settings.suppress)
            scaled = box[keep] * box.new_tensor([width / size[1], height / size[0]] * 2)
            out.append(self._choose(scaled.cpu().numpy(), score[keep].cpu().numpy(), width, height))
        return out

    def _choose(self, boxes: np.ndarray, scores: np.ndarray, width: int, height: int) -> list[Proposal]:
        return [
            Proposal(tuple(float(v) for v in boxes[i]), float(scores[i]))  # type: ignore[arg-type]
            for i in select_boxes(boxes, scores, (width, height), self.settings.least_score, self.settings)
        ]

"""SAM 2 and SAM 3 from transformers' directories, seen as Segment Anything is (sam.py): an embedding a picture, then
mask logits for boxes on it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from data_prep.annotate.weights import ModelSettings, from_pretrained, processor_from

# model_type of a checkpoint -> the class that segments single pictures with it
CLASSES = {
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
    "sam3": "Sam3TrackerModel",
    "sam3_video": "Sam3TrackerModel",
    "sam3_tracker": "Sam3TrackerModel",
    "sam3_tracker_video": "Sam3TrackerModel",
}


class SegmentAnything2:
    """`embed` pictures, then `logits` of boxes on one of them."""

    def __init__(self, settings: ModelSettings, kind: str):
        import torch

        # As in sam.py: only the picture's tower runs in reduced precision.
        self.settings, whole = settings, dataclasses.replace(settings, precision="float32")
        self.model, folder = from_pretrained(CLASSES[kind], whole, "masks")
        self.model.vision_encoder.to(getattr(torch, settings.precision))
        self.processor = processor_from("AutoImageProcessor", folder, "masks")
        side = self.model.prompt_encoder.input_image_size
        self.side = int(side[0] if isinstance(side, (tuple, list)) else side)

    def embed(self, pictures: list[np.ndarray]) -> list[Any]:
        """One list of feature maps [1, c, g, g], fine to coarse, a picture."""
        import torch

        given = self.processor(images=[np.array(p) for p in pictures], return_tensors="pt")
        pixels = given["pixel_values"].to(self.settings.device, getattr(torch, self.settings.precision))
        levels = self.model.get_image_embeddings(pixels)
        return [[level[i : i + 1].float() for level in levels] for i in range(len(pictures))]

    def logits(self, embedding: Any, boxes: np.ndarray, height: int, width: int) -> tuple[Any, np.ndarray]:
        """(mask logits [n, height, width] float32 on the device, predicted IoU [n]) of boxes [n, 4] in pixels of the
        picture.
        """
        import torch

        scaled = boxes * np.array([self.side / width, self.side / height] * 2)  # both sides are resized to the model's
        out = self.model(
            image_embeddings=embedding,
            input_boxes=torch.as_tensor(scaled[None], dtype=torch.float32, device=embedding[-1].device),
            multimask_output=False,
        )
        masks = torch.nn.functional.interpolate(
            out.pred_masks[0].float(), (height, width), mode="bilinear", align_corners=False
        )
        return masks[:, 0], out.iou_scores[0].float().reshape(-1).cpu().numpy()

"""Dense depth from one picture: Depth Anything V2 through transformers, metric (indoor or outdoor) or relative.

The metric checkpoints give metres up to their range (indoor 20, outdoor 80); the relative ones give inverse depth up to
an unknown scale and shift, which is turned into something that orders pixels as depth does and is flagged "relative":
it never feeds a number.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from data_prep.annotate.base import DepthEstimate
from data_prep.annotate.weights import ModelSettings, from_pretrained, identity, in_batches, processor_from
from data_prep.sources.base import ESTIMATED_BIAS, ESTIMATED_NOISE, BadItem, DepthNoise

SATURATED = 0.98  # share of a model's range beyond which a depth only says "at least so far"
_NEAREST = 0.1  # of the disparity's range: keeps the farthest pixel's relative depth finite


@dataclasses.dataclass
class DepthSettings(ModelSettings):
    """`noise`: relative error of a pixel against its neighbours, `bias`: relative error of the scale that a whole
    picture shares, `shift`: metres that are added to all of a picture, one standard deviation each. The defaults are
    about what the metric models' authors report as AbsRel on data they were not trained on, split between the first
    two; set them from your own pictures where you have measured any.
    """

    noise: float = ESTIMATED_NOISE
    bias: float = ESTIMATED_BIAS
    shift: float = 0.0


def clean(depth: np.ndarray, farthest: float = np.inf) -> np.ndarray:
    """float32 depth with 0 where it is no finite positive number below `farthest`."""
    depth = np.asarray(depth, np.float32)
    return np.where(np.isfinite(depth) & (depth > 0) & (depth < farthest), depth, np.float32(0))


def order_from_disparity(disparity: np.ndarray) -> np.ndarray:
    """Relative depth [h, w] in 0.9 to 10, farther is greater, from inverse depth known up to scale and shift; 0 where
    it is not finite.
    """
    good = np.isfinite(disparity)
    if not good.any():
        return np.zeros(disparity.shape, np.float32)
    low, high = float(disparity[good].min()), float(disparity[good].max())
    share = (np.where(good, disparity, low) - low) / max(high - low, 1e-12)
    return np.where(good, 1 / (share + _NEAREST), 0).astype(np.float32)


class DepthAnything:
    """DepthEstimator over a Depth Anything V2 checkpoint in transformers' format."""

    def __init__(self, settings: DepthSettings):
        self.settings, self.name = settings, f"Depth Anything V2 {settings.weights}"

    def config(self) -> dict[str, Any]:
        return identity("depth_anything", self.settings)

    @functools.cached_property
    def loaded(self) -> tuple[Any, Any]:
        model, folder = from_pretrained("AutoModelForDepthEstimation", self.settings, "depth")
        return model, processor_from("AutoImageProcessor", folder, "depth")

    def depth(self, pictures: list[np.ndarray]) -> list[DepthEstimate | BadItem]:
        return in_batches(pictures, self.settings.batch_size, self._depth)

    def _depth(self, pictures: list[np.ndarray]) -> list[DepthEstimate | BadItem]:
        import torch

        model, processor = self.loaded
        # The processor keeps each picture's shape: those of one size go together.
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, picture in enumerate(pictures):
            groups.setdefault(picture.shape, []).append(i)
        out: dict[int, DepthEstimate | BadItem] = {}
        for places in groups.values():
            group = [pictures[i] for i in places]
            inputs = processor(images=[np.array(p) for p in group], return_tensors="pt").to(self.settings.device)
            raw = model(pixel_values=inputs["pixel_values"].to(model.dtype)).predicted_depth.float()
            for i, picture, single in zip(places, group, raw):
                size = picture.shape[:2]
                whole = torch.nn.functional.interpolate(
                    single[None, None], size=size, mode="bilinear", align_corners=False
                )[0, 0]
                out[i] = self._estimate(whole.cpu().numpy(), model.config)
        return [out[i] for i in range(len(pictures))]

    def _estimate(self, raw: np.ndarray, config: Any) -> DepthEstimate | BadItem:
        metric = getattr(config, "depth_estimation_type", "relative") == "metric"
        depth = clean(raw, SATURATED * config.max_depth) if metric else order_from_disparity(raw)
        if not depth.any():
            return BadItem(f"{self.name} gave no valid depth")
        # Neighbouring pixels come from one patch of the vision tower (14 of the 518 pixels of the shorter side).
        correlation = max(1.0, min(raw.shape) * 14 / 518)
        noise = DepthNoise(
            linear=self.settings.noise, bias=self.settings.bias, correlation=correlation, shift=self.settings.shift
        )
        return DepthEstimate(depth, "metric" if metric else "relative", noise)

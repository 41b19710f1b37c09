"""Depth Pro through transformers: metric depth and the camera's field of view from one picture; a depth model, a camera
model, or both.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from data_prep.annotate.base import CameraEstimate, DepthEstimate
from data_prep.annotate.depth import DepthSettings, clean
from data_prep.annotate.weights import ModelError, from_pretrained, identity, in_batches, processor_from
from data_prep.sources.base import BadItem, DepthNoise, Frame

FARTHEST = 250.0  # metres; beyond it the canonical inverse depth is nothing but rounding
FOCAL_SIGMA = 0.08  # relative error of its focal length: about what the authors report on data sets it never saw
VIEW = (5.0, 150.0)  # degrees of horizontal field of view that are believed


class DepthPro:
    """DepthEstimator and CameraEstimator over a Depth Pro checkpoint with its field-of-view head."""

    def __init__(self, settings: DepthSettings):
        self.settings, self.name = settings, f"Depth Pro {settings.weights}"

    def config(self) -> dict[str, Any]:
        return identity("depth_pro", self.settings)

    @functools.cached_property
    def loaded(self) -> tuple[Any, Any]:
        model, folder = from_pretrained("AutoModelForDepthEstimation", self.settings, "depth and camera")
        if not getattr(model.config, "use_fov_model", False):
            raise ModelError(
                f"{self.settings.weights} has no field-of-view head (use_fov_model): its depth has no scale"
            )
        return model, processor_from("AutoImageProcessor", folder, "depth and camera")

    def depth(self, pictures: list[np.ndarray]) -> list[DepthEstimate | BadItem]:
        return in_batches(pictures, self.settings.batch_size, self._depth)

    def camera(self, frames: list[Frame]) -> list[CameraEstimate | BadItem]:
        found = self.depth([f.rgb for f in frames])
        return [e if isinstance(e, BadItem) else self._camera(e) for e in found]

    @staticmethod
    def _camera(estimate: DepthEstimate) -> CameraEstimate:
        assert estimate.intrinsics is not None  # every depth of this model has a field of view
        return CameraEstimate(estimate.intrinsics, "estimated", focal_sigma=FOCAL_SIGMA)

    def _depth(self, pictures: list[np.ndarray]) -> list[DepthEstimate | BadItem]:
        model, processor = self.loaded
        inputs = processor(images=[np.array(p) for p in pictures], return_tensors="pt").to(self.settings.device)
        outputs = model(pixel_values=inputs["pixel_values"].to(model.dtype))
        outputs.predicted_depth, outputs.field_of_view = (
            outputs.predicted_depth.float(),
            outputs.field_of_view.float().reshape(-1),
        )
        found = processor.post_process_depth_estimation(outputs, target_sizes=[p.shape[:2] for p in pictures])
        return [self._estimate(picture, one) for picture, one in zip(pictures, found)]

    def _estimate(self, picture: np.ndarray, one: dict[str, Any]) -> DepthEstimate | BadItem:
        height, width = picture.shape[:2]
        view, focal = float(one["field_of_view"]), float(one["focal_length"])
        if not VIEW[0] <= view <= VIEW[1]:
            return BadItem(f"{self.name} saw a field of view of {view:.3g} degrees, outside {VIEW[0]:g} to {VIEW[1]:g}")
        depth = clean(one["predicted_depth"].cpu().numpy(), FARTHEST)
        if not depth.any():
            return BadItem(f"{self.name} gave no valid depth")
        noise = DepthNoise(
            linear=self.settings.noise,
            bias=self.settings.bias,
            correlation=max(1.0, min(height, width) * 16 / 1536),
            shift=self.settings.shift,
        )
        return DepthEstimate(
            depth,
            "metric",
            noise,
            (focal, focal, (width - 1) / 2, (height - 1) / 2),
            scales_with_focal=True,
            focal_sigma=FOCAL_SIGMA,
        )

"""scikit-image's real stereo pair as a metric RGB-D frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from data_prep.sources.base import BadItem, DepthNoise, Frame, SourceError

# Middlebury 2014 "Motorcycle" at a quarter of its size, as scikit-image carries it: the published calibration, scaled.
FOCAL, CENTER, OFFSET, BASELINE = 994.978, (311.193, 254.877), 31.086, 0.193001
DISPARITY_SIGMA = 0.25  # pixels at this size; the published ground truth is good to about a pixel at four times it


def depth_from_disparity(disparity: np.ndarray, focal: float, baseline: float, offset: float) -> np.ndarray:
    """float32 depth, metres: focal * baseline / (disparity + offset), 0 where the disparity is not a positive
    number.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = focal * baseline / (disparity + offset)
    return np.where(np.isfinite(disparity) & (disparity > 0), depth, 0).astype(np.float32)


class StereoMotorcycle:
    """One item: the left picture with depth from its true disparity."""

    name = "stereo"

    def __init__(self) -> None:
        try:
            import skimage.data

            self._fetch = skimage.data.stereo_motorcycle
        except ImportError:
            raise SourceError("scikit-image is not installed: pip install 'spatial_jax[prep]'") from None

    def __len__(self) -> int:
        return 1

    def item_id(self, index: int) -> str:
        return "skimage/stereo_motorcycle"

    def config(self) -> dict[str, Any]:
        return {"source": self.name, "focal": FOCAL, "baseline": BASELINE, "offset": OFFSET}

    def load(self, index: int) -> Frame:
        try:
            left, _, disparity = self._fetch()
        except OSError as error:
            raise BadItem(f"the installed scikit-image lacks the stereo pair: {error}") from None
        noise = DepthNoise(quadratic=DISPARITY_SIGMA / (FOCAL * BASELINE))
        return Frame(
            item_id=self.item_id(index),
            source=self.name,
            rgb=np.ascontiguousarray(left[..., :3]),
            split_key="skimage/motorcycle",
            depth=depth_from_disparity(disparity, FOCAL, BASELINE, OFFSET),
            depth_flag="metric",
            depth_noise=noise,
            intrinsics=(FOCAL, FOCAL, *CENTER),
            intrinsics_source="sensor",
            tags=("photo", "indoor"),
            provenance={"depth": "Middlebury 2014 Motorcycle disparity", "intrinsics": "published calibration"},
        )

"""The camera where a picture does not tell it (EXIF is read by the sources): a multi-view model's output for clips
(clips.py), a single-image estimator (depth_pro.py), or a default that is marked as one. Gravity and the floor follow
from metric depth (data_prep.geometry.measure.Level).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from data_prep.annotate.base import CameraEstimate, CameraEstimator
from data_prep.annotate.weights import ModelError
from data_prep.sources.base import BadItem, Frame

DEFAULT_VIEW = (
    55.0  # degrees across the longer side: a phone's main camera at about 28 mm equivalent sees 65, a 35 mm lens 54
)
DEFAULT_SIGMA = 0.25  # relative error of the focal length that a default implies: phones and lenses from 24 to 50 mm


class DefaultCamera:
    """`view` degrees across the longer side, principal point in the middle; source "default": nothing may ask for its
    numbers.
    """

    def __init__(self, view: float = DEFAULT_VIEW):
        if not 5 <= view <= 150:
            raise ModelError(f"camera: a field of view of {view:g} degrees is not between 5 and 150")
        self.view, self.name = view, f"default field of view {view:g} degrees"

    def config(self) -> dict[str, Any]:
        return {"model": "default", "view": self.view}

    def camera(self, frames: list[Frame]) -> list[CameraEstimate | BadItem]:
        out: list[CameraEstimate | BadItem] = []
        for frame in frames:
            focal = max(frame.width, frame.height) / (2 * float(np.tan(np.radians(self.view) / 2)))
            out.append(
                CameraEstimate(
                    (focal, focal, (frame.width - 1) / 2, (frame.height - 1) / 2),
                    "default",
                    focal_sigma=DEFAULT_SIGMA,
                    name=self.name,
                )
            )
        return out


class CameraChain:
    """The first of several estimators that has an answer; what the earlier ones said is lost only when a later one
    knows.
    """

    def __init__(self, estimators: list[CameraEstimator]):
        self.estimators, self.name = estimators, " else ".join(e.name for e in estimators)

    def config(self) -> dict[str, Any]:
        return {"model": "chain", "of": [e.config() for e in self.estimators]}

    def camera(self, frames: list[Frame]) -> list[CameraEstimate | BadItem]:
        out: list[CameraEstimate | BadItem] = [BadItem("no camera estimator")] * len(frames)
        left = list(range(len(frames)))
        for estimator in self.estimators:
            if not left:
                break
            for i, found in zip(left, estimator.camera([frames[i] for i in left]), strict=True):
                if isinstance(found, CameraEstimate):
                    found.name = found.name or estimator.name
                out[i] = found
            left = [i for i in left if isinstance(out[i], BadItem)]
        return out

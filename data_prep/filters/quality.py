"""Cheap statistics of a picture, and the filter over them (the kinds of statistics are Li 2025's; the thresholds are
this project's).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from data_prep.pipeline import Dropped
from data_prep.sources.base import Frame

SIDE = 512  # pixels of the longer side that sharpness is measured at
_BINS = 16  # a colour channel; 12 bits at most, 4 for a grey picture
_LUMA = np.array((0.2126, 0.7152, 0.0722), np.float32)


@dataclasses.dataclass
class QualitySettings:
    """Bounds: mean luma (0 black to 1 white), RMS contrast of luma, share of pixels at black or white, entropy of the
    colour histogram in bits, variance of the Laplacian of 8-bit luma at 512 pixels, and the longer side over the
    shorter.
    """

    least_luma: float = 0.08
    most_luma: float = 0.92
    least_contrast: float = 0.05
    most_clipped: float = 0.35
    least_entropy: float = 2.5
    least_sharpness: float = 20.0
    most_aspect: float = 4.0


def statistics(rgb: np.ndarray) -> dict[str, float]:
    """luma, contrast, clipped, entropy, sharpness and aspect of a picture uint8 [h, w, 3]; larger ones are shrunk to
    512 pixels first (never enlarged: that would look like blur).
    """
    height, width = rgb.shape[:2]
    image = Image.fromarray(rgb)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    small = np.asarray(image)
    luma = small @ _LUMA
    codes = (small // (256 // _BINS)).astype(np.int32) @ np.array((_BINS * _BINS, _BINS, 1))
    share = np.bincount(codes.ravel(), minlength=_BINS**3) / codes.size
    share = share[share > 0]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    return {
        "luma": float(luma.mean()) / 255,
        "contrast": float(luma.std()) / 255,
        "clipped": float(((luma <= 2) | (luma >= 253)).mean()),
        "entropy": float(-(share * np.log2(share)).sum()) + 0.0,
        "sharpness": float(laplacian.var()) if laplacian.size else 0.0,
        "aspect": max(height, width) / min(height, width),
    }


def verdict(found: dict[str, float], s: QualitySettings) -> tuple[str, str]:
    """(reason, measure) of the first bound that statistics break, or ("", ""): the reason to count by, the measure to
    look at.
    """
    checks = (
        ("too dark", "luma", "<", s.least_luma),
        ("too bright", "luma", ">", s.most_luma),
        ("hardly any contrast", "contrast", "<", s.least_contrast),
        ("too much clipped to black or white", "clipped", ">", s.most_clipped),
        ("hardly any colours", "entropy", "<", s.least_entropy),
        ("blurred", "sharpness", "<", s.least_sharpness),
        ("too narrow", "aspect", ">", s.most_aspect),
    )
    for reason, key, sign, bound in checks:
        if (found[key] < bound) if sign == "<" else (found[key] > bound):
            return f"{reason} ({key} {sign} {bound:g})", f"{key} {found[key]:.3g}"
    return "", ""


class QualityFilter:
    """Stage: drops pictures whose statistics break a bound; the others carry their statistics in meta["quality"]."""

    name = "quality"

    def __init__(self, settings: QualitySettings):
        self.settings = settings

    def config(self) -> dict[str, Any]:
        return {"stage": self.name, **dataclasses.asdict(self.settings)}

    def __call__(self, frame: Frame) -> None:
        found = statistics(frame.rgb)
        reason, measure = verdict(found, self.settings)
        if reason:
            raise Dropped(f"{reason} | {measure}")
        frame.meta["quality"] = {key: round(value, 4) for key, value in found.items()}

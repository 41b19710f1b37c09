"""What every source gives: items by number, each a `Frame` with whatever geometry the source truly knows."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from typing import Any, Protocol

import numpy as np


class BadItem(Exception):
    """One item cannot be used; the message is one line that says why. The run goes on."""


class SourceError(Exception):
    """The source as a whole cannot be used (no such folder, nothing in it); the message is one line that says what to
    do.
    """


@dataclasses.dataclass
class ObjectDraft:
    """An object on its way to a record. `mask` bool [h, w]; center [3], extent [3] metres and rotation [3, 3] (columns
    are the box's axes, the third along gravity, pointing up) in the camera frame where the source knows them, else None
    and measured later.
    """

    name: str
    caption: str
    mask: np.ndarray | None = None
    box: tuple[float, float, float, float] | None = None
    confidence: float = 1.0
    visible_fraction: float = 1.0
    mask_sigma: float = 2.0  # error of the mask's edge, pixels, one standard deviation
    center: np.ndarray | None = None
    extent: np.ndarray | None = None
    rotation: np.ndarray | None = None
    points: np.ndarray | None = None  # [n, 3] sample of its cloud, camera frame
    depth: dict[str, float] = dataclasses.field(default_factory=dict)  # median, q20, q80, rel_std, share, cover
    uncertainty: dict[str, float] = dataclasses.field(default_factory=dict)
    unmeasured: list[str] = dataclasses.field(default_factory=list)  # why a measure is missing, e.g. "no depth"
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)


def reach_of(correlation: float) -> int:
    """Pixels to each side over which smoothed noise of this correlation is drawn."""
    return max(1, math.ceil(4 * correlation / math.sqrt(4 * math.pi)))


@functools.lru_cache(maxsize=64)
def kernel_of(correlation: float) -> float:
    """Standard deviation, pixels, of the Gaussian that makes of white noise one that averages out as if blocks of side
    `correlation` (> 1) were independent: (sum of weights)^2 = correlation * (sum of squared weights), in one dimension.
    For wide kernels that is correlation / sqrt(4 pi); narrow ones fall between the pixels.
    """
    steps = np.arange(-reach_of(correlation), reach_of(correlation) + 1)
    low, high = 0.05, max(1.0, float(correlation))
    for _ in range(40):
        kernel = (low + high) / 2
        weights = np.exp(-(steps**2) / (2 * kernel**2))
        reached = float(weights.sum() ** 2 / (weights**2).sum())
        low, high = (kernel, high) if reached < correlation else (low, kernel)
    return kernel


@dataclasses.dataclass
class DepthNoise:
    """What is unsure of a depth picture, one standard deviation each, in parts that are kept apart.

    Of a pixel: sqrt(constant^2 + (linear z)^2 + (quadratic z^2)^2), metres; pixels nearer than `correlation` pixels
    share their error. Of the whole picture: `bias`, the relative error of its scale; `shift`, metres added to every
    depth; `focal`, the relative error of the focal length that turns pixels into directions.
    """

    constant: float = 0.0
    linear: float = 0.0
    quadratic: float = 0.0
    bias: float = 0.0
    correlation: float = 1.0
    shift: float = 0.0
    focal: float = 0.0

    def sigma(self, depth: np.ndarray) -> np.ndarray:
        """Standard deviation of each depth, same shape; without what the picture shares."""
        return np.sqrt(self.constant**2 + (self.linear * depth) ** 2 + (self.quadratic * depth**2) ** 2)

    def shared(self) -> dict[str, float]:
        """The parts that a whole picture shares, where they are not zero: scale, shift, focal."""
        parts = {"scale": self.bias, "shift": self.shift, "focal": self.focal}
        return {key: value for key, value in parts.items() if value > 0}

    def draw(self, depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """float32 depth [h, w] with one draw of all this added; the focal length's error is the camera's."""
        grain = rng.standard_normal(depth.shape)
        if self.correlation > 1:
            from scipy.ndimage import gaussian_filter

            grain = gaussian_filter(grain, kernel_of(self.correlation), mode="wrap", radius=reach_of(self.correlation))
            grain /= max(1e-12, float(grain.std()))
        shared = 1 + self.bias * rng.standard_normal()
        noisy = depth * shared + self.sigma(depth) * grain + self.shift * rng.standard_normal()
        return np.where(depth > 0, np.maximum(noisy, 1e-3), 0).astype(np.float32)


# Objects of less confidence are not asked about (--set=margins.min_confidence), so nothing below it is masked either.
LEAST_CONFIDENCE = 0.5

# What depth models' authors report as AbsRel on data they were not trained on, split between a pixel's own error and
# the scale that a whole picture shares.
ESTIMATED_NOISE, ESTIMATED_BIAS = 0.05, 0.10


@dataclasses.dataclass
class Frame:
    """A picture on its way to a record. `rgb` uint8 [h, w, 3] upright; `encoded`: the same picture as JPEG or PNG
    bytes, when the source has it so; `depth` float32 [h, w] along the optical axis, 0 or NaN where invalid;
    `split_key`: frames with one key share a split.
    """

    item_id: str
    source: str
    rgb: np.ndarray
    encoded: bytes = b""
    split_key: str = ""
    depth: np.ndarray | None = None
    depth_flag: str = "none"
    depth_noise: DepthNoise = dataclasses.field(default_factory=DepthNoise)
    intrinsics: tuple[float, float, float, float] | None = None
    intrinsics_source: str = "none"
    gravity: np.ndarray | None = None
    # Error of gravity's direction: pitch and roll, radians, one standard deviation each; and, where it was found in the
    # depth, tip: by how much it pitches for a shift of all depths, radians a metre.
    gravity_sigma: dict[str, float] = dataclasses.field(default_factory=dict)
    floor: np.ndarray | None = None
    objects: list[ObjectDraft] = dataclasses.field(default_factory=list)
    tags: tuple[str, ...] = ()
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)  # what was repaired on the way in, e.g. "CMYK converted"
    told: dict[str, int] = dataclasses.field(default_factory=dict)  # what the run's summary counts over all pictures
    # Relative error of the focal length as the camera's own source states it, one standard deviation; that of a depth
    # model's own camera is in `depth_noise`.
    focal_sigma: float = 0.0

    def shared(self) -> dict[str, float]:
        """What is unsure of the whole picture, where it is not zero: scale, shift, focal, and gravity's pitch, roll and
        tip; of a picture without depth the focal length alone.
        """
        parts = self.depth_noise.shared() if self.depth is not None else {}
        if self.intrinsics is not None and (focal := float(np.hypot(parts.get("focal", 0.0), self.focal_sigma))) > 0:
            parts["focal"] = focal
        return parts | (self.gravity_sigma if self.gravity is not None else {})

    @property
    def height(self) -> int:
        return self.rgb.shape[0]

    @property
    def width(self) -> int:
        return self.rgb.shape[1]


class Source(Protocol):
    """Items in a fixed order. `load` must give the same frame for the same index in any process."""

    name: str

    def __len__(self) -> int: ...

    def item_id(self, index: int) -> str:
        """Stable id of an item, known without loading it."""
        ...

    def load(self, index: int) -> Frame:
        """Raises BadItem when the item cannot be used."""
        ...

    def config(self) -> dict[str, Any]:
        """What the source was made from, JSON-ready: part of the dataset's identity, so a resume can tell that it is
        the same.
        """
        ...


def split_of(key: str, heldout_percent: int = 10) -> str:
    """ "heldout" for `heldout_percent` of all keys, by hash, else "train": the same key falls in the same split in
    every dataset.
    """
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return "heldout" if number % 100 < heldout_percent else "train"

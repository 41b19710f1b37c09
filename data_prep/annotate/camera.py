"""The camera where a picture does not tell it (EXIF is read by the sources): MegaSaM's own output for clips, a
single-image estimator, or a default that is marked as one. Gravity and the floor follow from metric depth
(data_prep.geometry.measure.Level).
"""

from __future__ import annotations

import functools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.annotate.base import CameraEstimate, CameraEstimator
from data_prep.annotate.weights import ModelError
from data_prep.sources.base import BadItem, Frame

DEFAULT_VIEW = (
    55.0  # degrees across the longer side: a phone's main camera at about 28 mm equivalent sees 65, a 35 mm lens 54
)
DEFAULT_SIGMA = 0.25  # relative error of the focal length that a default implies: phones and lenses from 24 to 50 mm
CLIP_SIGMA = 0.05  # of one that MegaSaM optimised over a clip
SUFFIXES = ("_sgd_cvd_hr.npz", "_droid.npz")  # of MegaSaM's two stages, the later first


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


class MegaSam:
    """Intrinsics of clips from the files that MegaSaM wrote (CLIP_sgd_cvd_hr.npz of its last stage, else
    CLIP_droid.npz) under `folder`: arrays `images` [t, h, w, 3] and `intrinsic` [3, 3] in pixels of these images. CLIP
    is the video's name without extension, or, for frames in folders, the folder's: in the clips' own folders, or
    anywhere where the name is the only one.
    """

    def __init__(self, folder: str):
        self.folder, self.name = Path(folder).expanduser(), f"MegaSaM {folder}"
        if not self.folder.is_dir() or not any(self.folder.rglob("*.npz")):
            raise ModelError(f"camera: no MegaSaM output (*{SUFFIXES[0]}, *{SUFFIXES[1]}) under {folder}")

    def config(self) -> dict[str, Any]:
        return {"model": "megasam", "folder": str(self.folder)}

    def camera(self, frames: list[Frame]) -> list[CameraEstimate | BadItem]:
        return [self._one(frame) for frame in frames]

    def _one(self, frame: Frame) -> CameraEstimate | BadItem:
        clip = Path(str(frame.meta.get("video") or Path(frame.item_id).parent))
        name = str(clip.with_suffix("") if frame.meta.get("video") else clip)
        found = self._read(name)
        if isinstance(found, str):
            return BadItem(found)
        (fx, fy, cx, cy), (height, width) = found
        # MegaSaM resizes a frame and cuts its sides to multiples of 8: the scale is that of the longer side, within one
        # per cent.
        scale = max(frame.width, frame.height) / max(width, height)
        if abs(frame.width / frame.height / (width / height) - 1) > 0.06:
            return BadItem(
                f"MegaSaM's pictures of {name} ({width}x{height}) have another shape than the frame"
                f" ({frame.width}x{frame.height})"
            )
        middle = (cx + 0.5) / width * frame.width - 0.5, (cy + 0.5) / height * frame.height - 0.5
        return CameraEstimate((fx * scale, fy * scale, *middle), "estimated", focal_sigma=CLIP_SIGMA, name=self.name)

    # As many clips as are open at once; the estimator lives as long as its worker.
    @functools.lru_cache(maxsize=64)  # noqa: B019
    def _read(self, clip: str) -> tuple[tuple[float, float, float, float], tuple[int, int]] | str:
        for suffix in SUFFIXES:
            same = [p for p in sorted(self.folder.rglob("*.npz")) if p.name == Path(clip).name + suffix]
            whole = [p for p in same if p == self.folder / (clip + suffix)]
            if len(same) > 1 and not whole:
                return f"MegaSaM's {same[0]} and {same[1]} could both be of {clip}: keep them in the clips' folders"
            for path in whole or same:
                try:
                    with np.load(path, allow_pickle=False) as arrays:
                        matrix, shape = np.asarray(arrays["intrinsic"], np.float64), _shape(path)
                except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                    return f"{path.name} cannot be read: {' '.join(str(error).split())[:120]}"
                if (
                    matrix.shape != (3, 3)
                    or not np.isfinite(matrix).all()
                    or min(matrix[0, 0], matrix[1, 1]) <= 0
                    or min(shape) < 8
                ):
                    return f"{path.name} has no usable intrinsic matrix"
                return (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]), shape
        return f"MegaSaM wrote nothing for clip {clip}"


def _shape(path: Path) -> tuple[int, int]:
    """(height, width) of the array `images` in an .npz file, read from its header alone."""
    with zipfile.ZipFile(path) as archive, archive.open("images.npy") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape = read(file)[0]
    if len(shape) != 4:
        raise ValueError(f"images has shape {shape}")
    return int(shape[1]), int(shape[2])


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

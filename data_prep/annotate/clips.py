"""What multi-view models wrote of a clip, through one interface: depth and camera of each of its frames.

A clip's file holds the frames that the model saw; which of them a picture is, is told by looking at them, so that clips
thinned out or cut on the way still fit. MegaSaM's files (CLIP_sgd_cvd_hr.npz of its last stage, else CLIP_droid.npz)
have metres and one camera a clip; VGGT's (predictions.npz in a folder named as the clip, as its demo writes it, or
CLIP.npz) have one camera a frame and a depth whose scale is free, so it only orders.
"""

from __future__ import annotations

import dataclasses
import functools
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_prep.annotate.base import CameraEstimate, DepthEstimate, DepthStage
from data_prep.annotate.depth import DepthSettings, clean
from data_prep.annotate.weights import ModelError
from data_prep.sources.base import BadItem, DepthNoise, Frame

CLIP_SIGMA = 0.05  # relative error of a focal length that was optimised over a clip, one standard deviation
THUMB = (32, 24)  # pixels: what two frames are compared at
SAME = 12.0  # grey levels between a picture and the frame that it is, mean
# What a broken or half-written .npz raises.
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
SHAPES = 0.06  # of their ratio of sides: more is another picture, or a part of it


@dataclasses.dataclass
class Clip:
    """thumbs float [t, n]; `intrinsics` (fx, fy, cx, cy) of each frame, in pixels of the pictures that the model saw,
    `size` (width, height); `depth` float [t, h, w] and `poses` float [t, 4, 4], camera to the clip's world, None where
    the file has none.
    """

    thumbs: np.ndarray
    intrinsics: list[tuple[float, float, float, float]]
    size: tuple[int, int]
    depth: np.ndarray | None
    poses: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Format:
    """How a model names and fills its files: `files` of a clip, the later stage first ("{clip}" is its name); `metric`:
    whether its depth is in metres; `pose`: its poses, and whether they take the world to the camera (`from_world`).
    """

    name: str
    files: tuple[str, ...]
    images: str
    depth: str
    intrinsic: str
    pose: str
    from_world: bool
    metric: bool


FORMATS = {
    "megasam": Format(
        "MegaSaM",
        ("{clip}_sgd_cvd_hr.npz", "{clip}_droid.npz"),
        "images",
        "depths",
        "intrinsic",
        "cam_c2w",
        from_world=False,
        metric=True,
    ),
    "vggt": Format(
        "VGGT",
        ("{clip}/predictions.npz", "{clip}.npz"),
        "images",
        "depth",
        "intrinsic",
        "extrinsic",
        from_world=True,
        metric=False,
    ),
}


def _clip_path(frame: Frame) -> Path:
    """The video, or the folder of frames, that a frame is part of."""
    return Path(str(frame.meta.get("video") or Path(frame.item_id).parent))


def _thumb(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).convert("RGB").resize(THUMB, Image.Resampling.BOX), np.float32).ravel()


def _pictures(images: np.ndarray) -> np.ndarray:
    """uint8 [t, h, w, 3] of what the model saw: bytes, or numbers 0 to 1, channels first or last."""
    if images.ndim == 4 and images.shape[1] == 3 and images.shape[-1] != 3:
        images = images.transpose(0, 2, 3, 1)
    if images.ndim != 4 or images.shape[-1] != 3 or min(images.shape[1:3]) < 8:
        raise ValueError(f"images has shape {images.shape}")
    if images.dtype != np.uint8:
        images = np.clip(np.rint(np.asarray(images, np.float32) * 255), 0, 255).astype(np.uint8)
    return images


def read_clip(path: Path, form: Format) -> Clip:
    """A clip's file. Raises what DAMAGED holds."""
    with np.load(path, allow_pickle=False) as arrays:
        pictures = _pictures(arrays[form.images])
        count, height, width = pictures.shape[:3]
        matrices = np.asarray(arrays[form.intrinsic], np.float64).reshape(-1, 3, 3)
        matrices = np.broadcast_to(matrices, (count, 3, 3)) if len(matrices) == 1 else matrices
        depth, poses = arrays.get(form.depth), arrays.get(form.pose)
    if len(matrices) != count or not np.isfinite(matrices).all() or min(matrices[:, 0, 0].min(), 1) <= 0:
        raise ValueError("no usable intrinsic matrix")
    if matrices[:, 1, 1].min() <= 0:
        raise ValueError("no usable intrinsic matrix")
    if depth is not None:
        depth = np.asarray(depth, np.float32).reshape(count, *depth.shape[1:3])
    cameras = [(m[0, 0], m[1, 1], m[0, 2], m[1, 2]) for m in matrices]
    poses = None if poses is None else _to_world(poses, count, form.from_world)
    return Clip(np.stack([_thumb(p) for p in pictures]), cameras, (width, height), depth, poses)


def _to_world(poses: np.ndarray, count: int, from_world: bool) -> np.ndarray:
    """Poses [t, 3 or 4, 4] as [t, 4, 4], camera to world. ValueError where they are not one of each frame, or no
    poses.
    """
    given = np.asarray(poses, np.float64)
    given = given[0] if given.ndim == 4 and len(given) == 1 else given
    if given.ndim != 3 or given.shape[1:] not in ((3, 4), (4, 4)):
        raise ValueError(f"its poses have shape {tuple(np.shape(poses))}")
    if len(given) != count:
        raise ValueError(f"it has {len(given)} poses of {count} frames: the files are of different runs")
    whole = np.tile(np.eye(4), (count, 1, 1))
    whole[:, :3] = given[:, :3]
    turned = np.abs(np.einsum("tij,tkj->tik", whole[:, :3, :3], whole[:, :3, :3]) - np.eye(3)).max()
    if not turned < 1e-2:
        raise ValueError("its poses are no rotations")
    return np.linalg.inv(whole) if from_world else whole


class ClipResults:
    """DepthEstimator (of frames) and CameraEstimator over the files that one multi-view model wrote under `folder`.
    CLIP is the video's name without extension, or, for frames in folders, the folder's: in the clips' own folders, or
    anywhere where the name is the only one.
    """

    def __init__(self, kind: str, folder: str, settings: DepthSettings | None = None):
        self.form, self.kind, self.settings = FORMATS[kind], kind, settings or DepthSettings()
        self.folder, self.name = Path(folder).expanduser(), f"{self.form.name} {folder}"
        self.files = sorted(self.folder.rglob("*.npz")) if self.folder.is_dir() else []
        if not self.files:
            wanted = " or ".join(self.form.files).replace("{clip}", "CLIP")
            raise ModelError(f"no {self.form.name} output ({wanted}) under {folder}: run it on your clips first")

    def config(self) -> dict[str, Any]:
        s = self.settings
        return {"model": self.kind, "folder": str(self.folder), "noise": s.noise, "bias": s.bias, "shift": s.shift}

    def camera(self, frames: list[Frame]) -> list[CameraEstimate | BadItem]:
        out: list[CameraEstimate | BadItem] = []
        for frame in frames:
            clip = self._clip(frame)
            # One camera for the whole clip needs no look at which frame it is.
            found = (clip, 0) if isinstance(clip, Clip) and len(set(clip.intrinsics)) == 1 else self._place(frame)
            out.append(found if isinstance(found, BadItem) else self._camera(frame, *found))
        return out

    def depth_of(self, frames: list[Frame]) -> list[DepthEstimate | BadItem]:
        """Depth and camera of frames that are part of a clip."""
        return [self._depth(frame) for frame in frames]

    def pose(self, frame: Frame) -> np.ndarray | None:
        """[4, 4] of a frame, camera (x right, y down, z ahead) to its clip's world; None where the file has none."""
        found = self._place(frame)
        return None if isinstance(found, BadItem) or found[0].poses is None else found[0].poses[found[1]]

    def _camera(self, frame: Frame, clip: Clip, place: int) -> CameraEstimate:
        (fx, fy, cx, cy), (width, height) = clip.intrinsics[place], clip.size
        # A model resizes a frame and cuts its sides to whole patches: the scale is that of the longer side, within one
        # per cent.
        scale = max(frame.width, frame.height) / max(width, height)
        middle = (cx + 0.5) / width * frame.width - 0.5, (cy + 0.5) / height * frame.height - 0.5
        return CameraEstimate((fx * scale, fy * scale, *middle), "estimated", focal_sigma=CLIP_SIGMA, name=self.name)

    def _depth(self, frame: Frame) -> DepthEstimate | BadItem:
        found = self._place(frame)
        if isinstance(found, BadItem):
            return found
        clip, place = found
        if clip.depth is None:
            return BadItem(f"{self.form.name}'s file of its clip has no {self.form.depth}")
        small = clean(clip.depth[place])
        if not small.any():
            return BadItem(f"{self.name} gave no valid depth")
        # The nearest pixel's: in between lies nothing at an edge.
        whole = Image.fromarray(small).resize((frame.width, frame.height), Image.Resampling.NEAREST)
        noise = DepthNoise(
            linear=self.settings.noise,
            bias=self.settings.bias,
            correlation=max(1.0, 2 * frame.height / small.shape[0]),
            shift=self.settings.shift,
        )
        camera = self._camera(frame, clip, place).intrinsics
        flag = "metric" if self.form.metric else "relative"
        return DepthEstimate(np.asarray(whole), flag, noise, camera, focal_sigma=CLIP_SIGMA)

    def _clip(self, frame: Frame) -> Clip | BadItem:
        """The clip that the frame is of."""
        named = _clip_path(frame)
        clip = self._read(str(named.with_suffix("") if frame.meta.get("video") else named))
        if isinstance(clip, str):
            return BadItem(clip)
        width, height = clip.size
        if abs(frame.width / frame.height / (width / height) - 1) > SHAPES:
            return BadItem(
                f"{self.form.name}'s pictures of {named} ({width}x{height}) have another shape than the frame"
                f" ({frame.width}x{frame.height})"
            )
        return clip

    def _place(self, frame: Frame) -> tuple[Clip, int] | BadItem:
        """The frame's clip, and which of its frames it is."""
        clip = self._clip(frame)
        if isinstance(clip, BadItem):
            return clip
        apart = np.abs(clip.thumbs - _thumb(frame.rgb)).mean(1)
        place = int(np.argmin(apart))
        if apart[place] > SAME:
            return BadItem(
                f"none of the {len(apart)} frames that {self.form.name} saw of {_clip_path(frame)} is this picture"
            )
        return clip, place

    # A clip's depth is large, and frames come clip by clip; the estimator lives as long as its worker.
    @functools.lru_cache(maxsize=2)  # noqa: B019
    def _read(self, clip: str) -> Clip | str:
        for pattern in self.form.files:
            wanted = pattern.format(clip=clip)
            tail = pattern.format(clip=Path(clip).name)
            same = [p for p in self.files if p.as_posix().endswith("/" + tail)]
            whole = [p for p in same if p == self.folder / wanted]
            if len(same) > 1 and not whole:
                return f"{self.form.name}'s {same[0]} and {same[1]} could both be of {clip}: keep their folders"
            for path in whole or same:
                try:
                    return read_clip(path, self.form)
                except DAMAGED as error:
                    return f"{path.name} cannot be read: {' '.join(str(error).split())[:120]}"
        return f"{self.form.name} wrote nothing for clip {clip}"


class ClipDepthStage(DepthStage):
    """Depth and camera of clips' frames, from the files of a multi-view model."""

    def estimates(self, frames: list[Frame]) -> list[DepthEstimate | BadItem]:
        found = self.model.depth_of(frames)
        for frame, estimate in zip(frames, found):
            if not isinstance(estimate, BadItem) and (pose := self.model.pose(frame)) is not None:
                frame.meta["pose"] = np.round(pose, 6).ravel().tolist()
        return found


def clip_results(name: str, settings: DepthSettings | None = None) -> ClipResults | None:
    """What "megasam:DIRECTORY" or "vggt:DIRECTORY" names, None for anything else. Raises ModelError."""
    kind, colon, folder = name.partition(":")
    return ClipResults(kind, folder, settings) if colon and kind in FORMATS else None

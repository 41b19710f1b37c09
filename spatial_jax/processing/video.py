"""Videos: which frames, at what size, with which timestamps. Rules of Qwen2-VL, Qwen2.5-VL and Qwen3-VL as transformers
states them.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.media import ClipError, Timing, clip_timing, picture_files, read_clip
from spatial_jax.processing.image import (
    MAX_ASPECT,
    ImageError,
    ImageSettings,
    load_image,
    patchify,
    resize_pixels,
    smart_resize,
)

log = logging.getLogger(__name__)

DEFAULT_FPS = 24.0  # what transformers assumes when nobody says
FRAMES = (".jpg", ".jpeg", ".png", ".webp")  # of a folder


@dataclasses.dataclass(frozen=True)
class VideoSettings:
    """What video_preprocessor_config.json says. Pixel limits are a frame's for Qwen2-VL and Qwen2.5-VL, the whole
    clip's for Qwen3-VL.
    """

    image: ImageSettings
    whole_clip: bool
    sample: bool
    fps: float | None = 2.0
    min_frames: int = 4
    max_frames: int = 768
    frame_count: int | None = None  # exact number of frames instead of a rate


@dataclasses.dataclass(frozen=True)
class Video:
    """A clip: `frames` are pictures (anything load_image takes) or one uint8 array [f, h, w, 3]; `fps` of the original
    clip (its mean, where the rate varies); `indices` of the frames in it and its `total` number of frames (default:
    these frames are the whole clip); `times`: seconds of the frames where the rate varies, None where index / fps tells
    them. ImageError for numbers that cannot be.
    """

    frames: Any
    fps: float | None = None
    indices: tuple[int, ...] | None = None
    total: int | None = None
    times: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and not (_is_number(self.fps) and self.fps > 0):
            raise ImageError(f"a video's fps must be a positive number, not {self.fps!r}")
        if self.total is not None and not (isinstance(self.total, int) and self.total >= len(self.frames)):
            raise ImageError(f"a video of {len(self.frames)} frames cannot be a part of {self.total!r}")
        for name, values in (("indices", self.indices), ("times", self.times)):
            if values is None:
                continue
            if len(values) != len(self.frames) or not all(_is_number(v) and v >= 0 for v in values):
                raise ImageError(f"a video's {name} must be {len(self.frames)} numbers of 0 or more, one a frame")
            if any(later < earlier for earlier, later in itertools.pairwise(values)):
                raise ImageError(f"a video's {name} must rise")

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def frame_indices(self) -> tuple[int, ...]:
        return self.indices if self.indices is not None else tuple(range(len(self.frames)))

    @property
    def seconds(self) -> tuple[float, ...]:
        """When each frame is shown; 24 frames a second when the clip's rate is unknown."""
        if self.times is not None:
            return self.times
        return tuple(index / (self.fps or DEFAULT_FPS) for index in self.frame_indices)

    @property
    def sampled_fps(self) -> float:
        """Frames per second of the chosen frames; 24 when the clip's rate is unknown."""
        if self.fps is None:
            return DEFAULT_FPS
        return len(self.frame_indices) / (self.total or len(self.frames)) * self.fps


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and math.isfinite(value)


def as_video(
    source: Any, name: str = "video", fps: float | None = None, settings: VideoSettings | None = None
) -> Video:
    """A Video from a Video, a file path, a folder of pictures, an array [f, h, w, 3] or a sequence of pictures. `fps`:
    of a folder's frames, which are shown in the order of the numbers in their names. `settings`: only the frames that
    they choose are read of a file, for all of a long one would fill the memory.
    """
    if isinstance(source, Video):
        video = source
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        video = (
            Video([str(p) for p in picture_files(path, FRAMES)], fps)
            if path.is_dir()
            else read_video(path, settings=settings)
        )
    elif isinstance(source, (np.ndarray, Sequence)) and not isinstance(source, (bytes, bytearray)):
        video = Video(source)
    else:
        raise ImageError(
            f"{name}: {type(source).__name__} is not a video; pass a path, a list of frames or an array [f, h, w, 3]"
        )
    if not len(video):
        raise ImageError(f"{name}: no frames")
    return video


def read_video(
    path: str | os.PathLike[str],
    choose: Callable[[int], Sequence[int]] | None = None,
    settings: VideoSettings | None = None,
) -> Video:
    """All frames of a video file as RGB arrays, upright, with its rate, or with the true times where the rate varies
    (needs the `av` package); or only those that `choose` picks out of so many, or that `settings` choose. Damaged
    places are logged. Raises ImageError for a file that is not there or cannot be read.
    """
    if not os.path.exists(path):
        raise ImageError(f"{path}: no such video")
    picked = list[int]()
    try:
        if settings is not None:
            choose = _chooser(clip_timing(path), settings, picked)
        clip = read_clip(path, choose)
    except ClipError as error:
        raise ImageError(f"{path}: not a readable video ({error})") from error
    timing = clip.timing
    if timing.note:
        log.warning("%s: %s", path, timing.note)
    places = {index: place for place, index in enumerate(clip.indices)}
    kept = [index for index in picked or clip.indices if index in places]  # where the rate varies some may come twice
    times = tuple(timing.times[i] for i in kept) if timing.variable else None
    frames = [clip.frames[places[i]] for i in kept]
    return Video(frames, timing.fps, tuple(kept) if choose else None, len(timing.times), times)


def _chooser(timing: Timing, settings: VideoSettings, picked: list[int]) -> Callable[[int], Sequence[int]]:
    """Which frames `sample_video` would take of a file of this timing, none of them read yet; `picked` has the last
    choice.
    """

    def choose(total: int) -> Sequence[int]:
        known = timing.variable and total == len(timing.times)
        whole = Video(range(total), timing.fps, times=timing.times if known else None)
        picked[:] = sample_video(whole, settings).frame_indices
        return picked

    return choose


def with_frames(settings: VideoSettings, frames: int | None, fps: float | None) -> VideoSettings:
    """The settings with another choice of frames: `frames` evenly spaced ones, or `fps` a second and then at most
    `frames` of them; None of both leaves them as they are. ValueError for fewer frames than a time step holds.
    """
    step = settings.image.temporal_patch_size
    if frames is not None and frames < step:
        raise ValueError(f"frames = {frames}: the model sees {step} frames at a time; set {step} or more")
    if fps is None:
        return settings if frames is None else dataclasses.replace(settings, frame_count=frames)
    most = settings.max_frames if frames is None else frames
    return dataclasses.replace(
        settings, frame_count=None, fps=fps, max_frames=most, min_frames=min(settings.min_frames, most)
    )


def choose_frames(total: int, fps: float | None, settings: VideoSettings) -> np.ndarray:
    """Indices of the frames to show, out of `total` at `fps` frames a second.

    Qwen2-VL, Qwen2.5-VL: an even number n, arange(0, total, total / n); Qwen3-VL: round(linspace(0, total - 1, n)); n
    follows the wanted rate, within min_frames and max_frames and never above `total`.
    """
    rate = fps if fps is not None else DEFAULT_FPS
    step = settings.image.temporal_patch_size
    if settings.whole_clip:
        count = settings.frame_count or min(
            max(int(total / rate * (settings.fps or rate)), settings.min_frames), settings.max_frames, total
        )
        return np.linspace(0, total - 1, min(count, total)).round().astype(int)
    if settings.frame_count is not None:
        count = min(round(settings.frame_count / step) * step, total)
    elif settings.fps is None:
        count = total
    else:
        most = math.floor(min(settings.max_frames, total) / step) * step
        count = math.floor(min(max(total / rate * settings.fps, settings.min_frames), most, total) / step) * step
    if count < 1 or count >= total:
        return np.arange(total)
    # float32 before the floor, as in transformers.
    return (np.arange(count) * (total / count)).astype(np.float32).astype(int)


def sample_video(video: Video, settings: VideoSettings) -> Video:
    """The clip with only the frames that the settings choose; where the rate varies, those on the screen at the even
    times that a clip of the mean rate would give. Of a clip's part they are chosen as of a whole clip of fewer frames a
    second.
    """
    kept = choose_frames(len(video), None if video.fps is None else video.sampled_fps, settings)
    if video.times is not None and len(kept) > 1:
        places = np.arange(len(kept)) * (len(video) / len(kept)) if not settings.whole_clip else kept
        start, step = video.times[0], (video.times[-1] - video.times[0]) / (len(video) - 1)
        kept = np.searchsorted(np.asarray(video.times), start + places * step + 1e-6, "right") - 1
    before = video.frame_indices
    frames = video.frames[kept] if isinstance(video.frames, np.ndarray) else [video.frames[i] for i in kept]
    times = None if video.times is None else tuple(video.times[i] for i in kept)
    return Video(frames, video.fps, tuple(before[i] for i in kept), video.total or len(video), times)


def frame_size(count: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """(height, width) of every frame after the resize."""
    image = settings.image
    if not settings.whole_clip:
        return smart_resize(height, width, image.factor, image.min_pixels, image.max_pixels)
    # Qwen3-VL's limit is of the clip's volume, so more frames mean smaller ones.
    step, factor = image.temporal_patch_size, image.factor
    if count < step:
        raise ImageError(f"a video needs at least {step} frames, this one has {count}; pass it as a picture")
    # A side below one merged patch would round to none: both grow by the same scale, as transformers does.
    if min(height, width) < factor:
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    if max(height, width) / min(height, width) > MAX_ASPECT:
        raise ImageError(
            f"a video of {width}x{height} pixels cannot be used: the ratio of its sides must be at most {MAX_ASPECT}"
        )
    volume = round(count / step) * step * round(height / factor) * factor * round(width / factor) * factor
    if volume > image.max_pixels:
        # Down when shrinking and up when growing: a size that was rounded to the nearest could lie past the limit
        # again.
        beta = math.sqrt(count * height * width / image.max_pixels)
        return max(factor, math.floor(height / beta / factor) * factor), max(
            factor, math.floor(width / beta / factor) * factor
        )
    if volume < image.min_pixels:
        beta = math.sqrt(image.min_pixels / (count * height * width))
        return math.ceil(height * beta / factor) * factor, math.ceil(width * beta / factor) * factor
    return round(height / factor) * factor, round(width / factor) * factor


def video_patches(
    video: Video, settings: VideoSettings, name: str = "video"
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """(uint8 patches [n, 3 * Tp * P * P], grid (t, gh, gw)) of the clip's frames, all of one size."""
    images = [load_image(frame, f"{name}, frame {i}") for i, frame in enumerate(video.frames)]
    sizes = {image.size for image in images}
    if len(sizes) > 1:
        raise ImageError(
            f"{name}: its frames have different sizes {sorted(sizes)}; bring them to one size or pass them as pictures"
        )
    width, height = images[0].size
    new_height, new_width = frame_size(len(images), height, width, settings)
    frames = np.stack([resize_pixels(image, new_width, new_height) for image in images])
    if len(frames) == 1:
        frames = np.repeat(frames, settings.image.temporal_patch_size, axis=0)
    return patchify(frames, settings.image.patch_size, settings.image.temporal_patch_size, settings.image.merge_size)


def seconds_per_grid(video: Video, settings: VideoSettings) -> float:
    """Seconds between two time steps of the grid (Qwen2.5-VL's second_per_grid_ts)."""
    return settings.image.temporal_patch_size / video.sampled_fps


def timestamps(video: Video, settings: VideoSettings) -> list[float]:
    """Seconds at the middle of each time step (Qwen3-VL prints them before the frames)."""
    step = settings.image.temporal_patch_size
    times = list(video.seconds)
    times += [times[-1]] * (-len(times) % step)
    return [(times[i] + times[i + step - 1]) / 2 for i in range(0, len(times), step)]

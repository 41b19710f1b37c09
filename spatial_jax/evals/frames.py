"""Frames of a benchmark's video: evenly spaced, chosen by number, only those decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spatial_jax.media import open_video
from spatial_jax.processing import Video


def frame_places(total: int, count: int) -> list[int]:
    """linspace(0, total - 1, count) cut to whole numbers, as the harnesses choose; all frames when there are fewer."""
    return [int(i) for i in np.linspace(0, max(total - 1, 0), min(count, total), dtype=int)]


def read_frames(path: str | Path, count: int) -> Video:
    """A Video of `count` evenly spaced frames of a file, with their indices, the clip's rate and length. ValueError for
    a file that cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: no such video")
    try:
        import av
    except ImportError as error:
        raise ValueError(f"{path}: videos need the package av; pip install 'spatial_jax[eval]'") from error
    try:
        with open_video(path) as container:
            stream = container.streams.video[0]
            fps = float(stream.average_rate) if stream.average_rate else None
            total = stream.frames or sum(1 for _ in container.decode(stream))
        wanted = set(frame_places(total, count))
        frames, places = [], []
        with open_video(path) as container:
            for index, frame in enumerate(container.decode(container.streams.video[0])):
                if index in wanted:
                    frames.append(frame.to_ndarray(format="rgb24"))
                    places.append(index)
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise ValueError(f"{path}: not a readable video ({error})") from error
    if not frames:
        raise ValueError(f"{path}: the video has no frames")
    return Video(frames, fps=fps, indices=tuple(places), total=total)

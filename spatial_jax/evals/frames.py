"""Frames of a benchmark's video: evenly spaced, chosen by number, only those kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spatial_jax.processing import Video
from spatial_jax.processing.video import read_video


def frame_places(total: int, count: int) -> list[int]:
    """linspace(0, total - 1, count) cut to whole numbers, as the harnesses choose; all frames when there are fewer."""
    return [int(i) for i in np.linspace(0, max(total - 1, 0), min(count, total), dtype=int)]


def read_frames(path: str | Path, count: int) -> Video:
    """A Video of `count` evenly spaced frames of a file, upright, with their indices (of the frames that can be
    decoded), the clip's rate (or their times where it varies) and length. ValueError for a file that cannot be read.
    """
    return read_video(path, lambda total: frame_places(total, count))

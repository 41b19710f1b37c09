"""Frames of video files at fixed times; all frames of a video share a split."""

from __future__ import annotations

from typing import Any

import numpy as np
from etils import epath

from data_prep.sources.base import BadItem, Frame, SourceError
from data_prep.sources.fingerprint import fingerprint
from data_prep.sources.listing import walk
from spatial_jax.media import ClipError, Timing, clip_frames, clip_timing, open_clip, upright

EXTENSIONS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
_UNREAD = Timing((0.0,), None, False)  # of a file that cannot be opened: its one item will say why


class VideoFrames:
    """The frames that are on the screen every `every` seconds of a video file, or of each video in a folder, each frame
    once; the id of a frame is FILE#t=SECONDS, its own time after the first frame. Frames are upright as the container
    says.
    """

    name = "video"

    def __init__(self, path: str, every: float = 1.0, count: int = 0):
        if not 0 < every < float("inf"):
            raise SourceError(f"--every must be a positive number of seconds, not {every:g}")
        root = epath.Path(path).expanduser()
        if not root.exists():
            raise SourceError(f"no such file or folder: {path}")
        if not (root.is_dir() or root.is_file()):
            raise SourceError(f"neither a file nor a folder: {path}")
        self.left_out: list[str] = []
        self.said: list[str] = []
        files = [p for _, p in walk(root, EXTENSIONS, self.left_out)] if root.is_dir() else [root]
        if not files:
            raise SourceError(f"no videos in {path} (looked for {' '.join(EXTENSIONS)})")
        self.path, self.every = path, every
        self.items: list[tuple[str, Any, int]] = []
        self.timings: dict[str, Timing] = {}
        for file in files:
            base = file.name if file == root else str(file.relative_to(root))
            try:
                timing = clip_timing(file)
            except ClipError:
                timing = _UNREAD
            if timing.note:
                self.said.append(f"{base}: {timing.note}")
            self.timings[base] = timing
            self.items += [(base, file, index) for index in timing.shown_every(every)]
        if count:
            self.items = self.items[:count]

    def __len__(self) -> int:
        return len(self.items)

    def item_id(self, index: int) -> str:
        base, _, number = self.items[index]
        return f"{base}#t={self.timings[base].times[number]:.3f}"

    def config(self) -> dict[str, Any]:
        files = fingerprint(list({base: file for base, file, _ in self.items}.items()))
        return {"source": self.name, "path": self.path, "every": self.every, "files": files}

    def load(self, index: int) -> Frame:
        base, path, number = self.items[index]
        time = self.timings[base].times[number]
        try:
            pixels = _frame(path, self.timings[base], number)
        except ClipError as error:
            raise BadItem(f"cannot be opened as a video: {error}") from None
        if pixels is None:
            raise BadItem(f"cannot be decoded at {time:.2f} s: the file is damaged or ends there")
        return Frame(
            self.item_id(index),
            self.name,
            pixels,
            split_key=base,
            tags=("video",),
            provenance={"path": str(path)},
            meta={"time": round(time, 4), "video": base},
        )


def _frame(path: Any, timing: Timing, number: int) -> np.ndarray | None:
    """uint8 [h, w, 3] of a clip's frame, None where it cannot be decoded. ClipError where the file cannot be opened."""
    import av

    if not timing.stamps:
        with open_clip(path) as container:
            found = next((f for i, f in enumerate(clip_frames(container)) if i == number), None)
            return None if found is None else upright(found)
    wanted = timing.stamps[number]
    for seek in (True, False):  # the place a file seeks to may lie behind the frame: then from the start
        with open_clip(path) as container:
            try:
                if seek:
                    container.seek(wanted, stream=container.streams.video[0])
                for frame in clip_frames(container):
                    if frame.pts is not None and frame.pts >= wanted:
                        if frame.pts == wanted:
                            return upright(frame)
                        break
            except (av.error.FFmpegError, OSError):
                continue
    return None

"""Frames of video files at fixed times; all frames of a video share a split."""

from __future__ import annotations

from typing import Any

import numpy as np
from etils import epath

from data_prep.sources.base import BadItem, Frame, SourceError
from data_prep.sources.fingerprint import fingerprint
from data_prep.sources.listing import walk
from spatial_jax.media import open_video

EXTENSIONS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


def _open(path: Any) -> Any:
    import av

    try:
        return open_video(str(path) if "://" not in str(path) else path.open("rb"))
    except (av.error.FFmpegError, OSError) as error:
        raise BadItem(f"cannot be opened as a video: {' '.join(str(error).split())[:120]}") from None


def _duration(path: Any) -> float:
    with _open(path) as video:
        if not video.streams.video:
            raise BadItem("has no pictures")
        stream = video.streams.video[0]
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        return float(video.duration or 0) / 1e6


class VideoFrames:
    """One frame every `every` seconds of a video file, or of each video in a folder; the id of a frame is
    FILE#t=SECONDS.
    """

    name = "video"

    def __init__(self, path: str, every: float = 1.0, count: int = 0):
        if every <= 0:
            raise SourceError(f"--every must be a positive number of seconds, not {every:g}")
        root = epath.Path(path).expanduser()
        if not root.exists():
            raise SourceError(f"no such file or folder: {path}")
        files = [p for _, p in walk(root, EXTENSIONS)] if root.is_dir() else [root]
        if not files:
            raise SourceError(f"no videos in {path} (looked for {' '.join(EXTENSIONS)})")
        self.path, self.every = path, every
        self.items: list[tuple[str, Any, float]] = []
        for file in files:
            base = file.name if file == root else str(file.relative_to(root))
            try:
                times = np.arange(0, max(_duration(file), 1e-3), every)
            except BadItem:
                times = np.zeros(1)  # the item itself will say what is wrong with the file
            self.items += [(base, file, float(t)) for t in times]
        if count:
            self.items = self.items[:count]

    def __len__(self) -> int:
        return len(self.items)

    def item_id(self, index: int) -> str:
        base, _, time = self.items[index]
        return f"{base}#t={time:.3f}"

    def config(self) -> dict[str, Any]:
        files = fingerprint(list({base: file for base, file, _ in self.items}.items()))
        return {"source": self.name, "path": self.path, "every": self.every, "files": files}

    def load(self, index: int) -> Frame:
        import av

        base, path, time = self.items[index]
        try:
            with _open(path) as video:
                stream = video.streams.video[0]
                video.seek(int(time / stream.time_base), stream=stream)
                for frame in video.decode(stream):
                    if frame.time is not None and frame.time >= time - 1e-3:
                        turned = np.rot90(
                            frame.to_ndarray(format="rgb24"), round(getattr(frame, "rotation", 0) / 90) % 4
                        )
                        return Frame(
                            self.item_id(index),
                            self.name,
                            np.ascontiguousarray(turned),
                            split_key=base,
                            tags=("video",),
                            provenance={"path": str(path)},
                            meta={"time": round(float(frame.time), 4), "video": base},
                        )
        except (av.error.FFmpegError, IndexError) as error:
            raise BadItem(f"cannot be decoded at {time:.2f} s: {' '.join(str(error).split())[:120]}") from None
        raise BadItem(f"ends before {time:.2f} s")

"""Frames of video files as a player shows them: upright by the container's rotation, at their true times, counted from
the first frame. Damaged packets are passed over and told; needs the package av.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from spatial_jax.media.opening import open_video

_INSTALL = "reading video files needs the package av (pip install av)"


class ClipError(ValueError):
    """A file that gives no frames; the message is one line that says why."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """`times`: seconds of each frame after the first one, in the order of showing; `stamps`: the same in the
    container's own counts, () where it has none; `fps`: mean rate, None for a single frame of unknown rate; `variable`:
    some frame is more than half a frame away from where a constant rate would put it. `note`: what was wrong with the
    file, else "".
    """

    times: tuple[float, ...]
    fps: float | None
    variable: bool
    stamps: tuple[int, ...] = ()
    note: str = ""

    def shown_every(self, seconds: float) -> list[int]:
        """Indices of the frames that are on the screen at 0, `seconds`, 2 `seconds`, ... up to the last frame's time,
        each once.
        """
        starts = np.asarray(self.times) - 1e-4
        ends = np.append(starts[1:], starts[-1] + 2e-4)
        moments = np.ceil(np.maximum(starts, 0) / seconds) * seconds  # the first one not before a frame
        return np.flatnonzero(moments < ends).tolist()


@dataclasses.dataclass(frozen=True)
class Clip:
    """`frames`: uint8 [h, w, 3] at `indices` of a clip that has timing.times of all its frames."""

    frames: list[np.ndarray]
    indices: tuple[int, ...]
    timing: Timing


def open_clip(path: Any) -> Any:
    """The av container of a local path or of an epath elsewhere. ClipError for what is no video file."""
    try:
        import av
    except ImportError:
        raise ClipError(_INSTALL) from None
    try:
        if "://" in str(path):
            container = open_video(path.open("rb"))
        else:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise ClipError("not a file but a folder, pipe, socket or device")
            container = open_video(path)
    except (av.error.FFmpegError, OSError) as error:
        raise ClipError(_line(error)) from None
    if not container.streams.video:
        container.close()
        raise ClipError("it has no pictures")
    return container


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def display_turn(frame: Any) -> tuple[int, bool]:
    """(quarter turns against the clock, mirrored left to right afterwards) that show an av frame upright, by its
    display matrix; angles between the quarters go to the nearest.
    """
    turns, mirrored = round(getattr(frame, "rotation", 0) / 90) % 4, False
    for data in frame.side_data:
        if getattr(data.type, "name", "") == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data), "<i4")[:5].tolist()
            if a * d - b * c < 0:  # a reflection: first columns (a, b) as of the turn before the mirror
                turns, mirrored = round(np.degrees(np.arctan2(b, -a)) / -90) % 4, True
    return turns, mirrored


def upright(frame: Any) -> np.ndarray:
    """uint8 [h, w, 3] of an av frame as it is shown."""
    turns, mirrored = display_turn(frame)
    pixels = frame.to_ndarray(format="rgb24")
    if turns:
        pixels = np.rot90(pixels, turns)
    return np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)


def clip_frames(container: Any, faults: list[str] | None = None) -> Iterator[Any]:
    """The av frames of the first video stream, in the order of showing; a damaged packet costs its own frames and adds
    one line to `faults`.
    """
    import av

    faults = [] if faults is None else faults
    stream = container.streams.video[0]
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError) as error:
            faults.append(f"reading stopped: {_line(error)}")
            packet = None
        try:
            yield from packet.decode() if packet is not None else stream.codec_context.decode(None)
        except (av.error.FFmpegError, OSError) as error:
            if not isinstance(error, av.error.EOFError):
                faults.append(_line(error))
        if packet is None:
            return


def clip_timing(path: Any) -> Timing:
    """Times of a file's frames, read without decoding them. ClipError for a file that gives none."""
    import av

    stamps: list[int | None] = []
    note = ""
    with open_clip(path) as container:
        stream = container.streams.video[0]
        try:
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    stamps.append(packet.pts)
        except (av.error.FFmpegError, OSError) as error:
            note = f"reading stopped after {len(stamps)} frames: {_line(error)}"
        base = stream.time_base
        timing = _timing([None if s is None or base is None else float(s * base) for s in stamps], stream)
    if not stamps:
        raise ClipError("it has no frames")
    known = tuple(sorted(s for s in stamps if s is not None))
    return dataclasses.replace(timing, stamps=known if len(set(known)) == len(stamps) else (), note=note)


def _timing(seconds: Sequence[float | None], stream: Any) -> Timing:
    """From the seconds of each frame (None or repeated where the container does not tell) to times that begin at 0."""
    stated = [float(r) for r in (stream.average_rate, stream.base_rate, stream.guessed_rate) if r]
    count, known = len(seconds), sorted(s for s in seconds if s is not None)
    if count < 2 or len(known) < count or len(set(known)) < count:
        rate = stated[0] if stated else None
        return Timing(tuple(i / (rate or 25.0) for i in range(count)), rate, False)
    times = np.asarray(known) - known[0]
    gap = times[-1] / (count - 1)
    # The header's rate is exact (30000/1001) where it is right; often it counts the last frame's length, or is a guess.
    rate = next((r for r in stated if abs(r * gap - 1) < 0.005), 1 / gap)
    variable = bool((np.abs(times - np.arange(count) / rate) > 0.5 / rate + 0.001).any())
    return Timing(tuple(times.tolist()), 1 / gap if variable else rate, variable)


def read_clip(path: Any, choose: Callable[[int], Sequence[int]] | None = None) -> Clip:
    """The frames of a file whose numbers `choose` (given how many there are) picks; None: all. Only these are kept in
    memory. ClipError for a file that gives none.
    """
    total = len(clip_timing(path).times) if choose is not None else 0
    for last in (False, False, True):  # a decoder that gives another number each time is taken as it is
        wanted = None if choose is None else set(choose(total))
        frames: list[tuple[int, np.ndarray]] = []
        seconds: list[float | None] = []
        faults: list[str] = []
        with open_clip(path) as container:
            stream = container.streams.video[0]
            for index, frame in enumerate(clip_frames(container, faults)):
                seconds.append(frame.time)
                if wanted is None or index in wanted:
                    frames.append((index, upright(frame)))
            timing = _timing(seconds, stream)
        if not seconds:
            raise ClipError(f"no frame can be decoded{': ' + faults[0] if faults else ''}")
        if wanted is None or len(seconds) == total or last:
            break
        total = len(seconds)  # the decoder gave other frames than the container announced: choose among these
    note = f"{len(faults)} damaged places, {len(seconds)} frames are left ({faults[0]})" if faults else ""
    return Clip([f for _, f in frames], tuple(i for i, _ in frames), dataclasses.replace(timing, note=note))

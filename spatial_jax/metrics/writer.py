"""One writer, many sinks: metrics.jsonl (the record that report reads), the console, TensorBoard, trackers."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spatial_jax.metrics.console import Console
from spatial_jax.metrics.rows import as_plain, read_rows, strict
from spatial_jax.metrics.trackers import TRACKERS, Tracked, Tracker
from spatial_jax.reading import parse_json

SINKS = ("jsonl", "console", "tensorboard", *TRACKERS)
USUAL = ("jsonl", "console", "tensorboard")
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def is_primary() -> bool:
    """True on the process that writes. Asks JAX only when the program already uses it: a page or a data tool never
    starts a backend.
    """
    jax = sys.modules.get("jax")
    return jax is None or jax.process_index() == 0


class MetricsWriter:
    """Writes one row a step to every sink, on process 0 only (elsewhere every call does nothing).

    Args:
      workdir: the run's directory; rows go to `workdir/metrics.jsonl`, TensorBoard events to `workdir/tensorboard`.
      sinks: any of SINKS.
      console: the console of the sinks, where it is not the usual one.
      resume_step: when a run resumes, the last step whose row stays; later rows (written by the killed process after
      its last checkpoint)
        are cut. None keeps what is there. A torn last line is always cut.
      tracked: what trackers call the run.
    """

    def __init__(
        self,
        workdir: str | os.PathLike,
        sinks: Sequence[str] = USUAL,
        *,
        console: Console | None = None,
        tracked: Tracked | None = None,
        resume_step: int | None = None,
        primary: bool | None = None,
        clock: Callable[[], float] = time.time,
    ):
        unknown = sorted(set(sinks) - set(SINKS))
        if unknown:
            raise ValueError(f"metrics: unknown sink {unknown[0]!r}; choose from {', '.join(SINKS)}")
        self.path = Path(workdir) / "metrics.jsonl"
        self._clock = clock
        self._file = self._console = self._board = None
        self._trackers: list[Tracker] = []
        if not (is_primary() if primary is None else primary):
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if "jsonl" in sinks:
            cut_after(self.path, resume_step)
            self._file = self.path.open("ab", buffering=0)
        if "console" in sinks:
            self._console = console or Console()
        if "tensorboard" in sinks:
            from tensorboardX import SummaryWriter

            purge = None if resume_step is None else resume_step + 1
            self._board = SummaryWriter(str(self.path.parent / "tensorboard"), purge_step=purge, flush_secs=30)
        for name in dict.fromkeys(sink for sink in sinks if sink in TRACKERS):
            self._trackers.append(Tracker(name, self.path.parent, tracked or Tracked()))

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """One row. Values are numbers (Python, NumPy, JAX scalars), strings, or lists and dicts of them; only numbers
        reach TensorBoard.
        """
        if self._file is None and self._console is None and self._board is None and not self._trackers:
            return
        row = {
            "step": int(step),
            "time": round(self._clock(), 3),
            **{key: as_plain(value) for key, value in values.items()},
        }
        if self._file is not None:
            # One unbuffered write a line: a killed process loses at most the row it was writing.
            self._file.write((json.dumps(strict(row), ensure_ascii=False, allow_nan=False) + "\n").encode())
        if self._board is not None:
            for key, value in row.items():
                if key not in ("step", "time") and isinstance(value, (int, float)) and math.isfinite(value):
                    self._board.add_scalar(key, value, step)
        for tracker in self._trackers:
            tracker.row(row)
        if self._console is not None:
            self._console.row(row)

    def note(self, text: str) -> None:
        """A line on the console only, e.g. an alarm."""
        if self._console is not None:
            self._console.note(text)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()
        for tracker in self._trackers:
            tracker.close()
        self._file = self._console = self._board = None
        self._trackers = []

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def cut_after(path: Path, last_step: int | None) -> None:
    """Rewrites `path` with its complete rows up to and including `last_step` (all of them for None); atomic."""
    if not path.exists():
        return
    old = path.read_bytes()
    kept: list[bytes] = []
    later = damaged = 0
    for line in old.split(b"\n")[:-1]:  # what follows the last newline is empty or torn
        with contextlib.suppress(ValueError, KeyError, TypeError):
            step = parse_json(line)["step"]
            if last_step is None or step <= last_step:
                kept.append(line + b"\n")
                continue
            later += 1
            continue
        damaged += 1
    new = b"".join(kept)
    if new != old:
        temporary = path.with_suffix(".jsonl.tmp")
        temporary.write_bytes(new)
        os.replace(temporary, path)
    if damaged:
        print(f"{path}: {damaged} lines were no rows and are left out", file=sys.stderr, flush=True)


def read_metrics(path: str | os.PathLike, problems: list[str] | None = None) -> list[dict[str, Any]]:
    """Rows of a metrics.jsonl (the file or its run's directory), of a running run too; lines that are no rows are left
    out and counted in `problems`. When a step occurs twice the later row counts.
    """
    path = Path(path)
    path = path / "metrics.jsonl" if path.is_dir() else path
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    if not path.exists():
        return []
    found, damaged = read_rows(path)
    for row in found:
        try:
            step = int(row["step"])
            rows[str(row.get("phase")), step] = {
                key: _NON_FINITE.get(value, value) if isinstance(value, str) else value for key, value in row.items()
            } | {"step": step}
        except (ValueError, KeyError, TypeError, OverflowError):
            damaged += 1
    if damaged and problems is not None:
        problems.append(f"{path}: {damaged} lines are no rows; left out")
    return list(rows.values())

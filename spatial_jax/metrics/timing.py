"""Seconds a phase, rate and time left."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from spatial_jax.metrics.figures import duration


class PhaseTimer:
    """Adds up wall time a phase: `with timer("rollout"): ...`. Phases may overlap (rewards run on host threads while
    decoding goes on), so they need not add up to the step.

    limit: seconds after which a phase that has not ended is named in the log, with where every thread stands, once; 0:
    never. On a pod that is how one learns which process waits for which: a collective that another process never enters
    ends by itself only after long.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter, limit: float = 0.0):
        self._clock, self._limit = clock, limit
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        self._start = clock()

    @contextlib.contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = self._clock()
        watchdog = threading.Timer(self._limit, _late, (phase, self._limit)) if self._limit else None
        if watchdog is not None:
            watchdog.daemon = True
            watchdog.start()
        try:
            with _annotation(phase):
                yield
        finally:
            if watchdog is not None:
                watchdog.cancel()
            self.add(phase, self._clock() - start)

    def add(self, phase: str, seconds: float) -> None:
        """Counts seconds that were measured elsewhere."""
        with self._lock:
            self._seconds[phase] = self._seconds.get(phase, 0.0) + seconds

    def flush(self) -> dict[str, float]:
        """{"time/<phase>": seconds, ..., "time/step": seconds since the last flush}; starts the next step."""
        now = self._clock()
        with self._lock:
            out = {f"time/{phase}": seconds for phase, seconds in self._seconds.items()}
            self._seconds = {}
        out["time/step"] = now - self._start
        self._start = now
        return out


def _annotation(phase: str) -> contextlib.AbstractContextManager:
    """The phase's name on a trace of jax.profiler; nothing where JAX is not in use."""
    jax: Any = sys.modules.get("jax")
    return jax.profiler.TraceAnnotation(phase) if hasattr(jax, "profiler") else contextlib.nullcontext()


def _late(phase: str, limit: float) -> None:
    """Runs on the watchdog's thread."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    places = []
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident():
            stack = [
                f"{f.name} ({Path(f.filename).name}:{f.lineno})" for f in reversed(traceback.extract_stack(frame)[-6:])
            ]
            places.append(f"  {names.get(ident, ident)}: {' < '.join(stack)}")
    logging.getLogger(__name__).error(
        "phase %r has not ended after %.0f s (config.log.watchdog_s); threads stand at\n%s",
        phase,
        limit,
        "\n".join(places),
    )


class Progress:
    """Rate and time left of `total` things, from the last `window` reports (so that a slow first step, which compiles,
    soon stops counting).
    """

    def __init__(self, total: int, done: int = 0, window: int = 20, clock: Callable[[], float] = time.monotonic):
        self.total, self.done = total, done
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque([(clock(), done)], maxlen=window + 1)

    def update(self, done: int) -> None:
        """`done` things are finished by now."""
        self.done = done
        self._marks.append((self._clock(), done))

    @property
    def rate(self) -> float:
        """Things a second over the window; 0 before the first report."""
        marks = list(self._marks)
        if len(marks) > 2:
            marks = marks[1:]  # the oldest interval holds compilation as long as it is in the window
        seconds = marks[-1][0] - marks[0][0]
        return (marks[-1][1] - marks[0][1]) / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """Estimated seconds to the end; infinity while the rate is unknown."""
        return (self.total - self.done) / self.rate if self.rate > 0 else float("inf")

    def line(self, what: str = "") -> str:
        """ "questions 1,200 of 5,000 (24 %), 310 a second, 12 s left" """
        share = 100 * self.done / self.total if self.total else 100.0
        rate = self.rate
        speed = f"{rate:,.0f} a second" if rate >= 2 else (f"{duration(1 / rate)} each" if rate > 0 else "")
        parts = [f"{what} {self.done:,} of {self.total:,} ({share:.0f} %)".strip(), speed]
        if self.done < self.total and rate > 0:
            parts.append(f"{duration(self.seconds_left)} left")
        return ", ".join(p for p in parts if p)

"""Traces of chosen steps by jax.profiler, for TensorBoard's profile tab and for Perfetto."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from spatial_jax.metrics import is_primary

log = logging.getLogger(__name__)


class Profile:
    """Writes one trace of the steps `first` to `last` (as the log counts them, from 1) to `workdir/profile`, on process
    0. A run that resumes after `first` traces from where it is.
    """

    def __init__(self, workdir: Path, steps: Sequence[int]):
        self.folder = Path(workdir) / "profile"
        self.first, self.last = steps if steps and is_primary() else (1, 0)
        self._running = False

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Step `number` runs inside; its name is on the trace."""
        if not self._running and self.first <= number <= self.last:
            jax.profiler.start_trace(str(self.folder), create_perfetto_trace=True)
            self._running = True
        try:
            with jax.profiler.StepTraceAnnotation("step", step_num=number):
                yield
        finally:
            if self._running and number >= self.last:
                self.stop()

    def stop(self) -> None:
        """Ends a trace that is running and says where it is."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
            log.info(
                "trace of steps %d to %d: %s (docs/watch.md tells how to read it)", self.first, self.last, self.folder
            )

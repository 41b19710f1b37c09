"""SIGTERM: the loop finishes its step, saves and leaves with a code that tells the launcher to start it again."""

from __future__ import annotations

import os
import signal
from types import FrameType

import numpy as np

# EX_TEMPFAIL of sysexits.h: "try again". Not 143 (128 + SIGTERM), which a process killed without saving shows.
EXIT_PREEMPTED = 75


class PreemptionGuard:
    """Context manager that turns SIGTERM (and a first Ctrl-C) into a flag the loop polls:

        with PreemptionGuard() as guard:
            for step in ...:
                ...
                if guard.should_stop():
                    manager.save(step, state, host_state, wait=True)
                    sys.exit(EXIT_PREEMPTED)

    A second signal ends the process at once: SIGTERM by its default action, Ctrl-C by KeyboardInterrupt."""

    def __init__(self, signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)):
        self.signals = signals
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    @property
    def requested(self) -> bool:
        """Whether this process was asked to stop."""
        return self.received is not None

    def should_stop(self) -> bool:
        """Whether any process was asked to stop. With several processes all must call it at the same step (it is a
        collective), so that they save the same one.
        """
        import jax

        if jax.process_count() == 1:
            return self.requested
        from jax.experimental import multihost_utils

        return bool(np.any(multihost_utils.process_allgather(np.array(self.requested))))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.received = signal.Signals(number)

    def __enter__(self) -> PreemptionGuard:
        for number in self.signals:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)  # type: ignore[arg-type]
        self._before.clear()

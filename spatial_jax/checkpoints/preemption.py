"""SIGTERM: the loop finishes its step, saves and leaves with a code that tells the launcher to start it again. Where
there is nothing to save (loading, compiling, exporting) it leaves at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

import numpy as np

# EX_TEMPFAIL of sysexits.h: "try again". Not 143 (128 + SIGTERM), which a process killed without saving shows.
EXIT_PREEMPTED = 75
UNWIND_S = 4.0  # how long the main thread may take to leave by itself: it may be within a compilation of minutes


class Preempted(BaseException):
    """Asked to stop at a moment when there is nothing to save; the process leaves with EXIT_PREEMPTED."""


def leave_at_once() -> None:
    """Lets SIGTERM end this process with EXIT_PREEMPTED while it has nothing to lose, until a guard takes over."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_PREEMPTED))


class PreemptionGuard:
    """Context manager that turns SIGTERM (and a first Ctrl-C) into a flag the loop polls:

        with PreemptionGuard() as guard:
            for step in ...:
                ...
                if guard.should_stop():
                    manager.save(step, state, host_state, wait=True)
                    sys.exit(EXIT_PREEMPTED)

    A second signal ends the process at once: SIGTERM by its default action, Ctrl-C by KeyboardInterrupt.
    While `at_once` is set a signal raises Preempted instead; should the main thread not come to it within UNWIND_S, the
    process ends with EXIT_PREEMPTED all the same, after `last` (what must be put right even then)."""

    def __init__(self, signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)):
        self.signals = signals
        self.received: signal.Signals | None = None
        self.last: Callable[[], None] = lambda: None
        self._at_once = False
        self._before: dict[signal.Signals, object] = {}
        self._wakeup: tuple[socket.socket, socket.socket] | None = None
        self._wakeup_before = -1
        self._left = threading.Event()

    @property
    def requested(self) -> bool:
        """Whether this process was asked to stop."""
        return self.received is not None

    @property
    def at_once(self) -> bool:
        """Whether a request ends the process at once, because it would lose nothing."""
        return self._at_once

    @at_once.setter
    def at_once(self, value: bool) -> None:
        self._at_once = value
        if value and self.requested:
            raise Preempted

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
        if self._at_once:
            raise Preempted

    def _watch(self, woken: socket.socket) -> None:
        """Python's handlers run on the main thread between two of its instructions: within a compilation, never."""
        while data := woken.recv(16):  # nothing: closed
            if self._at_once and any(number in data for number in self.signals) and not self._left.wait(UNWIND_S):
                with contextlib.suppress(Exception):
                    self.last()
                    for child in multiprocessing.active_children():
                        child.terminate()
                print("asked to stop: nothing was lost, the same command goes on", file=sys.stderr, flush=True)
                os._exit(EXIT_PREEMPTED)

    def __enter__(self) -> PreemptionGuard:
        for number in self.signals:
            self._before[number] = signal.signal(number, self._on_signal)
        self._wakeup = socket.socketpair()
        for end in self._wakeup:
            end.setblocking(True)
        self._wakeup[1].setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup[1].fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(self._wakeup[0],), name="signals", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        signal.set_wakeup_fd(self._wakeup_before)
        if self._wakeup is not None:
            self._wakeup[1].close()  # ends the watching thread
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)  # type: ignore[arg-type]
        self._before.clear()

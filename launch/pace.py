"""How fast this machine is just now, beside the one that the steps' expected minutes were measured on."""

from __future__ import annotations

import os
import threading
import time

import numpy as np

MEASURED = 4100.0  # million elements a second of two idle cores of an AMD EPYC server, where the minutes were measured
SLOWEST, FASTEST = 50.0, 0.5  # many cores hardly help so small a policy


def speed(seconds: float = 1.0, threads: int = 0) -> float:
    """Million float32 elements a second through exp, on `threads` threads (0: the cores this process may use, at most
    four) for `seconds`. NumPy lets go of the interpreter's lock there, so that what other programs take is seen.
    """
    own = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    counts = [0] * (threads or min(4, len(own)))
    data = np.linspace(-1, 1, 1 << 16, dtype=np.float32)
    began = time.monotonic()

    def work(k: int) -> None:
        out = np.empty_like(data)
        while True:  # once at least, however late it begins
            np.exp(data, out=out)
            counts[k] += 1
            if time.monotonic() > began + seconds:
                return

    workers = [threading.Thread(target=work, args=(k,)) for k in range(len(counts))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) * data.size / (time.monotonic() - began) / 1e6


def slower(measured: float) -> float:
    """How many times as long as expected steps take at a speed of `measured`; between FASTEST and SLOWEST."""
    return min(SLOWEST, max(FASTEST, MEASURED / max(measured, 1e-9)))

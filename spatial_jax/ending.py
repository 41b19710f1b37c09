"""How a command leaves: with its exit code, or, when it is stopped, with one line that says how to go on."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

from spatial_jax.pages import say

STOPPED = 130  # 128 + SIGINT, as shells have it
PATIENCE_S = 2.0


def leave(main: Callable[[], int | None], name: str, goes_on: bool = False) -> NoReturn:
    """Leaves with what `main` returns. Ctrl-C is one line and exit code 130; `goes_on`: the same command again finds
    what is done. SIGTERM ends a command at once, as ever: whatever it keeps it has written as it came.
    """
    try:
        code = main()
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # below ^C, or a line of progress
        say(f"{name}: stopped; run the same command again{' to go on' if goes_on else ''}", stream=sys.stderr)
        code = STOPPED
        for child in multiprocessing.active_children():
            child.terminate()
        if _hold():
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            os._exit(code)
    sys.exit(code)


def _hold() -> bool:
    """Whether threads that do not end soon would hold the process, such as those that wait for an answer."""
    until, own = time.monotonic() + PATIENCE_S, threading.current_thread()
    others = [thread for thread in threading.enumerate() if thread is not own and not thread.daemon]
    for thread in others:
        thread.join(max(0.0, until - time.monotonic()))
    return any(thread.is_alive() for thread in others)


@contextlib.contextmanager
def asking_threads(count: int, name: str) -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    """Threads for requests that cost time or money. When the block is left by an exception (Ctrl-C is one), those that
    still wait are never sent, and nobody waits for those that are under way.
    """
    pool = concurrent.futures.ThreadPoolExecutor(count, thread_name_prefix=name)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()

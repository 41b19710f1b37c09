"""Commands that leave this machine: each with a deadline, each ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Generator, Iterator, Sequence


def run(line: Sequence[str], timeout: float) -> subprocess.CompletedProcess:
    """As subprocess.run with its output captured. A command that is late is killed with its children (gcloud is a shell
    script over Python over ssh): TimeoutExpired.
    """
    with subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as child:
        try:
            out, err = child.communicate(timeout=timeout)
        except BaseException:
            _end(child)
            raise
    return subprocess.CompletedProcess(line, child.returncode, out, err)


def lines(line: Sequence[str], silence: float) -> Generator[str | None, None, None]:
    """The output of a command line by line, and None whenever nothing came for `silence` seconds: whether that means
    anything is the caller's to find out. The command ends when the iterator is closed.
    """
    child = subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert child.stdout is not None
    told: queue.Queue[str] = queue.Queue()

    def read(source: Iterator[str]) -> None:
        with contextlib.suppress(ValueError, OSError):  # closed while it was read
            for text in source:
                told.put(text)
        told.put("")

    threading.Thread(target=read, args=(child.stdout,), daemon=True).start()
    try:
        while True:
            try:
                text = told.get(timeout=silence)
            except queue.Empty:
                yield None
                continue
            if not text:
                return
            yield text
    finally:
        _end(child)


def _end(child: subprocess.Popen) -> None:
    """Kills a command's whole session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()

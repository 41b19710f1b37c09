"""Runs a user's reward function in worker processes that are killed at the deadline: Python cannot stop a thread that
hangs.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import pickle
import queue
import select
import struct
import subprocess
import sys
import threading
import time
from typing import Any, BinaryIO

from spatial_jax.rewards.base import RewardUnavailable
from spatial_jax.rewards.user_worker import end_tree

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "user_worker.py")
_HEADER = struct.Struct(">Q")
_MOST_ANSWER = 1 << 20
_NUMBERS = itertools.count(1)


class _Worker:
    """One child process that has loaded one function and answers one call at a time. Its session is its own: a signal
    to the run's process group (Ctrl-C, a launcher's SIGTERM) lets the run save with its scores in hand.
    """

    def __init__(self, file: str, function: str, memory_gib: float):
        self.process = subprocess.Popen(
            [sys.executable, "-P", _CHILD, file, function, str(memory_gib)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    def call(self, response: str, record: dict[str, Any], until: float) -> tuple[str, Any]:
        """(status, value) of the answer that carries this call's number; any other is somebody else's."""
        assert self.process.stdin is not None and self.process.stdout is not None
        number = next(_NUMBERS)
        payload = pickle.dumps((number, response, record))
        writer = threading.Thread(target=_write_quietly, args=(self.process.stdin, payload), daemon=True)
        writer.start()
        while True:
            size = _HEADER.unpack(_read_until(self.process.stdout, _HEADER.size, until))[0]
            if size > _MOST_ANSWER:
                raise EOFError
            try:
                answered, status, value = json.loads(_read_until(self.process.stdout, size, until))
            except (ValueError, TypeError, RecursionError):
                raise EOFError from None
            if answered == number:
                return status, value

    def kill(self, patience: float = 0.0) -> None:
        """Ends the process with everything that it started; one that is about to end by itself has `patience` seconds,
        so that its exit code is its own.
        """
        until = time.monotonic() + patience
        with contextlib.suppress(ChildProcessError):
            while not self._has_ended() and time.monotonic() < until:
                time.sleep(0.01)
            end_tree(self.process.pid)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def _has_ended(self) -> bool:
        """Whether the process has ended, without waiting for it: until then it keeps its number, and nobody else's is
        killed. ChildProcessError where the system can only tell by giving the number away.
        """
        if hasattr(os, "waitid"):
            return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if self.process.poll() is not None:
            raise ChildProcessError
        return False


def _write_quietly(stream: BinaryIO | Any, payload: bytes) -> None:
    """A child that died or was killed is reported by the reading side."""
    try:
        view = memoryview(_HEADER.pack(len(payload)) + payload)
        while view:
            view = view[stream.write(view) :]
    except (OSError, ValueError):
        return


def _read_until(stream: Any, count: int, until: float) -> bytes:
    """Exactly `count` bytes by the time `until`; TimeoutError or EOFError otherwise."""
    data = b""
    while len(data) < count:
        ready, _, _ = select.select([stream], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            raise TimeoutError
        part = os.read(stream.fileno(), count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


_IDLE: dict[tuple[str, str, float], queue.LifoQueue[_Worker]] = {}
_LOCK = threading.Lock()


def _idle(file: str, function: str, memory_gib: float) -> queue.LifoQueue[_Worker]:
    with _LOCK:
        return _IDLE.setdefault((file, function, memory_gib), queue.LifoQueue())


@atexit.register
def stop_workers() -> None:
    """Ends the idle workers."""
    with _LOCK:
        queues = list(_IDLE.values())
        _IDLE.clear()
    for workers in queues:
        while not workers.empty():
            workers.get_nowait().kill()


def call_user_function(
    file: str, function: str, response: str, record: dict[str, Any], timeout: float, memory_gib: float = 0.0
) -> Any:
    """What `function(response, record)` of `file` returns. RewardUnavailable when it raises, dies, or needs more than
    `timeout` seconds (a new process's start, about 0.2 s, is within it); ValueError when the file does not define it.
    `memory_gib`: most address space of its process (0: no bound).
    """
    file = os.path.abspath(file)
    if not os.path.isfile(file):
        raise ValueError(f"reward user: {file} does not exist; name the file that defines {function}")
    until = time.monotonic() + timeout
    workers = _idle(file, function, memory_gib)
    try:
        worker = workers.get_nowait()
    except queue.Empty:
        worker = _Worker(file, function, memory_gib)
    try:
        status, value = worker.call(response, record, until)
    except TimeoutError:
        worker.kill()
        raise RewardUnavailable(
            f"{file}:{function} took more than {timeout:.1f} s and was stopped; the sample is excluded"
        ) from None
    except (EOFError, OSError):
        worker.kill(patience=1.0)
        raise RewardUnavailable(
            f"{file}:{function}: its process ended (exit code {worker.process.returncode}); the sample is excluded"
        ) from None
    if status == "invalid":
        worker.kill()
        raise ValueError(value)
    workers.put(worker)
    if status == "error":
        raise RewardUnavailable(f"{file}:{function} raised {value}; the sample is excluded")
    return value

"""Runs a user's reward function in worker processes that are killed at the deadline: Python cannot stop a thread that
hangs.
"""

from __future__ import annotations

import atexit
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

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "user_worker.py")
_HEADER = struct.Struct(">Q")


class _Worker:
    """One child process that has loaded one function and answers one call at a time. Its session is its own: a signal
    to the run's process group (Ctrl-C, a launcher's SIGTERM) lets the run save with its scores in hand.
    """

    def __init__(self, file: str, function: str):
        self.process = subprocess.Popen(
            [sys.executable, "-P", _CHILD, file, function],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    def call(self, payload: bytes, until: float) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        writer = threading.Thread(target=_write_quietly, args=(self.process.stdin, payload), daemon=True)
        writer.start()
        size = _HEADER.unpack(_read_until(self.process.stdout, _HEADER.size, until))[0]
        return json.loads(_read_until(self.process.stdout, size, until))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


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


_IDLE: dict[tuple[str, str], queue.LifoQueue[_Worker]] = {}
_LOCK = threading.Lock()


def _idle(file: str, function: str) -> queue.LifoQueue[_Worker]:
    with _LOCK:
        return _IDLE.setdefault((file, function), queue.LifoQueue())


@atexit.register
def stop_workers() -> None:
    """Ends the idle workers."""
    with _LOCK:
        queues = list(_IDLE.values())
        _IDLE.clear()
    for workers in queues:
        while not workers.empty():
            workers.get_nowait().kill()


def call_user_function(file: str, function: str, response: str, record: dict[str, Any], timeout: float) -> Any:
    """What `function(response, record)` of `file` returns. RewardUnavailable when it raises, dies, or needs more than
    `timeout` seconds (a new process's start, about 0.2 s, is within it).
    """
    file = os.path.abspath(file)
    if not os.path.isfile(file):
        raise ValueError(f"reward user: {file} does not exist; name the file that defines {function}")
    until = time.monotonic() + timeout
    workers = _idle(file, function)
    try:
        worker = workers.get_nowait()
    except queue.Empty:
        worker = _Worker(file, function)
    try:
        status, value = worker.call(pickle.dumps((response, record)), until)
    except TimeoutError:
        worker.kill()
        raise RewardUnavailable(
            f"{file}:{function} took more than {timeout:.1f} s and was stopped; the sample is excluded"
        ) from None
    except (EOFError, OSError):
        worker.kill()
        raise RewardUnavailable(
            f"{file}:{function}: its process ended (exit code {worker.process.returncode}); the sample is excluded"
        ) from None
    workers.put(worker)
    if status == "invalid":
        raise ValueError(value)
    if status == "error":
        raise RewardUnavailable(f"{file}:{function} raised {value}; the sample is excluded")
    return value

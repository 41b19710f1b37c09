"""A pod on one machine: N processes with jax.distributed on CPU devices, the same code path as on the workers of a
TPU.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from launch.steps import EXIT_PREEMPTED, say


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def commands(processes: int, devices: int, module: Sequence[str], port: int) -> list[list[str]]:
    """One command a process."""
    return [
        [
            sys.executable,
            "-m",
            "launch.worker",
            "--platform=cpu",
            f"--devices={devices}",
            f"--coordinator=localhost:{port}",
            f"--processes={processes}",
            f"--process={i}",
            *module,
        ]
        for i in range(processes)
    ]


def rehearse(processes: int, devices: int, module: Sequence[str], logs: Path, grace: float = 60.0) -> int:
    """Runs `module` (name and arguments) in all processes and returns the exit code: 0 when all finished, 75 when all
    that left had saved, else that of the first to fail. Process 0 prints here, the others to logs/process_I.txt. When
    one ends badly, the others get `grace` seconds before they are killed: without it they would wait in a collective
    for ever. SIGTERM and Ctrl-C are passed on, so that they save.
    """
    logs.mkdir(parents=True, exist_ok=True)
    children: list[subprocess.Popen] = []
    files = [open(logs / f"process_{i}.txt", "w") for i in range(1, processes)]  # noqa: SIM115  closed below
    asked: list[float] = []

    def ask(*_: object) -> None:
        asked.append(time.monotonic())
        for child in children:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for i, line in enumerate(commands(processes, devices, module, free_port())):
            children.append(
                subprocess.Popen(
                    line,
                    stdout=files[i - 1] if i else subprocess.PIPE,
                    stderr=subprocess.STDOUT if i else None,
                    start_new_session=True,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )
            )
        assert children[0].stdout is not None
        reader = threading.Thread(target=_tell, args=(children[0].stdout,), daemon=True)
        reader.start()
        code = _watch(children, asked, logs, grace)
        reader.join(timeout=5.0)
        return code
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()
        for file in files:
            file.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(source: IO[bytes]) -> None:
    """Prints what process 0 prints, without the lines in which Gloo greets every peer on stdout."""
    for line in source:
        if not line.startswith(b"[Gloo]"):
            sys.stdout.write(line.decode(errors="replace"))
            sys.stdout.flush()


def _watch(children: Sequence[subprocess.Popen], asked: Sequence[float], logs: Path, grace: float) -> int:
    """Waits for all; kills what is left `grace` seconds after a bad end or a second after a second request."""
    first_bad: int | None = None
    deadline = float("inf")
    while any(child.poll() is None for child in children):
        for i, child in enumerate(children):
            code = child.poll()
            if first_bad is None and code not in (None, 0, EXIT_PREEMPTED):
                first_bad, deadline = code, time.monotonic() + grace
                where = f"; its log: {logs / f'process_{i}.txt'}" if i else ""
                say(
                    f"process {i} ended with exit code {code}{where}. The others get {grace:.0f} s, then they are"
                    " stopped; the run resumes from its last save"
                )
        if time.monotonic() > deadline or len(asked) > 1:
            for child in children:
                if child.poll() is None:
                    child.kill()
        time.sleep(0.1)
    codes = [child.returncode for child in children]
    if first_bad is None:
        first_bad = next((code for code in codes if code not in (0, EXIT_PREEMPTED)), None)
    if first_bad is not None:
        return first_bad if first_bad > 0 else 128 - first_bad
    return EXIT_PREEMPTED if EXIT_PREEMPTED in codes else 0

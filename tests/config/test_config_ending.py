"""Commands that are stopped from outside: one line that says how to go on, and nothing that lingers."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.config.test_config_rooms import ROOT, modules

# Processes that others start, and what hands over to a command at once.
CHILDREN = ("spatial_jax.rewards.user_worker", "spatial_jax.models.reference", "launch.worker", "launch.cli")
# Before our packages are there.
OWN = ("launch.fit_torchvision", "launch.check_pythons")

POOL = """
import signal, sys, time
from pathlib import Path
from data_prep.runner import run_processes
from spatial_jax.ending import leave

class Slow:
    def outcomes(self, indices):
        (Path(sys.argv[1]) / str(__import__("os").getpid())).touch()
        time.sleep(60)
        return indices

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    leave(lambda: list(run_processes(Slow, 0, 4, 2, 1)), "slow", goes_on=True)
"""
THREADS = """
import signal, sys, time
from pathlib import Path
from spatial_jax.ending import asking_threads, leave

def ask(number):
    (Path(sys.argv[1]) / str(number)).touch()
    time.sleep(60)

def main():
    with asking_threads(2, "ask") as pool:
        for future in [pool.submit(ask, number) for number in range(5)]:
            future.result()

signal.signal(signal.SIGINT, signal.default_int_handler)
leave(main, "asking")
"""


def begin(tmp_path, text):
    """A command with two workers under way."""
    (tmp_path / "command.py").write_text(text)
    (tmp_path / "seen").mkdir()
    child = subprocess.Popen(
        [sys.executable, str(tmp_path / "command.py"), str(tmp_path / "seen")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while len(list((tmp_path / "seen").iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    return child


def alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (POOL, "slow: stopped; run the same command again to go on\n"),
        (THREADS, "asking: stopped; run the same command again\n"),
    ],
    ids=["processes", "threads"],
)
def test_ctrl_c_is_one_line_and_what_waits_is_not_done(tmp_path, text, told):
    """A terminal sends it to the whole group; what was handed out is not waited for, what waits never begins."""
    child = begin(tmp_path, text)
    asked = time.monotonic()
    os.killpg(child.pid, signal.SIGINT)
    _, error = child.communicate(timeout=60)
    assert (child.returncode, error) == (130, told) and time.monotonic() - asked < 30
    seen = [path.name for path in (tmp_path / "seen").iterdir()]
    assert len(seen) == 2 and not (text == POOL and any(map(alive, seen)))


def test_workers_leave_with_a_parent_that_was_killed(tmp_path):
    child = begin(tmp_path, POOL)
    child.kill()
    child.communicate()
    workers, until = [path.name for path in (tmp_path / "seen").iterdir()], time.monotonic() + 30
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.2)
    assert len(workers) == 2 and not any(map(alive, workers))


def test_every_command_leaves_alike():
    found = {}
    for name, path in modules().items():
        _, mark, end = path.read_text().partition('\nif __name__ == "__main__":\n')
        if mark:
            found[name] = re.search(r"^    (leave|start)\(", end, re.MULTILINE)
    assert len(found) > 15
    assert [name for name, leaves in found.items() if not leaves] == sorted({*CHILDREN, *OWN} & set(found))

"""kill -9 at random moments of a save loses nothing that was complete; SIGTERM saves and leaves with the agreed
code.
"""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
from checkpoint_worker import expected

from spatial_jax.checkpoints import EXIT_PREEMPTED, CheckpointManager, PreemptionGuard

ROOT = pathlib.Path(__file__).parents[2]
WORKER = pathlib.Path(__file__).with_name("checkpoint_worker.py")


def start(workdir, last):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(workdir), str(last)], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_kill_at_random_moments_of_a_save(tmp_path):
    randomness = random.Random(0)
    for _ in range(4):
        child = start(tmp_path, 10_000)
        assert child.stdout.readline().startswith("resumed")
        for _ in range(3):
            child.stdout.readline()
        time.sleep(randomness.uniform(0.0, 0.2))
        child.kill()
        child.wait()
        with CheckpointManager(tmp_path) as manager:
            step = manager.latest()
            assert step is not None and all(manager.problem(s) is None for s in manager.all_steps())
            state, host = manager.restore(step)
            np.testing.assert_array_equal(state["w"], expected(step)["w"])
            assert host == {"position": 10 * step}


def test_sigterm_saves_and_leaves_with_the_agreed_code(tmp_path):
    child = start(tmp_path, 10_000)
    for _ in range(3):
        line = child.stdout.readline()
    child.send_signal(signal.SIGTERM)
    said = line + child.stdout.read()
    assert child.wait() == EXIT_PREEMPTED
    with CheckpointManager(tmp_path) as manager:
        assert manager.latest() == int(said.split()[-1])


def test_guard_sets_a_flag_and_gives_the_handlers_back():
    before = signal.getsignal(signal.SIGTERM)
    with PreemptionGuard() as guard:
        assert not guard.should_stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert guard.requested and guard.should_stop() and guard.received == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_at_once_a_request_ends_even_a_main_thread_that_never_returns_to_python(tmp_path):
    """As a compilation of minutes does: here a C function that holds on, and what must be put right runs first."""
    code = (
        "import ctypes, pathlib, sys\n"
        "from spatial_jax.checkpoints import PreemptionGuard, preemption\n"
        "preemption.UNWIND_S = 0.2\n"
        "with PreemptionGuard() as guard:\n"
        "    guard.at_once, guard.last = True, pathlib.Path(sys.argv[1], 'put_right').touch\n"
        "    print('ready', flush=True)\n"
        "    ctypes.CDLL(None).system(b'sleep 10')\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.5)
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=20) == EXIT_PREEMPTED
    assert (tmp_path / "put_right").exists()

"""Two processes save one checkpoint together and each gets its own host state back; one process can read it."""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from spatial_jax.checkpoints import CheckpointManager

ROOT = pathlib.Path(__file__).parents[2]


def test_two_processes_save_and_restore(tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    pair = [
        subprocess.Popen(
            [sys.executable, str(ROOT / "tests/checkpoints/checkpoint_pair.py"), str(tmp_path), address, str(i)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    for child in pair:
        out, err = child.communicate(timeout=90)
        assert child.returncode == 0 and out.strip().endswith("ok"), err[-2000:]
    with CheckpointManager(tmp_path) as manager:
        with pytest.raises(ValueError, match="written by 2 processes"):
            manager.restore()
        state, host = manager.restore(any_processes=True)
    assert host == {"process": 0, "step": 2}
    np.testing.assert_array_equal(state["w"], np.arange(64, dtype=np.float32).reshape(8, 8))

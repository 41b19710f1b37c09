"""A verb's console: our own news through the standard library's logging, nothing of the libraries' below a warning."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SHOWN = """
import logging
from absl import logging as absl
from spatial_jax.logs import log_to_console
from spatial_jax.rollout.programs import Programs

log_to_console()
absl.info("Load dataset info from here")
absl.error("with a traceback, and raised too")
logging.getLogger("orbax").info("saving")
logging.getLogger("orbax").warning("cannot save")
Programs("train", 1).note("update", rows=4)
"""


def test_programs_are_announced_and_the_libraries_are_quiet():
    done = subprocess.run([sys.executable, "-c", SHOWN], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["cannot save", "train: compiles program 1: update(rows=4)"]
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("given", "found", "chips", "platform"),
    [
        ({}, True, (), "cpu"),
        ({}, True, ("/dev/accel0",), None),
        ({}, True, ("/dev/nvidia0",), None),
        ({}, False, (), None),
        ({"JAX_PLATFORMS": "tpu"}, True, (), "tpu"),
        ({"TPU_WORKER_ID": "0"}, True, (), None),
    ],
)
def test_a_tpu_is_looked_for_where_one_can_be(monkeypatch, given, found, chips, platform):
    from spatial_jax import logs

    environment = {"HOME": "/", **given}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(logs.importlib.util, "find_spec", lambda name: object() if found else None)
    monkeypatch.setattr(logs.glob, "glob", lambda pattern: [c for c in chips if c.startswith(pattern[:9])])
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    logs.skip_missing_chips()
    assert environment.get("JAX_PLATFORMS") == platform


def test_nobody_logs_past_the_one_place():
    """absl's logging is not the standard library's: what it says is seen in some verbs and not in others."""
    here = Path(__file__).resolve().parents[2]
    files = [file for room in ("spatial_jax", "data_prep", "launch") for file in (here / room).rglob("*.py")]
    assert not [file for file in files if re.search(r"from absl import .*logging|absl\.logging", file.read_text())]


def test_a_verb_begins_without_a_librarys_words():
    """libtpu is installed with the tests: without a TPU, nothing of its search for one is on a user's console."""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_PLATFORMS" and not k.startswith("TPU_")}
    code = "import spatial_jax.processing, jax; jax.devices()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

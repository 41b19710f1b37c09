"""What a verb's console shows: our own lines. The standard library's logging, set up here and nowhere else."""

from __future__ import annotations

import glob
import importlib.util
import logging
import os
import sys
from typing import Any

OWN = ("spatial_jax", "data_prep", "launch", "benchmarks", "__main__")
# Where chips of a kind show themselves to Linux.
_TPU, _GPU = ("/dev/accel*", "/dev/vfio/[0-9]*"), ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg")


def log_to_console(unraised: tuple[type[BaseException], ...] = ()) -> None:
    """Our own news and warnings as plain lines on stderr, other libraries' warnings beside them. What absl's users
    (Orbax, TFDS) log as an error with its traceback they raise, too, and that is told in a line. `unraised`: exceptions
    that nobody need hear of where Python cannot raise them.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", force=True)
    for name in OWN:
        logging.getLogger(name).setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    before = sys.unraisablehook

    def hook(raised: Any) -> None:
        # TensorStore's threads report to Orbax's event loop, which a failed write has closed.
        closed = raised.exc_type is RuntimeError and str(raised.exc_value) == "Event loop is closed"
        if not (closed or issubclass(raised.exc_type, unraised)):
            before(raised)

    sys.unraisablehook = hook


def skip_missing_chips() -> None:
    """Without it, an installed libtpu looks for a TPU on machines that have none, and the compiler for GPUs for a
    driver, and both write half a screen about it. What JAX_PLATFORMS says stands; where jax is imported already, it is
    too late to say anything.
    """
    told = "jax" in sys.modules or "JAX_PLATFORMS" in os.environ or any(name.startswith("TPU_") for name in os.environ)
    installed = any(importlib.util.find_spec(name) for name in ("libtpu", "jax_cuda12_plugin"))
    if told or not installed or any(map(glob.glob, (*_TPU, *_GPU))):
        return
    os.environ["JAX_PLATFORMS"] = "cpu"

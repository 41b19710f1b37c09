"""Eight CPU devices for every test, set before jax is imported; float32 matmuls at full precision; programs compiled
once a run of the suite, and quickly rather than well.
"""

import gc
import logging
import os
import sys
import tempfile

import hypothesis
import pytest

from launch.xla_flags import environment

# A busy host is no failure: linear time is tested by processor time.
too_slow = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("busy_host", deadline=None, suppress_health_check=too_slow)
hypothesis.settings.load_profile("busy_host")

# Tests run each program a few times on a few numbers: optimising it takes longer than all that could save. Without
# LLVM's passes, with fusions written out by the elder, plainer emitters, as one module: a fifth of the time.
QUICK = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)

_variables = environment("cpu", 8, os.environ)
_variables.pop("NPROC", None)  # processes that tests start set it
_variables["XLA_FLAGS"] = f"{_variables['XLA_FLAGS']} {QUICK}"
os.environ.update(_variables)
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Many tests train and sample the same tiny policies, in this process, in pytest's other workers and in processes of
    # their own. The folder is gone with the process that made it.
    _PROGRAMS = tempfile.TemporaryDirectory(prefix="spatial_jax_programs_")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _PROGRAMS.name
    # Small programs too: fresh policies draw each of their parameters by a program of its own.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


# What the tests import stays until the end: the collector, which would walk through all of it again and again, rests
# until then and leaves it alone afterwards.
gc.disable()


def pytest_collection_finish():
    gc.enable()
    gc.collect()
    gc.freeze()


# Folders whose files take longest come first: two workers that take whole files then end together.
LONGEST = ("training", "golden", "rl", "launch", "rollout", "evals", "chat", "models", "multidevice")


def pytest_collection_modifyitems(items):
    rank = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.parent.name, len(LONGEST)))


@pytest.fixture(autouse=True, scope="module")
def no_reward_process_is_left():
    """Processes of users' reward functions wait for the next call as long as this process lives."""
    yield
    if "spatial_jax.rewards.user_process" in sys.modules:
        sys.modules["spatial_jax.rewards.user_process"].stop_workers()


@pytest.fixture(autouse=True)
def no_console_is_left():
    """A verb that runs in this process logs to the stderr of its test, which is closed afterwards."""
    yield
    for handler in logging.getLogger().handlers[:]:
        if type(handler) is logging.StreamHandler:
            logging.getLogger().removeHandler(handler)

"""Eight CPU devices for every test, set before jax is imported; float32 matmuls at full precision; programs compiled
once a run of the suite.
"""

import os
import tempfile

from launch.xla_flags import environment

os.environ.update(
    {name: value for name, value in environment("cpu", 8, os.environ).items() if name != "NPROC"}
)  # processes that tests start set it
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Many tests train and sample the same tiny policies, in this process, in pytest's other workers and in processes of
    # their own.
    _PROGRAMS = tempfile.TemporaryDirectory(prefix="spatial_jax_programs_")  # gone with the process that made it
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _PROGRAMS.name
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

"""Eight CPU devices for every test, set before jax is imported; float32 matmuls at full precision."""
import os

from launch.xla_flags import environment

os.environ.update({name: value for name, value in environment("cpu", 8, os.environ).items() if name != "NPROC"})  # processes that tests start set it
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

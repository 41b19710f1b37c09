"""Compiler and runtime settings by platform, each with its reason. They must be in the environment before jax is
imported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# name -> (value, reason). Passed in LIBTPU_INIT_ARGS.
TPU = {
    "xla_tpu_enable_latency_hiding_scheduler": (
        "true",
        (
            "moves collectives apart from what waits for them, so that a layer's parameter gather "
            "runs behind the layer before it"
        ),
    ),
    "xla_enable_async_all_gather": (
        "true",
        "without it fully sharded parameters are gathered in line with the layer that needs them",
    ),
    "xla_tpu_enable_async_collective_fusion_fuse_all_gather": ("true", "lets the gathers of one layer travel together"),
    "xla_tpu_overlap_compute_collective_tc": ("true", "matmuls go on while a collective runs"),
    "xla_tpu_enable_windowed_einsum_for_all_gather": (
        "false",
        (
            "the windowed form unrolls gather and matmul into permute loops that hold more "
            "memory; seen when compiling 7B train steps"
        ),
    ),
    "xla_tpu_enable_windowed_einsum_for_reduce_scatter": ("false", "as above, for gradients"),
    "xla_tpu_offload_gather_to_sparsecore": (
        "false",
        (
            'on TPU7x libtpu 0.0.42 ends the process ("Not enough space for TILESPMEM spill") while it '
            "compiles some of our gathers for the sparse core; programs of v5p are the same with it"
        ),
    ),
}
# Passed in XLA_FLAGS.
GPU = {
    "xla_gpu_enable_latency_hiding_scheduler": (
        "true",
        "overlaps the collectives of several GPUs with compute; nothing changes on one",
    ),
}
# For compiling where no card can be timed.
GPU_UNTIMED = {
    "xla_gpu_autotune_level": ("0", "tuning runs the candidates"),
    "xla_gpu_enable_triton_gemm": (
        "false",
        "untuned, the compiler refuses some float32 products; all of them are cuBLAS' then, one kernel each",
    ),
}
GPU_ENVIRONMENT = {
    "XLA_PYTHON_CLIENT_MEM_FRACTION": (
        "0.92",
        "sampling and training share one process, so JAX may have what its default of 0.75 leaves",
    ),
}
CPU = {
    "xla_cpu_collective_call_terminate_timeout_seconds": (
        "1200",
        (
            "virtual devices share the cores, so one may reach a collective minutes after "
            "another; the default of 40 seconds aborts the process on a busy machine"
        ),
    ),
    "xla_cpu_collective_call_warn_stuck_timeout_seconds": ("120", "as above, for the warning"),
}
# XLA runs a CPU program's collectives side by side, each device in an order of its own, and each blocks a thread of a
# pool that has one a core: on few cores all wait for one another for ever (seen: an all-gather on one device,
# all-to-alls on the three others). NPROC sets the pool's size.
CPU_THREADS_A_DEVICE = 8
PLATFORMS = ("tpu", "gpu", "cpu")


def environment(
    platform: str, devices: int | None = None, inherited: Mapping[str, str] | None = None, processes: int = 1
) -> dict[str, str]:
    """Variables to set for `platform`; flags that `inherited` already names win. `devices`: how many a CPU process
    pretends to have; `processes`: how many run together. Raises ValueError for an unknown platform.
    """
    inherited = inherited or {}
    if platform == "tpu":
        return {"LIBTPU_INIT_ARGS": _join(inherited.get("LIBTPU_INIT_ARGS", ""), TPU)}
    if platform == "gpu":
        plain = {name: inherited.get(name, value) for name, (value, _) in GPU_ENVIRONMENT.items()}
        return {"XLA_FLAGS": _join(inherited.get("XLA_FLAGS", ""), GPU), **plain}
    if platform == "cpu":
        count = {"xla_force_host_platform_device_count": (str(devices), "")} if devices else {}
        kept = " ".join(
            f
            for f in inherited.get("XLA_FLAGS", "").split()
            if not (devices and f.startswith("--xla_force_host_platform_device_count"))
        )
        alone = processes == 1 and (devices or 1) == 1
        threads = (
            {}
            if alone
            else {"NPROC": inherited.get("NPROC", str(max(CPU_THREADS_A_DEVICE * (devices or 1), os.cpu_count() or 1)))}
        )
        return {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": _join(kept, CPU | count), **threads}
    raise ValueError(f"platform {platform!r} is unknown; use one of {', '.join(PLATFORMS)}")


def compile_only_card(inherited: Mapping[str, str]) -> dict[str, str]:
    """Variables of a process that compiles for a card which is not there: the machine's own devices are not looked
    for.
    """
    return {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": _join(inherited.get("XLA_FLAGS", ""), GPU | GPU_UNTIMED)}


def _join(given: str, flags: Mapping[str, tuple[str, str]]) -> str:
    named = {flag.lstrip("-").split("=", 1)[0] for flag in given.split()}
    return " ".join([*given.split(), *(f"--{name}={value}" for name, (value, _) in flags.items() if name not in named)])

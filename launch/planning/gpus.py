"""NVIDIA cards to compile for, in a machine that has none: what the compiler asks of a card, and its plugin without a
driver.

Nothing can be timed there, so nothing is tuned: kernels, copies, memory and collectives are those of the program,
times are not told.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jax  # plan.py asks for the names of cards before jax may be imported

# What `pip install -e .[plan-gpu]` brings. cuDNN is for programs that take its attention: JAX asks for its version.
PACKAGES = ("jax-cuda12-plugin", "jax-cuda12-pjrt", "nvidia-cuda-nvcc-cu12", "nvidia-cuda-runtime-cu12")
CUDNN = ("nvidia-cudnn-cu12", "nvidia-cublas-cu12")
INSTALL = "pip install -c constraints.txt -e .[plan-gpu]"


@dataclasses.dataclass(frozen=True)
class Card:
    """What decides the compiler's choices. Sizes in bytes, `bandwidth` in bytes/s, `clock` in GHz; `shared`: a
    multiprocessor's shared memory, `shared_block`: what a block may ask of it.

    Facts as XLA's own descriptions of these cards have them (openxla/xla, xla/backends/gpu/target_config/specs).
    """

    name: str
    capability: tuple[int, int]
    cores: int
    lanes: int
    threads: int
    shared: int
    shared_block: int
    cache: int
    bandwidth: int
    memory: int
    clock: float

    def description(self) -> str:
        """The card as the text of a GpuTargetConfigProto."""
        major, minor = self.capability
        fields = {
            "threads_per_block_limit": 1024,
            "threads_per_warp": 32,
            "shared_memory_per_block": 49152,
            "shared_memory_per_core": self.shared,
            "threads_per_core_limit": self.threads,
            "core_count": self.cores,
            "fpus_per_core": self.lanes,
            "block_dim_limit_x": 2**31 - 1,
            "block_dim_limit_y": 65535,
            "block_dim_limit_z": 65535,
            "memory_bandwidth": self.bandwidth,
            "l2_cache_size": self.cache,
            "clock_rate_ghz": self.clock,
            "device_memory_size": self.memory,
            "shared_memory_per_block_optin": self.shared_block,
            "registers_per_core_limit": 65536,
            "registers_per_block_limit": 65536,
        }
        device = " ".join(f"{key}: {value}" for key, value in fields.items())
        return (
            f"gpu_device_info {{ {device} cuda_compute_capability {{ major: {major} minor: {minor} }} }}"
            ' platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 } runtime_version { major: 12 minor: 9 }'
            f' device_description_str: "{self.name}"'
        )


# Cards of a host.
HOST = 8
CARDS = {
    "a100": Card(
        "NVIDIA A100-SXM4-80GB",
        (8, 0),
        108,
        64,
        2048,
        167_936,
        166_912,
        41_943_040,
        2_039_040_000_000,
        85_100_068_864,
        1.41,
    ),
    "h100": Card(
        "NVIDIA H100 80GB HBM3",
        (9, 0),
        132,
        128,
        2048,
        233_472,
        232_448,
        52_428_800,
        3_352_320_000_000,
        84_942_979_072,
        1.98,
    ),
    "h200": Card(
        "NVIDIA H200",
        (9, 0),
        132,
        128,
        2048,
        233_472,
        232_448,
        52_428_800,
        4_800_000_000_000,
        150_754_820_096,
        1.98,
    ),
    "b200": Card(
        "NVIDIA B200",
        (10, 0),
        148,
        128,
        2048,
        233_472,
        232_448,
        132_644_864,
        7_672_320_000_000,
        191_514_411_008,
        1.965,
    ),
    # Of this one XLA has no description: NVIDIA's data sheet of the Ada architecture.
    "rtx4090": Card(
        "NVIDIA GeForce RTX 4090",
        (8, 9),
        128,
        128,
        1536,
        102_400,
        101_376,
        75_497_472,
        1_008_096_000_000,
        25_282_281_472,
        2.52,
    ),
}


def devices(family: str, count: int) -> list[jax.Device]:
    """`count` compile-only cards of one host. RuntimeError, one line, where the plugin is missing or of another version
    than jaxlib.
    """
    _register()
    from jax.experimental import topologies

    try:
        found = topologies.get_topology_desc(
            platform="cuda", target_config=CARDS[family].description(), topology=f"1x1x{count}"
        ).devices
    except Exception as error:
        raise RuntimeError(f"no GPU compiler for {family}:{count}: {str(error).splitlines()[0]}") from error
    return list(found)


def versions() -> dict[str, str]:
    """Of what compiles."""
    found = {}
    for name in (*PACKAGES, *CUDNN):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _register() -> None:
    """Makes the plugin known to JAX once, though it sees no driver."""
    from jax._src import xla_bridge

    found = versions()
    missing = [name for name in PACKAGES if name not in found]
    if missing:
        raise RuntimeError(f"plans for GPUs need {', '.join(missing)}: {INSTALL}")
    jaxlib = importlib.metadata.version("jaxlib")
    other = [f"{name} {found[name]}" for name in PACKAGES if name.startswith("jax") and found[name] != jaxlib]
    if other:
        raise RuntimeError(
            f"{' and '.join(other)} beside jaxlib {jaxlib}: the compiler must be of its version; {INSTALL}"
        )
    if "cuda" in xla_bridge._backend_factories:
        return
    import jax_plugins.xla_cuda12 as plugin

    plugin.initialize()
    # Looking for plugins again would register this one a second time, which is an error.
    xla_bridge.discover_pjrt_plugins = lambda: None


def place_on(tree: Any, device: jax.Device) -> Any:
    """The shapes of a program without a mesh, on that card: a compile-only device is only reached by a sharding."""
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    where = NamedSharding(Mesh(np.array([device]), ("card",)), PartitionSpec())

    def one(leaf: Any) -> Any:
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)
        return leaf

    return jax.tree.map(one, tree)

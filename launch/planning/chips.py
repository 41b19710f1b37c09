"""Chips and topologies, with the peak rates that their vendor publishes (a chip, dense bf16)."""

from __future__ import annotations

import dataclasses
import math
import re

import jax

from launch.planning import gpus
from launch.xla_flags import GPU_ENVIRONMENT


@dataclasses.dataclass(frozen=True)
class Chip:
    """Rates of one chip: FLOP/s in bf16, bytes of HBM that a program may use, HBM bytes/s, bytes/s that leave it over
    all its links together (half of the published bidirectional rate).
    `devices`: JAX devices a chip; None: a rate that is not known."""

    flops: float | None
    hbm: float | None
    hbm_rate: float | None
    link_rate: float | None
    devices: int = 1

    @property
    def gib(self) -> float | None:
        """GiB that a program may use of a device."""
        return None if self.hbm is None else self.hbm / self.devices / GIB


GIB = 2.0**30
# What launch/ lets JAX take of a GPU (XLA_PYTHON_CLIENT_MEM_FRACTION).
USED = float(GPU_ENVIRONMENT["XLA_PYTHON_CLIENT_MEM_FRACTION"][0])
# docs.cloud.google.com/tpu/docs: the tables of v4, v5e, v5p, v6e and tpu7x, read in November 2026.
# HBM is what the compiler leaves to programs, a little under the nominal size.
CHIPS = {
    "v4": Chip(275e12, 30.75 * GIB, 1228e9, 300e9),
    "v5e": Chip(197e12, 15.75 * GIB, 819e9, 200e9),
    "v5p": Chip(459e12, 95.0 * GIB, 2765e9, 600e9),
    "v6e": Chip(918e12, 31.25 * GIB, 1638e9, 400e9),
    "tpu7x": Chip(2307e12, 188.0 * GIB, 7380e9, 600e9, devices=2),
    "cpu": Chip(None, None, None, None),
    "gpu": Chip(None, None, None, None),
    # NVIDIA's data sheets of A100 80GB SXM, H100 SXM, H200 SXM, B200 (HGX) and the RTX 4090, read in November 2026;
    # links: NVLink, half of its bidirectional rate, PCIe 4.0 x16 for the last.
    "a100": Chip(312e12, gpus.CARDS["a100"].memory * USED, 2039e9, 300e9),
    "h100": Chip(989e12, gpus.CARDS["h100"].memory * USED, 3350e9, 450e9),
    "h200": Chip(989e12, gpus.CARDS["h200"].memory * USED, 4800e9, 450e9),
    "b200": Chip(2250e12, gpus.CARDS["b200"].memory * USED, 8000e9, 900e9),
    "rtx4090": Chip(165e12, gpus.CARDS["rtx4090"].memory * USED, 1008e9, 32e9),
}


# Sizes of a slice's shape and most chips of a pod, by generation: Cloud TPU's page of each.
PODS = {"v4": (3, 4096), "v5e": (2, 256), "v5p": (3, 8960), "v6e": (2, 256), "tpu7x": (3, 9216)}
MOST_OWN = 1024  # devices that a CPU may pretend to have


@dataclasses.dataclass(frozen=True)
class Topology:
    """`family`:`shape` as the user wrote it, e.g. v5p:4x4x4 or cpu:8."""

    family: str
    shape: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Topology:
        """ValueError, one line, for what is not a topology."""
        family, _, shape = text.partition(":")
        if family not in CHIPS:
            raise ValueError(
                f"--topology={text}: unknown chip {family!r}; use one of {', '.join(CHIPS)}, e.g. v5p:4x4x4, h100:8 or"
                " cpu:8"
            )
        sizes = tuple(int(n) if re.fullmatch(r"[0-9]{1,9}", n) else 0 for n in (shape or "1").split("x"))
        count, most = PODS.get(family, (1, gpus.HOST if family in gpus.CARDS else MOST_OWN))
        if len(sizes) != count or min(sizes) < 1 or math.prod(sizes) > most:
            raise ValueError(f"--topology={text}: {shape!r} is no shape of {family}; give {shapes_allowed(family)}")
        return cls(family, sizes)

    @property
    def chip(self) -> Chip:
        return CHIPS[self.family]

    @property
    def chips(self) -> int:
        return math.prod(self.shape)

    @property
    def is_tpu(self) -> bool:
        return self.platform == "tpu"

    @property
    def platform(self) -> str:
        """tpu, gpu or cpu, as attention's choice of kernels names them."""
        return "gpu" if self.is_card else self.family if self.family in ("cpu", "gpu") else "tpu"

    @property
    def is_card(self) -> bool:
        """Whether it is compiled for a GPU that need not be there."""
        return self.family in gpus.CARDS

    @property
    def lowering(self) -> tuple[str, ...] | None:
        """What `jax.stages.Traced.lower` is told; None: the machine's own."""
        return ("tpu",) if self.is_tpu else ("cuda",) if self.is_card else None

    def devices(self) -> list[jax.Device]:
        """Compile-only devices of a TPU or of a named card; the machine's own otherwise. RuntimeError when there are
        not enough or the compiler is missing.
        """
        if self.is_tpu:
            from jax.experimental import topologies

            try:
                name = f"{self.family}:{'x'.join(map(str, self.shape))}"
                return list(topologies.get_topology_desc(platform="tpu", topology_name=name).devices)
            except Exception as error:
                first = str(error).splitlines()[0]
                raise RuntimeError(
                    f"no TPU compiler for {name}: {first}; is libtpu installed (constraints.txt) and is it a real"
                    " topology?"
                ) from error
        if self.is_card:
            return gpus.devices(self.family, self.chips)
        devices = jax.devices(self.family)
        if len(devices) < self.chips:
            raise RuntimeError(
                f"--topology={self.family}:{self.chips} needs {self.chips} devices, there are {len(devices)}"
            )
        return devices[: self.chips]


def shapes_allowed(family: str) -> str:
    """What may stand behind a family's colon, in words."""
    if family in PODS:
        count, most = PODS[family]
        example = {2: "8x8", 3: "4x4x4"}[count]
        return f"{count} sizes of 1 or more, at most {most:,} chips together, e.g. {family}:{example}"
    if family in gpus.CARDS:
        return f"the number of cards of one host, 1 to {gpus.HOST}, e.g. {family}:8"
    return f"a number of devices, 1 to {MOST_OWN:,}, e.g. {family}:8"

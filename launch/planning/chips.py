"""Chips and topologies, with the peak rates that their vendor publishes (a chip, dense bf16)."""

from __future__ import annotations

import dataclasses
import math

import jax


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


GIB = 2.0**30
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
}


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
                f"--topology={text}: unknown chip {family!r}; use one of {', '.join(CHIPS)}, e.g. v5p:4x4x4 or cpu:8"
            )
        try:
            sizes = tuple(int(n) for n in (shape or "1").split("x"))
        except ValueError:
            sizes = ()
        if not sizes or min(sizes) < 1:
            raise ValueError(f"--topology={text}: {shape!r} is not a shape like 4x4x4")
        return cls(family, sizes)

    @property
    def chip(self) -> Chip:
        return CHIPS[self.family]

    @property
    def chips(self) -> int:
        return math.prod(self.shape)

    @property
    def is_tpu(self) -> bool:
        return self.family not in ("cpu", "gpu")

    def devices(self) -> list[jax.Device]:
        """Compile-only devices of a TPU; the machine's own otherwise. RuntimeError when there are not enough or libtpu
        is missing.
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
        devices = jax.devices(self.family)
        if len(devices) < self.chips:
            raise RuntimeError(
                f"--topology={self.family}:{self.chips} needs {self.chips} devices, there are {len(devices)}"
            )
        return devices[: self.chips]

"""Kernels that a GPU program launches, and those of them that only move data, read from its scheduled text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from launch.planning.hlo import CALLED, computations, shape_bytes, trips
from launch.planning.traffic import instructions, kernel_bytes

_OP = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\(")
# What the host launches one by one; the rest (bitcast, tuple, parameter, get-tuple-element, ...) costs nothing.
_LAUNCHED = {
    "fusion",
    "copy",
    "custom-call",
    "convert",
    "transpose",
    "broadcast",
    "iota",
    "dynamic-slice",
    "dynamic-update-slice",
    "slice",
    "concatenate",
    "gather",
    "scatter",
    "reduce",
    "dot",
    "convolution",
    "sort",
    "copy-start",
    "all-gather-start",
    "all-reduce-start",
    "reduce-scatter",
    "all-to-all",
    "collective-permute-start",
}
# A kernel of nothing but these brings bytes from one place or type to another.
_MOVES = {
    "parameter",
    "constant",
    "bitcast",
    "copy",
    "convert",
    "transpose",
    "reshape",
    "slice",
    "dynamic-slice",
    "concatenate",
    "tuple",
    "get-tuple-element",
}
# Index arithmetic around a slice of a stacked array, on scalars.
_INDEX = re.compile(r"^(?:s32|s64|u32|pred)\[\]")


_NAMED = re.compile(r'op_name="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Loop:
    """A loop of a program: its rounds (None: not known, as of decoding), the kernels of one, the bytes that they read
    and write, and the bytes that those write which only copy, slice or convert, inner loops multiplied out; `depth`:
    loops around it; `layers_kernels`, `layers_bytes`: what of them the decoder's layers take.
    """

    name: str
    turns: int | None
    kernels: float
    depth: int
    moved: float
    bytes: float
    layers_kernels: float
    layers_bytes: float


@dataclasses.dataclass(frozen=True)
class Launches:
    """`kernels` of one call (loops without a known number of rounds once), `moved` bytes that kernels write which only
    copy, slice or convert, `largest` of them as (bytes, shape, times), and all loops, outer ones first.
    """

    kernels: float
    moved: float
    largest: tuple[tuple[float, str, float], ...]
    loops: tuple[Loop, ...]

    @property
    def decoding(self) -> Loop | None:
        """The loop without a known end that launches most: a round is a token."""
        return max((loop for loop in self.loops if loop.turns is None), key=lambda loop: loop.kernels, default=None)


def launches(text: str) -> Launches:
    """Of an optimised program for a GPU. RuntimeError for a text without an entry."""
    bodies, entry = computations(text)
    if not entry:
        raise RuntimeError("the compiler's text of the program has no ENTRY computation: its kernels cannot be read")
    moving: list[tuple[float, str, float]] = []
    loops: list[Loop] = []
    total = _visit(bodies, entry, 1.0, 0, moving, loops)
    moved = sum(size * times for size, _, times in moving)
    largest = tuple(sorted(moving, key=lambda m: -m[0] * m[2])[:8])
    return Launches(total[0], moved, largest, tuple(loops))


def _visit(
    bodies: Mapping[str, list[str]],
    name: str,
    times: float,
    depth: int,
    moving: list[tuple[float, str, float]],
    loops: list[Loop],
) -> np.ndarray:
    """[kernels, bytes, what of both is of the decoder's layers] of one run of a computation."""
    total, around = np.zeros(4), instructions(bodies[name])
    for line in bodies[name]:
        found = _OP.match(line)
        if not found:
            continue
        own, shape, op = found.groups()
        called = [t for c in CALLED.finditer(line) for t in c.group(1).replace("%", "").split(", ") if t in bodies]
        if op == "while":
            turns = trips(line, bodies, unknown=0)
            place, before = len(loops), len(moving)
            body = re.search(r"body=%?([\w.\-]+)", line)
            inner = np.zeros(4)
            if body:
                inner = _visit(bodies, body.group(1), times * max(turns, 1), depth + 1, moving, loops)
            moved = sum(size * count for size, _, count in moving[before:]) / (times * max(turns, 1))
            kernels, touched, *layers = map(float, inner)
            loops.insert(
                place, Loop(body.group(1) if body else "", turns or None, kernels, depth, moved, touched, *layers)
            )
            total += inner * max(turns, 1)
        elif op in ("call", "async-start"):
            for target in called:
                total += _visit(bodies, target, times, depth, moving, loops)
        elif op == "conditional":
            total += max(
                (_visit(bodies, target, times, depth, moving, loops) for target in called),
                key=lambda sums: sums[0],
                default=np.zeros(4),
            )
        elif op in _LAUNCHED:
            touched = kernel_bytes(around[own], around, bodies) if own in around else 0.0
            share = float(_of_layer(line, called, bodies))
            total += (1.0, touched, share, share * touched)
            if op in ("copy", "convert", "transpose", "slice", "dynamic-slice", "copy-start") or (
                op == "fusion" and called and _only_moves(bodies[called[0]])
            ):
                moving.append((shape_bytes(shape), shape.split("{")[0], times))
    return total


def _of_layer(line: str, called: list[str], bodies: Mapping[str, list[str]]) -> bool:
    """Whether a kernel is of the decoder's layers, by the name that the decoder gives what it writes layer by layer;
    of a fusion without a name most of what it holds decides.
    """
    names = _NAMED.findall(line) or [
        name for target in called for part in bodies[target] for name in _NAMED.findall(part)
    ]
    return 2 * sum("/layer/" in name for name in names) > len(names)


def _only_moves(lines: list[str]) -> bool:
    """Whether a fusion's computation does nothing but bring bytes elsewhere."""
    ops = [found.groups() for line in lines if (found := _OP.match(line))]
    return bool(ops) and all(op in _MOVES or _INDEX.match(shape) for _, shape, op in ops)

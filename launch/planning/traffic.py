"""Bytes that a kernel of a GPU program reads and writes in the card's memory, by the program's scheduled text: what its
operands and results hold, of an array that it only slices or updates in place no more than the slice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from launch.planning.hlo import shape_bytes

_LINE = re.compile(r"^\s*(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLS = re.compile(r"calls=%?([\w.\-]+)")
# Scratch space of cuBLAS, which its calls return beside the product.
_SCRATCH = re.compile(r", s8\[\d+\]\S*\)$")
_SAME = ("bitcast", "reshape", "get-tuple-element")
_CUT = ("dynamic-slice", "slice", "gather")
# Which operand of an update in place is what is written.
_UPDATE = {"dynamic-update-slice": 1, "scatter": 2}


class Instruction:
    """One line of a computation: its name, shape, operation and operands' names."""

    def __init__(self, found: re.Match[str]):
        self.root, self.name, self.shape, self.op, rest = found.groups()
        self.rest = rest
        inside, depth = 0, 1
        for place, sign in enumerate(rest):
            depth += (sign == "(") - (sign == ")")
            if depth == 0:
                inside = place
                break
        self.operands = _NAME.findall(rest[:inside])


def instructions(lines: Sequence[str]) -> dict[str, Instruction]:
    """Of a computation, by name."""
    found = (Instruction(match) for line in lines if (match := _LINE.match(line)))
    return {one.name: one for one in found}


def kernel_bytes(one: Instruction, around: Mapping[str, Instruction], bodies: Mapping[str, list[str]]) -> float:
    """Of one launched instruction among those `around` it."""
    shapes = [around[name].shape if name in around else "" for name in one.operands]
    if one.op in _UPDATE:
        return 2 * shape_bytes(shapes[_UPDATE[one.op]])
    if one.op in _CUT:
        return 2 * shape_bytes(one.shape)
    called = _CALLS.search(one.rest) if one.op == "fusion" else None
    if called is None or called.group(1) not in bodies:
        distinct = dict(zip(one.operands, shapes))
        return sum(map(shape_bytes, distinct.values())) + shape_bytes(_SCRATCH.sub(")", one.shape))
    inner = instructions(bodies[called.group(1)])
    return _read(inner) + sum(_written(inner, root.name) for root in inner.values() if root.root)


def _read(inner: Mapping[str, Instruction]) -> float:
    """Of a fusion's parameters."""
    total = 0.0
    for one in inner.values():
        if one.op == "parameter":
            uses = _uses(inner, one.name)
            if uses and all(op in _CUT or (op in _UPDATE and place == 0) for op, place, _ in uses):
                total += sum(shape_bytes(shape) for op, _, shape in uses if op in _CUT)
            else:
                total += shape_bytes(one.shape)
    return total


def _uses(inner: Mapping[str, Instruction], name: str) -> list[tuple[str, int, str]]:
    """(operation, place among its operands, its shape) of what takes a value, other names of it followed."""
    found = []
    for one in inner.values():
        for place, operand in enumerate(one.operands):
            if operand == name and one.op in _SAME:
                found += _uses(inner, one.name)
            elif operand == name:
                found.append((one.op, place, one.shape))
    return found


def _written(inner: Mapping[str, Instruction], name: str) -> float:
    """Of a fusion's result."""
    one = inner[name]
    if one.op == "tuple":
        return sum(_written(inner, part) for part in one.operands)
    if one.op in _SAME and one.operands and inner[one.operands[0]].op in _UPDATE:
        return _written(inner, one.operands[0])
    if one.op in _UPDATE:
        return shape_bytes(inner[one.operands[_UPDATE[one.op]]].shape)
    return shape_bytes(one.shape)

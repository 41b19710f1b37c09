"""Collectives and kernels of a compiled program, read from its scheduled text."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_BITS = {
    "pred": 8,
    "s8": 8,
    "u8": 8,
    "s16": 16,
    "u16": 16,
    "bf16": 16,
    "f16": 16,
    "s32": 32,
    "u32": 32,
    "f32": 32,
    "s64": 64,
    "u64": 64,
    "f64": 64,
}
_HEAD = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_END = re.compile(r'^\}(, execution_thread="\w+")?\s*$')  # of a computation; those of a sparse core name their thread
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
_OP = re.compile(r"= (.*?) (" + "|".join(KINDS) + r")(-start)?\(")
CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|branch_computations|called_computations)=\{?((?:%[\w.\-]+(?:, )?)+)\}?"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CONDITION = re.compile(r"condition=%?([\w.\-]+)")
_CHANNEL = re.compile(r"channel_id=(\d+)")
_ORIGIN = re.compile(r"metadata=\{[^}]*")
_BOUND = re.compile(r" s32\[\]\S* constant\((\d+)\)")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective of a program: result bytes a device (all of its arrays), its largest array, devices of a group,
    and how often a run executes it.
    """

    kind: str
    shape: str
    bytes: float
    group: int
    times: float


def collectives(text: str) -> list[Collective]:
    """All of them, with the rounds of the loops around them (1 where the compiler does not know the number)."""
    bodies, entry = computations(text)
    if not entry:
        raise RuntimeError(
            "the compiler's text of the program has no ENTRY computation: its collectives cannot be read"
        )
    times: dict[str, float] = dict.fromkeys(bodies, 0.0)

    def visit(name: str, factor: float) -> None:
        times[name] += factor
        for line in bodies[name]:
            inner = factor * (trips(line, bodies) if " while(" in line else 1)
            for called in CALLED.finditer(line):
                for target in called.group(1).replace("%", "").split(", "):
                    if target in bodies:
                        visit(target, inner)

    visit(entry, 1.0)
    found: list[Collective] = []
    pieces: dict[tuple[str, ...], str] = {}
    for name, lines in bodies.items():
        for line in lines:
            if times[name] and (match := _OP.search(line)):
                shapes, kind = _SHAPE.findall(match.group(1)), match.group(2)
                # A collective that runs beside others' work is cut into fusions, with one channel, shape and origin in
                # all of them. A channel alone does not tell: all that shard_map writes have the same.
                if channel := _CHANNEL.search(line):
                    origin = _ORIGIN.search(line)
                    if (
                        pieces.setdefault((channel.group(), str(shapes), origin.group() if origin else ""), name)
                        != name
                    ):
                        continue
                if match.group(3) and kind != "all-reduce":
                    # An asynchronous start returns (operands, results, a context of scalars); of all-reduce only
                    # results.
                    shapes = [shape for shape in shapes if shape[1]]
                    shapes = shapes[len(shapes) // 2 :] or shapes
                size, group = sum(_size(*shape) for shape in shapes), _group(line)
                if kind == "all-reduce" and "all-reduce-scatter" in name:
                    # How TPU programs write a reduce-scatter: a fusion of an all-reduce and the slice that stays.
                    kind, size = "reduce-scatter", size / max(group, 1)
                dtype, dims = max(shapes, key=lambda s: _size(*s))
                found.append(Collective(kind, f"{dtype}[{dims}]", size, group, times[name]))
    return found


def trips(line: str, bodies: Mapping[str, list[str]], unknown: int = 1) -> int:
    """Rounds of a while loop: as the compiler notes them, else the constant that its whole condition is a comparison
    with (a scan's); `unknown` where neither tells, as of decoding, which may stop at any token.
    """
    if noted := _TRIPS.search(line):
        return int(noted.group(1))
    condition = _CONDITION.search(line)
    lines = bodies.get(condition.group(1), []) if condition else []
    bounds = [int(bound.group(1)) for text in lines if (bound := _BOUND.search(text))]
    return (
        bounds[0] if len(bounds) == 1 and any("ROOT" in text and "direction=LT" in text for text in lines) else unknown
    )


def kernel_calls(text: str) -> int:
    """Pallas kernels in the program's text, each once."""
    return text.count('custom_call_target="tpu_custom_call"')


def by_axis(found: list[Collective], mesh: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """kind -> axes -> bytes a device of one run. Axes are told by the size of the groups; of several that fit, the
    first is named.
    """
    out: dict[str, dict[str, float]] = {}
    for one in found:
        axes = out.setdefault(one.kind, {})
        name = axes_of(one.group, mesh)
        axes[name] = axes.get(name, 0.0) + one.bytes * one.times
    return out


def axes_of(group: int, mesh: Mapping[str, int]) -> str:
    """Mesh axes whose sizes multiply to `group`."""
    names = [name for name, size in mesh.items() if size > 1]
    for count in range(1, len(names) + 1):
        for chosen in itertools.combinations(names, count):
            if math.prod(mesh[name] for name in chosen) == group:
                return "+".join(chosen)
    return f"groups of {group}" if group else "neighbours"


def computations(text: str) -> tuple[dict[str, list[str]], str]:
    """(lines of each computation by its name, the entry's name; empty where there is none)."""
    bodies: dict[str, list[str]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if current is None and (match := _HEAD.match(line)):
            current = bodies.setdefault(match.group(1), [])
            if line.startswith("ENTRY"):
                entry = match.group(1)
        elif _END.match(line):  # the whole line: a kernel's metadata may have lines that begin with one
            current = None
        elif current is not None:
            current.append(line)
    return bodies, entry


def shape_bytes(text: str) -> float:
    """Bytes of all arrays that a shape names, a tuple's together."""
    return sum(_size(*one) for one in _SHAPE.findall(text))


def _size(kind: str, dims: str) -> float:
    return math.prod(int(d) for d in dims.split(",") if d) * _BITS.get(kind, 0) / 8


def _group(line: str) -> int:
    if match := re.search(r"replica_groups=\[(\d+),(\d+)\]", line):
        return int(match.group(2))
    if match := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", line):
        sizes = dict(part.replace("'", "").split("=") for part in match.group(1).split(","))
        return math.prod(int(sizes[axis]) for axis in match.group(2).replace("'", "").split(",") if axis in sizes)
    if match := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return len(match.group(1).split(","))
    return 0

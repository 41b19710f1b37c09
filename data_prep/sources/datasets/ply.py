"""Points of a PLY file: the x, y and z of its vertices, text or binary, whatever else it holds."""

from __future__ import annotations

import numpy as np

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


def read_vertices(data: bytes) -> np.ndarray:
    """float32 [n, 3] of PLY bytes whose first element is `vertex`. ValueError, one line, for anything else."""
    head, mark, body = data.partition(b"end_header\n")
    if not mark:
        head, mark, body = data.partition(b"end_header\r\n")
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines()]
    if not mark or not lines or lines[0] != ["ply"]:
        raise ValueError("no PLY file")
    order, count, inside = "", 0, False
    fields: list[tuple[str, str]] = []
    for line in lines[1:]:
        if line[:1] == ["format"]:
            order = line[1]
        elif line[:1] == ["element"]:
            if fields:
                break
            inside = line[1] == "vertex"
            count = int(line[2]) if inside else 0
        elif line[:1] == ["property"] and inside:
            if line[1] not in _TYPES:
                raise ValueError(f"vertices have a property of type {line[1]}")
            fields.append((line[2], line[1]))
    names = [name for name, _ in fields]
    if order not in _ORDERS or not {"x", "y", "z"} <= set(names):
        raise ValueError("a PLY file without vertices of x, y and z")
    if order == "ascii":
        text = body.decode("ascii", "replace").split("\n")[:count]
        table = np.array([[float(v) for v in row.split()[: len(names)]] for row in text])
        if table.shape != (count, len(names)):
            raise ValueError(f"cut off: {len(table)} of {count} vertices")
        return table[:, [names.index(axis) for axis in "xyz"]].astype(np.float32)
    kind = np.dtype([(name, _ORDERS[order] + _TYPES[t]) for name, t in fields])
    if len(body) < count * kind.itemsize:
        raise ValueError(f"cut off: {len(body) // kind.itemsize} of {count} vertices")
    rows = np.frombuffer(body, kind, count)
    return np.stack([rows[axis].astype(np.float32) for axis in "xyz"], -1)

"""Points on the surface of solids whose closed form is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

STEP = 0.05  # metres between neighbours, at most


def _line(length: float) -> np.ndarray:
    """0 to 1 in steps of STEP along `length` metres, both ends among them."""
    return np.linspace(0, 1, max(2, int(np.ceil(length / STEP)) + 1))


def _box(half: np.ndarray) -> np.ndarray:
    lines = [2 * _line(2 * h) - 1 for h in half]
    faces = []
    for axis in range(3):
        i, j = (k for k in range(3) if k != axis)
        u, v = np.meshgrid(lines[i], lines[j], indexing="ij")
        for sign in (-1.0, 1.0):
            face = np.empty((u.size, 3))
            face[:, axis], face[:, i], face[:, j] = sign, u.ravel(), v.ravel()
            faces.append(face * half)
    return np.concatenate(faces)


def _round(count: float) -> np.ndarray:
    return np.arange(max(12, int(np.ceil(count)))) * (2 * np.pi / max(12, int(np.ceil(count))))


def _ellipsoid(half: np.ndarray) -> np.ndarray:
    polar = np.pi * _line(np.pi * float(half.max()))
    around = _round(2 * np.pi * float(half.max()) / STEP)
    p, a = np.meshgrid(polar, around, indexing="ij")
    return np.stack([np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)], -1).reshape(-1, 3) * half


def _frustum(half: np.ndarray, axis: int, low: float, high: float) -> np.ndarray:
    length = float(half[axis])
    around = _round(2 * np.pi * max(low, high) / STEP)
    rings = [(low * r, -length) for r in _line(low)] + [(high * r, length) for r in _line(high)]
    rings += [(low + (high - low) * t, length * (2 * t - 1)) for t in _line(2 * length)]
    r, z = np.array(rings).T
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    out = np.empty((len(r), len(around), 3))
    out[..., i], out[..., j], out[..., axis] = r[:, None] * np.cos(around), r[:, None] * np.sin(around), z[:, None]
    return out.reshape(-1, 3)


def surface_points(solids: Sequence[Sequence[Any]]) -> np.ndarray:
    """Points [n, 3] of solids (kind, centre [3], half sides or radii [3], axis, radii low and high), at most STEP
    apart and with every edge and corner, so that the distance of two solids that are 0.15 m apart or more is told
    within a centimetre. ValueError for a kind that is not known.
    """
    out = []
    for kind, center, half, axis, (low, high) in ((s[0], s[1:4], s[4:7], s[7], s[8:10]) for s in solids):
        sides = np.asarray(half, np.float64)
        if kind == "box":
            points = _box(sides)
        elif kind == "ellipsoid":
            points = _ellipsoid(sides)
        elif kind == "frustum":
            points = _frustum(sides, int(axis), float(low), float(high))
        else:
            raise ValueError(f"a solid of kind {kind!r} is not known")
        out.append(points + np.asarray(center, np.float64))
    return np.concatenate(out)

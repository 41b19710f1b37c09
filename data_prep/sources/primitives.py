"""Ray intersection of the three solids that rendered objects are made of: ellipsoid, box and frustum (cylinder, cone).

All functions work in the object's own frame (z up). A ray is origin + t * direction; origin and direction are triples whose
parts may be scalars or arrays that broadcast (camera rays: one origin; shadow rays: one direction).
"""
from __future__ import annotations

import dataclasses

import numpy as np

Triple = tuple  # three arrays or scalars that broadcast against each other
_FRAMES = {0: (1, 2, 0), 1: (2, 0, 1), 2: (0, 1, 2)}   # coordinates in the order (across, across, along) for each axis


@dataclasses.dataclass(frozen=True)
class Primitive:
    """One convex solid. `half`: half side lengths (box) or radii (ellipsoid) in metres; a frustum runs along `axis` from -half to
    +half of that axis with radii `low` and `high` at its two ends. `tone`: which of the body's colours it wears."""

    kind: str                                   # "ellipsoid" | "box" | "frustum"
    center: tuple[float, float, float]
    half: tuple[float, float, float]
    axis: int = 2
    low: float = 0.0
    high: float = 0.0
    tone: str = "main"                          # main | dark | light | wood | metal | leaf | screen
    cap: str = ""                               # tone of a frustum's upper cap, e.g. the dark inside of a bucket


def ellipsoid(center: tuple, radii: tuple, **look: str) -> Primitive:
    return Primitive("ellipsoid", tuple(map(float, center)), tuple(map(float, radii)), **look)


def box(center: tuple, sides: tuple, **look: str) -> Primitive:
    """`sides` are full lengths, metres."""
    return Primitive("box", tuple(map(float, center)), tuple(float(s) / 2 for s in sides), **look)


def frustum(center: tuple, length: float, low: float, high: float, axis: int = 2, **look: str) -> Primitive:
    """Cylinder (low == high), cone (high == 0) or anything between, along `axis`; metres."""
    half = [max(low, high)] * 3
    half[axis] = length / 2
    return Primitive("frustum", tuple(map(float, center)), tuple(map(float, half)), axis, float(low), float(high), **look)


def intersect(solid: Primitive, origin: Triple, direction: Triple) -> np.ndarray:
    """First t > 0 at which each ray enters the solid, inf where it misses. Rays start outside the solid."""
    origin = tuple(o - c for o, c in zip(origin, solid.center))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if solid.kind == "box":
            return _enter_box(solid.half, origin, direction)
        if solid.kind == "ellipsoid":
            return _enter_ellipsoid(solid.half, origin, direction)
        return _enter_frustum(solid, origin, direction)


def _enter_box(half: tuple, origin: Triple, direction: Triple) -> np.ndarray:
    enter, leave = None, None
    for o, d, h in zip(origin, direction, half):
        step = np.float32(1) / d
        middle, reach = -o * step, np.abs(step) * np.float32(h)
        near, far = middle - reach, middle + reach
        enter = near if enter is None else np.maximum(enter, near)
        leave = far if leave is None else np.minimum(leave, far)
    return np.where((enter < leave) & (enter > 1e-4), enter, np.float32(np.inf))


def _enter_ellipsoid(radii: tuple, origin: Triple, direction: Triple) -> np.ndarray:
    o = [p / np.float32(r) for p, r in zip(origin, radii)]
    d = [p / np.float32(r) for p, r in zip(direction, radii)]
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
    c = o[0] * o[0] + o[1] * o[1] + o[2] * o[2] - np.float32(1)
    disc = b * b - a * c
    t = (-b - np.sqrt(np.maximum(disc, 0))) / a
    return np.where((disc > 0) & (t > 1e-4), t, np.float32(np.inf))


def _enter_frustum(solid: Primitive, origin: Triple, direction: Triple) -> np.ndarray:
    i, j, k = _FRAMES[solid.axis]
    x, y, z = origin[i], origin[j], origin[k]
    dx, dy, dz = direction[i], direction[j], direction[k]
    length = np.float32(solid.half[solid.axis])
    slope = np.float32((solid.high - solid.low) / (2 * length))
    radius = np.float32((solid.high + solid.low) / 2) + slope * z         # radius of the infinite cone at the origin's height
    grow = slope * dz
    a = dx * dx + dy * dy - grow * grow
    b = x * dx + y * dy - radius * grow
    c = x * x + y * y - radius * radius
    root = np.sqrt(np.maximum(b * b - a * c, 0))
    hit = b * b > a * c
    best = np.float32(np.inf)
    for t in ((-b - root) / a, (-b + root) / a)[: 1 if slope == 0 else 2]:
        inside = hit & (np.abs(z + t * dz) <= length) & (radius + t * grow >= 0) & (t > 1e-4)
        best = np.minimum(best, np.where(inside, t, np.float32(np.inf)))
    for end, size in ((-length, solid.low), (length, solid.high)):
        if size > 0:
            t = (end - z) / dz
            px, py = x + t * dx, y + t * dy
            best = np.minimum(best, np.where((px * px + py * py <= np.float32(size * size)) & (t > 1e-4), t, np.float32(np.inf)))
    return best


def normals(solid: Primitive, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outward unit normals [3, n] of points [3, n] on the surface, and a bool [n] that is true on a frustum's upper cap."""
    local = points - np.asarray(solid.center, np.float32)[:, None]
    half = np.asarray(solid.half, np.float32)[:, None]
    cap = np.zeros(points.shape[1], bool)
    if solid.kind == "ellipsoid":
        normal = local / (half * half)
    elif solid.kind == "box":
        scaled = local / half
        side = np.argmax(np.abs(scaled), axis=0)
        normal = np.zeros_like(local)
        columns = np.arange(local.shape[1])
        normal[side, columns] = np.sign(scaled[side, columns])
        return normal, cap
    else:
        i, j, k = _FRAMES[solid.axis]
        length = solid.half[solid.axis]
        slope = (solid.high - solid.low) / (2 * length)
        flat = np.hypot(local[i], local[j])
        normal = np.empty_like(local)
        normal[i], normal[j], normal[k] = local[i], local[j], -slope * flat
        edge = 1e-3 * length + 1e-5
        radius = (solid.high + solid.low) / 2 + slope * local[k]
        inner = flat < radius * 0.999
        cap = (local[k] > length - edge) & inner if solid.high > 0 else cap
        below = (local[k] < -length + edge) & inner
        for mask, sign in ((cap, 1.0), (below, -1.0)):
            normal[:, mask] = 0.0
            normal[k, mask] = sign
    return normal / np.maximum(np.sqrt((normal * normal).sum(0)), 1e-9), cap


def bounds(solids: list[Primitive]) -> tuple[np.ndarray, np.ndarray]:
    """Smallest axis-aligned box (low [3], high [3]) around the solids, in the object's frame; exact."""
    centers = np.array([s.center for s in solids])
    halves = np.array([s.half for s in solids])
    return (centers - halves).min(0), (centers + halves).max(0)

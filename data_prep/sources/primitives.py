"""Ray intersection of the three solids that rendered objects are made of: ellipsoid, box and frustum (cylinder, cone).

All functions work in the object's own frame (z up). A ray is origin + t * direction; origin and direction are triples
whose parts may be scalars or arrays that broadcast (camera rays: one origin; shadow rays: one direction).
"""

from __future__ import annotations

import dataclasses

import numpy as np

Triple = tuple  # three arrays or scalars that broadcast against each other
_FRAMES = {0: (1, 2, 0), 1: (2, 0, 1), 2: (0, 1, 2)}  # coordinates in the order (across, across, along) for each axis


@dataclasses.dataclass(frozen=True)
class Primitive:
    """One convex solid. `half`: half side lengths (box) or radii (ellipsoid) in metres; a frustum runs along `axis`
    from -half to +half of that axis with radii `low` and `high` at its two ends. `tone`: which of the body's colours it
    wears.
    """

    kind: str  # "ellipsoid" | "box" | "frustum"
    center: tuple[float, float, float]
    half: tuple[float, float, float]
    axis: int = 2
    low: float = 0.0
    high: float = 0.0
    tone: str = "main"  # main | dark | light | wood | metal | leaf | screen
    cap: str = ""  # tone of a frustum's upper cap, e.g. the dark inside of a bucket


def _triple(values: tuple) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def ellipsoid(center: tuple, radii: tuple, tone: str = "main") -> Primitive:
    """`radii` along the three axes, metres."""
    return Primitive("ellipsoid", _triple(center), _triple(radii), tone=tone)


def box(center: tuple, sides: tuple, tone: str = "main") -> Primitive:
    """`sides` are full lengths, metres."""
    return Primitive("box", _triple(center), (sides[0] / 2, sides[1] / 2, sides[2] / 2), tone=tone)


def frustum(
    center: tuple, length: float, low: float, high: float, axis: int = 2, tone: str = "main", cap: str = ""
) -> Primitive:
    """Cylinder (low == high), cone (high == 0) or anything between, along `axis`; metres."""
    half = [max(low, high)] * 3
    half[axis] = length / 2
    return Primitive("frustum", _triple(center), _triple(tuple(half)), axis, float(low), float(high), tone, cap)


def intersect(solid: Primitive, origin: Triple, direction: Triple) -> np.ndarray:
    """First t > 0 at which each ray enters the solid, inf where it misses. Rays start outside the solid. Divides by
    zero where a ray is parallel to a face, which is harmless: callers silence NumPy's warning once around many
    calls.
    """
    origin = tuple(o - c for o, c in zip(origin, solid.center))
    if solid.kind == "box":
        return _enter_box(solid.half, origin, direction)
    if solid.kind == "ellipsoid":
        return _enter_ellipsoid(solid.half, origin, direction)
    return _enter_frustum(solid, origin, direction)


_FAR = np.float32(np.inf)
_NEAR = np.float32(1e-4)


def _enter_box(half: tuple, origin: Triple, direction: Triple) -> np.ndarray:
    enter, leave = None, None
    for o, d, h in zip(origin, direction, half):
        step = np.float32(1) / d
        middle, reach = o * step, np.abs(step) * np.float32(h)
        near, far = -reach - middle, reach - middle
        enter = near if enter is None else np.maximum(enter, near)
        leave = far if leave is None else np.minimum(leave, far)
    assert enter is not None and leave is not None
    np.putmask(enter, (enter >= leave) | (enter <= _NEAR), _FAR)
    return enter


def _enter_ellipsoid(radii: tuple, origin: Triple, direction: Triple) -> np.ndarray:
    o = [p / np.float32(r) for p, r in zip(origin, radii)]
    d = [p / np.float32(r) for p, r in zip(direction, radii)]
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
    c = o[0] * o[0] + o[1] * o[1] + o[2] * o[2] - np.float32(1)
    t = (-b - np.sqrt(b * b - a * c)) / a  # not a number where the ray misses
    np.putmask(t, ~(t > _NEAR), _FAR)
    return t


def _enter_frustum(solid: Primitive, origin: Triple, direction: Triple) -> np.ndarray:
    i, j, k = _FRAMES[solid.axis]
    x, y, z = origin[i], origin[j], origin[k]
    dx, dy, dz = direction[i], direction[j], direction[k]
    length = np.float32(solid.half[solid.axis])
    slope = np.float32((solid.high - solid.low) / (2 * length))
    radius = np.float32((solid.high + solid.low) / 2) + slope * z  # radius of the infinite cone at the origin's height
    a, b, c = dx * dx + dy * dy, x * dx + y * dy, x * x + y * y - radius * radius
    if slope:
        grow = slope * dz
        a, b = a - grow * grow, b - radius * grow
    root = np.sqrt(b * b - a * c)  # not a number where the ray misses
    best = (-b - root) / a
    np.putmask(best, ~((np.abs(z + best * dz) <= length) & (best > _NEAR)), _FAR)
    if slope:  # a ray steeper than the side may enter through the other root; both lie on one nappe
        t = (root - b) / a
        np.putmask(t, ~((np.abs(z + t * dz) <= length) & (t > _NEAR)), _FAR)
        best = np.minimum(best, t)
    for end, size, sign in ((-length, solid.low, 1), (length, solid.high, -1)):
        if size <= 0 or (np.ndim(dz) == 0 and dz * sign <= 0) or (np.ndim(z) == 0 and (end - z) * sign <= 0):
            continue  # seen from its back: no ray enters there
        t = (end - z) / dz
        px, py = x + t * dx, y + t * dy
        np.putmask(t, (px * px + py * py > np.float32(size * size)) | (t <= _NEAR), _FAR)
        best = np.minimum(best, t)
    return best


def normals(solid: Primitive, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outward unit normals [3, n] of points [3, n] on the surface, and a bool [n] that is true on a frustum's upper
    cap.
    """
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


SIGNS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])


def corners(solids: list[Primitive]) -> np.ndarray:
    """Corners [solids, 8, 3] of the box around each solid, in the object's frame."""
    return np.array([s.center for s in solids])[:, None] + SIGNS * np.array([s.half for s in solids])[:, None]


def bounds(solids: list[Primitive]) -> tuple[np.ndarray, np.ndarray]:
    """Smallest axis-aligned box (low [3], high [3]) around the solids, in the object's frame; exact."""
    centers = np.array([s.center for s in solids])
    halves = np.array([s.half for s in solids])
    return (centers - halves).min(0), (centers + halves).max(0)

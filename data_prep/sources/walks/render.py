"""Frames of a walk: colours, depth along the optical axis, and which body each pixel shows.

What each solid covers of each frame is found for all frames at once; a frame then meets its solids from near to far
and passes over those that stand wholly behind what it has. Shading is one pass over the pixels.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from data_prep.sources.camera import Camera
from data_prep.sources.layout import Body
from data_prep.sources.primitives import SIGNS, corners, intersect
from data_prep.sources.raycast import soften
from data_prep.sources.walks.home import Home
from data_prep.sources.walks.shade import Look, shade

NEAR = 0.05  # metres: what is nearer to the camera's plane is not drawn
SILHOUETTE = 24  # rays a side that a body's outline is measured with
FLOOR, CEILING = -1, -2
_EDGES = np.array([(i, j) for i in range(8) for j in range(i) if bin(i ^ j).count("1") == 1])


@dataclasses.dataclass
class Frames:
    """rgb uint8 [n, h, w, 3]; depth float32 [n, h, w] metres; owner int16 [n, h, w], index into home.bodies or -1;
    seen [n, bodies] pixels of each; whole [n, bodies] pixels that each would cover alone, beyond the frame's edge too
    (0 where nothing of it is seen).
    """

    rgb: np.ndarray
    depth: np.ndarray
    owner: np.ndarray
    seen: np.ndarray
    whole: np.ndarray


class Solids:
    """All solids of all bodies in arrays: `body` [s] whose each is, `corners` [s, 8, 3] in the world."""

    def __init__(self, bodies: list[Body]):
        self.parts = [part for body in bodies for part in body.solids]
        self.body = np.repeat(np.arange(len(bodies)), [len(body.solids) for body in bodies])
        self.corners = np.concatenate([corners(b.solids) @ b.turn.T + b.position for b in bodies])


def render_walk(home: Home, rng: np.random.Generator, colours: bool = True) -> Frames:
    """All frames of a walk, without what the hand does to them (data_prep.sources.walks.hand). Without `colours` they
    are black: who owns a pixel and how far it lies is found alone, in a third of the time.
    """
    solids = Solids(home.bodies)
    look = Look(home.plan, home.bodies, rng) if colours else None
    with np.errstate(all="ignore"):
        rects, nearest = _rectangles(solids.corners, home.cameras)
        drawn = [_frame(home, solids, look, camera, rects[k], nearest[k]) for k, camera in enumerate(home.cameras)]
        rgb, depth, owner = (np.stack(parts) for parts in zip(*drawn))
        seen = np.stack([np.bincount(o[o >= 0], minlength=len(home.bodies)) for o in owner])
        whole = _silhouettes(home, seen)
    return Frames(rgb, depth, owner, seen, np.maximum(whole, seen))


def _rectangles(points: np.ndarray, cameras: list[Camera]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (left, top, right, bottom) [n, s, 4] that boxes of world corners [s, 8, 3] may cover in each frame, not
    cut by the frame, and their least depth [n, s]; empty for those behind the camera.
    """
    turn = np.stack([c.rotation for c in cameras]).astype(np.float32)
    origin = np.stack([c.position for c in cameras])
    local = np.einsum("nij,nskj->nski", turn, (points[None] - origin[:, None, None]).astype(np.float32))
    z = local[..., 2]
    a, b = local[:, :, _EDGES[:, 0]], local[:, :, _EDGES[:, 1]]  # where an edge passes the near plane it is cut
    share = (NEAR - a[..., 2]) / np.where(a[..., 2] == b[..., 2], 1, b[..., 2] - a[..., 2])
    cuts = a + share[..., None] * (b - a)
    crossing = (a[..., 2] < NEAR) != (b[..., 2] < NEAR)
    everything = np.concatenate([local, cuts], 2)
    there = np.concatenate([z >= NEAR, crossing], 2)
    depth = np.maximum(everything[..., 2], NEAR)
    fx, fy, cx, cy = (np.array([getattr(c, k) for c in cameras])[:, None, None] for k in ("fx", "fy", "cx", "cy"))
    u, v = fx * everything[..., 0] / depth + cx, fy * everything[..., 1] / depth + cy
    far = 1e6
    low = np.stack([np.where(there, w, far).min(2) for w in (u, v)], -1)
    high = np.stack([np.where(there, w, -far).max(2) for w in (u, v)], -1)
    rects = np.concatenate([np.floor(low) - 1, np.ceil(high) + 2], -1)
    return rects.clip(-far, far).astype(np.int64), np.maximum(z.min(2), NEAR)


def _frame(
    home: Home, solids: Solids, look: Look | None, camera: Camera, rects: np.ndarray, nearest: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours, depth and owners of one frame."""
    rays = camera.rays(camera.rotation.T, 0, 0, camera.width, camera.height)
    height = float(camera.position[2])
    down = rays[2] < 0
    depth = np.where(down, -height, home.plan.height - height).astype(np.float32) / rays[2]
    number = np.where(down, FLOOR, CEILING).astype(np.int16)
    cut = np.column_stack([np.maximum(rects[:, :2], 0), np.minimum(rects[:, 2:], (camera.width, camera.height))])
    inside = np.flatnonzero((cut[:, 0] < cut[:, 2]) & (cut[:, 1] < cut[:, 3]))
    turns: dict[int, tuple[np.ndarray, tuple]] = {}
    for index in inside[np.argsort(nearest[inside])].tolist():
        left, top, right, bottom = cut[index].tolist()
        place = depth[top:bottom, left:right]
        if nearest[index] > place.max():
            continue
        of = int(solids.body[index])
        if of not in turns:
            body = home.bodies[of]
            origin = ((camera.position - body.position) @ body.turn).astype(np.float32)
            turns[of] = body.turn.T @ camera.rotation.T, tuple(origin)
        turn, start = turns[of]
        t = intersect(solids.parts[index], start, camera.rays(turn, left, top, right, bottom))
        closer = t < place
        np.copyto(place, t, where=closer)
        np.copyto(number[top:bottom, left:right], np.int16(index), where=closer)
    owner = np.where(number >= 0, solids.body[np.maximum(number, 0)], -1).astype(np.int16)
    if look is None:
        return np.zeros((*owner.shape, 3), np.uint8), depth, owner
    rgb, faces = shade(look, camera, rays, depth, number)
    soften(rgb, faces)
    return np.clip(rgb, 0, 255).astype(np.uint8), depth, owner


def _silhouettes(home: Home, seen: np.ndarray) -> np.ndarray:
    """Pixels [n, bodies] that each body would cover if it stood alone and the frame were three times as wide and high;
    0 where nothing of it is seen. Measured with SILHOUETTE rays a side.
    """
    whole = np.zeros(seen.shape, np.int64)
    for index, body in enumerate(home.bodies):
        frames = np.flatnonzero(seen[:, index])
        if not body.is_object or not len(frames):
            continue
        cameras = [home.cameras[k] for k in frames]
        middle = (body.low + body.high) / 2
        outline = (middle + SIGNS * ((body.high - body.low) / 2)) @ body.turn.T + body.position
        rects, _ = _rectangles(outline[None], cameras)
        size = np.array([cameras[0].width, cameras[0].height])
        low, high = np.maximum(rects[:, 0, :2], -size), np.minimum(rects[:, 0, 2:], 2 * size)
        step = (high - low) / SILHOUETTE
        pixel = low[:, None] + (np.arange(SILHOUETTE)[None, :, None] + 0.5) * step[:, None] - 0.5
        x = np.stack([(p[:, 0] - c.cx) / c.fx for p, c in zip(pixel, cameras)])[:, None, :]
        y = np.stack([(p[:, 1] - c.cy) / c.fy for p, c in zip(pixel, cameras)])[:, :, None]
        turn = np.stack([body.turn.T @ c.rotation.T for c in cameras])
        origin = np.stack([(c.position - body.position) @ body.turn for c in cameras]).astype(np.float32)
        rays = [
            (turn[:, i, 0, None, None] * x + turn[:, i, 1, None, None] * y + turn[:, i, 2, None, None]).astype(
                np.float32
            )
            for i in range(3)
        ]
        start = tuple(origin[:, i, None, None] for i in range(3))
        hit = np.zeros(rays[0].shape, bool)
        for part in body.solids:
            hit |= intersect(part, start, tuple(rays)) < np.inf
        whole[frames, index] = np.rint(hit.sum((1, 2)) * step[:, 0] * step[:, 1])
    return whole

"""Renders a Room: colours, metric depth, who owns each pixel and how much of each body is visible.

One ray a pixel against the solids of each body, only inside the body's rectangle; everything is array arithmetic over
rectangles.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from data_prep.sources.layout import Body, Room
from data_prep.sources.primitives import corners, intersect, normals

_TONES = {
    "light": (240, 234, 220),
    "metal": (150, 152, 158),
    "leaf": (52, 120, 48),
    "screen": (28, 34, 46),
    "wood": (124, 98, 74),
}
_AMBIENT, _DIRECT = 0.52, 0.56


@dataclasses.dataclass
class Rendering:
    """rgb uint8 [h, w, 3]; depth float32 [h, w], metres along the optical axis; owner int16 [h, w], index into
    room.bodies or -1; silhouette [bodies]: pixels each body would cover if nothing stood before it and the picture had
    no edge; sign: share of the room's sign that nothing stands before, 0 without one.
    """

    rgb: np.ndarray
    depth: np.ndarray
    owner: np.ndarray
    silhouette: np.ndarray
    sign: float = 0.0


Rectangle = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom excluded


def _rectangle(pixels: np.ndarray, margin: int = 1) -> Rectangle:
    """Whole pixels around the positions [n, 2]."""
    left, top = pixels.min(0).tolist()
    right, bottom = pixels.max(0).tolist()
    return (
        math.floor(left) - margin,
        math.floor(top) - margin,
        math.ceil(right) + margin + 1,
        math.ceil(bottom) + margin + 1,
    )


def _common(a: Rectangle, b: Rectangle) -> Rectangle:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def _empty(a: Rectangle) -> bool:
    return a[0] >= a[2] or a[1] >= a[3]


def _view(a: Rectangle, left: int = 0, top: int = 0) -> tuple[slice, slice]:
    """The rectangle as slices of an array whose corner is the pixel (left, top)."""
    return slice(a[1] - top, a[3] - top), slice(a[0] - left, a[2] - left)


def _cast_body(room: Room, body: Body) -> tuple[Rectangle, np.ndarray, np.ndarray]:
    """Rectangle, depth [h, w] (inf where missed) and index of the solid [h, w] of one body alone; may reach beyond the
    picture.
    """
    camera = room.camera
    boxes = corners(body.solids)
    pixels = camera.project((boxes @ body.turn.T + body.position).reshape(-1, 3))
    beyond = (
        -(camera.width // 2),
        -(camera.height // 2),
        camera.width + camera.width // 2,
        camera.height + camera.height // 2,
    )
    rect = _common(_rectangle(pixels), beyond)
    shape = (max(0, rect[3] - rect[1]), max(0, rect[2] - rect[0]))
    depth, solid = np.full(shape, np.inf, np.float32), np.zeros(shape, np.int8)
    turn = body.turn.T @ camera.rotation.T
    origin = tuple(((camera.position - body.position) @ body.turn).astype(np.float32))
    for index, part in enumerate(body.solids):
        sub = _common(rect, _rectangle(pixels[8 * index : 8 * index + 8]))
        if _empty(sub):
            continue
        t = intersect(part, origin, camera.rays(turn, *sub))
        view = _view(sub, rect[0], rect[1])
        closer = t < depth[view]
        np.copyto(depth[view], t, where=closer)
        np.copyto(solid[view], np.int8(index), where=closer)
    return rect, depth, solid


def _pattern(name: str, points: np.ndarray, period: float, contrast: float) -> np.ndarray:
    """Brightness factor [n] of a texture at points [3, n]: 1 or `contrast`."""
    if name == "plain":
        return np.ones(points.shape[1], np.float32)
    steps = np.floor(points / np.float32(period)).astype(np.int32)
    odd = {"stripes": steps[0], "bands": steps[2], "checker": steps.sum(0)}[name] & 1
    return np.where(odd, np.float32(contrast), np.float32(1))


def _shade_walls(room: Room) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour [h, w, 3] (float32, 0 to 255, before shadows) and depth [h, w] of the empty room, and which pixels see
    its sign [h, w].
    """
    camera, looks, light = room.camera, room.looks, room.light
    x, y, z = camera.rays(camera.rotation.T, 0, 0, camera.width, camera.height)
    low, high = (room.walls - camera.position).astype(np.float32)
    to_x = np.where(x > 0, high[0], low[0]) / x
    to_y = np.where(y > 0, high[1], low[1]) / y
    to_z = np.where(z > 0, high[2], low[2]) / z
    to_wall = np.minimum(to_x, to_y)
    depth = np.minimum(to_wall, to_z)
    rgb = np.empty((*depth.shape, 3), np.float32)
    height = z * depth + np.float32(camera.position[2])
    side = np.where(
        to_x < to_y,
        np.maximum(-np.sign(x) * np.float32(light[0]), 0),
        np.maximum(-np.sign(y) * np.float32(light[1]), 0),
    )
    tone = np.float32(_AMBIENT + 0.22) + np.float32(0.25) * side + np.float32(0.1 / room.walls[1, 2]) * height
    tone[height < 0.1] *= np.float32(0.72)  # a skirting board marks where wall meets floor
    level = to_z < to_wall
    tone[level] = 0.95
    for channel, value in enumerate(looks["wall"]):
        np.multiply(tone, np.float32(value), out=rgb[..., channel])
    signed = np.zeros(depth.shape, bool)
    if (sign := room.sign) is not None:
        ray, other, to_other = ((x, y, to_y), (y, x, to_x))[sign.axis]
        on_wall = ~level & (to_wall < to_other) & ((ray > 0) == bool(sign.end))
        signed = sign.paint(rgb, tone, on_wall, other * depth + np.float32(camera.position[1 - sign.axis]), height)
    floor = level & (z < 0)
    near = depth[floor]
    points = np.stack(
        [
            x[floor] * near + np.float32(camera.position[0]),
            y[floor] * near + np.float32(camera.position[1]),
            np.zeros_like(near),
        ]
    )
    tone = _pattern(looks["floor_texture"], points, looks["tile"], 0.84) * np.float32(_AMBIENT + _DIRECT * light[2])
    rgb[floor] = tone[:, None] * np.array(looks["floor"], np.float32)
    return rgb, depth, signed


def _shade_body(room: Room, body: Body, points: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """Colours float32 [n, 3] of surface points [3, n] (body frame) that lie on the solids `solid` [n]."""
    light = (room.light @ body.turn).astype(np.float32)
    colours = np.empty((points.shape[1], 3), np.float32)
    main = np.array(body.rgb, np.float32)
    pattern = _pattern(body.texture, points, max(0.07, body.size / 5), room.contrast) if body.is_object else None
    for index, part in enumerate(body.solids):
        here = np.flatnonzero(solid == index)
        if not here.size:
            continue
        normal, cap = normals(part, points[:, here])
        facing = normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2]
        tone = np.float32(_AMBIENT) + np.float32(0.08) * normal[2] + np.float32(_DIRECT) * np.maximum(facing, 0)
        base = (
            main
            if part.tone == "main"
            else main * np.float32(0.55)
            if part.tone == "dark"
            else np.array(_TONES[part.tone], np.float32)
        )
        if not body.is_object and part.tone == "wood":
            base = main
        if part.tone == "main" and pattern is not None:
            tone = tone * pattern[here]
        shade = tone[:, None] * base
        if part.cap and cap.any():
            inside = main * np.float32(0.4) if part.cap == "dark" else np.array(_TONES[part.cap], np.float32)
            shade[cap] = inside * np.float32(0.9)
        colours[here] = shade
    return colours


def _shadow(room: Room, body: Body, depth: np.ndarray, rgb: np.ndarray, owner: np.ndarray, index: int) -> None:
    """Darkens what stands in the body's shadow, in place."""
    camera = room.camera
    box = body.corners
    cast = box - room.light * (box[:, 2:] / room.light[2])
    everything = np.concatenate([box, cast])
    if camera.to_camera(everything)[:, 2].min() < 0.1:
        return
    rect = _common(_rectangle(camera.project(everything)), (0, 0, camera.width, camera.height))
    if _empty(rect):
        return
    view = _view(rect)
    turn = body.turn.T @ camera.rotation.T
    origin = ((camera.position - body.position) @ body.turn).astype(np.float32)
    place = depth[view]
    start = tuple(o + d * place for o, d in zip(origin, camera.rays(turn, *rect)))
    light = tuple((room.light @ body.turn).astype(np.float32))
    least = 0.15 * float(body.high[0] + body.high[1])  # slimmer parts cast no shadow worth its price
    dark = np.zeros(place.shape, bool)
    for part in body.solids:
        if part.half[0] + part.half[1] > least:
            dark |= intersect(part, start, light) < np.inf
    dark &= owner[view] != index
    rgb[view][dark] *= np.float32(0.66)


def soften(rgb: np.ndarray, owner: np.ndarray) -> None:
    """Blends pixels at the outlines of bodies with their neighbours, in place: cheap antialiasing."""
    edge = np.zeros(owner.shape, bool)
    edge[1:-1, 1:-1] = (
        (owner[1:-1, 1:-1] != owner[:-2, 1:-1])
        | (owner[1:-1, 1:-1] != owner[2:, 1:-1])
        | (owner[1:-1, 1:-1] != owner[1:-1, :-2])
        | (owner[1:-1, 1:-1] != owner[1:-1, 2:])
    )
    rows, columns = np.nonzero(edge)
    around = rgb[rows - 1, columns] + rgb[rows + 1, columns] + rgb[rows, columns - 1] + rgb[rows, columns + 1]
    rgb[rows, columns] = 0.4 * rgb[rows, columns] + 0.15 * around


def render(room: Room) -> Rendering:
    """The room as its camera sees it."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _render(room)


def _render(room: Room) -> Rendering:
    camera = room.camera
    frame = (0, 0, camera.width, camera.height)
    rgb, depth, signed = _shade_walls(room)
    owner = np.full(depth.shape, -1, np.int16)
    silhouette = np.zeros(len(room.bodies), np.int64)
    pieces = []
    for index, body in enumerate(room.bodies):
        rect, alone, solid = _cast_body(room, body)
        silhouette[index] = np.count_nonzero(alone < np.inf)
        seen = _common(rect, frame)
        pieces.append((rect, solid, seen))
        if _empty(seen):
            continue
        crop, view = alone[_view(seen, rect[0], rect[1])], _view(seen)
        closer = crop < depth[view]
        np.copyto(depth[view], crop, where=closer)
        np.copyto(owner[view], np.int16(index), where=closer)
    for index, (body, (rect, solid, seen)) in enumerate(zip(room.bodies, pieces)):
        if _empty(seen):
            continue
        view = _view(seen)
        rows, columns = np.nonzero(owner[view] == index)
        if not rows.size:
            continue
        turn = (body.turn.T @ camera.rotation.T).astype(np.float32)
        near = depth[view][rows, columns]
        ray = np.empty((3, rows.size), np.float32)
        ray[0], ray[1], ray[2] = (
            (columns + (seen[0] - camera.cx)) / camera.fx,
            (rows + (seen[1] - camera.cy)) / camera.fy,
            1,
        )
        local = turn @ (ray * near) + ((camera.position - body.position) @ body.turn).astype(np.float32)[:, None]
        rgb[view][rows, columns] = _shade_body(
            room, body, local, solid[rows + (seen[1] - rect[1]), columns + (seen[0] - rect[0])]
        )
    for index, body in enumerate(room.bodies):
        _shadow(room, body, depth, rgb, owner, index)
    if room.smooth:
        soften(rgb, owner)
    rgb *= (np.float32(1.06) - np.float32(0.045) * np.minimum(depth, 9))[
        ..., None
    ]  # the lamp is near the camera: far things are dimmer
    clear = float((owner[signed] < 0).mean()) if signed.any() else 0.0
    return Rendering(np.minimum(rgb, 255, out=rgb).astype(np.uint8), depth, owner, silhouette, clear)

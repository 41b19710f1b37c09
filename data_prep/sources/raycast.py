"""Renders a Room: colours, metric depth, who owns each pixel and how much of each body is visible.

One ray a pixel against the solids of each body, only inside the body's rectangle; everything is array arithmetic over rectangles.
"""
from __future__ import annotations

import dataclasses

import numpy as np

from data_prep.sources.layout import Body, Room
from data_prep.sources.primitives import intersect, normals

_TONES = {"light": (240, 234, 220), "metal": (150, 152, 158), "leaf": (52, 120, 48), "screen": (28, 34, 46), "wood": (124, 98, 74)}
_AMBIENT, _DIRECT = 0.52, 0.56


@dataclasses.dataclass
class Rendering:
    """rgb uint8 [h, w, 3]; depth float32 [h, w], metres along the optical axis; owner int16 [h, w], index into room.bodies or -1;
    silhouette [bodies]: pixels each body would cover if nothing stood before it and the picture had no edge."""

    rgb: np.ndarray
    depth: np.ndarray
    owner: np.ndarray
    silhouette: np.ndarray


def _rectangle(room: Room, corners: np.ndarray, margin: int = 1) -> tuple[int, int, int, int]:
    pixels = room.camera.project(corners)
    left, top = np.floor(pixels.min(0)).astype(int) - margin
    right, bottom = np.ceil(pixels.max(0)).astype(int) + margin + 1
    return int(left), int(top), int(right), int(bottom)


def _clip(room: Room, rect: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    w, h = room.camera.width, room.camera.height
    return max(0, rect[0]), max(0, rect[1]), min(w, rect[2]), min(h, rect[3])


def _cast_body(room: Room, body: Body) -> tuple[tuple[int, int, int, int], np.ndarray, np.ndarray]:
    """Rectangle, depth [h, w] (inf where missed) and index of the solid [h, w] of one body alone; may reach beyond the picture."""
    camera = room.camera
    rect = _rectangle(room, body.corners)
    reach = (camera.width // 2, camera.height // 2)
    rect = (max(rect[0], -reach[0]), max(rect[1], -reach[1]), min(rect[2], camera.width + reach[0]), min(rect[3], camera.height + reach[1]))
    shape = (max(0, rect[3] - rect[1]), max(0, rect[2] - rect[0]))
    depth, solid = np.full(shape, np.inf, np.float32), np.zeros(shape, np.int8)
    if not depth.size:
        return rect, depth, solid
    turn = body.turn.T @ camera.rotation.T
    origin = tuple(((camera.position - body.position) @ body.turn).astype(np.float32))
    for index, part in enumerate(body.solids):
        ends = np.stack([np.array(part.center) - part.half, np.array(part.center) + part.half])
        grid = np.array([[ends[i, 0], ends[j, 1], ends[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
        sub = _rectangle(room, grid @ body.turn.T + body.position)
        left, top, right, bottom = max(rect[0], sub[0]), max(rect[1], sub[1]), min(rect[2], sub[2]), min(rect[3], sub[3])
        if left >= right or top >= bottom:
            continue
        t = intersect(part, origin, camera.rays(turn, left, top, right, bottom))
        view = (slice(top - rect[1], bottom - rect[1]), slice(left - rect[0], right - rect[0]))
        closer = t < depth[view]
        depth[view] = np.where(closer, t, depth[view])
        solid[view] = np.where(closer, np.int8(index), solid[view])
    return rect, depth, solid


def _pattern(name: str, points: np.ndarray, period: float, contrast: float) -> np.ndarray:
    """Brightness factor [n] of a texture at points [3, n]: 1 or `contrast`."""
    if name == "plain":
        return np.ones(points.shape[1], np.float32)
    steps = np.floor(points / np.float32(period)).astype(np.int32)
    odd = {"stripes": steps[0], "bands": steps[2], "checker": steps.sum(0)}[name] & 1
    return np.where(odd, np.float32(contrast), np.float32(1))


def _shade_walls(room: Room) -> tuple[np.ndarray, np.ndarray]:
    """Colour [h, w, 3] (float32, 0 to 255, before shadows) and depth [h, w] of the empty room."""
    camera, looks = room.camera, room.looks
    direction = camera.rays(camera.rotation.T, 0, 0, camera.width, camera.height)
    low, high = (room.walls - camera.position).astype(np.float32)
    with np.errstate(divide="ignore"):
        exits = np.stack([np.where(d > 0, h, lo) / d for d, lo, h in zip(direction, low, high)])
    side = np.argmin(exits, axis=0)
    depth = np.take_along_axis(exits, side[None], 0)[0]
    points = np.stack([d * depth for d in direction]) + camera.position.astype(np.float32)[:, None, None]
    rgb = np.empty((*depth.shape, 3), np.float32)
    flat = points.reshape(3, -1)
    down = ((side == 2) & (direction[2] < 0)).ravel()
    light = room.light
    colours = rgb.reshape(-1, 3)
    floor = flat[:, down] * np.array([[1], [1], [0]], np.float32)
    tone = _pattern(looks["floor_texture"], floor, looks["tile"], 0.84) * np.float32(_AMBIENT + _DIRECT * light[2])
    colours[down] = tone[:, None] * np.array(looks["floor"], np.float32)
    up = ~down
    sign = np.where(side.ravel()[up] == 0, -np.sign(direction[0]).ravel()[up] * light[0], -np.sign(direction[1]).ravel()[up] * light[1])
    height = flat[2, up] / np.float32(room.walls[1, 2])
    tone = np.where(side.ravel()[up] == 2, 0.95, _AMBIENT + 0.22 + 0.25 * np.clip(sign, 0, 1) + 0.1 * height).astype(np.float32)
    tone = np.where((flat[2, up] < 0.1) & (side.ravel()[up] != 2), tone * 0.72, tone)        # a skirting board marks where wall meets floor
    colours[up] = tone[:, None] * np.array(looks["wall"], np.float32)
    return rgb, depth


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
        base = main if part.tone == "main" else main * np.float32(0.55) if part.tone == "dark" else np.array(_TONES[part.tone], np.float32)
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
    corners = body.corners
    cast = corners - room.light * (corners[:, 2:] / room.light[2])
    everything = np.concatenate([corners, cast])
    if room.camera.to_camera(everything)[:, 2].min() < 0.1:
        return
    left, top, right, bottom = _clip(room, _rectangle(room, everything))
    if left >= right or top >= bottom:
        return
    view = (slice(top, bottom), slice(left, right))
    turn = body.turn.T @ room.camera.rotation.T
    origin = ((room.camera.position - body.position) @ body.turn).astype(np.float32)
    place = depth[view]
    start = [o + d * place for o, d in zip(origin, room.camera.rays(turn, left, top, right, bottom))]
    light = (room.light @ body.turn).astype(np.float32)
    base = body.low - 0.01
    # Only receivers below the body, inside the box that its slanted shadow fills, can be dark: test those alone.
    lift = (body.high[2] - start[2]) / light[2]
    reach = [np.abs(start[i] + light[i] * np.maximum(lift, 0) * 0.5) <= np.abs(light[i]) * np.abs(lift) * 0.5 + body.high[i] for i in (0, 1)]
    where = np.nonzero((lift > 1e-3) & reach[0] & reach[1] & (owner[view] != index))
    if not where[0].size:
        return
    rays = tuple(s[where] for s in start)
    dark = np.zeros(where[0].size, bool)
    for part in body.solids:
        if part.half[0] + part.half[1] > 0.1 * float(-base[0] - base[1]):
            dark |= np.isfinite(intersect(part, rays, tuple(light)))
    rows, columns = where[0][dark] + top, where[1][dark] + left
    rgb[rows, columns] *= np.float32(0.66)


def render(room: Room) -> Rendering:
    """The room as its camera sees it."""
    camera = room.camera
    rgb, depth = _shade_walls(room)
    owner = np.full(depth.shape, -1, np.int16)
    silhouette = np.zeros(len(room.bodies), np.int64)
    pieces = []
    for index, body in enumerate(room.bodies):
        rect, alone, solid = _cast_body(room, body)
        silhouette[index] = np.count_nonzero(np.isfinite(alone))
        left, top, right, bottom = _clip(room, rect)
        pieces.append((rect, solid, (left, top, right, bottom)))
        if left >= right or top >= bottom:
            continue
        view = (slice(top, bottom), slice(left, right))
        crop = alone[top - rect[1]: bottom - rect[1], left - rect[0]: right - rect[0]]
        closer = crop < depth[view]
        depth[view] = np.where(closer, crop, depth[view])
        owner[view] = np.where(closer, np.int16(index), owner[view])
    for index, (body, (rect, solid, (left, top, right, bottom))) in enumerate(zip(room.bodies, pieces)):
        if left >= right or top >= bottom:
            continue
        view = (slice(top, bottom), slice(left, right))
        rows, columns = np.nonzero(owner[view] == index)
        if not rows.size:
            continue
        turn = (body.turn.T @ camera.rotation.T).astype(np.float32)
        near = depth[view][rows, columns]
        x, y = (columns + left - camera.cx) / camera.fx, (rows + top - camera.cy) / camera.fy
        local = turn @ (np.stack([x, y, np.ones_like(x)]).astype(np.float32) * near)
        local += ((camera.position - body.position) @ body.turn).astype(np.float32)[:, None]
        rgb[view][rows, columns] = _shade_body(room, body, local, solid[rows + top - rect[1], columns + left - rect[0]])
    for index, body in enumerate(room.bodies):
        _shadow(room, body, depth, rgb, owner, index)
    rgb *= (np.float32(1.06) - np.float32(0.045) * np.minimum(depth, 9))[..., None]      # the lamp is near the camera: far things are dimmer
    return Rendering(np.clip(rgb, 0, 255).astype(np.uint8), depth, owner, silhouette)

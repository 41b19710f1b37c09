"""Colours of a walk's pixels: textures, pictures, lamps and windows, and shadows where things meet the floor."""

from __future__ import annotations

import numpy as np

from data_prep.sources.camera import Camera
from data_prep.sources.layout import Body
from data_prep.sources.primitives import normals
from data_prep.sources.walks.plan import Plan
from data_prep.sources.walks.surface import ART, METRES, SIDE, TEXTURES, art, tiles

GRID = 0.025  # metres, of the floor's light
TONES = {
    "white": (232, 230, 224),
    "light": None,
    "dark": None,
    "metal": (168, 170, 174),
    "steel": (198, 200, 204),
    "black": (36, 36, 40),
    "screen": (26, 30, 38),
    "leaf": (62, 118, 52),
    "glass": (176, 198, 208),
    "lit": (255, 236, 196),
}
BOARDS = ((150, 112, 78), (176, 138, 98), (112, 82, 60), (196, 168, 130))
PAINTS = ((226, 220, 208), (206, 214, 218), (218, 206, 188), (196, 208, 192), (226, 206, 198), (232, 230, 226))
FLOORS = {"kitchen": ("tiles",), "bathroom": ("tiles",), "bedroom": ("planks", "carpet")}
WALLS = ("paint",) * 4 + ("paper",) * 2 + ("bricks",)


class Look:
    """Colours and textures of every solid and room, lamps, and the floor's light, as arrays."""

    def __init__(self, plan: Plan, bodies: list[Body], rng: np.random.Generator):
        self.ceiling = plan.height
        self.tiles, (self.art, ranges) = tiles(), art()
        self._solids(bodies, ranges, rng)
        self._rooms(plan, rng)
        self._floor(plan, bodies)

    def _solids(self, bodies: list[Body], ranges: dict, rng: np.random.Generator) -> None:
        self.parts = [part for body in bodies for part in body.solids]
        self.curved = np.array([part.kind != "box" for part in self.parts])
        owner = [body for body in bodies for _ in body.solids]
        self.place = np.array([b.position for b in owner], np.float32)
        self.turn = np.array([(b.turn[0, 0], b.turn[1, 0]) for b in owner], np.float32)
        self.center = np.array([p.center for p in self.parts], np.float32)
        self.half = np.array([p.half for p in self.parts], np.float32)
        self.wall = np.array([b.kind == "wall" for b in owner])
        self.glow = np.array([p.tone in ("sky", "lit") for p in self.parts])
        self.albedo = np.array([_colour(b, p.tone) for b, p in zip(owner, self.parts)], np.float32)
        names = [_texture(b, p.tone) for b, p in zip(owner, self.parts)]
        self.texture = np.array([TEXTURES.index(n) for n in names])
        self.scale = np.array([SIDE / METRES[n] for n in names], np.float32)
        self.picture = np.array(
            [ranges[p.tone][0] + int(rng.integers(ranges[p.tone][1])) if p.tone in ranges else -1 for p in self.parts]
        )

    def _rooms(self, plan: Plan, rng: np.random.Generator) -> None:
        floors = [str(rng.choice(FLOORS.get(a.use, ("planks",)))) for a in plan.rooms]
        walls = [str(rng.choice(("tiles", "paint") if a.use == "bathroom" else WALLS)) for a in plan.rooms]
        self.floor_texture = np.array([TEXTURES.index(n) for n in floors])
        self.wall_texture = np.array([TEXTURES.index(n) for n in walls])
        self.floor_scale = np.array([SIDE / METRES[n] for n in floors], np.float32)
        self.wall_scale = np.array([SIDE / METRES[n] for n in walls], np.float32)
        boards = rng.permutation(len(BOARDS))
        soft = [(150, 150, 158), (176, 160, 146), (128, 142, 150)]
        stone = [(206, 202, 194), (176, 178, 180)]
        self.floor_rgb = np.array(
            [
                BOARDS[boards[k]] if n == "planks" else (soft if n == "carpet" else stone)[int(rng.integers(2))]
                for k, n in enumerate(floors)
            ],
            np.float32,
        )
        paints = rng.permutation(len(PAINTS))
        self.wall_rgb = np.array(
            [(186, 120, 96) if n == "bricks" else PAINTS[paints[k]] for k, n in enumerate(walls)], np.float32
        )
        self.low = np.array([a.low for a in plan.rooms], np.float32)
        self.high = np.array([a.high for a in plan.rooms], np.float32)
        self.lamp = np.column_stack([(self.low + self.high) / 2, np.full(len(plan.rooms), plan.height - 0.3)])
        self.window = self.lamp.copy()  # where daylight comes from; a room without a window has its lamp twice
        for o in plan.openings:
            if o.kind == "window":
                spot = [0.0, 0.0, (o.levels[0] + o.levels[1]) / 2]
                spot[o.side[0]], spot[1 - o.side[0]] = plan.rooms[o.room].face(o.side) - o.side[1] * 0.3, o.middle
                self.window[o.room] = spot
        self.lamp, self.window = self.lamp.astype(np.float32), self.window.astype(np.float32)

    def _floor(self, plan: Plan, bodies: list[Body]) -> None:
        """`room_at` and `light` [x, y]: the room of each cell of the floor (the nearest one's under walls), and how
        bright its floor is.
        """
        from scipy.ndimage import distance_transform_edt, gaussian_filter

        self.corner = self.low.min(0) - 0.5
        shape = np.ceil((self.high.max(0) + 0.5 - self.corner) / GRID).astype(int)
        room = np.full(shape, -1, np.int8)
        cells = lambda xy: np.rint((np.asarray(xy) - self.corner) / GRID).astype(int)  # noqa: E731
        for k in range(len(self.low)):
            (a, b), (c, d) = cells(self.low[k]), cells(self.high[k])
            room[a:c, b:d] = k
        inside = room >= 0
        nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
        self.room_at = room[tuple(nearest)]
        cover = np.zeros(shape, np.float32)
        x = self.corner[0] + (np.arange(shape[0]) + 0.5) * GRID
        y = self.corner[1] + (np.arange(shape[1]) + 0.5) * GRID
        for body in bodies:
            if not body.is_object or body.position[2] > 0.3 or body.high[2] < 0.05:
                continue
            c, s = body.turn[0, 0], body.turn[1, 0]
            dx, dy = x - body.position[0], y - body.position[1]
            u, v = c * dx[:, None] + s * dy[None], -s * dx[:, None] + c * dy[None]
            cover[(np.abs(u) < body.high[0]) & (np.abs(v) < body.high[1])] = 0.75
        edge = gaussian_filter((~inside).astype(np.float32), 0.12 / GRID)
        self.light = 1.05 - 0.5 * gaussian_filter(cover, 0.07 / GRID) - 0.25 * edge
        for k, spot in enumerate(self.window):
            if spot[2] < plan.height - 0.35:  # a patch of daylight before the window
                middle = (self.low[k] + self.high[k]) / 2
                away = (middle - spot[:2]) / max(0.5, float(np.linalg.norm(middle - spot[:2])))
                px, py = spot[:2] + away * 1.0
                self.light += 0.3 * np.exp(-(((x - px) ** 2)[:, None] + ((y - py) ** 2)[None]) / 0.5) * (room == k)
        self.light = self.light.astype(np.float32)


def _colour(body: Body, tone: str) -> tuple[float, ...]:
    r, g, b = body.rgb
    if tone == "dark":
        return r * 0.68, g * 0.68, b * 0.68
    if tone == "light":
        return tuple(min(246.0, v * 1.1 + 8) for v in (r, g, b))
    if tone == "wood":
        return (float(r), float(g), float(b)) if body.texture == "wood" else (138.0, 102.0, 70.0)
    if tone == "weave":
        return tuple(v * 0.62 + 70 for v in (r, g, b))
    found = TONES.get(tone)
    return tuple(map(float, found)) if found else (float(r), float(g), float(b))


def _texture(body: Body, tone: str) -> str:
    if tone == "main" or (tone in ("dark", "light") and body.texture == "wood"):
        return body.texture if body.texture in TEXTURES else "plain"
    return {"wood": "wood", "dark": body.texture, "weave": "weave", "leaf": "noise"}.get(tone, "plain")


def shade(
    look: Look, camera: Camera, rays: tuple, depth: np.ndarray, number: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Colours float32 [h, w, 3] of a frame whose pixels lie `depth` [h, w] away on the solids `number` [h, w] (-1: the
    floor, -2: the ceiling), and a number [h, w] for each face, by which edges are told.
    """
    shape = depth.shape
    depth, flat = depth.ravel(), number.ravel()
    point = [r.ravel() * depth + np.float32(o) for r, o in zip(rays, camera.position)]
    normal = np.zeros((3, len(flat)), np.float32)
    normal[2] = np.where(flat == -1, 1, -1)
    side = np.full(len(flat), 2, np.int8)
    u, v = point[0].copy(), point[1].copy()
    on = np.flatnonzero(flat >= 0)
    s = flat[on]
    local, side[on] = _on_solids(look, s, [p[on] for p in point], normal, on)
    u[on] = np.where(side[on] == 0, local[1], local[0])
    v[on] = np.where(side[on] == 2, local[1], local[2])
    room = _room_of(look, point[0] + 0.12 * normal[0], point[1] + 0.12 * normal[1])
    wall = on[look.wall[s]]
    texture, scale = np.empty(len(flat), np.int64), np.empty(len(flat), np.float32)
    rgb = np.empty((len(flat), 3), np.float32)
    floor, ceiling = flat == -1, flat == -2
    texture[on], scale[on], rgb[on] = look.texture[s], look.scale[s], look.albedo[s]
    texture[wall], scale[wall], rgb[wall] = (
        look.wall_texture[room[wall]],
        look.wall_scale[room[wall]],
        look.wall_rgb[room[wall]],
    )
    at = room[floor]
    texture[floor], scale[floor], rgb[floor] = look.floor_texture[at], look.floor_scale[at], look.floor_rgb[at]
    texture[ceiling], scale[ceiling], rgb[ceiling] = TEXTURES.index("paint"), 60.0, 240.0
    iu, iv = (u * scale).astype(np.int64) & (SIDE - 1), (v * scale).astype(np.int64) & (SIDE - 1)
    tone = look.tiles[texture, iv, iu]
    tone *= _light(look, point, normal, room)
    x, y = _cell(look, point[0][floor], point[1][floor])
    tone[floor] *= look.light[x, y]
    low = wall[point[2][wall] < 0.08]  # a skirting board marks where wall meets floor
    rgb[low] = rgb[low] * 0.35 + 150
    _pictures(look, on, s, local, side[on], rgb)
    glow = on[look.glow[s]]
    tone[glow] = 1.0
    rgb *= tone[:, None]
    faces = flat.astype(np.int32) * 8 + side * 2 + (normal.sum(0) > 0)
    return rgb.reshape(*shape, 3), faces.reshape(shape)


def _on_solids(
    look: Look, s: np.ndarray, point: list[np.ndarray], normal: np.ndarray, on: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Places [3][n] of pixels relative to the middle of their solids, in the bodies' frames, and the axis [n] that
    each face looks along; writes the normals' columns `on` (world).
    """
    place, turn, center, half = look.place[s], look.turn[s], look.center[s], look.half[s]
    dx, dy = point[0] - place[:, 0], point[1] - place[:, 1]
    local = [
        turn[:, 0] * dx + turn[:, 1] * dy - center[:, 0],
        turn[:, 0] * dy - turn[:, 1] * dx - center[:, 1],
        point[2] - place[:, 2] - center[:, 2],
    ]
    share = [np.abs(p / half[:, k]) for k, p in enumerate(local)]
    side = np.where(share[0] > share[1], np.where(share[0] > share[2], 0, 2), np.where(share[1] > share[2], 1, 2))
    own = np.zeros((3, len(s)), np.float32)
    for k in range(3):
        own[k] = np.where(side == k, np.sign(local[k]), 0)
    bent = np.flatnonzero(look.curved[s])
    for index in np.unique(s[bent]).tolist():
        here = bent[s[bent] == index]
        part = look.parts[index]
        own[:, here], _ = normals(part, np.stack([local[k][here] for k in range(3)]) + look.center[index][:, None])
        side[here] = np.where(
            np.abs(own[2, here]) > 0.9, 2, np.where(np.abs(own[0, here]) > np.abs(own[1, here]), 0, 1)
        )
    normal[0, on] = turn[:, 0] * own[0] - turn[:, 1] * own[1]
    normal[1, on] = turn[:, 1] * own[0] + turn[:, 0] * own[1]
    normal[2, on] = own[2]
    # A curved surface has no face of its own: edges are told where its solid ends.
    side_code = side.astype(np.int8)
    return local, side_code


def _pictures(
    look: Look, on: np.ndarray, s: np.ndarray, local: list[np.ndarray], side: np.ndarray, rgb: np.ndarray
) -> None:
    """Puts pictures, views and books on the fronts that have them."""
    here = np.flatnonzero((look.picture[s] >= 0) & (side == 1))
    if not here.size:
        return
    half = look.half[s[here]]
    across = ((local[0][here] / half[:, 0] + 1) * (ART / 2 - 0.01)).astype(np.int64).clip(0, ART - 1)
    down = ((1 - local[2][here] / half[:, 2]) * (ART / 2 - 0.01)).astype(np.int64).clip(0, ART - 1)
    rgb[on[here]] = look.art[look.picture[s[here]], down, across]


def _cell(look: Look, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    i = ((x - np.float32(look.corner[0])) * np.float32(1 / GRID)).astype(np.int64)
    j = ((y - np.float32(look.corner[1])) * np.float32(1 / GRID)).astype(np.int64)
    return i.clip(0, look.light.shape[0] - 1), j.clip(0, look.light.shape[1] - 1)


def _room_of(look: Look, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The room that a surface looks into."""
    return look.room_at[_cell(look, x, y)].astype(np.int64)


def _light(look: Look, point: list[np.ndarray], normal: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Brightness [n]: what comes from everywhere, from the room's lamp and from its window; less in corners."""
    out = np.full(len(room), 0.5, np.float32) + np.float32(0.06) * normal[2]
    for source, strength, reach in ((look.lamp, 0.46, 4.0), (look.window, 0.36, 3.0)):
        away = [source[:, k][room] - point[k] for k in range(3)]
        square = away[0] ** 2 + away[1] ** 2 + away[2] ** 2
        facing = (away[0] * normal[0] + away[1] * normal[1] + away[2] * normal[2]) / np.sqrt(square + 0.02)
        out += np.float32(strength) * (0.3 + 0.7 * np.maximum(facing, 0)) / (1 + square / np.float32(reach**2))
    upright = np.abs(normal[2]) < 0.5
    low = np.exp(-np.abs(point[2]) / np.float32(0.18)) * upright
    gap = np.minimum(
        *(
            np.abs(np.minimum(point[k] - look.low[:, k][room], look.high[:, k][room] - point[k]))
            + 9 * (np.abs(normal[k]) > 0.5)
            for k in (0, 1)
        )
    )
    high = np.exp(-(look.ceiling - point[2]) / np.float32(0.25)) * upright
    corner = np.exp(-gap / np.float32(0.2))
    return out * (1 - 0.22 * low) * (1 - 0.12 * high) * (1 - 0.16 * corner)

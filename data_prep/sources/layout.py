"""Random rooms: a camera, several things on the floor, on stands and on shelves, all drawn from one seed.

Depth, size and place in the picture are drawn apart from each other (a thing's place in the picture first, then its
depth, then its own size), so that neither height in the picture nor apparent size alone gives depth away: a big far
thing next to a small near one occurs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from data_prep.sources.camera import Camera, look
from data_prep.sources.catalogue import COLOURS, KINDS, PLAIN_KINDS, build
from data_prep.sources.primitives import SIGNS, Primitive, bounds, box, frustum
from data_prep.sources.signs import Sign

TEXTURES = ("plain", "stripes", "checker", "bands")


@dataclasses.dataclass(frozen=True)
class Preset:
    """What the random rooms may hold. Lengths in metres, angles in degrees."""

    width: int
    height: int
    objects: tuple[int, int]
    kinds: tuple[str, ...]
    colours: tuple[str, ...]
    size: tuple[float, float] | None  # of every kind alike; None: each kind's own range
    depth: tuple[float, float] = (1.3, 6.0)
    field_of_view: tuple[float, float] = (50.0, 75.0)
    camera_height: tuple[float, float] = (1.0, 1.9)
    pitch: tuple[float, float] = (8.0, 26.0)
    roll: float = 0.0
    least_pixels: float = 0.085  # smallest apparent side, share of the picture's height
    most_pixels: float = 0.55
    overlap: float = 0.45  # largest share of a thing's rectangle that one other may cover
    distinct_colours: bool = True
    contrast: float = 0.8  # brightness of a texture's dark parts
    smooth: bool = False  # antialiased edges
    truncate: float = 0.0  # share of an apparent side that may lie outside the picture
    raised: float = 0.55  # share of the things that stand on something
    paired: float = 0.0  # share of the rooms whose things are of two kinds: else hardly anything is there to count


PRESETS = {
    "plain": Preset(
        112,
        112,
        (2, 4),
        PLAIN_KINDS,
        tuple(COLOURS)[:6],
        (0.45, 1.0),
        (1.4, 5.6),
        (52.0, 68.0),
        (1.3, 1.7),
        (12.0, 20.0),
        least_pixels=0.12,
        raised=0.3,
    ),
    "clear": Preset(  # plain's things, where a small picture tells depth: much of one size, most on the floor
        112,
        112,
        (2, 4),
        PLAIN_KINDS,
        tuple(COLOURS)[:6],
        (0.55, 0.8),
        (1.4, 5.6),
        (56.0, 64.0),
        (1.4, 1.6),
        (13.0, 19.0),
        least_pixels=0.12,
        raised=0.1,
        paired=0.35,
    ),
    "rich": Preset(
        448,
        448,
        (4, 8),
        tuple(KINDS),
        tuple(COLOURS),
        None,
        (1.2, 7.0),
        (45.0, 80.0),
        (0.9, 2.1),
        (3.0, 30.0),
        3.0,
        0.045,
        0.6,
        0.6,
        False,
        0.6,
        True,
        0.25,
        0.5,
        0.5,
    ),
}


@dataclasses.dataclass
class Body:
    """A thing of the room in its own frame (z up, standing on z = 0) and its place: yaw about z (radians), then
    `position` [3].
    """

    kind: str
    colour: str
    rgb: tuple[int, int, int]
    texture: str
    solids: list[Primitive]
    position: np.ndarray
    yaw: float
    size: float
    is_object: bool = True

    def __post_init__(self) -> None:
        self.low, self.high = bounds(self.solids)
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        self.turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])  # own frame to world

    @property
    def corners(self) -> np.ndarray:
        """World corners [8, 3] of the exact box around it."""
        return ((self.low + self.high) / 2 + SIGNS * ((self.high - self.low) / 2)) @ self.turn.T + self.position

    @property
    def reach(self) -> float:
        """Radius of its footprint, metres."""
        return float(np.hypot(self.high[0], self.high[1]))


@dataclasses.dataclass
class Room:
    """A camera, the bodies, the walls ([2, 3] low and high corner of the inner room), the lamp's direction and the
    surfaces' looks.
    """

    camera: Camera
    bodies: list[Body]
    walls: np.ndarray
    light: np.ndarray
    looks: dict
    contrast: float
    smooth: bool
    sign: Sign | None = None


def _camera(preset: Preset, rng: np.random.Generator) -> Camera:
    fov = np.radians(rng.uniform(*preset.field_of_view))
    focal = preset.width / 2 / np.tan(fov / 2)
    center = (
        (preset.width - 1) / 2 + preset.width * rng.normal(0, 0.01),
        (preset.height - 1) / 2 + preset.height * rng.normal(0, 0.01),
    )
    position = np.array([0.0, 0.0, rng.uniform(*preset.camera_height)])
    pitch, roll = np.radians(rng.uniform(*preset.pitch)), np.radians(rng.uniform(-1, 1) * preset.roll)
    return look(preset.width, preset.height, focal, center, position, rng.uniform(-0.5, 0.5), pitch, roll)


def _stand(height: float, radius: float, rng: np.random.Generator) -> list[Primitive]:
    """Something to stand on, `height` metres high: a block, a column or a small table; a shelf board when it is far
    above the floor.
    """
    pick = rng.integers(4)
    top = radius * rng.uniform(1.05, 1.35)
    if pick == 0 or height < 0.12:
        return [box((0, 0, height / 2), (2 * top, 2 * top, height), tone="wood")]
    if pick == 1:
        return [frustum((0, 0, height / 2), height, top, top * 0.95, tone="wood")]
    board = min(0.06, height / 2)
    slab = box((0, 0, height - board / 2), (2 * top, 2 * top, board), tone="wood")
    if pick == 2:
        return [slab, frustum((0, 0, (height - board) / 2), height - board, top * 0.3, top * 0.16, tone="metal")]
    return [slab, box((0, 0, (height - board) / 2), (top * 0.5, top * 0.5, height - board), tone="metal")]


@dataclasses.dataclass
class _Candidate:
    """A draw that could stand in the room by itself: what, how big (metres) and where its foot is (world, metres)."""

    kind: str
    colour: str
    size: float
    position: np.ndarray


def _candidates(preset: Preset, camera: Camera, rng: np.random.Generator, count: int) -> Iterator[_Candidate]:
    """Of `count` independent draws those that are neither too small nor too large in the picture, nor under the floor
    or above reach.
    """
    draw = rng.random((7, count))
    kinds = (draw[0] * len(preset.kinds)).astype(int)
    colours = (draw[1] * len(preset.colours)).astype(int)
    ranges = np.array([preset.size or KINDS[k][1] for k in preset.kinds])[kinds]
    size = ranges[:, 0] * (ranges[:, 1] / ranges[:, 0]) ** draw[2]
    depth = preset.depth[0] * (preset.depth[1] / preset.depth[0]) ** draw[3]
    u, v = (0.04 + 0.92 * draw[4]) * preset.width, (0.12 + 0.8 * draw[5]) * preset.height
    apparent = size * camera.fy / (depth * preset.height)
    local = np.stack([(u - camera.cx) / camera.fx * depth, (v - camera.cy) / camera.fy * depth, depth], -1)
    position = camera.position + local @ camera.rotation
    base = position[:, 2] - size / 2
    raised = draw[6] < preset.raised
    position[:, 2] = np.where(raised, base, 0.0)
    good = (
        (apparent >= preset.least_pixels)
        & (apparent <= preset.most_pixels)
        & (~raised | ((base > 0.08) & (base < 1.7)))
    )
    for i in np.flatnonzero(good):
        yield _Candidate(preset.kinds[kinds[i]], preset.colours[colours[i]], float(size[i]), position[i])


Rectangle = tuple[float, float, float, float]


def _rectangle(camera: Camera, body: Body) -> Rectangle | None:
    """(x1, y1, x2, y2) of the projected box, or None when it comes closer to the camera than half a metre."""
    corners = body.corners
    if camera.to_camera(corners)[:, 2].min() < 0.5:
        return None
    pixels = camera.project(corners)
    return (*pixels.min(0).tolist(), *pixels.max(0).tolist())


def _fits(preset: Preset, rect: Rectangle, others: list[Rectangle]) -> bool:
    x1, y1, x2, y2 = rect
    wide, high = (x2 - x1) * preset.truncate, (y2 - y1) * preset.truncate
    if x1 < 1 - wide or y1 < 1 - high or x2 > preset.width - 2 + wide or y2 > preset.height - 2 + high:
        return False
    for other in others:
        across, down = min(x2, other[2]) - max(x1, other[0]), min(y2, other[3]) - max(y1, other[1])
        least = min((x2 - x1) * (y2 - y1), (other[2] - other[0]) * (other[3] - other[1]))
        if across > 0 and down > 0 and across * down > preset.overlap * least:
            return False
    return True


def _walls(camera: Camera, bodies: list[Body], rng: np.random.Generator) -> np.ndarray:
    spots = np.array([[*b.position[:2], b.reach] for b in bodies] + [[*camera.position[:2], 0.4]])
    low = (spots[:, :2] - spots[:, 2:]).min(0) - rng.uniform(0.1, 1.5, 2)
    high = (spots[:, :2] + spots[:, 2:]).max(0) + rng.uniform(0.1, 1.5, 2)
    top = max(2.4, max(float(b.position[2] + b.high[2]) for b in bodies) + 0.2, float(camera.position[2]) + 0.4)
    return np.array([[*low, 0.0], [*high, top + rng.uniform(0, 0.6)]])


def _appearance(rng: np.random.Generator) -> dict:
    floors = ((176, 168, 158), (196, 176, 150), (150, 152, 156), (186, 182, 170))
    walls = ((222, 216, 206), (206, 212, 216), (214, 206, 196), (226, 224, 220))
    woods = ((128, 102, 78), (104, 88, 76), (120, 116, 112))
    return {
        "floor": floors[rng.integers(len(floors))],
        "wall": walls[rng.integers(len(walls))],
        "tile": float(rng.uniform(0.35, 0.7)),
        "floor_texture": ("checker", "stripes", "plain")[rng.integers(3)],
        "wood": woods[rng.integers(len(woods))],
    }


def _free(thing: _Candidate, bodies: list[Body], preset: Preset) -> bool:
    """Whether the thing can be told apart from those already there by its caption."""
    others = [b for b in bodies if b.is_object]
    if preset.distinct_colours and any(b.colour == thing.colour for b in others):
        return False
    alike = [b.size for b in others if (b.kind, b.colour) == (thing.kind, thing.colour)]
    return len(alike) < 2 and all(
        max(thing.size / s, s / thing.size) >= 1.5 for s in alike
    )  # "small red mug", "large red mug"


def _furnish(preset: Preset, camera: Camera, looks: dict, wanted: int, rng: np.random.Generator) -> list[Body]:
    """Up to `wanted` things and what they stand on; each seen (nearly) whole, none inside another."""
    bodies: list[Body] = []
    rectangles: list[Rectangle] = []
    for thing in _candidates(preset, camera, rng, 60 * wanted):
        if len(rectangles) == wanted:
            break
        if not _free(thing, bodies, preset):
            continue
        texture = TEXTURES[rng.integers(len(TEXTURES))]
        body = Body(
            thing.kind,
            thing.colour,
            COLOURS[thing.colour],
            texture,
            build(thing.kind, thing.size, rng),
            thing.position,
            float(rng.uniform(0, 2 * np.pi)),
            thing.size,
        )
        rect = _rectangle(camera, body)
        if rect is None or not _fits(preset, rect, rectangles):
            continue
        x, y, height = thing.position.tolist()
        if any(math.hypot(x - b.position[0], y - b.position[1]) < body.reach * 1.4 + b.reach + 0.03 for b in bodies):
            continue
        if height > 0:
            stand = Body(
                "stand",
                "",
                looks["wood"],
                "plain",
                _stand(height, body.reach, rng),
                np.array([x, y, 0.0]),
                body.yaw,
                height,
                is_object=False,
            )
            if _rectangle(camera, stand) is None:
                continue
            bodies.append(stand)
        bodies.append(body)
        rectangles.append(rect)
    return bodies


def random_room(preset: Preset, rng: np.random.Generator) -> Room:
    """A room drawn from `rng`: preset.objects[0] to preset.objects[1] things, each wholly (or nearly) in view, none
    inside another.
    """
    if preset.paired and rng.random() < preset.paired:
        preset = dataclasses.replace(preset, kinds=tuple(rng.choice(preset.kinds, 2, replace=False).tolist()))
    while True:
        camera = _camera(preset, rng)
        wanted = int(rng.integers(preset.objects[0], preset.objects[1] + 1))
        looks = _appearance(rng)
        bodies = _furnish(preset, camera, looks, wanted, rng)
        if sum(b.is_object for b in bodies) >= preset.objects[0]:
            break
    angle, lean = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.7)
    light = np.array([np.cos(angle) * lean, np.sin(angle) * lean, 1.0])
    return Room(
        camera,
        bodies,
        _walls(camera, bodies, rng),
        light / np.linalg.norm(light),
        looks,
        preset.contrast,
        preset.smooth,
    )

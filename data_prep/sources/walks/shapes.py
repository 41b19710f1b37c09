"""Furniture as a few solids each, in the sizes that furniture has. A builder returns solids in its own frame: z up, its
back towards +y, its front towards -y; the box around them is exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from data_prep.sources.primitives import Primitive, box, ellipsoid, frustum

Draw = np.random.Generator


def _legs(w: float, d: float, height: float, thick: float, tone: str = "dark") -> list[Primitive]:
    return [
        box((x * (w - thick) / 2, y * (d - thick) / 2, height / 2), (thick, thick, height), tone)
        for x in (-1, 1)
        for y in (-1, 1)
    ]


def _bed(rng: Draw) -> list[Primitive]:
    w, d, head = float(rng.choice((0.95, 1.4, 1.65))), rng.uniform(1.95, 2.1), rng.uniform(0.8, 1.1)
    pillows = [0.0] if w < 1.2 else [-w / 4, w / 4]
    return [
        box((0, 0, 0.15), (w, d, 0.3), "wood"),
        box((0, 0, 0.4), (w * 0.97, d * 0.97, 0.2), "white"),
        box((0, -d * 0.14, 0.45), (w * 1.01, d * 0.7, 0.14)),
        *[box((x, d * 0.35, 0.55), (min(0.6, w * 0.42), 0.36, 0.12), "white") for x in pillows],
        box((0, d / 2, head / 2), (w * 1.03, 0.06, head), "wood"),
    ]


def _sofa(rng: Draw) -> list[Primitive]:
    w, d = rng.uniform(1.7, 2.3), rng.uniform(0.82, 0.95)
    inner, seats = w - 0.36, 2 if w < 1.95 else 3
    cushions = [
        box(((i + 0.5) / seats * inner - inner / 2, -0.06, 0.42), (inner / seats - 0.02, d * 0.72, 0.14))
        for i in range(seats)
    ]
    backs = [
        box(((i + 0.5) / seats * inner - inner / 2, d * 0.24, 0.62), (inner / seats - 0.02, 0.18, 0.36))
        for i in range(seats)
    ]
    arms = [box((x * (w - 0.18) / 2, 0, 0.32), (0.18, d, 0.56), "dark") for x in (-1, 1)]
    return [box((0, 0, 0.2), (w - 0.3, d, 0.3), "dark"), box((0, d * 0.42, 0.45), (w - 0.3, 0.14, 0.72), "dark")] + [
        *arms,
        *cushions,
        *backs,
        *[
            frustum((x * (w / 2 - 0.12), y * (d / 2 - 0.1), 0.03), 0.06, 0.03, 0.03, tone="wood")
            for x in (-1, 1)
            for y in (-1, 1)
        ],
    ]


def _armchair(rng: Draw) -> list[Primitive]:
    w = rng.uniform(0.74, 0.88)
    return [
        box((0, 0, 0.22), (w - 0.2, w * 0.95, 0.24), "dark"),
        box((0, -0.05, 0.4), (w - 0.28, w * 0.75, 0.14)),
        box((0, w * 0.4, 0.58), (w - 0.2, 0.16, 0.62)),
        *[box((x * (w - 0.14) / 2, -0.02, 0.36), (0.14, w * 0.9, 0.44)) for x in (-1, 1)],
        *_legs(w - 0.1, w * 0.9, 0.12, 0.05, "wood"),
    ]


def _chair(rng: Draw) -> list[Primitive]:
    w, top = rng.uniform(0.4, 0.46), rng.uniform(0.86, 0.98)
    posts = [box((x * (w - 0.04) / 2, w / 2 - 0.02, (top + 0.45) / 2), (0.04, 0.04, top - 0.45)) for x in (-1, 1)]
    slats = [box((0, w / 2 - 0.02, z), (w - 0.08, 0.025, 0.09)) for z in (top - 0.06, top - 0.22)]
    return [box((0, 0, 0.44), (w, w, 0.05)), *posts, *slats, *_legs(w, w, 0.42, 0.04)]


def _office_chair(rng: Draw) -> list[Primitive]:
    arms = [
        box(
            (0.28 * np.cos(a) / 2, 0.28 * np.sin(a) / 2, 0.06),
            (0.3 * abs(np.cos(a)) + 0.04, 0.3 * abs(np.sin(a)) + 0.04, 0.04),
            "metal",
        )
        for a in (0.0, np.pi / 2, np.pi, -np.pi / 2)
    ]
    return [
        *arms,
        frustum((0, 0, 0.26), 0.4, 0.03, 0.03, tone="metal"),
        box((0, 0, 0.49), (0.48, 0.46, 0.08)),
        box((0, 0.24, 0.78), (0.44, 0.07, 0.5)),
        *[box((x * 0.27, 0.02, 0.66), (0.05, 0.26, 0.03), "dark") for x in (-1, 1)],
    ]


def _table(rng: Draw) -> list[Primitive]:
    if rng.random() < 0.25:
        r = rng.uniform(0.45, 0.6)
        return [
            frustum((0, 0, 0.72), 0.04, r, r),
            frustum((0, 0, 0.37), 0.66, 0.06, 0.05, tone="dark"),
            frustum((0, 0, 0.02), 0.04, r * 0.55, r * 0.5, tone="dark"),
        ]
    w, d = rng.uniform(1.1, 1.7), rng.uniform(0.75, 0.9)
    return [
        box((0, 0, 0.73), (w, d, 0.04)),
        box((0, 0, 0.67), (w * 0.88, d * 0.84, 0.07), "dark"),
        *_legs(w * 0.94, d * 0.92, 0.71, 0.06),
    ]


def _coffee_table(rng: Draw) -> list[Primitive]:
    w, d, h = rng.uniform(0.8, 1.15), rng.uniform(0.5, 0.62), rng.uniform(0.36, 0.45)
    return [
        box((0, 0, h - 0.02), (w, d, 0.04)),
        box((0, 0, h * 0.4), (w * 0.88, d * 0.85, 0.02)),
        *_legs(w * 0.96, d * 0.94, h - 0.04, 0.05),
    ]


def _desk(rng: Draw) -> list[Primitive]:
    w, d = rng.uniform(1.1, 1.5), rng.uniform(0.58, 0.7)
    drawers = [box((w / 2 - 0.22, -d / 2 + 0.035, z), (0.36, 0.02, 0.15), "light") for z in (0.62, 0.44, 0.26)]
    knobs = [box((w / 2 - 0.22, -d / 2 + 0.015, z), (0.1, 0.02, 0.02), "metal") for z in (0.62, 0.44, 0.26)]
    return [
        box((0, 0, 0.735), (w, d, 0.03)),
        box((w / 2 - 0.22, 0.02, 0.39), (0.4, d - 0.1, 0.62)),
        *drawers,
        *knobs,
        *[box((-w / 2 + 0.04, y * (d / 2 - 0.05), 0.36), (0.05, 0.05, 0.72), "dark") for y in (-1, 1)],
    ]


def _bookshelf(rng: Draw) -> list[Primitive]:
    w, h, d = rng.uniform(0.75, 1.15), rng.uniform(1.5, 2.05), rng.uniform(0.26, 0.32)
    count = int(h / 0.36)
    rows = [(i + 0.02) / count * (h - 0.06) + 0.04 for i in range(count)]
    step = (h - 0.06) / count
    boards = [box((0, 0, z), (w - 0.04, d, 0.025)) for z in rows]
    books = [
        box(
            (rng.uniform(-0.1, 0.1) * w * (1 - share), 0.0, z + 0.013 + step * 0.34),
            ((w - 0.06) * share, d * 0.8, step * 0.68),
            "books",
        )
        for z, share in zip(rows, rng.uniform(0.6, 1.0, count))
    ]
    return [
        *[box((x * (w - 0.025) / 2, 0, h / 2), (0.025, d, h)) for x in (-1, 1)],
        box((0, d / 2 - 0.008, h / 2), (w, 0.012, h), "dark"),
        box((0, 0, h - 0.0125), (w, d, 0.025)),
        *boards,
        *books,
    ]


def _wardrobe(rng: Draw) -> list[Primitive]:
    w, h, d = rng.uniform(0.95, 1.5), rng.uniform(1.85, 2.1), rng.uniform(0.55, 0.62)
    doors = [box((x * w / 4, -d / 2, h * 0.52), (w / 2 - 0.03, 0.025, h * 0.9), "light") for x in (-1, 1)]
    knobs = [box((x * 0.06, -d / 2 - 0.02, h * 0.5), (0.02, 0.02, 0.2), "metal") for x in (-1, 1)]
    return [box((0, 0, h / 2), (w, d, h)), *doors, *knobs]


def _drawers(w: float, d: float, h: float, rows: int, columns: int = 1) -> list[Primitive]:
    fronts, knobs = [], []
    for r in range(rows):
        z = 0.08 + (h - 0.12) * (r + 0.5) / rows
        for c in range(columns):
            x = ((c + 0.5) / columns - 0.5) * (w - 0.04)
            fronts.append(box((x, -d / 2, z), (w / columns - 0.06, 0.02, (h - 0.12) / rows - 0.03), "light"))
            knobs.append(box((x, -d / 2 - 0.015, z), (0.09, 0.02, 0.02), "metal"))
    return [box((0, 0, h / 2 + 0.03), (w, d, h - 0.06)), *fronts, *knobs, *_legs(w * 0.95, d * 0.9, 0.07, 0.05)]


def _dresser(rng: Draw) -> list[Primitive]:
    return _drawers(rng.uniform(0.9, 1.3), rng.uniform(0.42, 0.5), rng.uniform(0.75, 0.95), 3, 2)


def _nightstand(rng: Draw) -> list[Primitive]:
    w = rng.uniform(0.4, 0.5)
    return _drawers(w, w * 0.9, rng.uniform(0.45, 0.56), 2)


def _tv_stand(rng: Draw) -> list[Primitive]:
    return _drawers(rng.uniform(1.2, 1.7), rng.uniform(0.38, 0.45), rng.uniform(0.42, 0.52), 1, 3)


def _screen(w: float, h: float, stand: float) -> list[Primitive]:
    return [
        box((0, 0, stand + h / 2), (w, 0.05, h), "black"),
        box((0, -0.024, stand + h / 2), (w * 0.96, 0.01, h * 0.92), "screen"),
        box((0, 0, stand / 2), (0.06, 0.05, stand), "metal"),
        box((0, 0, 0.01), (w * 0.35, 0.2, 0.02), "metal"),
    ]


def _tv(rng: Draw) -> list[Primitive]:
    w = rng.uniform(0.9, 1.2)
    return _screen(w, w * 0.58, 0.1)


def _monitor(rng: Draw) -> list[Primitive]:
    w = rng.uniform(0.5, 0.62)
    return _screen(w, w * 0.6, 0.14)


def _floor_lamp(rng: Draw) -> list[Primitive]:
    h, r = rng.uniform(1.4, 1.7), rng.uniform(0.17, 0.23)
    return [
        frustum((0, 0, 0.015), 0.03, 0.15, 0.14, tone="metal"),
        frustum((0, 0, h / 2), h - 0.1, 0.014, 0.014, tone="metal"),
        frustum((0, 0, h - 0.15), 0.3, r, r * 0.65, tone="lit"),
    ]


def _plant(rng: Draw) -> list[Primitive]:
    s, pot = rng.uniform(0.7, 1.25), rng.uniform(0.14, 0.19)
    leaves = []
    for _ in range(int(rng.integers(4, 7))):
        a, out, r = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.2) * s, rng.uniform(0.1, 0.18) * s
        leaves.append(
            ellipsoid((out * np.cos(a), out * np.sin(a), s * rng.uniform(0.6, 0.85)), (r, r, r * 1.2), "leaf")
        )
    return [
        frustum((0, 0, pot), 2 * pot, pot * 0.8, pot),
        frustum((0, 0, s * 0.4), s * 0.4, 0.02, 0.015, tone="wood"),
        *leaves,
    ]


def _trash_bin(rng: Draw) -> list[Primitive]:
    h = rng.uniform(0.3, 0.5)
    return [frustum((0, 0, h / 2), h, h * 0.32, h * 0.4, cap="dark")]


def _rug(rng: Draw) -> list[Primitive]:
    w, d = rng.uniform(1.4, 2.2), rng.uniform(1.0, 1.5)
    return [box((0, 0, 0.005), (w, d, 0.01)), box((0, 0, 0.007), (w * 0.9, d * 0.86, 0.01), "weave")]


def _stool(rng: Draw) -> list[Primitive]:
    h = rng.uniform(0.45, 0.62)
    return [frustum((0, 0, h - 0.02), 0.04, 0.17, 0.17), *_legs(0.28, 0.28, h - 0.03, 0.035)]


def _refrigerator(rng: Draw) -> list[Primitive]:
    w, h, d = rng.uniform(0.6, 0.75), rng.uniform(1.65, 1.85), rng.uniform(0.6, 0.68)
    split = h * 0.62
    return [
        box((0, 0.02, h / 2), (w, d - 0.04, h), "steel"),
        box((0, -d / 2 + 0.01, split / 2 + 0.02), (w - 0.01, 0.05, split - 0.02), "steel"),
        box((0, -d / 2 + 0.01, (h + split) / 2 + 0.01), (w - 0.01, 0.05, h - split - 0.02), "steel"),
        box((w * 0.38, -d / 2 - 0.03, split * 0.72), (0.025, 0.03, 0.4), "metal"),
        box((w * 0.38, -d / 2 - 0.03, split + 0.18), (0.025, 0.03, 0.26), "metal"),
    ]


def _stove(rng: Draw) -> list[Primitive]:
    plates = [
        frustum((x * 0.14, y * 0.13 - 0.02, 0.885), 0.01, 0.085, 0.085, tone="black") for x in (-1, 1) for y in (-1, 1)
    ]
    knobs = [box((x, -0.31, 0.83), (0.03, 0.03, 0.03), "black") for x in (-0.2, -0.07, 0.07, 0.2)]
    return [
        box((0, 0, 0.44), (0.6, 0.6, 0.88), "steel"),
        box((0, -0.3, 0.45), (0.5, 0.02, 0.46), "black"),
        box((0, -0.325, 0.72), (0.48, 0.025, 0.025), "metal"),
        box((0, 0.28, 0.96), (0.6, 0.04, 0.14), "steel"),
        *plates,
        *knobs,
    ]


def _sink(rng: Draw) -> list[Primitive]:
    w = rng.uniform(0.75, 1.1)
    doors = [box((x * w / 4, -0.29, 0.42), (w / 2 - 0.03, 0.02, 0.7)) for x in (-1, 1)]
    return [
        box((0, 0, 0.42), (w * 0.98, 0.56, 0.84), "dark"),
        *doors,
        box((0, 0, 0.87), (w, 0.6, 0.05), "white"),
        box((0, -0.03, 0.893), (w * 0.55, 0.36, 0.01), "metal"),
        frustum((0, 0.2, 1.02), 0.26, 0.02, 0.018, tone="metal"),
        box((0, 0.13, 1.14), (0.03, 0.17, 0.03), "metal"),
    ]


def _toilet(rng: Draw) -> list[Primitive]:
    return [
        box((0, 0.26, 0.6), (0.38, 0.17, 0.38), "white"),
        frustum((0, -0.04, 0.2), 0.4, 0.12, 0.19, tone="white"),
        ellipsoid((0, -0.06, 0.41), (0.19, 0.25, 0.045), "white"),
        box((0, 0.26, 0.8), (0.4, 0.19, 0.03), "white"),
    ]


def _bathtub(rng: Draw) -> list[Primitive]:
    w, d = rng.uniform(1.5, 1.7), rng.uniform(0.7, 0.78)
    return [
        *[box((x * (w - 0.08) / 2, 0, 0.28), (0.08, d, 0.56), "white") for x in (-1, 1)],
        *[box((0, y * (d - 0.08) / 2, 0.28), (w, 0.08, 0.56), "white") for y in (-1, 1)],
        box((0, 0, 0.06), (w, d, 0.12), "white"),
        box((-w / 2 + 0.1, 0, 0.66), (0.12, 0.05, 0.05), "metal"),
        box((-w / 2 + 0.05, 0, 0.62), (0.04, 0.05, 0.14), "metal"),
    ]


def _washer(rng: Draw) -> list[Primitive]:
    return [
        box((0, 0, 0.42), (0.6, 0.56, 0.84), "white"),
        frustum((0, -0.285, 0.42), 0.02, 0.2, 0.2, axis=1, tone="metal"),
        frustum((0, -0.29, 0.42), 0.03, 0.15, 0.15, axis=1, tone="black"),
        box((0, -0.285, 0.76), (0.52, 0.02, 0.09), "dark"),
    ]


def _picture(rng: Draw) -> list[Primitive]:
    w, h = rng.uniform(0.4, 0.9), rng.uniform(0.35, 0.65)
    return [box((0, 0, h / 2), (w, 0.03, h), "dark"), box((0, -0.012, h / 2), (w - 0.07, 0.02, h - 0.07), "art")]


def _mirror(rng: Draw) -> list[Primitive]:
    w, h = rng.uniform(0.45, 0.6), rng.uniform(0.6, 0.85)
    return [box((0, 0, h / 2), (w, 0.03, h), "metal"), box((0, -0.012, h / 2), (w - 0.05, 0.02, h - 0.05), "glass")]


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a kind of furniture is made and where it stands. `place`: wall, corner, middle, flat (on the floor, to be
    walked on), on (`under` names what it may stand on), hung (on a wall, its lower edge `raised` metres high).
    `colours`: cloth, wood, pot or plain.
    """

    build: Callable[[Draw], list[Primitive]]
    place: str
    colours: str = "wood"
    texture: str = "wood"
    under: tuple[str, ...] = ()
    raised: float = 0.0


KINDS: dict[str, Kind] = {
    "bed": Kind(_bed, "wall", "cloth", "weave"),
    "sofa": Kind(_sofa, "wall", "cloth", "weave"),
    "armchair": Kind(_armchair, "corner", "cloth", "weave"),
    "chair": Kind(_chair, "middle"),
    "office chair": Kind(_office_chair, "middle", "cloth", "weave"),
    "table": Kind(_table, "middle"),
    "coffee table": Kind(_coffee_table, "middle"),
    "desk": Kind(_desk, "wall"),
    "bookshelf": Kind(_bookshelf, "wall"),
    "wardrobe": Kind(_wardrobe, "wall"),
    "dresser": Kind(_dresser, "wall"),
    "nightstand": Kind(_nightstand, "wall"),
    "tv stand": Kind(_tv_stand, "wall"),
    "tv": Kind(_tv, "on", "plain", "plain", ("tv stand", "dresser")),
    "monitor": Kind(_monitor, "on", "plain", "plain", ("desk",)),
    "lamp": Kind(_floor_lamp, "corner", "plain", "plain"),
    "plant": Kind(_plant, "corner", "pot", "plain"),
    "trash bin": Kind(_trash_bin, "corner", "pot", "plain"),
    "rug": Kind(_rug, "flat", "cloth", "weave"),
    "stool": Kind(_stool, "middle"),
    "refrigerator": Kind(_refrigerator, "wall", "plain", "plain"),
    "stove": Kind(_stove, "wall", "plain", "plain"),
    "sink": Kind(_sink, "wall"),
    "toilet": Kind(_toilet, "wall", "plain", "plain"),
    "bathtub": Kind(_bathtub, "wall", "plain", "plain"),
    "washing machine": Kind(_washer, "wall", "plain", "plain"),
    "picture": Kind(_picture, "hung", "wood", "plain", raised=1.3),
    "mirror": Kind(_mirror, "hung", "plain", "plain", raised=1.15),
}
# use of a room -> (kind, fewest, most)
ROOMS: dict[str, tuple[tuple[str, int, int], ...]] = {
    "living room": (
        *(("sofa", 1, 2), ("tv stand", 1, 1), ("tv", 1, 1), ("rug", 0, 1), ("coffee table", 1, 1)),
        *(("armchair", 0, 2), ("bookshelf", 0, 2), ("lamp", 0, 1), ("plant", 0, 3), ("picture", 0, 3)),
    ),
    "bedroom": (
        *(("bed", 1, 1), ("wardrobe", 0, 1), ("nightstand", 1, 2), ("dresser", 0, 1), ("desk", 0, 1)),
        *(("office chair", 0, 1), ("monitor", 0, 1), ("lamp", 0, 1), ("rug", 0, 1), ("picture", 0, 2), ("plant", 0, 1)),
    ),
    "kitchen": (
        *(("refrigerator", 1, 1), ("stove", 1, 1), ("sink", 1, 1), ("table", 1, 1), ("chair", 2, 5)),
        *(("trash bin", 0, 2), ("stool", 0, 2), ("plant", 0, 1), ("picture", 0, 1)),
    ),
    "study": (
        *(("desk", 1, 2), ("office chair", 1, 2), ("monitor", 1, 2), ("bookshelf", 1, 3), ("armchair", 0, 1)),
        *(("trash bin", 0, 1), ("lamp", 0, 1), ("plant", 0, 2), ("picture", 0, 2), ("rug", 0, 1)),
    ),
    "bathroom": (
        *(("bathtub", 0, 1), ("toilet", 1, 1), ("sink", 1, 1), ("washing machine", 0, 1), ("mirror", 0, 1)),
        *(("trash bin", 0, 1), ("stool", 0, 1)),
    ),
}

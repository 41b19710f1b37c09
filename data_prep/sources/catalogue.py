"""Everyday things as a few solids each. A builder takes its height-like size in metres and a random generator and
returns solids standing on z = 0, centred on the z axis; the box around them is exact, so every measure of a rendered
scene has a closed form.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from data_prep.sources.primitives import Primitive, bounds, box, ellipsoid, frustum

# Colours a person would name without hesitation, RGB; the first six are the plain preset's.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 36, 40),
    "green": (34, 160, 62),
    "blue": (38, 78, 214),
    "yellow": (246, 216, 44),
    "purple": (142, 50, 186),
    "orange": (248, 136, 22),
    "pink": (244, 140, 190),
    "turquoise": (48, 198, 196),
    "white": (238, 238, 236),
    "black": (38, 38, 42),
    "brown": (122, 78, 46),
}


def _ball(s: float, rng: np.random.Generator) -> list[Primitive]:
    return [ellipsoid((0, 0, s / 2), (s / 2,) * 3)]


def _box(s: float, rng: np.random.Generator) -> list[Primitive]:
    w, d = s * rng.uniform(0.75, 1.35, 2)
    return [box((0, 0, s / 2), (w, d, s))]


def _crate(s: float, rng: np.random.Generator) -> list[Primitive]:
    w, d, bar = s * rng.uniform(1.0, 1.6), s * rng.uniform(0.8, 1.2), s * 0.1
    posts = [
        box((x * (w - bar) / 2, y * (d - bar) / 2, s / 2), (bar * 1.15, bar * 1.15, s), tone="dark")
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    return [box((0, 0, s * 0.48), (w * 0.97, d * 0.97, s * 0.92)), *posts]


def _cone(s: float, rng: np.random.Generator) -> list[Primitive]:
    base = s * 0.09
    return [
        box((0, 0, base / 2), (s * 0.72, s * 0.72, base)),
        frustum((0, 0, base + (s - base) / 2), s - base, s * 0.28, s * 0.03),
    ]


def _mug(s: float, rng: np.random.Generator) -> list[Primitive]:
    r, bar, reach = s * 0.42, s * 0.1, s * 0.3
    handle = [box((r + reach * 0.45, 0, z * s), (reach, bar, bar)) for z in (0.25, 0.75)]
    return [frustum((0, 0, s / 2), s, r, r, cap="dark"), *handle, box((r + reach * 0.9, 0, s / 2), (bar, bar, s * 0.6))]


def _bottle(s: float, rng: np.random.Generator) -> list[Primitive]:
    r = s * rng.uniform(0.15, 0.2)
    return [
        frustum((0, 0, s * 0.29), s * 0.58, r, r),
        frustum((0, 0, s * 0.67), s * 0.18, r, r * 0.4),
        frustum((0, 0, s * 0.84), s * 0.16, r * 0.4, r * 0.4),
        frustum((0, 0, s * 0.96), s * 0.08, r * 0.5, r * 0.5, tone="dark"),
    ]


def _bucket(s: float, rng: np.random.Generator) -> list[Primitive]:
    return [
        frustum((0, 0, s * 0.48), s * 0.96, s * 0.34, s * 0.5, cap="dark"),
        frustum((0, 0, s * 0.97), s * 0.06, s * 0.53, s * 0.53, cap="dark"),
    ]


def _lamp(s: float, rng: np.random.Generator) -> list[Primitive]:
    return [
        frustum((0, 0, s * 0.03), s * 0.06, s * 0.2, s * 0.18, tone="metal"),
        frustum((0, 0, s * 0.35), s * 0.6, s * 0.025, s * 0.025, tone="metal"),
        frustum((0, 0, s * 0.8), s * 0.4, s * 0.29, s * 0.17),
    ]


def _legs(w: float, d: float, height: float, thick: float, tone: str) -> list[Primitive]:
    return [
        box((x * (w - thick) / 2, y * (d - thick) / 2, height / 2), (thick, thick, height), tone=tone)
        for x in (-1, 1)
        for y in (-1, 1)
    ]


def _table(s: float, rng: np.random.Generator) -> list[Primitive]:
    w, d = s * rng.uniform(1.1, 1.9), s * rng.uniform(0.9, 1.2)
    return [box((0, 0, s * 0.95), (w, d, s * 0.1)), *_legs(w * 0.94, d * 0.94, s * 0.9, s * 0.08, "dark")]


def _chair(s: float, rng: np.random.Generator) -> list[Primitive]:
    w = s * rng.uniform(0.48, 0.58)
    back = box((0, w / 2 - s * 0.035, s * 0.75), (w, s * 0.07, s * 0.5))
    return [box((0, 0, s * 0.46), (w, w, s * 0.08)), back, *_legs(w, w, s * 0.42, s * 0.07, "dark")]


def _stool(s: float, rng: np.random.Generator) -> list[Primitive]:
    r = s * rng.uniform(0.32, 0.42)
    return [frustum((0, 0, s * 0.94), s * 0.12, r, r), *_legs(r * 1.5, r * 1.5, s * 0.88, s * 0.08, "dark")]


def _book(s: float, rng: np.random.Generator) -> list[Primitive]:
    w, d, h = s, s * rng.uniform(0.65, 0.8), s * rng.uniform(0.16, 0.3)
    cover = h * 0.14
    return [
        box((0, 0, cover / 2), (w, d, cover)),
        box((w * 0.02, 0, h / 2), (w * 0.95, d * 0.94, h - 2 * cover), tone="light"),
        box((0, 0, h - cover / 2), (w, d, cover)),
        box((-w / 2 + cover / 2, 0, h / 2), (cover, d, h)),
    ]


def _vase(s: float, rng: np.random.Generator) -> list[Primitive]:
    r = s * rng.uniform(0.26, 0.36)
    return [
        ellipsoid((0, 0, s * 0.36), (r, r, s * 0.36)),
        frustum((0, 0, s * 0.76), s * 0.32, r * 0.45, r * 0.4),
        frustum((0, 0, s * 0.96), s * 0.08, r * 0.4, r * 0.7, cap="dark"),
    ]


def _plant(s: float, rng: np.random.Generator) -> list[Primitive]:
    return [
        frustum((0, 0, s * 0.2), s * 0.4, s * 0.19, s * 0.27, cap="wood"),
        ellipsoid((0, 0, s * 0.7), (s * 0.26, s * 0.26, s * 0.3), tone="leaf"),
        ellipsoid((s * 0.14, s * 0.06, s * 0.58), (s * 0.2, s * 0.18, s * 0.19), tone="leaf"),
        ellipsoid((-s * 0.15, -s * 0.05, s * 0.6), (s * 0.19, s * 0.2, s * 0.18), tone="leaf"),
    ]


def _barrel(s: float, rng: np.random.Generator) -> list[Primitive]:
    r = s * rng.uniform(0.32, 0.4)
    return [
        frustum((0, 0, s * 0.25), s * 0.5, r * 0.85, r),
        frustum((0, 0, s * 0.75), s * 0.5, r, r * 0.85),
        frustum((0, 0, s * 0.5), s * 0.07, r * 1.03, r * 1.03, tone="metal"),
    ]


def _monitor(s: float, rng: np.random.Generator) -> list[Primitive]:
    w, h = s * 1.35, s * 0.78
    return [
        box((0, 0, s - h / 2), (w, s * 0.07, h)),
        box((0, -s * 0.035, s - h / 2), (w * 0.9, s * 0.02, h * 0.86), tone="screen"),
        box((0, 0, s * 0.14), (s * 0.1, s * 0.06, s * 0.28), tone="metal"),
        frustum((0, 0, s * 0.02), s * 0.04, s * 0.3, s * 0.3, tone="metal"),
    ]


Builder = Callable[[float, np.random.Generator], list[Primitive]]

# kind -> (builder, smallest and largest size in metres for the rich preset)
KINDS: dict[str, tuple[Builder, tuple[float, float]]] = {
    "ball": (_ball, (0.18, 0.7)),
    "box": (_box, (0.2, 0.7)),
    "cone": (_cone, (0.3, 0.9)),
    "bottle": (_bottle, (0.22, 0.7)),
    "mug": (_mug, (0.14, 0.42)),
    "chair": (_chair, (0.5, 1.15)),
    "bucket": (_bucket, (0.2, 0.6)),
    "lamp": (_lamp, (0.4, 1.5)),
    "table": (_table, (0.4, 0.9)),
    "stool": (_stool, (0.3, 0.8)),
    "book": (_book, (0.2, 0.5)),
    "crate": (_crate, (0.25, 0.7)),
    "vase": (_vase, (0.25, 0.8)),
    "plant": (_plant, (0.35, 1.2)),
    "barrel": (_barrel, (0.4, 1.0)),
    "monitor": (_monitor, (0.35, 0.8)),
}
PLAIN_KINDS = ("ball", "box", "cone", "bottle", "mug", "chair")


def build(kind: str, size: float, rng: np.random.Generator) -> list[Primitive]:
    """Solids of one thing, their box centred on the z axis and standing on z = 0."""
    return center_solids(KINDS[kind][0](size, rng))


def center_solids(solids: list[Primitive]) -> list[Primitive]:
    """The solids moved so that the box around them is centred on the z axis and stands on z = 0."""
    low, high = bounds(solids)
    shift = np.array([-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]])
    moved = []
    for s in solids:
        center = tuple(float(c) for c in np.array(s.center) + shift)
        moved.append(Primitive(s.kind, center, s.half, s.axis, s.low, s.high, s.tone, s.cap))  # type: ignore[arg-type]
    return moved

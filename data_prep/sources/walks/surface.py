"""What surfaces of walked-through rooms look like: small tiles of brightness, pictures that hang on walls or stand in
shelves, and the floor's light, all drawn once.
"""

from __future__ import annotations

import functools

import numpy as np

SIDE = 128  # pixels of a tile of brightness
ART = 64  # pixels of a picture
TEXTURES = ("plain", "wood", "weave", "planks", "tiles", "carpet", "paint", "paper", "bricks", "noise")
METRES = {"plain": 1.0, "wood": 0.9, "weave": 0.25, "planks": 1.6, "tiles": 0.9, "carpet": 0.5, "paint": 1.6}
METRES |= {"paper": 0.6, "bricks": 0.9, "noise": 0.8}


def _noise(rng: np.random.Generator, across: float, down: float) -> np.ndarray:
    """Smooth periodic noise [SIDE, SIDE] of deviation 1, `across` and `down` pixels fine."""
    from scipy.ndimage import gaussian_filter

    grain = gaussian_filter(rng.standard_normal((SIDE, SIDE)), (down, across), mode="wrap")
    return grain / grain.std()


@functools.cache
def tiles() -> np.ndarray:
    """float32 [TEXTURES, SIDE, SIDE]: factors of brightness around 1; rows are the second coordinate."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    out = np.ones((len(TEXTURES), SIDE, SIDE), np.float32)
    grain = 0.05 * _noise(rng, 24, 1.2) + 0.03 * _noise(rng, 8, 0.7)
    rows = y // 16
    shift = rng.integers(0, SIDE, 8)[rows % 8]
    ends = ((x + shift) % SIDE) // 64
    board = rng.uniform(0.84, 1.1, (8, 2))[rows % 8, ends]
    seam = (y % 16 == 0) | ((x + shift) % 64 == 0)
    grout = (x % 64 < 2) | (y % 64 < 2)
    odd = ((x // 64) + (y // 64)) % 2
    course = y // 16
    joint = (y % 16 < 2) | ((x + 16 * (course % 2)) % 32 < 2)
    brick = rng.uniform(0.86, 1.08, (8, 4))[course % 8, ((x + 16 * (course % 2)) // 32) % 4]
    for name, values in {
        "wood": 1 + grain,
        "weave": 0.94 + 0.08 * (((x // 4) + (y // 4)) % 2) + 0.03 * _noise(rng, 2, 2),
        "planks": np.where(seam, 0.66, board * (1 + grain)),
        "tiles": np.where(grout, 0.74, 0.97 + 0.05 * odd + 0.015 * _noise(rng, 6, 6)),
        "carpet": 0.97 + 0.06 * _noise(rng, 0.8, 0.8) + 0.03 * _noise(rng, 9, 9),
        "paint": 1 + 0.012 * _noise(rng, 12, 12) + 0.006 * _noise(rng, 1, 1),
        "paper": 0.98 + 0.05 * ((x // 16) % 2) + 0.02 * np.sin(2 * np.pi * y / 16) * ((x // 8) % 2),
        "bricks": np.where(joint, 1.14, brick + 0.02 * _noise(rng, 1, 1)),
        "noise": 1 + 0.05 * _noise(rng, 5, 5),
    }.items():
        out[TEXTURES.index(name)] = values
    return out


def _books(rng: np.random.Generator) -> np.ndarray:
    picture = np.full((ART, ART, 3), 40.0)
    x = 0
    while x < ART:
        wide, high = int(rng.integers(2, 6)), int(rng.integers(ART * 6 // 10, ART))
        picture[ART - high :, x : x + wide] = rng.uniform(30, 210, 3) * rng.uniform(0.6, 1.1)
        if wide > 3:
            picture[ART - high + 8 : ART - high + 12, x + 1 : x + wide - 1] = 220
        picture[:, x + wide - 1 : x + wide] *= 0.6
        x += wide
    return picture


def _painting(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:ART, 0:ART] / ART
    sky, land, sun = rng.uniform(90, 240, 3), rng.uniform(30, 160, 3), rng.uniform(150, 255, 3)
    hills = 0.45 + 0.12 * np.sin(x * rng.uniform(4, 9) + rng.uniform(0, 6)) + 0.05 * np.sin(x * 17 + rng.uniform(0, 6))
    picture = np.where(
        (y > hills)[..., None], land * (0.7 + 0.5 * y[..., None]), sky * (0.8 + 0.4 * (1 - y[..., None]))
    )
    disc = np.hypot(x - rng.uniform(0.2, 0.8), y - rng.uniform(0.15, 0.4)) < rng.uniform(0.06, 0.16)
    picture[disc & (y < hills)] = sun
    if rng.random() < 0.4:  # abstract: blocks of colour
        for _ in range(6):
            a, b = rng.integers(0, ART - 12, 2)
            picture[a : a + rng.integers(8, 30), b : b + rng.integers(8, 30)] = rng.uniform(20, 245, 3)
    return picture


def _view(rng: np.random.Generator) -> np.ndarray:
    """Out of a window: sky, clouds, and houses or trees below."""
    y, x = np.mgrid[0:ART, 0:ART] / ART
    picture = np.stack([150 + 80 * y, 190 + 50 * y, np.full_like(y, 245)], -1)
    cloud = np.sin(7 * x + rng.uniform(0, 6)) * np.sin(9 * y + rng.uniform(0, 6)) > 0.55
    picture[cloud & (y < 0.5)] = (248, 248, 250)
    edge = rng.uniform(0.62, 0.74) + 0.05 * np.sin(x * 11 + rng.uniform(0, 6)) + 0.03 * np.sin(x * 31)
    picture[y > edge] = rng.uniform((60, 100, 50), (110, 150, 80))
    a = int(rng.integers(4, 36))
    picture[int(ART * 0.5) :, a : a + 18] = rng.uniform((140, 110, 90), (200, 180, 160))
    return picture


@functools.cache
def art() -> tuple[np.ndarray, dict[str, tuple[int, int]]]:
    """float32 [pictures, ART, ART, 3] of 0 to 255, top row first, and the range of numbers that each tone has."""
    rng = np.random.default_rng(11)
    made: list[np.ndarray] = []
    ranges: dict[str, tuple[int, int]] = {}
    for tone, draw, count in (("books", _books, 12), ("art", _painting, 16), ("sky", _view, 8)):
        ranges[tone] = (len(made), count)
        made += [draw(rng) for _ in range(count)]
    return np.clip(np.stack(made), 0, 255).astype(np.float32), ranges

"""A little analytic world for the synthesis tests: upright boxes on a floor, projected by a pinhole camera; no renderer
needed.
"""

from __future__ import annotations

import io
import math
import random

import numpy as np
from PIL import Image

from spatial_jax.data.records import SceneObject, SceneRecord

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
NAMES = ("ball", "box", "cone", "lamp", "mug")


def picture(width: int, height: int, seed: int = 0) -> bytes:
    """A PNG of coloured noise blocks."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (8, 8, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST).save(out, "PNG")
    return out.getvalue()


def scene(
    index: int,
    *,
    seed: int = 0,
    objects: int = 6,
    split: str = "train",
    width: int = 320,
    height: int = 240,
    depth_flag: str = "metric",
    image: bytes = b"png",
) -> SceneRecord:
    """A scene of `objects` upright boxes at random places on a floor 1.4 m below a level camera."""
    rng = random.Random(f"{seed}/{index}")
    f = rng.uniform(0.7, 1.1) * width
    k = (f, f, (width - 1) / 2, (height - 1) / 2)  # pixel centres; boxes count pixel edges
    things: list[SceneObject] = []
    captions = [f"{c} {n}" for c in COLOURS for n in NAMES]
    rng.shuffle(captions)
    while len(things) < objects:
        size = [rng.uniform(0.2, 1.2) for _ in range(3)]
        z = rng.uniform(2.0, 8.0)
        x = rng.uniform(-0.45, 0.45) * z * width / f
        center = (x, rng.choice((1.4, 0.4, -0.5)) - size[1] / 2, z)
        corners = np.array(
            [
                [center[i] + s[i] * size[i] / 2 for i in range(3)]
                for s in np.ndindex(2, 2, 2)
                for s in [[2 * v - 1 for v in s]]
            ]
        )
        u, v = k[0] * corners[:, 0] / corners[:, 2] + k[2] + 0.5, k[1] * corners[:, 1] / corners[:, 2] + k[3] + 0.5
        box = (
            max(0.0, float(u.min())),
            max(0.0, float(v.min())),
            min(width, float(u.max())),
            min(height, float(v.max())),
        )
        if box[2] - box[0] < 8 or box[3] - box[1] < 8:
            continue
        caption = captions.pop()
        cloud = (np.array([[rng.uniform(-0.5, 0.5) for _ in range(3)] for _ in range(80)]) * size + center).astype(
            np.float16
        )
        front = z - size[2] / 2
        things.append(
            SceneObject(
                f"o{len(things)}",
                caption.split()[1],
                caption,
                box,
                depth_median=front,
                depth_q20=front * 0.99,
                depth_q80=front * 1.01,
                depth_rel_std=0.01,
                center=tuple(map(float, center)),
                extent=tuple(size),
                points=cloud.tobytes(),
            )
        )
    return SceneRecord(
        f"s{index:06d}",
        "test",
        split,
        image,
        width,
        height,
        "0" * 64,
        tuple(things),
        depth_flag=depth_flag,
        intrinsics=k,
        intrinsics_source="rendered",
        gravity=(0.0, 1.0, 0.0),
        floor=(0.0, -1.0, 0.0, 1.4),
        tags=("rendered",),
    )


def angle_between(a: tuple[float, float], b: tuple[float, float]) -> float:
    return math.degrees(math.atan2(a[0] * b[1] - a[1] * b[0], a[0] * b[0] + a[1] * b[1]))

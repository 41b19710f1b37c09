"""Points as objects, for pictures that have depth and no labels: a few places on smooth surfaces are marked with a
circle and a letter, as BLINK's relative-depth task does, so that depth, order and distance can be asked about them.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from data_prep.geometry.clouds import depth_statistics, lift, valid_depth
from data_prep.geometry.uncertainty import median_sigma
from data_prep.sources.base import Frame, ObjectDraft
from spatial_jax.media import encode_picture

RADIUS = 0.02  # of the longer side: the disc that a point's depth is measured on
APART = 0.2  # of the diagonal: points keep so far from each other
JUMP = 0.03  # of a depth: more between neighbours is an edge
EDGE = 0.08  # of each side: so far from the picture's edge
TRIES = 400
LETTERS = "ABCDEFGH"


def smooth_places(depth: np.ndarray, radius: int) -> np.ndarray:
    """Rows and columns [n, 2] of pixels around which depth [h, w] (0 unknown) is known and has no edge within `radius`
    pixels.
    """
    from scipy import ndimage

    known = valid_depth(depth)
    filled = np.where(known, depth, 0)
    high, low = ndimage.maximum_filter(filled, 3), ndimage.minimum_filter(np.where(known, depth, np.inf), 3)
    smooth = known & (high - np.where(np.isfinite(low), low, 0) < JUMP * filled)
    # A few noisy pixels are no edge: most of the disc must be smooth.
    share = ndimage.uniform_filter(smooth.astype(np.float32), 2 * radius + 1)
    rows, columns = (int(EDGE * side) for side in depth.shape)
    good = share > 0.9
    good[:rows] = good[depth.shape[0] - rows :] = False
    good[:, :columns] = good[:, depth.shape[1] - columns :] = False
    return np.argwhere(good)


def choose_points(depth: np.ndarray, count: int, radius: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """At most `count` places (row, column) on smooth surfaces, far from each other in the picture."""
    places = smooth_places(depth, radius)
    if not len(places):
        return []
    apart = APART * float(np.hypot(*depth.shape))
    out: list[tuple[int, int]] = []
    for row, column in places[rng.integers(0, len(places), TRIES)]:
        if all(np.hypot(row - r, column - c) >= apart for r, c in out):
            out.append((int(row), int(column)))
        if len(out) == count:
            break
    return out


def draw_marks(rgb: np.ndarray, points: list[tuple[int, int]], radius: int) -> np.ndarray:
    """The picture uint8 [h, w, 3] with a circle and a letter at each point (row, column)."""
    image = Image.fromarray(rgb)
    draw = ImageDraw.Draw(image)
    line, size = max(1, radius // 4), max(8, int(3.2 * radius))
    for (row, column), letter in zip(points, LETTERS):
        circle = (column - radius, row - radius, column + radius, row + radius)
        draw.ellipse(circle, outline=(255, 255, 255), width=3 * line)
        draw.ellipse(circle, outline=(230, 25, 75), width=2 * line)
        left = column + 1.4 * radius
        if left + size > image.width:
            left = column - 1.4 * radius - size
        box = draw.textbbox((left, row), letter, anchor="lm", font_size=size)
        draw.rectangle((box[0] - line, box[1] - line, box[2] + line, box[3] + line), fill=(255, 255, 255))
        draw.text((left, row), letter, anchor="lm", font_size=size, fill=(200, 0, 50))
    return np.asarray(image)


class Points:
    """Stage, after Measure: marks `count` points of each picture that has depth and no objects."""

    name = "points"

    def __init__(self, count: int):
        self.count = min(count, len(LETTERS))

    def config(self) -> dict[str, Any]:
        return {"stage": self.name, "count": self.count}

    def __call__(self, frame: Frame) -> None:
        if frame.objects or frame.depth is None:
            return
        radius = max(3, round(RADIUS * max(frame.width, frame.height)))
        seed = int.from_bytes(hashlib.sha256(frame.item_id.encode()).digest()[:8], "big")
        points = choose_points(frame.depth, self.count, radius, np.random.default_rng(seed))
        if not points:
            what = "pictures without a place to mark a point: no smooth depth"
            frame.told[what] = frame.told.get(what, 0) + 1
            return
        frame.objects = [self._object(frame, place, letter, radius) for place, letter in zip(points, LETTERS)]
        was = "JPEG" if frame.encoded.startswith(b"\xff\xd8") else ""
        frame.rgb = draw_marks(frame.rgb, points, radius)
        frame.encoded = encode_picture(Image.fromarray(frame.rgb), was)
        if was:  # the record's pixels are those of its bytes
            from spatial_jax.media import decode_picture

            frame.rgb = np.asarray(decode_picture(frame.encoded).image)
        frame.tags = (*frame.tags, "points drawn")

    def _object(self, frame: Frame, place: tuple[int, int], letter: str, radius: int) -> ObjectDraft:
        """A point with the depth of its disc, and where it lies."""
        assert frame.depth is not None
        row, column = place
        rows, columns = np.ogrid[: frame.height, : frame.width]
        disc = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        depths = frame.depth[disc & valid_depth(frame.depth)]
        box = (float(column - radius), float(row - radius), float(column + radius + 1), float(row + radius + 1))
        thing = ObjectDraft("point", f"point {letter}", disc, box, mask_sigma=0.0)
        thing.depth = depth_statistics(depths) | {"share": len(depths) / int(disc.sum()), "cover": 1.0}
        middle, spread = thing.depth["median"], thing.depth["rel_std"] * thing.depth["median"]
        sigma = median_sigma(frame.depth_noise, middle, len(depths), spread)
        thing.uncertainty = {"depth_median": sigma, "depth": sigma}
        thing.provenance["box"] = "marked point"
        if frame.intrinsics is not None and frame.depth_flag == "metric":
            thing.center = lift(np.array([row]), np.array([column]), np.array([middle]), frame.intrinsics)[0]
            across = 0.5 * middle / frame.intrinsics[0]
            thing.uncertainty |= {"shared": 1.0, "center_x": across, "center_y": across, "center_z": sigma}
            thing.uncertainty["center"] = float(np.sqrt(2 * across**2 + sigma**2))
        return thing

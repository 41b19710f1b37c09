"""What a self-supervised task gives back, what it may refuse with, and the drawing that the tasks share."""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import random
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 16  # of a thumbnail, pixels


class Unsuitable(Exception):
    """The picture does not allow this task; the message is the reason, short enough to be counted by."""


@dataclasses.dataclass(frozen=True)
class Style:
    """How a task is drawn and asked. Constants of the full profile are Spatial-SSRL's; the plain one scales them to
    small pictures.
    """

    plain: bool = False
    label_size: int = 48  # points
    label_at: int = 10  # pixels from the patch's corner, both ways
    border: int = 2  # pixels
    align: int = (
        1  # side of a visual token in pixels: pictures and patches are scaled to multiples of it, marks stand in
    )
    # the middle of one; 1: anywhere
    mark: int = 0  # radius of a marked place, pixels; 0: a 32nd of the picture's short side
    wordings: int = 0  # use only the first so many wordings; 0: all
    strict_depth: bool = True  # depth ordering: enforce the paper's d_min and r_max (the released code does not)
    as_published: bool = False  # refuse nothing that the released code makes; say what would have been refused
    paper_orientations: bool = False  # 3-D position: uniform orientations instead of the released 30/30/30/10

    def object_to(self, reason: str, objections: list[str]) -> None:
        """Refuses a puzzle that the released code makes: raises Unsuitable, or notes it when made as published."""
        if not self.as_published:
            raise Unsuitable(reason)
        objections.append(reason)

    @classmethod
    def small(cls, wordings: int = 1) -> Style:
        return cls(plain=True, label_size=14, label_at=3, border=2, align=28, mark=12, wordings=wordings)


@dataclasses.dataclass(frozen=True)
class Picture:
    """RGB uint8 [h, w, 3] and, where known, depth float32 [h, w] (any scale, nan where invalid). `focal`: focal length
    in pixels; without one the longer side is taken, that of a lens which sees 53 degrees. `middle`: column that the
    lens looks along, of a window maybe outside it; without one the middle.
    """

    rgb: np.ndarray
    depth: np.ndarray | None = None
    focal: float = 0.0
    middle: float = math.nan

    def __post_init__(self) -> None:
        if self.focal <= 0:
            object.__setattr__(self, "focal", float(max(self.rgb.shape[:2])))
        if math.isnan(self.middle):
            object.__setattr__(self, "middle", self.rgb.shape[1] / 2)

    @property
    def short_side(self) -> int:
        return min(self.rgb.shape[:2])


@dataclasses.dataclass(frozen=True)
class Puzzle:
    """A finished self-supervised question; `images` are uint8 [h, w, 3] in the order of the question's <image>
    marks.
    """

    task: str
    variant: str
    images: tuple[np.ndarray, ...]
    question: str
    question_type: str
    answer: str
    template_id: int
    options: tuple[str, ...] = ()
    margin: float = 1.0
    rule_inputs: dict[str, Any] = dataclasses.field(default_factory=dict)
    objections: tuple[str, ...] = ()  # why it would have been refused, were it not made as published

    def reward(self, style: Style) -> dict[str, Any]:
        """Spatial-SSRL's 0.9 answer + 0.1 format reward (the prompt mode "think_boxed" asks for that form); in the
        plain profile the answer alone.
        """
        if not style.plain:
            return {"kind": "ssrl"}
        return {"crop": {"kind": "choice"}, "position3d": {"kind": "choice"}}.get(
            self.task, {"kind": "word", "accept": [self.answer]}
        )


@functools.cache
def font(size: int) -> Any:
    return ImageFont.load_default(size)


class Draw(random.Random):
    """A random generator that also deals answers out evenly: over n turns `balanced(n)` gives each of 0..n-1 once, in
    random order.
    """

    def __init__(self, key: str, turn: int = 0):
        super().__init__(f"{key}/{turn}")
        self._key, self._turn = key, turn

    def balance(self, n: int) -> int:
        block, place = divmod(self._turn, n)
        values = list(range(n))
        random.Random(f"{self._key}/block {block} of {n}").shuffle(values)
        return values[place]

    def permutation(self, n: int) -> list[int]:
        """A permutation of range(n), each of the n! equally often."""
        left, code, out = list(range(n)), self.balance(math.factorial(n)), []
        for size in range(n, 0, -1):
            code, pick = divmod(code, size)
            out.append(left.pop(pick))
        return out

    def place(self, items: Sequence[Any], item: Any) -> list[Any]:
        """The items in random order, but `item` at each place equally often."""
        others = [i for i in items if i != item]
        self.shuffle(others)
        others.insert(self.balance(len(items)), item)
        return others


def draw_label(canvas: Image.Image, x: int, y: int, text: str, style: Style) -> None:
    """White digits with a black outline."""
    outline = 1 if style.plain else 2
    ImageDraw.Draw(canvas).text(
        (x, y), text, fill="white", font=font(style.label_size), stroke_width=outline, stroke_fill="black"
    )


def draw_grid(
    patches: Sequence[np.ndarray], rows: int, columns: int, style: Style, names: str = "0123456789"
) -> np.ndarray:
    """Patches of equal size in raster order, each with a red border on its own rectangle and its name, a character of
    `names`, in its corner.
    """
    height, width = patches[0].shape[:2]
    canvas = Image.new("RGB", (columns * width, rows * height))
    draw = ImageDraw.Draw(canvas)
    for slot, patch in enumerate(patches):
        left, top = (slot % columns) * width, (slot // columns) * height
        canvas.paste(Image.fromarray(np.ascontiguousarray(patch)), (left, top))
        draw.rectangle((left, top, left + width - 1, top + height - 1), outline=(255, 0, 0), width=style.border)
        draw_label(canvas, left + style.label_at, top + style.label_at, names[slot], style)
    return np.asarray(canvas)


def cut(rgb: np.ndarray, rows: int, columns: int) -> list[np.ndarray]:
    """Patches of floor(h / rows) x floor(w / columns) in raster order; remainder pixels are dropped."""
    height, width = rgb.shape[0] // rows, rgb.shape[1] // columns
    return [
        rgb[r * height : (r + 1) * height, c * width : (c + 1) * width] for r in range(rows) for c in range(columns)
    ]


def thumbnail(rgb: np.ndarray) -> np.ndarray:
    """float32 [SIDE, SIDE, 3] area average."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of two thumbnails, of 255: what an eye could go by."""
    return float(np.abs(a - b).mean())


def detail(thumb: np.ndarray) -> float:
    """Standard deviation, of 255, of a thumbnail's grey about its best plane: what is left of sky or a wall once its
    shading is out.
    """
    grey, plane = thumb.mean(2).ravel(), _plane()
    return float((grey - plane @ (plane.T @ grey)).std())


@functools.cache
def _plane() -> np.ndarray:
    """float32 [SIDE * SIDE, 3]: an orthonormal basis of the planes over a thumbnail."""
    y, x = np.mgrid[:SIDE, :SIDE].reshape(2, -1)
    return np.linalg.qr(np.stack([x, y, np.ones_like(x)], 1).astype(np.float64))[0].astype(np.float32)


def draw_marker(canvas: Image.Image, x: int, y: int, text: str, radius: int) -> None:
    """A black digit in a white circle."""
    draw = ImageDraw.Draw(canvas)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill="white", outline="black")
    draw.text((x, y), text, fill="black", font=font(max(8, round(1.5 * radius))), anchor="mm")


def marker_radius(picture: Picture, style: Style) -> int:
    return style.mark or max(6, round(picture.short_side / 32))


def resize_to(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """The part at another size, bilinear; as it is where it has that size."""
    if rgb.shape[:2] == (height, width):
        return rgb
    part = Image.fromarray(np.ascontiguousarray(rgb))
    return np.asarray(part.resize((width, height), Image.Resampling.BILINEAR))


def nearest_multiple(size: float, align: int) -> int:
    """The nearest multiple of `align` that is not 0."""
    return max(1, round(size / align)) * align


def pick_wording(rng: Draw, style: Style, plain: Sequence[str], full: Sequence[str]) -> tuple[int, str]:
    """(template id, wording): the short ones in the plain profile, the long ones otherwise."""
    wordings = list(plain) if style.plain else list(full)
    count = min(style.wordings, len(wordings)) if style.wordings else len(wordings)
    index = rng.randrange(count)
    return index + (0 if style.plain else len(plain)), wordings[index]


def encode(rgb: np.ndarray) -> bytes:
    """PNG for small pictures, JPEG (quality 92) for large ones."""
    out = io.BytesIO()
    if rgb.shape[0] * rgb.shape[1] <= 256 * 256:
        Image.fromarray(rgb).save(
            out, "PNG", compress_level=1, compress_type=zlib.Z_RLE
        )  # a photo: as small, 4 x faster
    else:
        Image.fromarray(rgb).save(out, "JPEG", quality=92)
    return out.getvalue()

"""Words on the walls of rendered rooms: one board with a word, as the camera sees it, for what can be read in a picture
and what has an up and a left. A sign depends on its room and its generator only; the room is as without it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_prep.sources.camera import Camera

WORDS = ("exit", "milk", "taxi", "book", "zoo", "gate", "hotel", "jump")
BOARDS = (((240, 236, 220), (24, 24, 30)), ((28, 36, 60), (244, 240, 228)), ((236, 214, 120), (60, 28, 20)))
TRIES = 16
LETTERS = 64  # pixels of the letters before they are scaled to what the camera sees


@dataclasses.dataclass(frozen=True)
class Sign:
    """A board on a wall: the wall is at world coordinate `axis` (0: x, 1: y) on its low or high (`end` 0 or 1) side;
    `along` and `up` are the board's middle (metres), `half` half its width and height (metres); `to_right` is 1 where
    the world coordinate along the wall grows to the right as seen, else -1; `bitmap` uint8 [h, w, 3].
    """

    text: str
    axis: int
    end: int
    along: float
    up: float
    half: tuple[float, float]
    to_right: int
    bitmap: np.ndarray

    def paint(
        self, rgb: np.ndarray, tone: np.ndarray, on_wall: np.ndarray, along: np.ndarray, up: np.ndarray
    ) -> np.ndarray:
        """Colours the pixels of `rgb` float32 [h, w, 3] that see the board, in place; bool [h, w]: which. `on_wall`
        bool [h, w]: pixels that see its wall; `along`, `up` float32 [h, w]: where (metres); `tone` [h, w]: their light.
        """
        across = 0.5 + self.to_right * (along - self.along) / (2 * self.half[0])
        down = 0.5 - (up - self.up) / (2 * self.half[1])
        seen = on_wall & (across >= 0) & (across < 1) & (down >= 0) & (down < 1)
        rows, columns = (
            (down[seen] * self.bitmap.shape[0]).astype(int),
            (across[seen] * self.bitmap.shape[1]).astype(int),
        )
        rgb[seen] = self.bitmap[rows, columns] * np.minimum(tone[seen], 1)[:, None]
        return seen


def _board(text: str, rng: np.random.Generator) -> Image.Image:
    paper, ink = BOARDS[rng.integers(len(BOARDS))]
    font = ImageFont.load_default(LETTERS)
    left, top, right, bottom = font.getbbox(text.upper())
    edge = LETTERS // 5
    board = Image.new("RGB", (round(right - left) + 2 * edge, round(bottom - top) + 2 * edge), paper)
    ImageDraw.Draw(board).text((edge - left, edge - top), text.upper(), fill=ink, font=font, stroke_width=2)
    return board


def hang_sign(camera: Camera, walls: np.ndarray, rng: np.random.Generator) -> Sign | None:
    """A sign that is wholly in the picture (what stands before it is not looked at), or None where no wall has room.
    `walls` [2, 3]: low and high corner of the inner room.
    """
    text = WORDS[rng.integers(len(WORDS))]
    board = _board(text, rng)
    for _ in range(TRIES):
        u, v = camera.width * rng.uniform(0.28, 0.72), camera.height * rng.uniform(0.1, 0.4)
        wide = camera.width * rng.uniform(0.34, 0.5)
        sign = _hang(camera, walls, text, board, u, v, wide)
        if sign is not None:
            return sign
    return None


def _hang(
    camera: Camera, walls: np.ndarray, text: str, board: Image.Image, u: float, v: float, wide: float
) -> Sign | None:
    """The sign around pixel (u, v), about `wide` pixels across."""
    ray = camera.unproject(u, v, 1.0) - camera.position
    with np.errstate(divide="ignore"):
        reach = np.where(ray > 0, walls[1] - camera.position, walls[0] - camera.position) / ray
    axis = int(np.argmin(reach))
    if axis == 2:  # the ray meets the ceiling or the floor first
        return None
    middle, other = camera.position + reach[axis] * ray, 1 - axis
    facing = abs(float(camera.rotation[2, axis]))
    half = wide / camera.fx * float(reach[axis]) / 2
    tall = half * board.height / board.width
    along, up = float(middle[other]), float(middle[2])
    low, high = walls[0, other], walls[1, other]
    if facing < 0.6 or along - half < low or along + half > high or up - tall < 0.15 or up + tall > walls[1, 2] - 0.05:
        return None
    corners = np.repeat(middle[None], 4, 0)
    corners[:, other] = along + half * np.array([-1, 1, 1, -1])
    corners[:, 2] = up + tall * np.array([-1, -1, 1, 1])
    if camera.to_camera(corners)[:, 2].min() < 0.5:
        return None
    pixels = camera.project(corners)
    if (pixels < 1).any() or (pixels > np.array([camera.width, camera.height]) - 2).any():
        return None
    size = np.maximum(2, np.ptp(pixels, axis=0).round().astype(int))
    bitmap = np.asarray(board.resize((int(size[0]), int(size[1])), Image.Resampling.LANCZOS), np.uint8)
    to_right = 1 if camera.rotation[0, other] > 0 else -1
    return Sign(text, axis, int(ray[axis] > 0), along, up, (half, tall), to_right, bitmap)

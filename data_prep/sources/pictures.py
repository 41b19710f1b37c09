"""Opens a picture file that may be anything: what can be repaired is repaired and named, the rest is a BadItem with one
clear line. The decoding is spatial_jax.media's, as everywhere; the camera's EXIF is read here.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from data_prep.sources.base import BadItem
from spatial_jax.media import MOST_PIXELS, PictureError, decode_picture, encode_picture

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic")
LEAST_SIDE = 32
# Relative error of EXIF's focal length: whole millimetres of about 26, and makers who mean the 36 mm of width and not
# the diagonal.
EXIF_SIGMA = 0.03
CAMERA_SHAPES = (4 / 3, 3 / 2, 16 / 9)  # of whole pictures; anything else was cut by somebody
_DIAGONAL_35MM = 43.2666  # millimetres, the diagonal that 35-mm-equivalent focal lengths refer to


@dataclasses.dataclass
class Picture:
    """rgb uint8 [h, w, 3], upright; `encoded`: JPEG or PNG bytes of exactly it; `notes`: repairs; `focal_35mm`: from
    EXIF, or 0; `orientation`: the EXIF orientation that was applied (1: none) to a picture stored at `stored_size`
    (width, height).
    """

    rgb: np.ndarray
    encoded: bytes
    notes: list[str]
    focal_35mm: float = 0.0
    orientation: int = 1
    stored_size: tuple[int, int] = (0, 0)

    def exif_intrinsics(self) -> tuple[float, float, float, float] | None:
        """fx, fy, cx, cy in pixels from EXIF's 35-mm-equivalent focal length, or None."""
        if not self.focal_35mm:
            return None
        height, width = self.rgb.shape[:2]
        focal = self.focal_35mm * float(np.hypot(width, height)) / _DIAGONAL_35MM
        return focal, focal, (width - 1) / 2, (height - 1) / 2


def _shrink(image: Image.Image, max_side: int, notes: list[str]) -> Image.Image:
    if not max_side or max(image.size) <= max_side:
        return image
    scale = max_side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    notes.append(f"resized from {image.width}x{image.height} to {size[0]}x{size[1]}")
    return image.resize(size, Image.Resampling.LANCZOS)


def open_picture(
    data: bytes, *, max_side: int = 0, least_side: int = LEAST_SIDE, most_pixels: int = MOST_PIXELS
) -> Picture:
    """Decodes picture bytes. `max_side`: larger pictures are shrunk to it (0: never). Raises BadItem."""
    try:
        decoded = decode_picture(data, most_pixels=most_pixels, least_side=least_side)
    except PictureError as error:
        raise BadItem(str(error)) from None
    notes = list(decoded.notes)
    final = _shrink(decoded.image, max_side, notes)
    plain = decoded.plain and final.size == decoded.image.size
    encoded = data if plain else encode_picture(final, decoded.format)
    focal, why_not = focal_35mm(decoded.exif, decoded.stored_size)
    if why_not:
        notes.append(why_not)
    return Picture(np.asarray(final), encoded, notes, focal, decoded.orientation, decoded.stored_size)


def focal_35mm(exif: dict[int, Any], size: tuple[int, int]) -> tuple[float, str]:
    """(35-mm-equivalent focal length or 0, why it is not used). It belongs to the whole picture as it was taken: a
    picture of another shape than its EXIF states, larger than it, or of no camera's shape has been cut since. A picture
    of the same shape but smaller is taken as resized, which changes no angle.
    """
    try:
        focal = float(exif.get(0xA405, 0) or 0)
        stated = float(exif.get(0xA002, 0) or 0), float(exif.get(0xA003, 0) or 0)
    except (ValueError, TypeError, ZeroDivisionError):
        return 0.0, ""
    if not np.isfinite(focal) or not 5 <= focal <= 2000:
        return 0.0, ""
    width, height = size
    cut = "its EXIF focal length is not used: "
    if min(stated) > 0:
        agrees = any(
            abs(w / h / (width / height) - 1) < 0.015 and w >= width - 2 and h >= height - 2
            for w, h in (stated, stated[::-1])
        )
        if not agrees:
            return 0.0, f"{cut}{width}x{height} was cut out of {stated[0]:g}x{stated[1]:g}"
    shape = max(size) / min(size)
    if not any(abs(shape / s - 1) < 0.015 for s in CAMERA_SHAPES):
        return 0.0, f"{cut}{width}x{height} is no camera's shape, so it was probably cut"
    return focal, ""

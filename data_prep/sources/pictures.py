"""Opens a picture file that may be anything: what can be repaired is repaired and named, the rest is a BadItem with one
clear line.
"""

from __future__ import annotations

import dataclasses
import io
import warnings

import numpy as np
from PIL import Image, ImageOps

from data_prep.sources.base import BadItem
from spatial_jax.media import open_image

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic")
LEAST_SIDE = 32
MOST_PIXELS = 100_000_000
_DIAGONAL_35MM = 43.2666  # millimetres, the diagonal that 35-mm-equivalent focal lengths refer to


@dataclasses.dataclass
class Picture:
    """rgb uint8 [h, w, 3], upright; `encoded`: JPEG or PNG bytes of exactly it; `notes`: repairs; `focal_35mm`: from
    EXIF, or 0.
    """

    rgb: np.ndarray
    encoded: bytes
    notes: list[str]
    focal_35mm: float = 0.0

    def exif_intrinsics(self) -> tuple[float, float, float, float] | None:
        """fx, fy, cx, cy in pixels from EXIF's 35-mm-equivalent focal length, or None."""
        if not 5 <= self.focal_35mm <= 2000:
            return None
        height, width = self.rgb.shape[:2]
        focal = self.focal_35mm * float(np.hypot(width, height)) / _DIAGONAL_35MM
        return focal, focal, (width - 1) / 2, (height - 1) / 2


def _eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """The picture in mode RGB; every conversion that changes what is seen is noted."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
        values = np.asarray(image).astype(np.float64)
        if not np.isfinite(values).all():
            raise BadItem("its pixels hold values that are not numbers")
        top = 65535.0 if values.max() > 255 else 255.0
        notes.append(f"{image.mode} pixels scaled to 8 bits")
        return Image.fromarray(np.clip(values * (255 / top), 0, 255).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        flat = Image.new("RGBA", image.size, (255, 255, 255, 255))
        flat.alpha_composite(image.convert("RGBA"))
        if image.convert("RGBA").getextrema()[3][0] < 255:  # type: ignore[index]
            notes.append("transparency flattened over white")
        return flat.convert("RGB")
    if image.mode not in ("RGB", "L", "1", "P"):
        notes.append(f"{image.mode} converted to RGB")
    return image.convert("RGB")


def _shrink(image: Image.Image, max_side: int, notes: list[str]) -> Image.Image:
    if not max_side or max(image.size) <= max_side:
        return image
    scale = max_side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    notes.append(f"resized from {image.width}x{image.height} to {size[0]}x{size[1]}")
    return image.resize(size, Image.Resampling.LANCZOS)


def _focal_35mm(image: Image.Image) -> float:
    try:
        value = float(image.getexif().get_ifd(0x8769).get(0xA405, 0) or 0)
    except (ValueError, TypeError, OSError, SyntaxError, KeyError, AttributeError):
        return 0.0
    return value if np.isfinite(value) else 0.0


def open_picture(
    data: bytes, *, max_side: int = 0, least_side: int = LEAST_SIDE, most_pixels: int = MOST_PIXELS
) -> Picture:
    """Decodes picture bytes. `max_side`: larger pictures are shrunk to it (0: never). Raises BadItem."""
    if not data:
        raise BadItem("the file is empty")
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = open_image(data)
            if image.width * image.height > most_pixels:
                raise BadItem(
                    f"{image.width}x{image.height} pixels are more than the {most_pixels} allowed (a decompression"
                    " bomb?)"
                )
            if min(image.size) < least_side:
                raise BadItem(f"{image.width}x{image.height} pixels: a side is shorter than {least_side}")
            plain = image.format in ("JPEG", "PNG") and image.mode == "RGB" and "transparency" not in image.info
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                notes.append(f"first of {frames} frames taken")
                plain = plain and image.format != "PNG"
            image.load()
            if image.format == "PNG":
                open_image(data).verify()  # load() alone lets flipped bytes pass
            focal = _focal_35mm(image)
            turned = ImageOps.exif_transpose(image)
    except BadItem:
        raise
    except Image.DecompressionBombError:
        raise BadItem(f"more pixels than the {most_pixels} allowed (a decompression bomb?)") from None
    except Image.UnidentifiedImageError:
        raise BadItem(f"not a picture (starts with {data[:12]!r})") from None
    except MemoryError:
        raise BadItem("does not fit into memory") from None
    except Exception as error:
        # Pillow's decoders raise almost anything on damaged input; whatever it is, this one file is to blame.
        raise BadItem(f"cannot be decoded: {' '.join(str(error).split())[:160] or type(error).__name__}") from None
    if image.getexif().get(0x0112, 1) not in (0, 1):
        notes.append("turned upright as its EXIF says")
        plain = False
    final = _shrink(_eight_bits(turned, notes), max_side, notes)
    plain = plain and final.size == image.size
    rgb = np.asarray(final)
    return Picture(rgb, data if plain else _encode(final, image.format or ""), notes, focal)


def _encode(image: Image.Image, was: str) -> bytes:
    """JPEG (quality 95) for what was lossy already, PNG for the rest. The JPEG's own pixels then differ by a rounding
    from `image`.
    """
    out = io.BytesIO()
    if was in ("JPEG", "WEBP", "MPO", "AVIF", "HEIF"):
        image.save(out, "JPEG", quality=95, subsampling=0)
    else:
        image.save(out, "PNG", compress_level=3)
    return out.getvalue()

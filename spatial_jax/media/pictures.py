"""The one decoder of picture files: upright, RGB, 8 bits, first frame; what had to be changed on the way is noted.

Transparency is laid on white, the EXIF orientation is applied, 16-bit grey is divided by 257 (PNG's own scaling), CMYK
goes to RGB. A file with several frames (GIF, WebP, APNG, TIFF pages) gives its first.
"""

from __future__ import annotations

import dataclasses
import io
import os
import stat
import warnings
from typing import Any

import numpy as np
from PIL import Image

from spatial_jax.media.opening import open_image

MOST_PIXELS = 100_000_000
TOO_LARGE = "is too large"
_EXIF_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION, _EXIF_IFD = 0x0112, 0x8769
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif")


class PictureError(ValueError):
    """Bytes that give no picture; the message is one line that says why, `reason` a few words of a fixed set, to count
    by.
    """

    def __init__(self, message: str, reason: str = "cannot be decoded"):
        super().__init__(message)
        self.reason = reason


@dataclasses.dataclass
class Decoded:
    """`image`: RGB, upright. `plain`: the file is a JPEG or PNG whose own pixels are exactly `image`, so its bytes may
    be kept. `notes`: what was changed. `orientation`: the EXIF orientation that was applied (1: none). `stored_size`:
    (width, height) before the turn. `exif`: tags of the EXIF block, empty where there is none that can be read.
    """

    image: Image.Image
    format: str
    plain: bool
    notes: list[str]
    orientation: int
    stored_size: tuple[int, int]
    frames: int
    exif: dict[int, Any]


def decode_picture(data: bytes, *, most_pixels: int = MOST_PIXELS, least_side: int = 1) -> Decoded:
    """Decodes an encoded picture. PictureError for what is no picture, is cut off, claims more than `most_pixels`
    pixels (read from the header, before anything is decoded) or has a side shorter than `least_side`.
    """
    if not data:
        raise PictureError("the file is empty")
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        raise PictureError(
            "a HEIC picture, which is not read here; save it as JPEG or PNG (heif-convert a.heic a.jpg)", "is HEIC"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(data, most_pixels, least_side)
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError(f"more pixels than the {most_pixels} allowed (a decompression bomb?)", TOO_LARGE) from None
    except Image.UnidentifiedImageError:
        raise PictureError(f"not a picture (starts with {data[:12]!r})") from None
    except MemoryError:
        raise PictureError("does not fit into memory") from None
    except Exception as error:
        # Pillow's decoders raise almost anything on damaged input; whatever it is, this one file is to blame.
        text = " ".join(str(error).split())[:160] or type(error).__name__
        raise PictureError(f"cannot be decoded: {text}") from None


def _decode(data: bytes, most_pixels: int, least_side: int) -> Decoded:
    notes: list[str] = []
    image: Image.Image = open_image(data)
    kind, size = image.format or "", image.size
    if size[0] * size[1] > most_pixels:
        raise PictureError(
            f"{size[0]}x{size[1]} pixels are more than the {most_pixels} allowed (a decompression bomb?)", TOO_LARGE
        )
    if min(size) < least_side:
        raise PictureError(f"{size[0]}x{size[1]} pixels: a side is shorter than {least_side}")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and kind != "MPO":  # the further pictures of a phone's MPO are previews and gain maps
        notes.append(f"first of {frames} frames taken")
    plain = kind in ("JPEG", "PNG") and image.mode == "RGB" and "transparency" not in image.info and frames == 1
    tiff_turn = image.getexif().get(_ORIENTATION, 1) if kind == "TIFF" else 1  # Pillow turns these itself
    image.load()
    if kind == "PNG":
        open_image(data).verify()  # load() alone lets flipped bytes pass
    orientation, exif = _exif(image, notes)
    if orientation != 1:
        image = image.transpose(_EXIF_TURNS[orientation])
    elif tiff_turn in _EXIF_TURNS:
        orientation, size = tiff_turn, size if tiff_turn < 5 else size[::-1]
    if orientation != 1:
        notes.append("turned upright as its EXIF says")
    return Decoded(mode_to_rgb(image, notes), kind, plain and orientation == 1, notes, orientation, size, frames, exif)


def _exif(image: Image.Image, notes: list[str]) -> tuple[int, dict[int, Any]]:
    """(orientation, tags). A damaged EXIF block costs the picture its tags, not the picture."""
    try:
        block = image.getexif()
        orientation, tags = block.get(_ORIENTATION, 1), {**block, **block.get_ifd(_EXIF_IFD)}
    except Exception:  # a parser of other people's binary tags: it may raise anything
        notes.append("its EXIF block cannot be read")
        return 1, {}
    return (orientation if orientation in _EXIF_TURNS else 1), tags


def mode_to_rgb(image: Image.Image, notes: list[str] | None = None) -> Image.Image:
    """The picture in mode RGB; conversions that change what is seen are added to `notes`. PictureError for values that
    no 8-bit picture can show.
    """
    notes = [] if notes is None else notes
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _scaled_grey(image, notes)
    if {"A", "a"} & set(image.getbands()) or image.info.get("transparency") is not None:
        layer = image.convert("RGBA")
        if layer.getextrema()[3][0] < 255:  # type: ignore[index]
            notes.append("transparency flattened over white")
        return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), layer).convert("RGB")
    if image.mode not in ("RGB", "L", "1", "P"):
        notes.append(f"{image.mode} converted to RGB")
    return image.convert("RGB")


def _scaled_grey(image: Image.Image, notes: list[str]) -> Image.Image:
    """16-bit grey over 257; wider integers and floats by the range that holds their values (255 or 65535)."""
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise PictureError("its pixels hold values that are not numbers")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 65535:
        raise PictureError(f"its pixels run from {low:g} to {high:g}: no picture of 8 or 16 bits")
    top = 65535.0 if image.mode.startswith("I;16") or high > 255 else 1.0 if image.mode == "F" and high <= 1 else 255.0
    notes.append(f"{image.mode} pixels scaled to 8 bits")
    return Image.fromarray(np.floor(values * (255 / top) + 0.5).clip(0, 255).astype(np.uint8)).convert("RGB")


def turn_array(values: np.ndarray, orientation: int) -> np.ndarray:
    """An array [h, w, ...] turned as the EXIF orientation turns a picture."""
    if orientation in (5, 6, 7, 8):
        values = np.swapaxes(values, 0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def encode_picture(image: Image.Image, was: str = "") -> bytes:
    """JPEG (quality 95, full colour) for what was lossy already, PNG for the rest. A JPEG's own pixels then differ by a
    rounding from `image`.
    """
    out = io.BytesIO()
    if was in ("JPEG", "WEBP", "MPO", "AVIF", "HEIF"):
        image.save(out, "JPEG", quality=95, subsampling=0)
    else:
        image.save(out, "PNG", compress_level=3)
    return out.getvalue()


def read_file(path: str | os.PathLike[str], most_bytes: int = 1 << 32) -> bytes:
    """The bytes of a regular file. OSError where it cannot be read; PictureError for a folder, named pipe, socket or
    device (opening one may wait for ever) and for a file above `most_bytes`.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise PictureError("not a file but a folder, pipe, socket or device", "is no file")
    if found.st_size > most_bytes:
        raise PictureError(f"a file of {found.st_size} bytes, more than the {most_bytes} allowed", TOO_LARGE)
    with open(path, "rb") as file:
        return file.read()

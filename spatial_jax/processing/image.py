"""Pictures to patches, on the host: decode, smart resize, bicubic, normalise, patch order of Qwen-VL.

The resize is bicubic with antialias in fixed point, rows first, rounded to uint8 before columns follow: bit for bit
what transformers' usual processors do (torchvision), and eight times as fast as PIL. PIL, which qwen-vl-utils and the
"slow" processors use, differs by at most 2 levels on under one pixel of a hundred; where width grows and height shrinks
PIL's columns come first, and more differ. Where that package has no wheel (Linux on ARM) PIL does it, rows first too.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import os
from typing import Any

import numpy as np
from PIL import Image

from spatial_jax.media import PictureError, decode_picture, mode_to_rgb, read_file

try:
    import cykooz_resizer as fixed_point
except ImportError:  # no wheel for this machine, e.g. Linux on ARM
    fixed_point = None

log = logging.getLogger(__name__)

MAX_ASPECT = 200


class ImageError(ValueError):
    """A picture that cannot be used; the message is one line."""


@dataclasses.dataclass(frozen=True)
class ImageSettings:
    """What preprocessor_config.json says. `min_pixels` and `max_pixels` are areas of the resized picture."""

    patch_size: int
    temporal_patch_size: int
    merge_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    min_pixels: int
    max_pixels: int

    @property
    def factor(self) -> int:
        """Sides of a resized picture are multiples of this many pixels."""
        return self.patch_size * self.merge_size


def load_image(source: Any, name: str = "picture") -> Image.Image:
    """RGB picture from a path, encoded bytes, a PIL image or a uint8 array [h, w, 3 or 1], decoded as
    spatial_jax.media.decode_picture says; of a file with several frames the first is taken, and that is logged. Raises
    ImageError naming `name` for what cannot be decoded, OSError for a file that cannot be read.
    """
    try:
        if isinstance(source, np.ndarray):
            if source.dtype != np.uint8 or source.ndim not in (2, 3):
                raise ImageError(f"{name}: an array must be uint8 [h, w, 3], not {source.dtype} {list(source.shape)}")
            return mode_to_rgb(Image.fromarray(source[..., 0] if source.ndim == 3 and source.shape[2] == 1 else source))
        if isinstance(source, Image.Image):
            return mode_to_rgb(source)
        if isinstance(source, (str, os.PathLike)):
            name = os.fspath(source)
            source = read_file(name)
        if not isinstance(source, (bytes, bytearray, memoryview)):
            raise ImageError(
                f"{name}: {type(source).__name__} is not a picture; pass a path, encoded bytes, a PIL image or a uint8"
                " array"
            )
        decoded = decode_picture(bytes(source))
    except PictureError as error:
        raise ImageError(f"{name}: not a readable picture ({error}); replace or remove it") from error
    if decoded.frames > 1 and decoded.format != "MPO":
        log.warning("%s: first of %d frames taken", name, decoded.frames)
    return decoded.image


def smart_resize(height: int, width: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """(height, width) of the resized picture: multiples of `factor`, area within the limits, aspect nearly kept
    (Qwen2-VL report and transformers' `smart_resize`). Raises ImageError for a side of 0 or an aspect above 200.
    """
    if min(height, width) < 1 or max(height, width) / min(height, width) > MAX_ASPECT:
        raise ImageError(
            f"a picture of {width}x{height} pixels cannot be used: sides must be at least 1 and their ratio at most"
            f" {MAX_ASPECT}"
        )
    new_height, new_width = round(height / factor) * factor, round(width / factor) * factor
    if new_height * new_width > max_pixels:
        beta = math.sqrt(height * width / max_pixels)
        new_height = max(factor, math.floor(height / beta / factor) * factor)
        new_width = max(factor, math.floor(width / beta / factor) * factor)
    elif new_height * new_width < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        new_height, new_width = math.ceil(height * beta / factor) * factor, math.ceil(width * beta / factor) * factor
    return new_height, new_width


def image_size(settings: ImageSettings, width: int, height: int) -> tuple[int, int]:
    """(width, height) that a picture of the given size has when the model sees it."""
    new_height, new_width = smart_resize(height, width, settings.factor, settings.min_pixels, settings.max_pixels)
    return new_width, new_height


@functools.cache
def _bicubic() -> Any:
    keys = fixed_point.ResizeAlg.convolution(fixed_point.FilterType.catmull_rom)  # Keys' a = -0.5
    return fixed_point.ResizeOptions(resize_alg=keys, use_alpha=False)


def resize_pixels(image: Image.Image, width: int, height: int) -> np.ndarray:
    """uint8 [height, width, 3] of an RGB picture, by bicubic with antialias: see the module."""
    if image.size == (width, height):
        return np.asarray(image)
    # One direction a call: for both at once either would choose which comes first by the sizes.
    sizes = (width, image.height), (width, height)
    if fixed_point is None:
        for size in sizes:
            image = image.resize(size, Image.Resampling.BICUBIC)
        return np.asarray(image)
    made = fixed_point.ImageData(*image.size, fixed_point.PixelType.U8x3, image.tobytes())
    resizer, bicubic = fixed_point.Resizer(), _bicubic()
    for size in sizes:
        if size != (made.width, made.height):
            wider = fixed_point.ImageData(*size, fixed_point.PixelType.U8x3)
            resizer.resize(made, wider, bicubic)
            made = wider
    return np.frombuffer(made.get_buffer(), np.uint8).reshape(height, width, 3)


def resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """`resize_pixels` as a picture; the picture itself when the size is right already."""
    return image if image.size == (width, height) else Image.fromarray(resize_pixels(image, width, height))


def patchify(
    frames: np.ndarray, patch_size: int, temporal_patch_size: int, merge_size: int
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Frames uint8 [f, h, w, 3] to (uint8 [t * gh * gw, 3 * Tp * P * P], grid (t, gh, gw)); an incomplete last time
    step repeats the last frame, and one picture is a time step by itself. Rows in merge-block order, columns channel,
    time, row, column.
    """
    short = -len(frames) % temporal_patch_size
    if short and len(frames) > 1:
        frames = np.concatenate([frames, np.repeat(frames[-1:], short, axis=0)])
    count, height, width, channels = frames.shape
    single = count == 1
    t, tp = (1, 1) if single else (count // temporal_patch_size, temporal_patch_size)
    p, m = patch_size, merge_size
    gh, gw = height // p, width // p
    steps = frames.reshape(t, tp, gh // m, m, p, gw // m, m, p, channels).transpose(1, 0, 2, 5, 3, 6, 8, 4, 7)
    out = np.empty((t, gh // m, gw // m, m, m, channels, temporal_patch_size, p, p), np.uint8)
    for time, step in enumerate(steps):
        out[..., time, :, :] = step
    if single:  # a picture is repeated over the time step
        out[..., 1:, :, :] = out[..., :1, :, :]
    return out.reshape(t * gh * gw, -1), (t, gh, gw)


def normalise(patches: np.ndarray, settings: ImageSettings) -> np.ndarray:
    """uint8 [n, 3 * Tp * P * P] to float32: (x - 255 mean) / (255 std), in float32 as transformers' torchvision
    backend.
    """
    mean = np.asarray(settings.mean, np.float32) * np.float32(255)
    std = np.asarray(settings.std, np.float32) * np.float32(255)
    out = np.empty(patches.shape, np.float32)
    planes, source = out.reshape(len(patches), 3, -1), patches.reshape(len(patches), 3, -1)
    np.subtract(source, mean[:, None], out=planes)
    np.divide(planes, std[:, None], out=planes)
    return out


def image_patches(image: Image.Image, settings: ImageSettings) -> tuple[np.ndarray, tuple[int, int, int]]:
    """One picture to (uint8 patches [n, 3 * Tp * P * P], grid (1, gh, gw)), resized to the settings' limits."""
    width, height = image_size(settings, *image.size)
    frame = resize_pixels(image, width, height)
    return patchify(frame[None], settings.patch_size, settings.temporal_patch_size, settings.merge_size)

"""Pictures as data URIs, depth in colour, and boxes, points and masks drawn over them."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from spatial_jax.media import decode_picture, mode_to_rgb, open_image, read_file
from spatial_jax.pages.html import Child, Html, tag
from spatial_jax.pages.numbers import short

MAX_PIXELS = 60_000_000
# Polynomial fit of the Turbo colour map (A. Mikhailov, Google AI blog 2019): red, green, blue in powers of the value.
_TURBO = np.array(
    [
        [0.13572138, 4.61539260, -42.66032258, 132.13108234, -152.94239396, 59.28637943],
        [0.09140261, 2.19418839, 4.84296658, -14.18503333, 4.27729857, 2.82956604],
        [0.10667330, 12.64194608, -60.58204836, 110.36276771, -89.90310912, 27.34824973],
    ]
)
PALETTE = (
    (66, 133, 244),
    (245, 130, 49),
    (47, 170, 110),
    (214, 64, 130),
    (130, 100, 220),
    (0, 172, 193),
    (203, 163, 12),
    (150, 110, 90),
)


@dataclasses.dataclass(frozen=True)
class Box:
    """[x1, y1, x2, y2] in the picture's frame. `kind` is "truth", "answer", "wrong" or "object"; objects take a palette
    `color`. A box with a `pane` belongs to that pane of the tabs beside it (`shown` tells whether it is the open one);
    `key` links it to the row of that key.
    """

    xyxy: Sequence[float]
    label: str = ""
    kind: str = "object"
    color: int = 0
    title: str = ""
    pane: int | None = None
    shown: bool = True
    key: str | None = None


@dataclasses.dataclass(frozen=True)
class Point:
    """A point (x, y) in the picture's frame."""

    xy: Sequence[float]
    label: str = ""
    kind: str = "object"
    color: int = 0


def turbo(values: np.ndarray) -> np.ndarray:
    """[...] in [0, 1] -> uint8 [..., 3]: blue, green, yellow, red."""
    v = np.clip(np.asarray(values, np.float64), 0.0, 1.0)
    powers = np.stack([v**k for k in range(6)], axis=-1)
    return (np.clip(powers @ _TURBO.T, 0.0, 1.0) * 255).round().astype(np.uint8)


def depth_range(depth: np.ndarray) -> tuple[float, float]:
    """The 2nd and 98th percentile of valid (finite, positive) depth; (nan, nan) when nothing is valid."""
    valid = depth[np.isfinite(depth) & (depth > 0)]
    if not valid.size:
        return math.nan, math.nan
    low, high = np.percentile(valid, [2, 98])
    return float(low), float(high if high > low else low * 1.01 + 1e-6)


def depth_colors(depth: np.ndarray, low: float, high: float) -> np.ndarray:
    """Depth [h, w] -> uint8 [h, w, 3]: near is red, far is blue, on a logarithmic scale; invalid pixels are a dark
    hatch.
    """
    height, width = depth.shape
    rows, columns = np.mgrid[0:height, 0:width]
    hatch = np.where((((rows + columns) // 3) % 4 == 0)[..., None], 88, 62).astype(np.uint8)
    out = np.repeat(hatch, 3, axis=2)
    valid = np.isfinite(depth) & (depth > 0)
    if valid.any() and high > low > 0:
        scaled = np.log(np.clip(depth[valid], low, high) / low) / math.log(high / low)
        out[valid] = turbo(0.95 - 0.9 * scaled)
    return out


def depth_legend(low: float, high: float, unit: str = "m") -> Html:
    """The colour scale of `depth_colors`."""
    if not (high > low > 0):
        return tag("p", "no valid depth", class_="quiet")
    stops = [turbo(np.array(0.95 - 0.9 * i / 10)) for i in range(11)]
    gradient = ", ".join(f"rgb({r},{g},{b})" for r, g, b in stops)
    middle = f"middle {short(math.sqrt(low * high))} {unit}"
    return tag(
        "div",
        tag("span", f"{short(low)} {unit}"),
        tag("i", style=f"background:linear-gradient(90deg,{gradient})", title=middle),
        tag("span", f"{short(high)} {unit}"),
        class_="depth-legend",
    )


def open_picture(source: Any) -> Image.Image:
    """An RGB picture from encoded bytes, a path, an array (uint8 [h, w, 3] or [h, w]) or a PIL picture.

    Raises ValueError with one line when it cannot be read or would take more than MAX_PIXELS."""
    try:
        if isinstance(source, np.ndarray):
            return mode_to_rgb(Image.fromarray(source))
        if isinstance(source, (str, os.PathLike)):
            source = read_file(source)
        if isinstance(source, (bytes, bytearray)):
            return decode_picture(bytes(source), most_pixels=MAX_PIXELS).image
        if source.width * source.height > MAX_PIXELS:
            raise ValueError(f"{source.width}x{source.height} pixels are too many")
        return mode_to_rgb(source)
    except (OSError, ValueError, SyntaxError, TypeError, AttributeError) as error:
        raise ValueError(f"picture cannot be shown: {error}") from None


def data_uri(source: Any, max_side: int = 800) -> str:
    """The picture inside a data URI, scaled down to `max_side` pixels at most (never up: small pictures are enlarged by
    the browser, crisply).
    """
    image = source if isinstance(source, Image.Image) and source.mode in ("RGB", "RGBA") else open_picture(source)
    if max(image.size) > max_side:
        image = image.copy()
        image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    encoded = []
    if image.mode == "RGBA" or max(image.size) <= 320:
        encoded.append(("png", _encode(image, "PNG", optimize=True)))
    if image.mode == "RGB" and max(image.size) > 160:
        encoded.append(("jpeg", _encode(image, "JPEG", quality=80)))
    kind, data = min(encoded, key=lambda item: len(item[1]))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def mask_layer(masks: Sequence[np.ndarray], colors: Sequence[int] | None = None) -> Image.Image | None:
    """Masks (bool [h, w] of one size) as one translucent RGBA picture, each in its palette colour with a brighter
    edge.
    """
    if not masks:
        return None
    height, width = masks[0].shape
    out = np.zeros((height, width, 4), np.uint8)
    for i, mask in enumerate(masks):
        color = PALETTE[(colors[i] if colors else i) % len(PALETTE)]
        inner = mask.copy()
        inner[1:] &= mask[:-1]
        inner[:-1] &= mask[1:]
        inner[:, 1:] &= mask[:, :-1]
        inner[:, :-1] &= mask[:, 1:]
        out[mask] = (*color, 110)
        out[mask & ~inner] = (*color, 235)
    return Image.fromarray(out, "RGBA")


def picture(
    source: Any,
    *,
    boxes: Sequence[Box] = (),
    points: Sequence[Point] = (),
    frame: tuple[float, float] | None = None,
    masks: Image.Image | None = None,
    caption: Child = None,
    max_side: int = 800,
) -> Html:
    """A figure: the picture with boxes and points over it, placed in `frame` (width, height in the coordinates of the
    boxes; default the picture's own size). Masks, boxes and points can be switched off by the reader. An unreadable
    picture becomes one line that says so.
    """
    try:
        image = open_picture(source)
    except ValueError as error:
        return tag(
            "figure",
            tag("p", str(error), class_="broken"),
            tag("figcaption", caption) if caption else None,
            class_="picture",
        )
    width, height = frame or image.size
    small = max(image.size) <= 200
    layers: list[Child] = [
        tag(
            "img",
            src=data_uri(image, max_side),
            alt="",
            loading="lazy",
            decoding="async",
            class_="crisp" if small else None,
        )
    ]
    if masks is not None:
        layers.append(
            tag(
                "img",
                src=data_uri(masks, max_side),
                alt="",
                loading="lazy",
                class_="mask-layer crisp" if small else "mask-layer",
            )
        )
    marks = [mark for box in boxes if (mark := _box(box, width, height)) is not None]
    marks += [mark for point in points if (mark := _point(point, width, height)) is not None]
    if marks:
        layers.append(tag("div", marks, class_="marks"))
    switches = [
        tag("button", name, type="button", data_layer=layer, class_="on", aria_pressed="true")
        for name, layer, there in (("masks", "mask-layer", masks is not None), ("marks", "marks", bool(marks)))
        if there
    ]
    # Small pictures are enlarged threefold at most, tall ones fit the screen; the reader can enlarge both.
    shape = f"aspect-ratio:{image.width}/{image.height};--ratio:{image.width / image.height:.4f}"
    most = f";--most:{max(240, 3 * image.width)}px" if small else ""
    stage = tag("div", layers, class_="stage", style=shape + most)
    return tag(
        "figure",
        stage,
        tag("div", switches, class_="layers") if switches else None,
        tag("figcaption", caption) if caption else None,
        class_="picture",
    )


def depth_picture(
    depth: np.ndarray,
    *,
    unit: str = "m",
    boxes: Sequence[Box] = (),
    frame: tuple[float, float] | None = None,
    caption: Child = None,
    max_side: int = 800,
) -> Html:
    """Depth [h, w] in colour with its scale; `frame` as in `picture`."""
    depth = np.asarray(depth, np.float32)
    low, high = depth_range(depth)
    colors = Image.fromarray(depth_colors(depth, low, high))
    text = tag("span", caption, depth_legend(low, high, unit))
    return picture(
        colors, boxes=boxes, frame=frame or (depth.shape[1], depth.shape[0]), caption=text, max_side=max_side
    )


def read_depth(png: bytes, scale: float) -> np.ndarray:
    """16-bit PNG bytes -> float32 [h, w] depth, 0 where invalid. Raises ValueError with one line."""
    try:
        return np.asarray(open_image(png)).astype(np.float32) * scale
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"depth cannot be read: {error}") from None


def read_mask(png: bytes) -> np.ndarray:
    """8-bit PNG bytes -> bool [h, w]. Raises ValueError with one line."""
    try:
        return np.asarray(open_image(png).convert("L")) > 127
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"mask cannot be read: {error}") from None


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _box(box: Box, width: float, height: float) -> Html | None:
    try:
        x1, y1, x2, y2 = (float(v) for v in box.xyxy)
    except (TypeError, ValueError):
        return None
    if not all(map(math.isfinite, (x1, y1, x2, y2))) or width <= 0 or height <= 0:
        return None
    x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    if x2 < 0 or y2 < 0 or x1 > width or y1 > height:
        return None
    x1, x2, y1, y2 = max(0.0, x1), min(width, x2), max(0.0, y1), min(height, y2)
    corner = f"left:{100 * x1 / width:.2f}%;top:{100 * y1 / height:.2f}%"
    place = f"{corner};width:{100 * (x2 - x1) / width:.2f}%;height:{100 * (y2 - y1) / height:.2f}%"
    side = ("" if y1 > 0.08 * height else " below") + (" right" if (x1 + x2) / 2 > 0.7 * width else "")
    label = tag("span", box.label, class_="label") if box.label else None
    hidden = "" if box.shown else " off"
    return tag(
        "i",
        label,
        class_=f"box {box.kind} c{box.color % 8}{side}{hidden}",
        style=place,
        title=box.title or box.label or None,
        data_pane=box.pane,
        data_key=box.key,
    )


def _point(point: Point, width: float, height: float) -> Html | None:
    try:
        x, y = (float(v) for v in point.xy)
    except (TypeError, ValueError):
        return None
    if not (math.isfinite(x) and math.isfinite(y)) or not (0 <= x <= width and 0 <= y <= height):
        return None
    label = tag("span", point.label, class_="label") if point.label else None
    return tag(
        "i",
        label,
        class_=f"point {point.kind} c{point.color % 8}",
        style=f"left:{100 * x / width:.2f}%;top:{100 * y / height:.2f}%",
    )

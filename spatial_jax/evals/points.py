"""Points in masks as RefSpatial-Bench, Where2Place and their harnesses score them: the share of an answer's points
whose mask value counts; points outside the picture count 0, no point is 0.

The codes differ in what a number means (pixels, 0 to 1, 0 to 1000), in what they do with four numbers, and in how a
mask is read; each rule here is one of theirs. A box counts as all its pixels and is summed, not listed.
"""

from __future__ import annotations

import ast
import base64
import binascii
import functools
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.evals.benchmarks.base import ItemError
from spatial_jax.media import PictureError, open_image
from spatial_jax.reading import parse_json
from spatial_jax.rewards.parsing.points import number_tuples

# (sum of mask values, number of points)
Hits = tuple[float, int]
_NESTED_PAIR = re.compile(r"[\[(]\s*([-+]?\d+\.?\d*)\s*,\s*([-+]?\d+\.?\d*)\s*[\])]")


@functools.lru_cache(maxsize=512)
def _decode(data: bytes) -> np.ndarray:
    try:
        with open_image(io.BytesIO(data)) as image:
            values = np.asarray(image.convert("L") if image.mode not in ("L", "RGB", "RGBA", "LA") else image)
    except (OSError, ValueError, PictureError) as error:
        raise ItemError(f"the mask cannot be decoded ({' '.join(str(error).split())[:120]})") from error
    plane = np.ascontiguousarray(values if values.ndim == 2 else values[..., 0])
    plane.setflags(write=False)
    return plane


def mask_of(value: Any) -> np.ndarray:
    """The mask's first channel [height, width], uint8, out of encoded bytes, {"bytes"}, a path, base64 text or an
    array. ItemError for what is none.
    """
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, (bytes, bytearray)):
        return _decode(bytes(value))
    if isinstance(value, str):
        if len(value) < 1000 and Path(value).is_file():
            return _decode(Path(value).read_bytes())
        try:
            return _decode(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            raise ItemError(f"the mask {value[:80]!r} is no file and no encoded picture") from None
    values = np.asarray(value)
    if values.ndim == 3:
        values = values[..., 0]
    if values.ndim != 2 or not values.size or values.dtype == object:
        raise ItemError("the mask is no picture")
    if values.dtype == bool or values.max() <= 1:
        return (values * 255).astype(np.uint8)
    return values.astype(np.uint8)


def _value(mask: np.ndarray, x: int, y: int) -> float:
    height, width = mask.shape
    return float(mask[y, x]) if 0 <= x < width and 0 <= y < height else 0.0


def _total(parts: Iterable[Hits]) -> tuple[float, int | None]:
    """(share, number of points): (0, None) without points."""
    kept = list(parts)
    count = sum(n for _, n in kept)
    return (sum(v for v, _ in kept) / count, count) if count else (0.0, None)


def _box(mask: np.ndarray, rows: range, columns: range) -> Hits:
    """All pixels of a box; those outside the mask count 0."""
    height = mask.shape[0]
    inside = mask[max(rows.start, 0) : max(min(rows.stop, height), 0), max(columns.start, 0) : max(columns.stop, 0)]
    return float(inside.sum()), len(rows) * len(columns)


def _has_point(numbers: Iterable[str]) -> bool:
    return any("." in number for number in numbers)


def roborefer(response: str, mask: np.ndarray) -> tuple[float, int | None]:
    """RoboRefer's own: pairs are scaled by the mask's size where one has a dot, else pixels; four numbers are a box,
    always scaled; mask > 0.
    """
    hit = (mask > 0).astype(np.float64)
    height, width = hit.shape
    parts: list[Hits] = []
    for numbers in number_tuples(response):
        if len(numbers) == 2:
            x, y = (float(n) for n in numbers)
            point = (int(x * width), int(y * height)) if _has_point(numbers) else (int(x), int(y))
            parts.append((_value(hit, *point), 1))
        elif len(numbers) == 4:
            x0, y0, x1, y1 = (int(float(n) * size) for n, size in zip(numbers, (width, height) * 2))
            if x1 < x0 or y1 < y0:  # the script stops and leaves the item out; here it is wrong
                return 0.0, None
            parts.append(_box(hit, range(y0, y1), range(x0, x1)))
    return _total(parts)


def robopoint(response: str, mask: np.ndarray) -> tuple[float, int | None]:
    """RoboPoint's own: what has a dot is scaled to 640 x 480 whatever the picture's size; a box is cut to that frame;
    the mask's value / 255 is the score, so grey stays grey.
    """
    hit = mask.astype(np.float64) / 255.0
    width, height = 640, 480
    parts: list[Hits] = []
    for numbers in number_tuples(response):
        values = [float(n) if "." in n else int(n) for n in numbers]
        if len(values) == 2:
            x, y = values
            point = (int(x * width), int(y * height)) if _has_point(numbers) else (int(x), int(y))
            parts.append((_value(hit, *point), 1))
        elif len(values) == 4:
            scaled = _has_point(numbers[:1])
            if not scaled and _has_point(numbers):  # the script stops and leaves the item out; here it is wrong
                return 0.0, None
            x0, y0, x1, y1 = (int(v * size) if scaled else int(v) for v, size in zip(values, (width, height) * 2))
            parts.append(_box(hit, range(height)[y0:y1], range(width)[x0:x1]))
    return _total(parts)


def lmms_eval(response: str, mask: np.ndarray) -> tuple[float, int | None]:
    """lmms-eval's: pairs alone, always scaled (integer pixels miss); the mask rounded to 0 or 1."""
    hit = np.round(mask / 255.0)
    height, width = hit.shape
    pairs = (tuple(float(n) for n in numbers) for numbers in number_tuples(response) if len(numbers) == 2)
    return _total((_value(hit, int(x * width), int(y * height)), 1) for x, y in pairs)


def lmms_eval_json(response: str, mask: np.ndarray) -> tuple[float, int | None]:
    """lmms-eval's *_json tasks: "[x, y]" or "(x, y)"; two integers are thousandths, a dot means 0 to 1."""
    hit = np.round(mask / 255.0)
    height, width = hit.shape
    parts: list[Hits] = []
    for pair in _NESTED_PAIR.findall(response):
        full = 1.0 if _has_point(pair) else 1000.0
        x, y = (float(n) / full for n in pair)
        parts.append((_value(hit, int(x * width), int(y * height)), 1))
    return _total(parts)


def _without_fence(text: str) -> str:
    text = text.strip()
    if not text.startswith("```"):
        return text
    first = text.find("\n")
    inner = (text[first + 1 :] if first >= 0 else text.lstrip("`")).strip()
    return inner.removesuffix("```").strip()


def json_points(response: str, width: int, height: int) -> list[tuple[float, float]]:
    """VLMEvalKit's first reader: the whole text (in a leading fence or not) as JSON or a Python literal, objects with
    point_2d or point. Up to 1.5: shares; up to 1000: thousandths; beyond: pixels. Returned as shares of the picture.
    """
    text = _without_fence(response)
    found: Any = None
    for read in (parse_json, ast.literal_eval):
        try:
            found = read(text)
            break
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    points = []
    for item in [found] if isinstance(found, dict) else found if isinstance(found, list) else []:
        pair = (item.get("point_2d") or item.get("point")) if isinstance(item, dict) else None
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2):
            continue
        try:
            x, y = (float(v) for v in pair)
        except (TypeError, ValueError, OverflowError):
            continue
        most = max(abs(x), abs(y))
        across, down = (
            (1.0, 1.0) if most <= 1.5 else (1000.0, 1000.0) if most <= 1000 else (float(width), float(height))
        )
        points.append((x / across, y / down))
    return points


def _clipped_weights(start: int, stop: int, size: int) -> np.ndarray:
    """How many of the whole numbers start .. stop - 1 fall on each of 0 .. size - 1 once they are cut to that range."""
    weights = np.zeros(size)
    weights[max(start, 0) : max(min(stop, size), 0)] = 1.0
    weights[0] += max(min(stop, 0) - start, 0)
    weights[-1] += max(stop - max(start, size), 0)
    return weights


def vlmevalkit(response: str, mask: np.ndarray) -> tuple[float, int | None]:
    """EASI's VLMEvalKit: JSON points first, else tuples (beyond 1.5: pixels; four numbers: a box); rounded and cut to
    the picture, so no point lies outside; mask > 0.
    """
    hit = (mask > 0).astype(np.float64)
    height, width = hit.shape

    def on(x: float, y: float) -> Hits:
        column = int(np.round(np.clip(x * width, 0, width - 1)))
        return float(hit[int(np.round(np.clip(y * height, 0, height - 1))), column]), 1

    shares = json_points(response, width, height)
    if shares:
        return _total(on(x, y) for x, y in shares if x == x and y == y)
    parts: list[Hits] = []
    for numbers in number_tuples(response):
        values = [float(n) for n in numbers]
        across, down = (1.0, 1.0) if max(abs(v) for v in values) <= 1.5 else (float(width), float(height))
        if len(values) == 2:
            parts.append(on(values[0] / across, values[1] / down))
        elif len(values) == 4:
            left, right = sorted(round(v * width / across) for v in values[::2])
            top, bottom = sorted(round(v * height / down) for v in values[1::2])
            columns, rows = _clipped_weights(left, right, width), _clipped_weights(top, bottom, height)
            parts.append((float(rows @ hit @ columns), (right - left) * (bottom - top)))
    return _total(parts)


def a_hit(mask: np.ndarray) -> tuple[int, int]:
    """(x, y) of a pixel that every rule counts. ItemError for a mask without one."""
    rows, columns = np.nonzero(mask == mask.max())
    if not len(rows) or mask.max() == 0:
        raise ItemError("the mask is empty")
    middle = len(rows) // 2
    return int(columns[middle]), int(rows[middle])

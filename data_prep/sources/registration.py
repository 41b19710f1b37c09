"""Cameras and labels of pictures that their EXIF turns, and cameras whose numbers can be no pixels."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from data_prep.sources.base import BadItem, ObjectDraft
from data_prep.sources.conventions import Intrinsics
from spatial_jax.media import turn_array

REGISTERED = ("stored", "upright")
UNITS = ("pixels", "relative")
_FEWEST_PIXELS = 10.0  # a focal length below it is no pixels: a picture of 32 would be seen at 116 degrees


def check_intrinsics(given: Any, where: str, size: tuple[int, int], unit: str = "pixels") -> Intrinsics:
    """fx, fy, cx, cy in pixels of a picture of `size` (width, height). BadItem for numbers that are none or look
    relative to the picture's size without `unit` "relative" saying so.
    """
    try:
        fx, fy, cx, cy = (float(v) for v in given)
    except (TypeError, ValueError):
        raise BadItem(f"intrinsics of {where} must be fx,fy,cx,cy, not {given!r}") from None
    if not (np.isfinite([fx, fy, cx, cy]).all() and fx > 0 and fy > 0):
        raise BadItem(f"intrinsics of {where} have a focal length that is not positive: {fx:g}, {fy:g}")
    shares = max(fx, fy) < _FEWEST_PIXELS or max(cx, cy) <= 1.5
    if unit == "relative":
        if not shares:
            raise BadItem(f"intrinsics of {where} are said to be relative but are pixels: {fx:g},{fy:g},{cx:g},{cy:g}")
        width, height = size
        return fx * width, fy * height, cx * width, cy * height
    if shares:
        raise BadItem(
            f"intrinsics of {where} ({fx:g},{fy:g},{cx:g},{cy:g}) look relative to the picture's size: give pixels, or"
            " say --intrinsics_unit=relative"
        )
    return fx, fy, cx, cy


def registration_of(stated: str, orientation: int, size: tuple[int, int], depth: np.ndarray, where: str) -> str:
    """One of REGISTERED: whether depth [h, w], camera and labels belong to the colour's pixels as stored at `size`
    (width, height) or to the upright picture. BadItem where the EXIF turns the colour and nothing tells.
    """
    if orientation == 1:
        return "upright"
    if stated:
        return stated
    if orientation >= 5 and size[0] != size[1] and depth.shape == size:
        return "upright"  # only the upright picture has this shape
    raise BadItem(
        f"{where} is turned by its EXIF (orientation {orientation}), its depth of {depth.shape[1]}x{depth.shape[0]}"
        " perhaps not: say --registered=stored if depth, camera and labels belong to the pixels as stored, =upright if"
        " to the turned picture"
    )


def turn_intrinsics(camera: Intrinsics, orientation: int, size: tuple[int, int]) -> Intrinsics:
    """Of the upright picture, from those of the picture stored at `size` (width, height)."""
    (fx, fy, cx, cy), (width, height) = camera, size
    if orientation in (5, 6, 7, 8):
        fx, fy, cx, cy, width, height = fy, fx, cy, cx, height, width
    if orientation in (3, 4, 7, 8):
        cy = height - 1 - cy
    if orientation in (2, 3, 6, 7):
        cx = width - 1 - cx
    return fx, fy, cx, cy


def turn_object(thing: ObjectDraft, orientation: int, size: tuple[int, int]) -> ObjectDraft:
    """A label of the upright picture, from one of the picture stored at `size` (width, height)."""
    mask = None if thing.mask is None else turn_array(thing.mask, orientation)
    box = thing.box
    if box is not None:
        x1, y1, x2, y2 = box
        width, height = size
        if orientation in (5, 6, 7, 8):
            x1, y1, x2, y2, width, height = y1, x1, y2, x2, height, width
        if orientation in (3, 4, 7, 8):
            y1, y2 = height - y2, height - y1
        if orientation in (2, 3, 6, 7):
            x1, x2 = width - x2, width - x1
        box = (x1, y1, x2, y2)
    return dataclasses.replace(thing, mask=mask, box=box)


def scale_object(thing: ObjectDraft, scale: tuple[float, float], size: tuple[int, int]) -> ObjectDraft:
    """A label of a picture shrunk by `scale` (x, y) to `size` (width, height)."""
    if scale == (1.0, 1.0):
        return thing
    mask = None
    if thing.mask is not None:
        mask = np.asarray(Image.fromarray(thing.mask).resize(size, Image.Resampling.NEAREST))
    box = thing.box
    if box is not None:
        box = (box[0] * scale[0], box[1] * scale[1], box[2] * scale[0], box[3] * scale[1])
    return dataclasses.replace(thing, mask=mask, box=box)

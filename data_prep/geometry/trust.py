"""Where the geometry cannot be trusted: pictures that no pinhole camera took, whose lens cannot be theirs, that are
beyond what depth models know or show one flat surface, and things that are glass, or seen in a mirror, a window or a
picture. Their measures are taken back, with the reason; what lies in the picture plane stays.

Reflections and glass that nobody named pass: no model here sees them.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from data_prep.sources.base import Frame, ObjectDraft

NOT_TRUSTED = "not trusted"  # begins the note of a picture whose geometry was taken back
KNOWN_CAMERAS = ("sensor", "rendered")
LEAST_BIAS = 0.03  # a depth whose scale is known better than this was measured
WIDE = 2.4  # of a picture's sides: wider than any lens that bends no lines
EQUIRECTANGULAR = (2.0, 0.01, 1500)  # sides of a whole sphere's picture, within so much, from so many pixels of width
MACRO, FAR = 0.3, 60.0  # metres, median depth: nearer and farther than what metric models were trained on
STEEP, HIGH = 0.75, 15.0  # looking down by 49 degrees at what is so many metres away: from the air
LEAST_VALID = 0.2  # of a picture's pixels with depth
DEEPER = 10.0  # times as deep as wide: a view that only a lens which is not the picture's own makes
FLAT, FLAT_SHARE = 0.015, 0.97  # of a depth, and of the pixels that lie so near to one plane

SURFACES = {
    *("painting", "picture", "picture frame", "poster", "photo", "photograph", "drawing", "print", "mural", "tapestry"),
    *("billboard", "television", "tv", "screen", "monitor", "computer screen"),
    *("mirror", "window", "aquarium", "shop window", "glass door"),
}
GLASS = re.compile(r"\b(mirror|window|glass|crystal|aquarium)\b(?! (sill|frame|seat))")
CLEAR = "glass|transparent|see-through|crystal|mirrored"  # before the thing's own name
SHOWN = re.compile(
    r"\b(reflection|reflected|(in|on) (the |a |an )?"
    r"(mirror|painting|picture|poster|photo|photograph|drawing|screen|tv|television|billboard|reflection|monitor))\b"
)
IN_GLASS, IN_PICTURE = "glass or a mirror: its depth is not trusted", "seen in a picture, a screen or a mirror"
NEARER = 0.95  # of a surface's depth: what is nearer stands before it


def no_pinhole(frame: Frame) -> bool:
    """Whether no pinhole camera took the picture: a panorama by its shape, or by what its file says."""
    ratio = frame.width / frame.height
    whole, within, least = EQUIRECTANGULAR
    sphere = abs(ratio - whole) < within and frame.width >= least
    return ratio > WIDE or ratio < 1 / WIDE or sphere or b"GPano:ProjectionType" in frame.encoded[:65536]


def one_plane(depth: np.ndarray) -> bool:
    """Whether nearly all of a depth picture [h, w] (0 unknown) is one plane: its inverse is linear over the picture."""
    height, width = depth.shape
    step = max(1, int(np.sqrt(depth.size / 4000)))
    rows, columns = np.mgrid[0:height:step, 0:width:step]
    sampled = depth[::step, ::step]
    known = np.isfinite(sampled) & (sampled > 0)
    if known.sum() < 100:
        return False
    design = np.stack([rows[known] / height, columns[known] / width, np.ones(known.sum())], -1)
    inverse = 1 / sampled[known]
    found = np.linalg.lstsq(design, inverse, rcond=None)[0]
    return float((np.abs(design @ found / inverse - 1) < FLAT).mean()) > FLAT_SHARE


def depth_over_width(frame: Frame) -> float:
    """How many times as deep (10 to 90 % of its depths) as wide (at its median depth) what a picture shows is: about 1
    in rooms and streets, the focal length times too long where that is another lens's.
    """
    assert frame.depth is not None and frame.intrinsics is not None
    known = frame.depth[np.isfinite(frame.depth) & (frame.depth > 0)]
    if not len(known):
        return 0.0
    near, middle, far = np.quantile(known, (0.1, 0.5, 0.9))
    return float((far - near) * frame.intrinsics[0] / (middle * frame.width))


def picture_fault(frame: Frame) -> str:
    """Why a picture's estimated geometry is not trusted, "" where it is."""
    if frame.intrinsics_source not in KNOWN_CAMERAS and no_pinhole(frame):
        return "a panorama: no pinhole camera took it"
    measured = frame.depth is not None and frame.depth_flag == "metric" and frame.intrinsics is not None
    if measured and frame.intrinsics_source == "exif" and (times := depth_over_width(frame)) > DEEPER:
        return f"by EXIF's focal length it is {times:.0f} times as deep as wide: another lens's"
    if frame.depth is None or frame.depth_flag != "metric" or frame.depth_noise.bias < LEAST_BIAS:
        return ""
    known = np.isfinite(frame.depth) & (frame.depth > 0)
    if known.mean() < LEAST_VALID:
        return "hardly any of its depth is known"
    if one_plane(frame.depth):
        return "one flat surface: a wall, a page, a painting or a screen"
    middle = float(np.median(frame.depth[known]))
    if middle < MACRO:
        return "a close-up: nearer than estimated depth is known for"
    if middle > FAR or (frame.gravity is not None and frame.gravity[2] > STEEP and middle > HIGH):
        return "from the air or very far: farther than estimated depth is known for"
    return ""


def _inside(inner: ObjectDraft, outer: ObjectDraft) -> bool:
    """Whether the box of `inner` lies in that of `outer`, but for a tenth of it."""
    if inner.box is None or outer.box is None:
        return False
    a, b = inner.box, outer.box
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = (a[2] - a[0]) * (a[3] - a[1])
    return shared > 0.9 * area and area < 0.8 * (b[2] - b[0]) * (b[3] - b[1])


def object_fault(thing: ObjectDraft, others: list[ObjectDraft]) -> str:
    """Why a thing's geometry is not trusted, "" where it is."""
    name, caption = thing.name.lower() or thing.caption.lower(), thing.caption.lower()
    if SHOWN.search(caption):
        return IN_PICTURE
    if GLASS.search(name) or re.search(rf"\b({CLEAR}) {re.escape(name)}\b", caption):
        return IN_GLASS
    for other in others:
        if other is thing or other.name.lower() not in SURFACES or not _inside(thing, other):
            continue
        mine, behind = thing.depth.get("median", 0.0), other.depth.get("median", 0.0)
        if not (0 < mine < NEARER * behind):
            return IN_PICTURE
    return ""


def forget(thing: ObjectDraft, reason: str) -> None:
    """Takes back what was measured of a thing from depth."""
    if thing.uncertainty.get("shared"):
        thing.center = thing.extent = thing.rotation = None
    thing.depth, thing.points, thing.uncertainty, thing.unmeasured = {}, None, {}, [reason]


class Trust:
    """Stage, after Measure: takes back measures that cannot be trusted."""

    name = "trust"

    def config(self) -> dict[str, Any]:
        return {"stage": self.name}

    def __call__(self, frame: Frame) -> None:
        if frame.intrinsics_source == "rendered":
            return
        reason = picture_fault(frame)
        if reason:
            frame.notes.append(f"{NOT_TRUSTED}: {reason}")
            frame.tags = (*frame.tags, NOT_TRUSTED)
            frame.depth, frame.depth_flag = None, "none"
            if frame.intrinsics_source not in KNOWN_CAMERAS:
                frame.intrinsics, frame.intrinsics_source, frame.focal_sigma = None, "none", 0.0
            frame.gravity = frame.floor = None
        if reason:
            faults = [reason] * len(frame.objects)
        else:
            faults = [object_fault(thing, frame.objects) for thing in frame.objects]
        for thing, fault in zip(frame.objects, faults):
            if fault and (thing.depth or thing.points is not None or thing.center is not None):
                forget(thing, fault)
                frame.told[f"objects not measured: {fault}"] = frame.told.get(f"objects not measured: {fault}", 0) + 1
        if frame.depth is not None and frame.depth_flag == "metric" and frame.intrinsics is None:
            text = "pictures whose camera is unknown, so no length is asked: give --camera"
            frame.told[text] = frame.told.get(text, 0) + 1

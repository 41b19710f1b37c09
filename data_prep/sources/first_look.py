"""What a source has to say before it is read: files that were left out, and first frames whose depth or camera hardly
can be.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from data_prep.sources.base import BadItem, DepthNoise, Frame, Source
from data_prep.sources.depth_files import ASSUMED_METRES, ASSUMED_MILLIMETRES
from data_prep.sources.listing import left_out_text

FIRST = 3  # frames that are looked at
_NEAREST, _FARTHEST = 0.2, {"indoor": 8.0, "": 60.0}  # metres, of a frame's median depth
_LIMIT = {"indoor": 20.0, "": 250.0}  # metres: hardly a sensor sees farther
_HEIGHT = (0.25, {"indoor": 3.5, "": 12.0})  # metres, of the camera above the floor


def first_look(source: Source) -> list[str]:
    """Lines to print, one a warning; empty where nothing is strange."""
    lines = list(getattr(source, "said", []))
    if text := left_out_text(getattr(source, "left_out", [])):
        lines.append(text)
    assumed = set()
    for index in range(min(FIRST, len(source)) if source.name in ("rgbd", "tfds") else 0):
        try:
            frame = source.load(index)
        except (BadItem, OSError, ValueError):
            continue  # said when its turn comes
        if frame.depth_flag == "metric" and frame.provenance.get("depth_scale") in (
            ASSUMED_METRES,
            ASSUMED_MILLIMETRES,
        ):
            assumed.add(frame.provenance["depth_scale"])
        lines += [f"warning: {source.item_id(index)}: {line}" for line in strange(frame)]
    return lines + [
        f"depth without a stated unit: {text}; say --depth_scale if they are not" for text in sorted(assumed)
    ]


def strange(frame: Frame) -> list[str]:
    """What hardly can be about a frame's depth and camera, a line each."""
    if frame.depth is None:
        return []
    place = "indoor" if "indoor" in frame.tags else ""
    return [*_depth(frame, frame.depth, place), *_camera(frame), *_floor(frame, place)]


def _depth(frame: Frame, depth: np.ndarray, place: str) -> list[str]:
    valid, lines = depth[depth > 0], []
    if frame.depth_flag == "metric":
        # What stores millimetres in 16 bits sees about 10 m; laser scanners and cars store other counts.
        limit = 10.0 if frame.provenance.get("depth_scale") == ASSUMED_MILLIMETRES else _LIMIT[place]
        median, far = float(np.median(valid)), float((valid > limit).mean())
        if not _NEAREST <= median <= _FARTHEST[place]:
            lines.append(f"its median depth is {median:.3g} m; is --depth_scale (or --convention) right?")
        elif far > 0.05:
            lines.append(f"{far:.0%} of its depth lies beyond {limit:g} m; is --depth_scale right?")
    high, low = (np.median(rows[rows > 0]) if (rows > 0).any() else 0 for rows in np.array_split(depth, 3)[::2])
    if 0 < high * 1.5 < low:
        lines.append(
            f"the top of the picture is nearer ({high:.3g}) than the bottom ({low:.3g}); are near and far swapped"
            " (--depth_encoding)?"
        )
    return lines


def _camera(frame: Frame) -> list[str]:
    if frame.intrinsics is None:
        return []
    (fx, fy, cx, cy), (width, height) = frame.intrinsics, (frame.width, frame.height)
    view = 2 * float(np.degrees(np.arctan(max(width, height) / 2 / fx)))
    lines = []
    if not 10 <= view <= 130:
        lines.append(f"its camera would see {view:.0f} degrees; are --intrinsics pixels of a {width}x{height} picture?")
    elif abs(fx / fy - 1) > 0.2:
        lines.append(f"its focal lengths differ: {fx:g} and {fy:g}; are they given as fx,fy,cx,cy?")
    if not (0.25 <= cx / width <= 0.75 and 0.25 <= cy / height <= 0.75):
        lines.append(
            f"its camera's middle ({cx:g},{cy:g}) is far from that of a {width}x{height} picture; are the intrinsics of"
            " another size?"
        )
    return lines


def _floor(frame: Frame, place: str) -> list[str]:
    """The camera's height above a floor that is found, which a wrong unit or focal length makes impossible."""
    from data_prep.geometry.measure import Level

    if frame.intrinsics is None or frame.depth_flag != "metric":
        return []
    # Of a wrong scale the sensor's noise says nothing.
    frame = dataclasses.replace(frame, depth_noise=DepthNoise())
    Level()(frame)
    if frame.floor is None:
        return []
    height, (least, most) = float(frame.floor[3]), _HEIGHT
    if least <= height <= most[place]:
        return []
    return [f"its camera would stand {height:.2g} m above the floor; are --depth_scale and --intrinsics right?"]

"""What is known of a walk, as JSON in its frames' meta: VSI-Bench's scene metadata (counts, oriented boxes, floor area)
and, beside it, the rooms' outlines, doorways, and the solids of every instance; of each frame its pose and what it
shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from data_prep.sources.layout import Body
from data_prep.sources.walks.home import Home
from data_prep.sources.walks.render import Frames


def _list(values: Any, digits: int = 4) -> list[Any]:
    return np.round(np.asarray(values, np.float64), digits).tolist()


def room_record(home: Home) -> dict[str, Any]:
    """Scene metadata in VSI-Bench's form (object_counts, object_bbox, room_size) of everything in the home, each box
    with its instance's `id`, `room` and `solids` (kind, centre, half sides, axis, two radii; in the frame of the box's
    axes around its centre), and the home's `polygons` [rooms][corners][2], `doorways` [n][2][2], each the ends of a
    threshold, and `height`. Metres, z up.
    """
    boxes: dict[str, list[dict[str, Any]]] = {}
    for number, index in enumerate(home.instances):
        body = home.bodies[index]
        boxes.setdefault(body.kind, []).append({"id": number, "room": int(body.size), **_box(body)})
    doorways = []
    for o in home.plan.openings:
        if o.kind == "doorway":
            ends = np.zeros((2, 2))
            ends[:, o.side[0]] = home.plan.rooms[o.room].face(o.side)
            ends[:, 1 - o.side[0]] = o.span
            doorways.append(_list(ends))
    return {
        "dataset": "walk",
        "object_counts": {name: len(found) for name, found in boxes.items()},
        "object_bbox": boxes,
        "room_size": round(home.plan.area, 4),
        "polygons": [_list(a.polygon) for a in home.plan.rooms],
        "uses": [a.use for a in home.plan.rooms],
        "doorways": doorways,
        "height": round(home.plan.height, 4),
    }


def _box(body: Body) -> dict[str, Any]:
    middle = (body.low + body.high) / 2
    return {
        "centroid": _list(body.turn @ middle + body.position),
        "axesLengths": _list(body.high - body.low),
        "normalizedAxes": _list(body.turn.T.ravel(), 6),
        "colour": body.colour,
        "solids": [
            [
                part.kind,
                *_list(np.array(part.center) - middle),
                *_list(part.half),
                part.axis,
                *_list((part.low, part.high)),
            ]
            for part in body.solids
        ],
    }


def frame_record(home: Home, frames: Frames, k: int) -> dict[str, Any]:
    """Of frame k: `time` in seconds, `pose` [16] (camera to world, row by row), and `seen`: id of each instance that
    has a pixel in it -> [pixels, share of what it would cover alone].
    """
    camera = home.cameras[k]
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = camera.rotation.T, camera.position
    seen = {
        str(number): [int(frames.seen[k, i]), round(float(frames.seen[k, i] / frames.whole[k, i]), 4)]
        for number, i in enumerate(home.instances)
        if frames.seen[k, i]
    }
    return {"time": round(float(home.path.times[k]), 4), "pose": _list(pose.ravel(), 6), "seen": seen}

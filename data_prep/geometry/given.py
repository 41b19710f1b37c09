"""Objects whose 3-D box came with the dataset: the depth of what is seen of them, and whether the depth agrees with the
box.
"""

from __future__ import annotations

import math

import numpy as np

from data_prep.geometry.clouds import depth_statistics, lift, valid_depth
from data_prep.geometry.uncertainty import median_sigma
from data_prep.sources.base import Frame, ObjectDraft

GIVEN = "3-D box of the dataset"  # how an object's provenance names its measures
ROOM = (0.10, 0.05)  # metres, and share of a side: so far beyond its box may a thing's surface lie
LEAST_POINTS = 5
AGREE = {True: 0.5, False: 0.1}  # least share of the depth that lies in the box: inside a mask, inside a rectangle
AGREES, DIFFERS, UNSEEN = "3-D box with which the depth agrees", "3-D box with which the depth differs", "3-D box"


def has_given_box(thing: ObjectDraft) -> bool:
    """Whether the object's centre and sides are the dataset's own."""
    return thing.center is not None and str(thing.provenance.get("measures", "")).startswith(GIVEN)


def measure_in_box(frame: Frame, thing: ObjectDraft) -> None:
    """Depth statistics of an object without a mask: of the depth that lies inside its box; where there is none, of the
    box itself, whose visible surface lies somewhere between its nearest and its farthest corner.
    """
    assert thing.center is not None and thing.extent is not None and thing.rotation is not None
    found = _depths(frame, thing)
    if found is not None and found[1].sum() >= LEAST_POINTS:
        depths = found[0][found[1]]
        thing.depth = depth_statistics(depths)
        spread = thing.depth["rel_std"] * thing.depth["median"]
        sigma = median_sigma(frame.depth_noise, thing.depth["median"], len(depths), spread)
        # Few points of a surface are a draw of it: their median is not quite that of all of it.
        sigma = math.hypot(sigma, 1.25 * spread / math.sqrt(len(depths)))
    else:
        reach = np.abs(thing.rotation[2]) @ thing.extent / 2
        near, far = float(thing.center[2] - reach), float(thing.center[2] + reach)
        if near <= 0:
            thing.unmeasured.append("part of it lies behind the camera")
            return
        median, sigma = (near + far) / 2, (far - near) / math.sqrt(12)
        thing.depth = {"median": median, "q20": near, "q80": far, "rel_std": sigma / median}
    thing.uncertainty = {**thing.uncertainty, "depth_median": sigma, "depth": sigma}


def tell_agreement(frame: Frame) -> None:
    """Counts in the frame how many of the dataset's boxes its depth agrees with, differs from, or does not reach; the
    objects that differ say so in their provenance. The boxes stay the truth.
    """
    if frame.depth is None or frame.depth_flag != "metric":
        return
    for thing in filter(has_given_box, frame.objects):
        found = _depths(frame, thing)
        if found is None or len(found[0]) < LEAST_POINTS:
            what = f"{UNSEEN} without depth"
        elif found[1].mean() >= AGREE[thing.mask is not None]:
            what = AGREES
        else:
            what = DIFFERS
            thing.provenance["depth_in_box"] = round(float(found[1].mean()), 3)
        frame.told[what] = frame.told.get(what, 0) + 1


def _depths(frame: Frame, thing: ObjectDraft) -> tuple[np.ndarray, np.ndarray] | None:
    """(valid depths of the object's mask or rectangle [n], whether each lies in its box with a little room [n])."""
    if frame.depth is None or frame.intrinsics is None:
        return None
    assert thing.center is not None and thing.extent is not None and thing.rotation is not None
    if thing.mask is not None:
        rows, columns = np.nonzero(thing.mask & valid_depth(frame.depth))
    else:
        assert thing.box is not None
        x1, y1, x2, y2 = (round(v) for v in thing.box)
        rows, columns = np.nonzero(valid_depth(frame.depth[y1:y2, x1:x2]))
        rows, columns = rows + y1, columns + x1
    depths = frame.depth[rows, columns]
    local = (lift(rows, columns, depths, frame.intrinsics) - thing.center) @ thing.rotation
    room = np.maximum(ROOM[0], ROOM[1] * thing.extent)
    return depths, (np.abs(local) <= thing.extent / 2 + room).all(-1)

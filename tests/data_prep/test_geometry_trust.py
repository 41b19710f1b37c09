"""Pictures and things whose geometry cannot be trusted: named, counted, and nothing is asked that needs it."""

import json
import random

import numpy as np
import pytest

from data_prep.geometry.measure import Level, Measure
from data_prep.geometry.trust import NOT_TRUSTED, Trust, no_pinhole, one_plane
from data_prep.pipeline import to_record
from data_prep.sources import DepthNoise, Frame, ObjectDraft
from data_prep.synthesis import Options, choose_families
from data_prep.synthesis.view import SceneView

ESTIMATED = DepthNoise(linear=0.03, bias=0.1)


def picture(depth, *things, source="estimated", noise=ESTIMATED, **more):
    height, width = depth.shape
    objects = []
    for name, caption, (x1, y1, x2, y2), z in things:
        mask = np.zeros(depth.shape, bool)
        mask[y1:y2, x1:x2] = True
        depth = np.where(mask, z, depth).astype(np.float32)
        objects.append(ObjectDraft(name, caption, mask, mask_sigma=0.0))
    camera = (300.0, 300.0, (width - 1) / 2, (height - 1) / 2)
    rgb = np.zeros((height, width, 3), np.uint8)
    frame = Frame("a.jpg", "t", rgb, depth=depth, depth_flag="metric", depth_noise=noise, objects=objects, **more)
    frame.intrinsics, frame.intrinsics_source, frame.focal_sigma = camera, source, 0.05
    for stage in (Level(), Measure(), Trust()):
        stage(frame)
    return frame


def room(height=240, width=320, far=4.0):
    """A floor that leads to a wall."""
    rows = np.arange(height)[:, None] * np.ones((1, width))
    return np.minimum(far, 1.3 * 300 / np.maximum(rows - height / 2, 1)).astype(np.float32)


TWO = (("box", "red box", (60, 80, 110, 140), 2.0), ("lamp", "lamp", (200, 60, 230, 130), 3.0))


def families(frame):
    view, options = SceneView(to_record(frame), Options()), Options()
    return {f.name for f in choose_families("all") if any(True for _ in f.generate(view, random.Random(0), options))}


@pytest.mark.parametrize(
    ("why", "make"),
    [
        ("panorama", lambda: picture(room(width=640), *TWO)),
        (
            "close-up",
            lambda: picture(
                0.05 * room(), ("box", "red box", (60, 80, 110, 140), 0.1), ("b", "lamp", (200, 60, 230, 130), 0.15)
            ),
        ),
        ("from the air", lambda: picture(40 * room(), *TWO)),
        ("from the air", lambda: picture(room(far=40) + 20, *TWO, gravity=np.array([0.0, 0.2, 0.98]))),
        ("flat surface", lambda: picture(np.full((240, 320), 2.0, np.float32))),
        ("hardly any", lambda: picture(np.where(np.arange(320) < 40, room(), 0), *TWO)),
    ],
)
def test_a_picture_that_no_geometry_is_to_be_had_of(why, make):
    frame = make()
    assert frame.depth is None and frame.intrinsics is None and NOT_TRUSTED in frame.tags
    assert why in frame.notes[0] and frame.notes[0].startswith(NOT_TRUSTED)
    assert families(frame) <= {"bearing", "relation", "box", "multihop", "listing"}
    if frame.objects:
        assert sum(frame.told.values()) == len([t for t in frame.objects if t.unmeasured])


def test_what_was_measured_is_trusted():
    plain = picture(room(), *TWO)
    assert {"abs_depth", "depth_order2", "bearing"} <= families(plain) and not plain.notes
    wide = picture(room(width=640), *TWO, source="sensor", noise=DepthNoise(linear=0.01))
    assert wide.depth is not None and not wide.notes  # a rectified pair of cameras may be so wide
    assert not one_plane(room()) and not no_pinhole(plain)
    sphere = Frame("b.jpg", "t", np.zeros((64, 96, 3), np.uint8), encoded=b"\xff\xd8 xmp GPano:ProjectionType=")
    assert no_pinhole(sphere)


def test_glass_mirrors_and_what_is_seen_in_them_are_not_measured():
    frame = picture(
        room(),
        ("mirror", "wall mirror", (40, 30, 140, 110), 3.9),
        ("person", "man in a suit", (60, 40, 90, 100), 5.5),
        ("poster", "film poster", (200, 20, 300, 100), 3.9),
        ("dog", "small dog", (280, 150, 310, 190), 2.5),
        ("ball", "glass ball", (20, 150, 60, 190), 2.0),
        ("mug", "mug before the poster", (210, 60, 240, 95), 1.5),
        ("cat", "cat on the poster", (260, 30, 290, 60), 3.9),
    )
    measured = {t.caption for t in frame.objects if t.depth}
    assert measured == {"film poster", "small dog", "mug before the poster"}
    assert sum(frame.told.values()) == 4 and all("not measured" in key for key in frame.told)
    record = to_record(frame)
    assert "mirror" in json.loads(record.objects[1].provenance)["unmeasured"]
    assert "bearing" in families(frame)


def test_a_picture_with_depth_and_no_camera_is_counted():
    frame = picture(room(), *TWO)
    frame.intrinsics, frame.told = None, {}
    Trust()(frame)
    assert list(frame.told) == ["pictures whose camera is unknown, so no length is asked: give --camera"]


@pytest.mark.parametrize(("times", "trusted"), [(1, True), (2, True), (20, False)])
def test_a_focal_length_of_exif_that_no_lens_of_this_picture_had_is_named(times, trusted):
    """Depth lies beside the photo, so there is no model's camera to compare with: a room 20 times as deep as wide."""
    frame = picture(room(far=10.0), *TWO)
    frame.intrinsics = (300.0 * times, 300.0 * times, 159.5, 119.5)
    frame.intrinsics_source, frame.notes = "exif", []
    Trust()(frame)
    assert ((frame.depth is not None), not frame.notes) == (trusted, trusted)
    if not trusted:
        assert "times as deep as wide" in frame.notes[0] and frame.intrinsics is None
        assert not families(frame) & {"intrinsics", "distance", "size", "abs_depth", "direction"}

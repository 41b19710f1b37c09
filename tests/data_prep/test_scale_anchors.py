"""Things of known size and recovered cameras: what they say of a picture's scale, and what contradicts it."""

import dataclasses
import json
import math
import random

import numpy as np
import pytest
from synthesis_world import scene

from data_prep.geometry import anchors
from data_prep.geometry.anchors import CONTRADICTION, Anchor, Anchors, anchor_of, combine, occluded_rim
from data_prep.geometry.measure import Level, Measure
from data_prep.pipeline import to_record
from data_prep.sources import DepthNoise
from data_prep.sources.rendered import RenderedScenes
from data_prep.synthesis import Options, choose_families
from data_prep.synthesis.view import SceneView

NOISE = DepthNoise(linear=0.01, bias=0.1)


def room(index, noise=NOISE, seed=77):
    """(a rendered room measured from its pixels with noise, the same room's truth)."""
    seen, true = (RenderedScenes("plain", 200, seed, noise=n).load(index) for n in (noise, DepthNoise()))
    seen.gravity = seen.floor = None
    seen.objects = [dataclasses.replace(o, center=None, extent=None, rotation=None) for o in seen.objects]
    Level()(seen)
    Measure()(seen)
    return seen, true


def asked(frame, families):
    options = Options(pool=16)
    for thing in frame.objects:
        thing.caption = thing.caption or thing.name
    view = SceneView(to_record(frame), options)
    return [d for f in choose_families(families) for d in f.generate(view, random.Random(0), options)]


def test_scales_combine_as_normal_densities_do():
    one = combine(0.1, [(0.2, 0.05)])
    assert one.log == pytest.approx(0.2 / 0.05**2 / (1 / 0.05**2 + 1 / 0.1**2)) and one.sigma < 0.05
    assert one.worst == pytest.approx(0.2 / math.hypot(0.05, 0.1))
    two = combine(0.1, [(0.2, 0.05), (-0.2, 0.05)])
    assert two.log == pytest.approx(0) and two.sigma < one.sigma and two.worst > 3


def test_a_known_height_narrows_the_scale_as_much_as_it_says(monkeypatch):
    """Simulated: rooms whose scale is off by 10 %, a thing in each whose true height is known to 4 %."""
    rng, scores, sigmas = np.random.default_rng(0), [], []
    for index in range(40):
        frame, true = room(index)
        pick = next((i for i, o in enumerate(true.objects) if o.name == "box" and o.visible_fraction > 0.99), None)
        if pick is None or frame.gravity is None:
            continue
        height = float(true.objects[pick].extent[2]) * math.exp(0.04 * rng.standard_normal())
        frame.objects[pick].name = "door"
        monkeypatch.setattr(anchors, "ANCHORS", (Anchor(("door",), "height", height, 0.04),))
        Anchors()(frame)
        if "scale" in frame.provenance:
            now = float(np.median(frame.depth[true.depth > 0] / true.depth[true.depth > 0]))
            scores.append(math.log(now) / frame.depth_noise.bias)
            sigmas.append(frame.depth_noise.bias)
            inside = frame.depth[frame.objects[pick].mask]
            assert frame.objects[pick].depth["median"] == pytest.approx(float(np.median(inside)), rel=0.05)
    assert len(scores) > 8 and max(sigmas) < 0.08
    assert 0.5 < float(np.sqrt(np.mean(np.square(scores)))) < 1.5


def test_a_thing_that_is_much_too_small_flags_its_picture():
    frame, _ = room(0)
    frame.objects[0].name = frame.objects[0].caption = "door"
    assert asked(frame, "abs_depth") and asked(frame, "depth_order2")
    Anchors()(frame)
    assert CONTRADICTION in frame.tags and "contradict" in frame.notes[0] and frame.depth_noise.bias == 0.1
    assert not asked(frame, "abs_depth,distance,size,direction") and asked(frame, "depth_order2")
    sensor, _ = room(0, DepthNoise(linear=0.01))
    sensor.objects[0].name = "door"
    Anchors()(sensor)
    assert CONTRADICTION not in sensor.tags


def test_toys_children_and_pictures_are_of_no_known_size():
    assert anchor_of("door", "the white door").metres == 2.03
    assert anchor_of("woman", "a woman standing by the car").side == "height"
    assert anchor_of("sheet of paper", "A4 sheet of paper").metres == 0.297
    for name, caption in (
        ("woman", "woman on the sofa"),
        ("car", "red toy car"),
        ("person", "person standing on the poster"),
        ("boy", "boy standing by the door"),
        ("car door", "car door"),
        ("sheet", "bed sheet"),
    ):
        assert anchor_of(name, caption) is None


def test_what_stands_before_a_thing_is_seen_at_its_rim():
    mask, depth = np.zeros((60, 60), bool), np.full((60, 60), 5.0)
    mask[10:40, 20:40] = True
    depth[mask] = 3.0
    assert occluded_rim(mask, depth) == 0
    depth[40:] = 1.5  # a table before its feet
    assert occluded_rim(mask, depth) > 0.1


def test_recovered_cameras_are_asked_about_within_their_error():
    base = dataclasses.replace(scene(1), intrinsics_source="estimated", tags=())

    def questions(sigma):
        s = dataclasses.replace(base, shared_uncertainty=json.dumps({"focal": sigma} if sigma else {}))
        view = SceneView(s, Options())
        return [d for f in choose_families("intrinsics") for d in f.generate(view, random.Random(0), Options())]

    good = questions(0.05)
    assert {d.form.name for d in good} >= {"field_of_view", "focal"} and all(d.tolerance >= 0.05 for d in good)
    assert not [d for d in questions(0.25) if d.form.name == "focal"] and not questions(0.0)
    plain = dataclasses.replace(base, depth_flag="none", shared_uncertainty=json.dumps({"focal": 0.05}))
    assert SceneView(plain, Options()).shared == {"focal": 0.05}, "a camera's error does not need depth"

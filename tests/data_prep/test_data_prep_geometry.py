"""Measures from depth, mask and intrinsics against the closed form of rendered scenes, with and without depth noise."""

import copy

import numpy as np
import pytest

from benchmarks.measure_truth import NOISES, compare
from data_prep.geometry import (
    fit_box,
    fit_floor,
    horizontal_frame,
    unproject,
    vertical_extent,
)
from data_prep.geometry.clouds import core, erode, inliers
from data_prep.geometry.measure import Level, measure_object
from data_prep.sources import DepthNoise, Frame, ObjectDraft
from data_prep.sources.rendered import RenderedScenes

SCENES = 40
# Largest accepted median relative error of each measure: depth, height, width, centre, distance.
LIMITS = {
    "none": (1e-6, 0.03, 0.06, 0.012, 0.02),
    "sensor": (0.002, 0.035, 0.07, 0.015, 0.025),
    "estimated": (0.025, 0.045, 0.08, 0.035, 0.035),
}


@pytest.mark.parametrize("name", NOISES)
def test_measures_match_the_closed_form_and_uncertainty_covers_the_error(name):
    found = compare(NOISES[name], SCENES)
    errors, scores, order = found["errors"], found["scores"], found["order"]
    for (key, values), limit in zip(errors.items(), LIMITS[name], strict=True):
        assert np.median(values) <= limit, key
    for deviations, share in ((1, 0.683), (2, 0.954)):
        # Objects of one scene share its bias, so there are only as many independent errors as scenes; 2.5 deviations of
        # such a share.
        least = share - 2.5 * np.sqrt(share * (1 - share) / SCENES)
        for key, values in scores.items():
            assert np.mean(np.abs(values) <= deviations) > least, f"{key}: the claimed uncertainty is too small"
    assert np.mean(order) == 1.0, "depth order beyond the margin is never wrong at these noise levels"


@pytest.mark.parametrize(("wide", "least"), [(1, 0.9), (2, 0.9), (4, 0.8)])
def test_sides_of_masks_with_wrong_rims_are_doubted(wide, least):
    """The mask is known to two pixels: measured again two pixels smaller and larger, its sides say what that does."""
    held, asked, clean = [], 0, []
    for frame in (RenderedScenes("plain", SCENES, 3).load(i) for i in range(SCENES)):
        for thing in frame.objects:
            if thing.visible_fraction <= 0.9:
                continue
            height, leaky = thing.extent[2], copy.copy(thing)
            for one in (thing, leaky):
                one.center = one.extent = one.rotation = None
            leaky.mask, leaky.mask_sigma = ~erode(~thing.mask, wide), 2.0
            measure_object(frame, thing)
            measure_object(frame, leaky)
            if leaky.center is None:
                continue
            sigma = leaky.uncertainty["extent_2"]
            held.append(abs(leaky.extent[2] - height) < 2 * sigma)
            asked += 2 * sigma < 0.3 * leaky.extent[2] and not held[-1]
            clean.append(thing.uncertainty["extent_2"] / thing.extent[2])
    assert np.mean(held) > least and asked <= 0.04 * len(held) and np.median(clean) < 0.06


def _slab(box_extent, yaw, center, n=4000, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.5, 0.5, (n, 3)) * box_extent
    face = rng.integers(0, 3, n)
    points[np.arange(n), face] = np.where(rng.random(n) < 0.5, -0.5, 0.5) * np.array(box_extent)[face]
    frame = horizontal_frame(None)
    c, s = np.cos(yaw), np.sin(yaw)
    return points @ (frame @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])).T + center


@pytest.mark.parametrize("yaw", [0.0, 0.3, 1.2])
def test_box_of_a_fully_seen_cuboid_is_exact(yaw):
    box = fit_box(_slab((0.8, 0.4, 1.5), yaw, np.array([0.5, 0.2, 3.0])), complete=False)
    np.testing.assert_allclose(box.extent, (0.8, 0.4, 1.5), rtol=0.01)
    np.testing.assert_allclose(box.center, (0.5, 0.2, 3.0), atol=0.01)
    np.testing.assert_allclose(box.rotation.T @ box.rotation, np.eye(3), atol=1e-9)
    assert np.linalg.det(box.rotation) > 0.99
    assert vertical_extent(box.rotation, box.extent) == pytest.approx(1.5, rel=0.01)
    assert np.ptp(box.corners()[:, 1]) == pytest.approx(1.5, rel=0.01)


def test_gravity_turns_the_box():
    tilt = np.array([0.0, np.cos(0.4), np.sin(0.4)])
    frame, level = horizontal_frame(tilt), horizontal_frame(None)
    points = _slab((0.8, 0.4, 1.5), 0.2, np.zeros(3)) @ level @ frame.T + np.array([0, 0, 4.0])
    box = fit_box(points, tilt, complete=False)
    np.testing.assert_allclose(box.extent, (0.8, 0.4, 1.5), rtol=0.015)
    np.testing.assert_allclose(box.rotation[:, 2], -tilt, atol=1e-9)


@pytest.mark.parametrize("noise", [None, DepthNoise(0.002, 0.0, 0.0025)])
def test_floor_is_found_where_it_is(noise):
    source = RenderedScenes("plain", 12, 9, noise=noise)
    angles, heights, found = [], [], 0
    for index in range(12):
        frame = source.load(index)
        plane = fit_floor(unproject(frame.depth, frame.intrinsics))
        if plane is None:
            continue
        found += 1
        angles.append(np.degrees(np.arccos(np.clip(plane.normal @ -frame.gravity, -1, 1))))
        heights.append(abs(plane.d - frame.floor[3]) / frame.floor[3])
    assert found >= 10 and np.median(angles) < 1.0 and np.median(heights) < 0.02


def test_level_leaves_what_the_source_knows_and_refuses_relative_depth():
    frame = RenderedScenes("plain", 1, 0).load(0)
    known = frame.gravity.copy()
    Level()(frame)
    np.testing.assert_array_equal(frame.gravity, known)
    frame.gravity, frame.floor, frame.depth_flag = None, None, "relative"
    Level()(frame)
    assert frame.gravity is None
    frame.depth_flag = "metric"
    Level()(frame)
    assert (
        np.degrees(np.arccos(np.clip(frame.gravity @ known, -1, 1))) < 3
        and "floor plane" in frame.provenance["gravity"]
    )


def test_mask_leaking_onto_the_wall_does_not_move_the_depth():
    depths = np.concatenate([np.random.default_rng(0).normal(2.0, 0.02, 300), np.full(100, 4.0)])
    assert inliers(depths)[:300].mean() > 0.98 and not inliers(depths)[300:].any()
    mask = np.zeros((20, 20), bool)
    mask[4:16, 4:16] = True
    assert erode(mask, 2).sum() == 64 and core(mask).sum() == 100
    assert core(np.eye(6, dtype=bool)).sum() == 6, "a thin mask is kept as it is"


@pytest.mark.parametrize("depth", [np.zeros((40, 40), np.float32), np.full((40, 40), np.nan, np.float32)])
def test_objects_without_valid_depth_keep_their_box_and_get_no_numbers(depth):
    mask = np.zeros((40, 40), bool)
    mask[10:20, 5:30] = True
    thing = ObjectDraft("box", "red box", mask)
    measure_object(
        Frame("a", "t", np.zeros((40, 40, 3), np.uint8), depth=depth, depth_flag="metric", intrinsics=(50, 50, 20, 20)),
        thing,
    )
    assert thing.box == (5, 10, 30, 20) and thing.center is None and not thing.depth

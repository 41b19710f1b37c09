"""What noise and a mask's rim do to a measure: both are measured again instead of being hoped away."""

import itertools
from statistics import NormalDist

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion
from scipy.spatial import cKDTree

from benchmarks.uncertainty_truth import Rooms, view_of
from data_prep.geometry import fit_box
from data_prep.geometry.measure import measure_object
from data_prep.geometry.uncertainty import LOPSIDED, independent_draws, median_sigma
from data_prep.sources import DepthNoise, Frame, ObjectDraft
from data_prep.sources.rendered import RenderedScenes
from data_prep.synthesis import space
from data_prep.synthesis.families.metric import LEAST_GAP
from data_prep.synthesis.margins import tolerance
from data_prep.synthesis.options import Options

LEVEL = np.array([0.0, 1.0, 0.0])  # gravity of a camera held level


def three_faces(rng, count):
    """Points of the faces that are seen of a box of 0.6 x 0.4 x 0.5 m, 3 m ahead, turned by 35 degrees and lower than
    the camera.
    """
    turn, place = np.radians(35), np.array([0.1, 0.6, 3.0])
    along, out = np.array([np.cos(turn), 0, np.sin(turn)]), np.array([-np.sin(turn), 0, np.cos(turn)])
    up, share = np.array([0, -0.5, 0]), rng.random((count, 2, 1)) - 0.5
    front = share[:, 0] * 0.6 * along - 0.2 * out + share[:, 1] * up
    side = share[:, 0] * 0.4 * out - 0.3 * along + share[:, 1] * up
    top = share[:, 0] * 0.6 * along + share[:, 1] * 0.4 * out + 0.5 * up
    return np.concatenate([front, side, top]) + place


def test_a_footprint_swings_by_its_handle_and_not_by_its_round_body():
    angles = np.radians(np.arange(0, 360, 4.0))
    ring = np.stack([0.05 * np.cos(angles), np.zeros(90), 0.05 * np.sin(angles)], -1)
    body = np.concatenate([ring + [0, y, 1.0] for y in np.linspace(-0.05, 0.05, 9)])
    handle = np.stack([np.linspace(0.05, 0.09, 30), np.zeros(30), np.full(30, 1.0)], -1)
    round_thing, mug = fit_box(body, LEVEL, 0.001), fit_box(np.concatenate([body, handle]), LEVEL, 0.001)
    assert round_thing.swing.max() < 1e-3 and mug.swing.max() > 3e-3
    box = fit_box(three_faces(np.random.default_rng(1), 2000), LEVEL, 0.001)
    assert box.swing.max() < 0.01, "clear faces leave the angle no room"


def test_noise_does_not_draw_the_median_of_lopsided_depths():
    """Half of the depths lie within 4 %, the rest spread out to the front: noise of 3 % moves their median by 1 %."""
    columns = np.linspace(0, 1, 64)
    true = np.tile(6.4 - 1.3 * columns**3, (64, 1)).astype(np.float32)
    noise, found = DepthNoise(linear=0.03, correlation=3.0), []
    for seed in range(8):
        thing = ObjectDraft("wall", "wall", np.ones(true.shape, bool), mask_sigma=0.0)
        depth = noise.draw(true, np.random.default_rng(seed))
        measure_object(Frame("x", "x", np.zeros((64, 64, 3), np.uint8), depth=depth, depth_noise=noise), thing)
        found.append((thing.depth["median"] - np.median(true), thing.uncertainty["depth"]))
    errors, stated = np.array(found).T
    assert abs(errors.mean()) < 0.04, "8 cm were lost"
    assert np.sqrt(np.mean((errors / stated) ** 2)) < 2


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.05, 0.2])
def test_a_median_errs_as_it_says_on_surfaces_of_any_spread(spread):
    """Noise of 5 cm on 400 depths that are spread normally: stated deviation against draws."""
    rng = np.random.default_rng(0)
    steps = [NormalDist().inv_cdf((i + 0.5) / 400) for i in range(400)]
    surface = 1 + LOPSIDED * spread * np.array(steps)
    errors = np.median(surface + 0.05 * rng.standard_normal((4000, 400)), 1) - np.median(surface)
    stated = median_sigma(DepthNoise(constant=0.05), 1.0, 400, spread)
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(stated, rel=0.15)


@pytest.mark.parametrize("correlation", [1.2, 2.0, 5.0])
def test_drawn_noise_averages_out_as_far_as_it_says(correlation):
    """Means over patches of 12 x 12 pixels of drawn noise spread by its deviation over the root of their draws."""
    noise, means = DepthNoise(constant=0.1, correlation=correlation), []
    for seed in range(30):
        drawn = noise.draw(np.full((120, 120), 2.0), np.random.default_rng(seed)) - 2.0
        means.append(drawn.reshape(10, 12, 10, 12).mean((1, 3)))
    stated = 0.1 / np.sqrt(independent_draws(noise, 144))
    assert np.std(means) == pytest.approx(stated, rel=0.05)


@pytest.mark.parametrize("narrow", [0, 2])
def test_nearest_points_count_what_the_rim_may_hide(narrow):
    """Masks that are narrower than they should be lose slanted faces and thin parts: gaps of the visible points are
    known with a deviation that says so, or are not asked.
    """
    options, off, count = Options(), [], 0
    rooms = Rooms("rich", 5, 3, DepthNoise(linear=0.005))
    for clean, noisy in rooms:
        for thing in noisy.objects:
            thing.mask_sigma = 2.0
            smaller = binary_erosion(thing.mask, iterations=narrow) if narrow else thing.mask
            thing.mask, thing.box = (smaller if smaller.sum() > 64 else thing.mask), None
        true = {t.object_id: t for t in view_of(clean, options, cloud=4096).things}
        seen = [t for t in view_of(noisy, options, cloud=256).things if t.object_id in true]
        view = view_of(noisy, options, cloud=256)
        for a, b in itertools.combinations(seen, 2):
            found = space.nearest_distance(view, a, b)
            count += 1
            if found is None or found[0] < 0.15 or found[1].unseen > options.max_unseen * found[0]:
                continue
            truth = cKDTree(true[a.object_id].cloud()).query(true[b.object_id].cloud())[0].min()
            off.append((found[0] - truth) / found[1].sd)
    assert len(off) > 0.15 * count and (np.abs(off) < 2).mean() > 0.9, (len(off), count)
    assert np.abs(off).max() < 4


def test_gaps_of_masks_that_are_four_pixels_too_wide_are_right_or_not_asked():
    """Such a mask fills a thing's dents, and the strip to the picture's edge, with what lies behind it: a gap that
    begins there is too short by half a metre. Three rooms of which six of 33 gaps were wrong.
    """
    options, asked, wrong = Options(), 0, []
    clean, noisy = (RenderedScenes("rich", 12, 12, noise=noise) for noise in (None, DepthNoise(linear=0.005)))
    for index in (1, 9, 10):
        true, seen = clean.load(index), noisy.load(index)
        for thing in seen.objects:
            thing.mask = binary_dilation(thing.mask, np.ones((3, 3)), iterations=4)
            thing.mask_sigma, thing.box, thing.center, thing.extent, thing.rotation = 2.0, None, None, None, None
        seen.gravity = seen.floor = None
        true = {t.object_id: t for t in view_of(true, options, cloud=4096, whole=True).things}
        view = view_of(seen, options, cloud=256)
        for a, b in itertools.combinations([t for t in view.things if t.object_id in true], 2):
            if min(a.visible, b.visible) < 0.7 or (found := space.nearest_distance(view, a, b)) is None:
                continue
            if found[0] < LEAST_GAP or (within := tolerance(view, *found, options)) is None:
                continue
            truth = cKDTree(true[a.object_id].cloud()).query(true[b.object_id].cloud())[0].min()
            asked += 1
            wrong += [(a.caption, b.caption, found, truth)] if abs(found[0] - truth) > within * found[0] else []
    assert asked >= 8 and not wrong, (asked, wrong)

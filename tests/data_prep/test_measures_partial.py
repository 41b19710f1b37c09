"""Objects that are only partly measured: masks with stray pixels or in pieces, holes in the depth, sparse depth."""

import json
import random

import numpy as np
import pytest

from data_prep.annotate.base import Caption, Mask, ObjectsStage, Proposal
from data_prep.geometry.coverage import coverage
from data_prep.geometry.measure import Measure, measure_object
from data_prep.geometry.pieces import object_pieces
from data_prep.pipeline import to_record
from data_prep.sources import Frame, ObjectDraft
from data_prep.sources.rendered import RenderedScenes
from data_prep.synthesis import Options, choose_families
from data_prep.synthesis.view import SceneView
from spatial_jax.data.records import SceneRecord, from_example, to_example

HEIGHT, WIDTH = 240, 320


def blank(*boxes):
    """bool [HEIGHT, WIDTH] with boxes [x1, y1, x2, y2] filled."""
    out = np.zeros((HEIGHT, WIDTH), bool)
    for x1, y1, x2, y2 in boxes:
        out[y1:y2, x1:x2] = True
    return out


def frame(depth=None, *objects):
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    flag = "none" if depth is None else "metric"
    return Frame("a", "t", rgb, depth=depth, depth_flag=flag, intrinsics=(300, 300, 160, 120), objects=list(objects))


def speckled():
    mask = blank((40, 60, 130, 150), (300, 220, 313, 230))
    mask[10, 300] = mask[200:202, 30:32] = mask[234, 200] = True
    return mask


@pytest.mark.parametrize("depth", [None, np.full((HEIGHT, WIDTH), 3.0, np.float32)])
def test_stray_pixels_stretch_neither_box_nor_measures(depth):
    thing = ObjectDraft("box", "red box", speckled())
    measure_object(frame(depth, thing), thing)
    assert thing.box == (40, 60, 130, 150) and thing.mask.sum() == 90 * 90
    assert "stray pixels" in thing.provenance["mask_pieces"]


def test_a_box_drawn_around_stray_pixels_is_drawn_again_and_a_label_of_its_own_is_kept():
    drawn, own = (
        ObjectDraft("box", "red box", speckled(), box=(30, 10, 313, 235)),
        ObjectDraft("box", "red box", speckled(), box=(38, 58, 131, 152)),
    )
    measure_object(frame(None), drawn)
    measure_object(frame(None), own)
    assert drawn.box == (40, 60, 130, 150) and own.box == (38, 58, 131, 152)


@pytest.mark.parametrize("known_by", ["depth", "another mask"])
def test_what_an_occluder_splits_stays_whole(known_by):
    mask, bar = blank((40, 60, 100, 150), (120, 60, 150, 150)), blank((100, 20, 120, 230))
    depth = np.where(mask, 3.0, 6.0).astype(np.float32)
    depth[bar] = 1.5
    thing, other = ObjectDraft("sofa", "sofa", mask), ObjectDraft("post", "post", bar)
    measure_object(frame(depth) if known_by == "depth" else frame(None, thing, other), thing)
    assert thing.box == (40, 60, 150, 150) and "mask_pieces" not in thing.provenance


def test_two_bodies_with_background_between_them_are_not_one_object():
    mask = blank((40, 60, 100, 150), (200, 60, 230, 150))
    depth = np.where(mask, 3.0, 6.0).astype(np.float32)
    thing = ObjectDraft("sofa", "sofa", mask)
    measure_object(frame(depth, thing), thing)
    assert thing.box == (40, 60, 100, 150)


def test_thin_breaks_and_exact_masks_are_left_alone():
    broken = blank((40, 60, 100, 150)) & ~blank((40, 100, 100, 102))
    assert object_pieces(broken)[0].sum() == broken.sum()
    for index in range(8):
        scene = RenderedScenes("rich", 8, 4).load(index)
        for thing in scene.objects:
            others = [o.mask for o in scene.objects if o is not thing]
            kept, told = object_pieces(thing.mask, scene.depth, others)
            assert kept.sum() >= 0.99 * thing.mask.sum(), told


def test_models_masks_are_tidied_before_they_are_captioned():
    class One:
        name = "toy"
        seen: list = []

        def propose(self, pictures):
            return [[Proposal((40, 60, 130, 150), 0.9)] for _ in pictures]

        def masks(self, pictures, proposals):
            return [[Mask(speckled())] for _ in pictures]

        def captions(self, pictures, masks):
            self.seen = masks[0]
            return [[Caption("red box", "box") for _ in ms] for ms in masks]

    one, target = One(), frame(None)
    assert ObjectsStage(one, one, one).apply([target]) == [None]
    assert one.seen[0].sum() == 90 * 90 and target.objects[0].mask.sum() == 90 * 90


def questions(family, scene, seed=0):
    view, options = SceneView(to_record(scene), Options(pool=12)), Options(pool=12)
    return list(choose_families(family)[0].generate(view, random.Random(seed), options))


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_side_is_measured_only_where_depth_reaches_both_its_edges(share):
    asked, whole, told = [], 0, 0
    for index in range(20):
        scene, full = (RenderedScenes("plain", 20, 3).load(index) for _ in range(2))
        for thing, other in zip(scene.objects, full.objects):
            for one in (thing, other):
                one.center = one.extent = one.rotation = None
            rows = np.flatnonzero(thing.mask.any(1))
            cut = int(rows[-1] + 1 - share * len(rows))
            low = thing.mask & (np.arange(scene.height)[:, None] >= cut)
            scene.depth = np.where(low, 0, scene.depth)
        Measure()(scene)
        Measure()(full)
        asked += [d for d in questions("size", scene) if d.form.name in ("height", "longest", "taller", "shorter")]
        whole += len(questions("size", full))
        told += scene.meta["unmeasured"]["depth does not reach its edges"]
        for o in to_record(scene).objects:
            assert 0.1 < o.depth_share < 0.95
            assert np.isnan(o.center[0]) and "does not reach" in json.loads(o.provenance)["unmeasured"]
    assert not asked and whole > 40 and told > 40


@pytest.mark.parametrize("first", [0, 2])
def test_a_side_is_as_long_as_its_mask_where_lidar_rows_stop_short_of_it(first):
    """A front of 33 x 90 pixels, 65 m away, of which every fourth row has depth: rows stop up to two pixels short."""
    mask, depth = blank((100, 100, 190, 133)), np.zeros((HEIGHT, WIDTH), np.float32)
    depth[100 + first : 133 : 4] = np.where(mask, 65.0, 0)[100 + first : 133 : 4]
    thing = ObjectDraft("tram", "tram", mask, mask_sigma=0.5)
    seen = frame(depth, thing)
    seen.gravity = np.array([0.0, 1.0, 0.0])
    measure_object(seen, thing)
    true = 33 * 65 / 300
    assert abs(thing.extent[2] - true) < 0.07 * true and abs(thing.extent[2] - true) < 2 * thing.uncertainty["extent_2"]


def test_what_the_pictures_edge_cuts_has_no_length_and_no_centre():
    depth = np.full((HEIGHT, WIDTH), 8.0, np.float32)
    cut, whole = blank((200, 80, WIDTH, 160)), blank((60, 80, 120, 160))
    depth[cut], depth[whole] = 3.0, 4.0
    things = [ObjectDraft("sofa", "sofa", cut, mask_sigma=0.0), ObjectDraft("box", "box", whole, mask_sigma=0.0)]
    scene = frame(depth, *things)
    scene.gravity = np.array([0.0, 1.0, 0.0])
    Measure()(scene)
    sofa, box = things
    assert sofa.center is None and np.isnan(sofa.extent[0]) and sofa.extent[2] == pytest.approx(0.8, rel=0.05)
    assert "cut off by the picture's edge" in sofa.unmeasured and box.center is not None
    assert scene.meta["unmeasured"]["cut off by the picture's edge"] == 1


def test_a_lidars_points_cover_a_mask_that_a_missing_half_does_not():
    mask, rows = blank((40, 60, 130, 150)), np.arange(HEIGHT)[:, None]
    sparse = mask & (rows % 6 == 0) & (np.arange(WIDTH) % 3 == 0)
    share, cover = coverage(mask, sparse)
    assert share < 0.1 and cover == 1.0
    share, cover = coverage(mask, mask & (rows < 105))
    assert share == 0.5 and cover == 0.5


def test_depth_is_not_asked_of_a_mask_that_is_mostly_without_it():
    depth = np.where(np.arange(HEIGHT)[:, None] < 90, 2.0, 0.0) * np.ones((HEIGHT, WIDTH))
    near, far = blank((40, 60, 130, 150)), blank((200, 10, 260, 80))
    depth = np.where(far, 4.0, depth).astype(np.float32)
    things = [ObjectDraft("box", "red box", near), ObjectDraft("lamp", "lamp", far)]
    scene = frame(depth, *things)
    scene.intrinsics_source = "sensor"
    Measure()(scene)
    told = SceneView(to_record(scene), Options()).reasons
    assert told["not all measured: depth does not reach its edges"] == 1
    drafts = questions("abs_depth", scene)
    assert [d.objects[0].caption for d in drafts] == ["lamp"]
    assert not questions("depth_order2", scene)


def test_records_from_before_these_fields_are_still_read():
    scene = RenderedScenes("plain", 1, 0).load(0)
    Measure()(scene)
    example = to_example(to_record(scene))
    example["image"] = example["image"].read()
    for thing in example["objects"]:
        del thing["depth_share"], thing["depth_cover"]
    back = from_example(SceneRecord, example)
    assert np.isnan(back.objects[0].depth_share) and back.objects[0].depth_median > 0
    del example["gravity"]
    with pytest.raises(KeyError, match="gravity"):
        from_example(SceneRecord, example)

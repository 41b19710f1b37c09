"""Uncertainty by its parts, from the depth picture to the question: what the picture shares, what each object has of
its own, and what is asked of measures that are vague.
"""

import dataclasses
import json
import math
import random

import numpy as np
import pytest
from synthesis_world import scene

from benchmarks.uncertainty_truth import Rooms, compare, noises
from data_prep.geometry.measure import Level, Measure, measure_object
from data_prep.pipeline import to_record
from data_prep.sources import DepthNoise, Frame, ObjectDraft
from data_prep.sources.rendered import RenderedScenes
from data_prep.synthesis import Generator, Options, choose_families
from data_prep.synthesis.deviations import moves
from data_prep.synthesis.draft import finish
from data_prep.synthesis.families.metric import apart
from data_prep.synthesis.view import SceneView
from data_prep.synthesize import main as synthesize
from spatial_jax.rewards import score


def blurred(s, own=0.01, **shared):
    """The scene with objects that are unsure by `own` metres in everything, and shared errors."""
    sd = {"depth": own, "extent": own, "side_0": own, "side_1": own, "side_2": own, "along": own, "shared": 1.0}
    objects = tuple(dataclasses.replace(o, uncertainty=json.dumps(sd)) for o in s.objects)
    return dataclasses.replace(s, objects=objects, shared_uncertainty=json.dumps(shared))


def drafts(s, families, pool=24, **options):
    o = Options(pool=pool, **options)
    view = SceneView(s, o)
    return [d for f in choose_families(families) for d in f.generate(view, random.Random(0), o)], view


def test_orders_and_ratios_are_free_of_the_shared_scale_and_lengths_are_not():
    s = blurred(scene(1), own=0.02, scale=0.1)
    view = SceneView(s, Options())
    a, b, c = view.things[:3]
    value, moved = moves(view, (a, b), apart(0, 1))
    assert moved.scale == pytest.approx(0.1 * value, rel=1e-6) and 0.01 < moved.own < 0.06
    ratio = lambda poses, _: apart(0, 1)(poses, _) / apart(0, 2)(poses, _)  # noqa: E731
    value, moved = moves(view, (a, b, c), ratio)
    assert moved.scale < 1e-9 < moved.own
    sharp = drafts(scene(1), "depth_order2,depth_order")[0]
    assert len(drafts(s, "depth_order2,depth_order")[0]) >= 0.9 * len(sharp) > 5


@pytest.mark.parametrize("key", ["scale", "shift", "focal", "pitch", "roll"])
def test_first_order_moves_equal_a_simulation_of_each_shared_part(key):
    """The spread of a measure over draws of one part, computed here from points, is the move that is stated for it."""
    sd = {"scale": 0.05, "shift": 0.05, "focal": 0.04, "pitch": 0.02, "roll": 0.02}[key]
    s = blurred(scene(2), own=0.0, **{key: sd})
    view = SceneView(s, Options())
    a, b = view.things[:2]
    from data_prep.synthesis import space

    level = lambda poses, g: space.horizontal_distance(poses[0].center, poses[1].center, g)  # noqa: E731
    _, moved = moves(view, (a, b), level)
    rng, found = np.random.default_rng(0), []
    for e in sd * rng.standard_normal(4000):
        points = []
        for thing in (a, b):
            x, y, z = thing.center
            points.append(
                {
                    "scale": np.array([x, y, z]) * (1 + e),
                    "shift": np.array([x, y, z]) * (z + e) / z,
                    "focal": np.array([x / (1 + e), y / (1 + e), z]),
                }.get(key, np.array([x, y, z]))
            )
        gravity = np.array(view.gravity)
        if key in ("pitch", "roll"):
            gravity = gravity + e * (np.array([0.0, 0.0, 1.0]) if key == "pitch" else np.array([1.0, 0.0, 0.0]))
            gravity /= np.linalg.norm(gravity)
        step = points[1] - points[0]
        found.append(np.linalg.norm(step - step @ gravity * gravity))
    assert math.hypot(moved.scale, moved.shift) == pytest.approx(np.std(found), rel=0.1)
    assert moved.own == 0 and (moved.scale > 0) == (key == "scale")


def test_what_noise_does_to_all_middles_alike_is_shared():
    """Noise that draws all middles back the same way: moves against draws of the shared part, and against own ones."""
    s = scene(2)
    own = {"side_0": 0.0, "side_1": 0.0, "side_2": 0.0, "shared": 1.0}

    def told(**part):
        objects = tuple(dataclasses.replace(o, uncertainty=json.dumps(own | part)) for o in s.objects)
        view = SceneView(dataclasses.replace(s, objects=objects), Options())
        return moves(view, view.things[:2], apart(0, 1))

    value, shared = told(near=0.05)
    _, alone = told(along=0.05)
    centers = [np.array(t.center) for t in SceneView(s, Options()).things[:2]]
    rays = [c / np.linalg.norm(c) for c in centers]
    draws = 0.05 * np.random.default_rng(0).standard_normal((4000, 2))
    for moved, steps in ((shared, draws[:, [0, 0]]), (alone, draws)):
        lengths = [np.linalg.norm(centers[0] + a * rays[0] - centers[1] - b * rays[1]) for a, b in steps]
        assert moved.sd == pytest.approx(np.std(lengths), rel=0.1, abs=2e-4)
    assert shared.own == 0 and alone.shift == 0 and shared.sd < alone.sd and value > 0


def test_numbers_are_asked_with_the_tolerance_that_their_uncertainty_allows():
    s = blurred(scene(3), own=0.01, scale=0.1, shift=0.02)
    found, view = drafts(s, "abs_depth,distance,size")
    numbers = [d for d in found if d.question_type == "number"]
    assert {d.family for d in numbers} == {"abs_depth", "distance", "size"}
    for d in numbers:
        assert d.question.endswith(f"Answer within {100 * d.tolerance:.0f} %.") and d.tolerance <= 0.30
        value = float(d.answer)
        assert 2 * d.moved.sd <= d.tolerance * value * 1.03 + 0.01
        record = finish(d, view, 0, random.Random(0)).as_dict()
        parts = record["meta"]["uncertainty_parts"]
        assert set(parts) == {"scale", "shift", "own"} and record["meta"]["tolerance"] == d.tolerance
        assert math.sqrt(sum(v**2 for v in parts.values())) == pytest.approx(record["meta"]["uncertainty"], rel=1e-3)
        near = f"{value * (1 + 0.8 * d.tolerance):.4f}"
        assert score(record["reward"], near, record) >= (1.0 if d.family != "abs_depth" else 0.4)
        if d.family == "abs_depth":
            assert record["reward"]["scale"] >= 1 + d.tolerance
    plain = drafts(scene(3), "abs_depth,distance,size")[0]
    assert plain and not any("within" in d.question for d in plain if d.form.name != "nearest")


def test_what_is_too_vague_for_a_number_is_compared_or_put_into_a_range():
    forms = set()
    for index in range(6):
        true = scene(index)
        s = blurred(true, own=0.02, scale=0.2)
        found, _ = drafts(s, "abs_depth,distance,size")
        by_id = {o.object_id: o for o in true.objects}
        for d in found:
            forms.add((d.family, d.form.name))
            if d.form.name == "ratio":
                assert d.moved.scale < 1e-6 and 1.2 <= float(d.answer) <= 10 and d.tolerance <= 0.3
            elif d.form.name == "against":
                value, length = d.rule_inputs["value_m"], d.rule_inputs["length_m"]
                assert d.answer == ("more" if value > length else "less")
                assert abs(math.log(value / length)) >= 2 * 0.2
            elif d.form.name == "range":
                low, high = d.answer.replace(" cm", "e-2").replace(" m", "").split(" to ")
                value = d.rule_inputs["value_m"]
                assert float(low) < value * 0.61 and value * 1.4 < float(high)
                assert d.answer in d.question and d.answer in d.options
            else:
                assert d.form.name in ("taller", "shorter", "closest_to")
            if d.family == "abs_depth" and d.form.name != "ratio":
                assert d.rule_inputs["value_m"] == by_id[d.objects[0].object_id].depth_median
    assert {(f, k) for f in ("abs_depth", "size", "distance") for k in ("against", "range", "ratio")} <= forms


def test_direction_counts_the_places_uncertainty():
    sharp, vague = (drafts(blurred(scene(4), own=own), "direction")[0] for own in (0.01, 1.5))
    assert len(sharp) > 5 and not vague


def test_refused_questions_are_counted_by_margin_with_what_would_let_them_in():
    s = blurred(scene(3), own=0.01, scale=0.1)
    strict = Generator(choose_families("abs_depth"), Options(most_tolerance=0.05), per_scene=9)
    strict(s)
    row = strict.refused.report()["abs_depth"]["most_tolerance"]
    assert row["count"] >= 5 and row["limit"] == 0.05 and 0.19 < row["half"] < 0.22
    loose = Generator(choose_families("abs_depth"), Options(most_tolerance=row["most"] + 0.01), per_scene=9)
    assert any(r.question_type == "number" for r in loose(s)) and not loose.refused.report()


def test_margins_are_set_on_the_command_line(tmp_path, capsys):
    from synthesis_world import picture

    from data_prep.writer import DatasetWriter, Serializer
    from spatial_jax.data.records import scene_features, to_example

    features = scene_features()
    serialize = Serializer(features)
    with DatasetWriter(str(tmp_path / "scenes"), "scenes", features, {}) as writer:
        from data_prep.pipeline import Outcome

        for i in range(3):
            s = blurred(scene(i, image=picture(320, 240)), scale=0.1)
            writer.append(Outcome(i, s.scene_id, "record", s.split, example=serialize(to_example(s))))
        writer.finish()
    base = [f"--scenes={tmp_path}/scenes", "--families=abs_depth,depth_order2"]
    assert synthesize([*base, f"--out={tmp_path}/q", "--set=margins.most_tolerance=0.05"]) == 0
    said = capsys.readouterr().out
    assert "refused abs_depth:" in said and "margins.most_tolerance=0.05" in said
    report = json.loads((tmp_path / "q" / "report.json").read_text())
    assert report["refused"]["abs_depth"]["most_tolerance"]["count"] > 0
    for wrong, says in (
        ("margins.most_tolerence=1", "most_tolerance"),
        ("margin.sigmas=1", "margins"),
        ("margins.sigmas=many", "wants a value like"),
        ("margins.sigmas=-1", "not negative"),
        ("margins.profile=plain", "no margin"),
    ):
        assert synthesize([*base, f"--out={tmp_path}/w", f"--set={wrong}"]) == 2
        error = capsys.readouterr().err
        assert says in error and len(error.strip().splitlines()) == 1, error


def test_gravity_found_in_the_depth_errs_with_it():
    """A shift and a wrong focal length tip the floor that is found; the stated tip is what is measured."""
    exact = RenderedScenes("plain", 8, 5)
    for index, (shift, focal) in ((1, (0.2, 0.0)), (2, (0.0, 0.05))):
        frame, off = exact.load(index), exact.load(index)
        off.depth = off.depth + np.float32(shift)
        fx, fy, cx, cy = off.intrinsics
        off.intrinsics = (fx * (1 + focal), fy * (1 + focal), cx, cy)
        for one in (frame, off):
            one.gravity = one.floor = None
            Level()(one)
        tip = frame.gravity_sigma["tip"]
        stated = frame.gravity + np.array([*(focal * frame.gravity[:2]), tip * shift])
        stated /= np.linalg.norm(stated)
        moved = np.arccos(np.clip(frame.gravity @ off.gravity, -1, 1))
        assert moved > 0.005 and np.arccos(np.clip(stated @ off.gravity, -1, 1)) < 0.4 * moved


def test_records_keep_the_parts_apart():
    noise = DepthNoise(linear=0.01, bias=0.1, shift=0.03, focal=0.05)
    frame = RenderedScenes("plain", 1, 5, noise=noise).load(0)
    for thing in frame.objects:
        thing.center = thing.extent = thing.rotation = None
    frame.gravity = frame.floor = None
    Level()(frame)
    Measure()(frame)
    record = to_record(frame)
    shared = json.loads(record.shared_uncertainty)
    assert (
        shared["scale"] == 0.1
        and shared["shift"] == 0.03
        and shared["focal"] == 0.05
        and 0 < shared["roll"] < shared["pitch"] < 0.1
    )
    own = json.loads(record.objects[0].uncertainty)
    assert own["shared"] == 1 and own["depth"] < 0.03 * record.objects[0].depth_median
    exact = RenderedScenes("plain", 1, 5).load(0)
    Measure()(exact)
    assert to_record(exact).shared_uncertainty == "{}"


def wall_scene(mask_depths, gravity=(0.0, 1.0, 0.0), width=320, height=240, focal=300.0, sigma=0.0):
    """A frame with one object: the pixels where `mask_depths` [h, w] is not 0, before a far wall."""
    depth = np.where(mask_depths > 0, mask_depths, 60.0).astype(np.float32)
    thing = ObjectDraft("truck", "truck", mask_depths > 0, mask_sigma=sigma)
    rgb = np.zeros((height, width, 3), np.uint8)
    frame = Frame(
        "a", "t", rgb, depth=depth, depth_flag="metric", depth_noise=DepthNoise(linear=0.002), objects=[thing]
    )
    frame.intrinsics, frame.intrinsics_source = (focal, focal, (width - 1) / 2, (height - 1) / 2), "sensor"
    frame.gravity = None if gravity is None else np.array(gravity)
    return frame, thing


def test_a_truck_seen_from_behind_has_a_height_and_no_length():
    back = np.zeros((240, 320))
    back[100:150, 140:180] = 20.0  # 2.6 m wide, 3.3 m high, however long
    frame, thing = wall_scene(back)
    measure_object(frame, thing)
    side = int(thing.uncertainty["unseen_axis"])
    assert np.isnan(thing.extent[side]) and "far end not seen" in thing.unmeasured
    assert thing.extent[2] == pytest.approx(3.33, rel=0.03) and thing.uncertainty["unseen"] > 1.0
    other = np.zeros((240, 320), bool)
    other[110:140, 20:50] = True
    frame.objects.append(ObjectDraft("post", "post", other, mask_sigma=0.0))
    frame.depth[other] = 9.0
    frame.objects[0] = dataclasses.replace(thing, center=None, extent=None, rotation=None, unmeasured=[])
    Measure()(frame)
    asked = drafts(to_record(frame), "size,distance")[0]
    assert "height" in {d.form.name for d in asked}
    assert not {"longest", "center", "horizontal"} & {d.form.name for d in asked}


@pytest.mark.parametrize("wide", [2, 4])
def test_a_mask_that_is_too_wide_takes_in_no_floor(wide):
    """Things whose masks hold so many pixels of what lies around them keep their sides, or say how unsure they are."""
    from scipy.ndimage import binary_dilation

    errors, rooms = [], RenderedScenes("rich", 12, 404, noise=DepthNoise(linear=0.003))
    for index in (2, 3, 5):
        frame = rooms.load(index)
        for thing in [t for t in frame.objects if t.name in ("book", "mug") and t.visible_fraction > 0.9]:
            mask = binary_dilation(thing.mask, np.ones((3, 3)), iterations=wide)
            blind = ObjectDraft(thing.name, thing.name, mask, mask_sigma=2.0)
            measure_object(frame, blind)
            if blind.extent is None or np.isnan(blind.extent).all():
                continue
            side = int(np.nanargmax(blind.extent))
            true = thing.extent.max() if side < 2 else thing.extent[2]
            errors.append(abs(blind.extent[side] - true) / (blind.uncertainty[f"extent_{side}"] + 0.02 * true))
    assert len(errors) >= 3 and max(errors) < 2.5


def test_a_box_seen_at_an_angle_is_measured_on_both_sides():
    errors = []
    for index in range(30):
        frame = RenderedScenes("plain", 30, 3).load(index)
        found = [t for t in frame.objects if t.name == "box" and t.visible_fraction > 0.95]
        for thing in found:
            blind = dataclasses.replace(thing, center=None, extent=None, rotation=None)
            measure_object(frame, blind)
            if "unseen" not in blind.uncertainty:
                errors.append(np.abs(blind.extent / thing.extent - 1).max())
    assert len(errors) >= 8 and np.quantile(errors, 0.9) < 0.12


def test_what_curves_out_of_sight_is_unsure_and_a_box_is_not():
    """A ball seen from above hides its lower rim; a block of that size shows its edges, and is told by its faces."""
    rows, columns = np.mgrid[0:240, 0:320].astype(float)
    rays = np.stack([(columns - 159.5) / 300, (rows - 119.5) / 300, np.ones_like(rows)], -1)
    pitch, radius, place = np.radians(30), 0.3, np.array([0.05, 0.1, 2.0])
    gravity = np.array([0.0, np.cos(pitch), np.sin(pitch)])
    along, square = rays @ place, (rays**2).sum(-1)
    root = along**2 - square * (place @ place - radius**2)
    ball = np.where(root > 0, (along - np.sqrt(np.maximum(root, 0))) / square, 0.0)
    turn = np.array([[1.0, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    yaw = np.array([[np.cos(0.7), 0, np.sin(0.7)], [0, 1, 0], [-np.sin(0.7), 0, np.cos(0.7)]])
    start, way = yaw @ turn @ -place, rays @ (yaw @ turn).T
    near, far = ((-np.sign(way) * s * radius - start) / np.where(way == 0, 1e-9, way) for s in (1, -1))
    near, far = near.max(-1), far.min(-1)
    block = np.where(near < far, near, 0.0)
    stated = {}
    for name, depth in (("ball", ball), ("block", block)):
        frame, thing = wall_scene(depth, gravity=gravity)
        measure_object(frame, thing)
        stated[name] = thing.uncertainty["extent_2"]
        assert abs(thing.extent[2] - 2 * radius) < 2.5 * stated[name], name
    assert stated["ball"] > 0.03 > 0.02 > stated["block"]


def test_a_bed_and_its_headboard_are_not_measured_as_one_of_them():
    both = np.zeros((240, 320))
    both[150:200, 100:220] = np.linspace(3.2, 2.2, 50)[:, None]  # the mattress, coming nearer
    both[100:150, 100:220] = 4.4  # the headboard behind it
    frame, thing = wall_scene(both)
    measure_object(frame, thing)
    assert thing.center is None and np.isnan(thing.extent[2])
    assert "depth does not reach its edges" in thing.unmeasured


def test_sizes_are_not_measured_without_gravity():
    block = np.zeros((240, 320))
    block[100:150, 140:180] = 3.0
    frame, thing = wall_scene(block, gravity=None)
    measure_object(frame, thing)
    assert np.isnan(thing.extent).all() and thing.center is not None and "gravity unknown" in thing.unmeasured
    frame.objects = [thing]
    assert not drafts(to_record(frame), "size")[0]


def test_noise_averages_out_no_further_than_it_is_correlated():
    sigmas = []
    for correlation in (1.0, 8.0):
        noise = DepthNoise(linear=0.03, correlation=correlation)
        frame = RenderedScenes("plain", 4, 3, noise=noise).load(1)
        thing = max(frame.objects, key=lambda t: t.mask.sum())
        thing.center = thing.extent = thing.rotation = None
        measure_object(frame, thing)
        sigmas.append((thing.uncertainty["grain"], thing.uncertainty["depth"]))
    assert sigmas[1][0] > 1.5 * sigmas[0][0] and sigmas[1][1] > 2 * sigmas[0][1]


def test_slanted_clutter_is_no_floor():
    """A blanket of clutter that slants by 20 degrees below a level table: gravity is the table's, or unknown."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:120, 0:160].astype(float)
    rays = np.stack([(columns - 79.5) / 140, (rows - 59.5) / 140, np.ones_like(rows)], -1)
    pitch = np.radians(25)
    up = np.array([0.0, -np.cos(pitch), -np.sin(pitch)])
    slant = np.radians(20)
    tilted = np.array([np.sin(slant), *(np.cos(slant) * up[1:])])

    def plane(normal, height):
        along = rays @ normal
        return np.where(along < -1e-3, -height / np.minimum(along, -1e-3), np.inf)

    table = np.where(rows > 70, plane(up, 0.7), np.inf)
    clutter = plane(tilted, 0.9) * (1 + 0.04 * rng.random(rows.shape))
    depth = np.minimum(np.minimum(table, clutter), 4.0)
    frame = Frame("a", "t", np.zeros((120, 160, 3), np.uint8), depth=depth.astype(np.float32), depth_flag="metric")
    frame.intrinsics = (140.0, 140.0, 79.5, 59.5)
    Level()(frame)
    if frame.gravity is not None:
        assert np.degrees(np.arccos(np.clip(-frame.gravity @ up, -1, 1))) < 5


def test_deviations_hold_and_questions_are_kept_on_rendered_rooms():
    result = compare(Rooms("plain", 30, 11, noises(112)["Depth Anything V2"]), Options(pool=16))
    for family, goal in (("depth_order", 0.6), ("depth_order2", 0.6), ("abs_depth", 0.4), ("size", 0.4)):
        assert result["questions"][family]["share"] >= goal
    assert result["questions"]["distance"]["share"] >= 0.4
    wrong = sum(r["wrong"] for k, r in result["right"].items() if "orders" in k)
    assert wrong <= 0.02 * sum(r["asked"] for k, r in result["right"].items() if "orders" in k)
    wrong = sum(r["wrong"] for k, r in result["right"].items() if "numbers" in k)
    assert wrong <= 0.07 * sum(r["asked"] for k, r in result["right"].items() if "numbers" in k)
    for name, row in result["deviations"].items():
        if row["n"] >= 80:
            assert 0.6 < row["rms"] < 1.35, name

"""Walks with known truth: frames against the closed form of what was drawn, the camera's way, the record, and the
questions of all eight topics against an oracle of their own.
"""

import collections
import dataclasses
import json
import re

import numpy as np
import pytest

from benchmarks.walk_oracle import Oracle, nearest
from benchmarks.walk_truth import check
from data_prep import synthesize
from data_prep.annotate.__main__ import main as annotate
from data_prep.geometry.measure import Measure
from data_prep.pipeline import to_record
from data_prep.sources import SourceError, open_source
from data_prep.sources.primitives import box, ellipsoid, frustum
from data_prep.sources.walks import Walks
from data_prep.sources.walks.furnish import rectangle_of
from data_prep.sources.walks.path import CELL, CLEAR, Hand, obstacles
from data_prep.synthesis.dataset import SceneDataset
from data_prep.synthesis.vsi import Instance, nearest_distance
from data_prep.synthesis.vsi.surface import surface_points
from data_prep.synthesis.vsi.walks import WalkFolder
from spatial_jax.data import open_questions
from spatial_jax.report import main as report_verb
from tests.vsgrpo_recipe import check_asked_by_vsgrpo

SIZE, FRAMES = 96, 8


@pytest.fixture(scope="module")
def source():
    return Walks(3, seed=1, frames=FRAMES, width=SIZE, height=SIZE)


@pytest.fixture(scope="module")
def walks(source):
    return [source.draw(number) for number in range(2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("walks") / "scenes"
    options = ["--count=3", "--seed=1", f"--walk_frames={FRAMES}", "--width=96", "--height=96", "--workers=1"]
    assert annotate(["--source=walk", *options, f"--out={out}"]) == 0
    return out


def test_every_pixel_lies_on_what_owns_it(walks):
    for walk in walks:
        v, u = np.mgrid[0:SIZE, 0:SIZE]
        for k, camera in enumerate(walk.home.cameras):
            depth, owner = walk.frames.depth[k], walk.frames.owner[k]
            local = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], -1)
            world = camera.position + (local * depth[..., None]) @ camera.rotation
            bare = world[owner < 0][:, 2]
            assert np.minimum(np.abs(bare), np.abs(bare - walk.home.plan.height)).max(initial=0) < 2e-3
            for index in np.unique(owner[owner >= 0]).tolist():
                body = walk.home.bodies[index]
                own = (world[owner == index] - body.position) @ body.turn
                assert (own > body.low - 2e-3).all() and (own < body.high + 2e-3).all()
        assert np.isfinite(walk.frames.depth).all() and walk.frames.depth.min() > 0.05


def test_no_ray_passes_through_a_solid_before_it_ends(walks):
    """An independent slab test: no solid box is entered before the depth that was drawn."""
    rng = np.random.default_rng(0)
    for walk in walks:
        for k in (0, FRAMES - 1):
            camera = walk.home.cameras[k]
            v, u = rng.integers(0, SIZE, (2, 60))
            ray = (
                np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(60)], -1) @ camera.rotation
            )
            depth = walk.frames.depth[k][v, u]
            for body in walk.home.bodies:
                start, ways = (camera.position - body.position) @ body.turn, ray @ body.turn
                for part in body.solids:
                    if part.kind == "box":
                        a = (np.array(part.center) - part.half - start) / ways
                        b = (np.array(part.center) + part.half - start) / ways
                        enter, leave = np.minimum(a, b).max(1), np.maximum(a, b).min(1)
                        hit = (enter < leave - 1e-4) & (enter > 0)
                        assert (depth[hit] < enter[hit] + 2e-3).all(), body.kind


def test_the_camera_walks_as_a_person_does(walks):
    for walk in walks:
        home = walk.home
        rectangles = [rectangle_of(b) for b in obstacles(home.bodies)]
        for place in home.path.positions:
            assert 1.2 < place[2] < 1.8
            gap = [
                np.hypot(max(a - place[0], 0, place[0] - c), max(b - place[1], 0, place[1] - d))
                for a, b, c, d in rectangles
            ]
            assert min(gap, default=1.0) > CLEAR - CELL, "it walks through furniture"
        turns = np.abs(np.diff(np.unwrap(home.path.angles[:, 0]))) / np.diff(home.path.times)
        assert turns.max() < np.radians(90) and np.allclose(np.diff(home.path.times), np.diff(home.path.times)[0])
        visited = {
            k
            for k, a in enumerate(home.plan.rooms)
            for p in home.path.positions
            if (p[:2] > a.low).all() and (p[:2] < a.high).all()
        }
        assert visited == set(range(len(home.plan.rooms)))


def test_furniture_does_not_overlap(walks):
    for walk in walks[:1]:
        standing = [
            b for b in walk.home.bodies if b.is_object and b.position[2] < 0.1 and b.kind not in ("rug", "door")
        ]
        for i, a in enumerate(standing):
            for b in standing[:i]:
                assert nearest(a, b) > 0, f"{a.kind} in {b.kind}"


def test_shares_of_what_is_seen(walks):
    """What stands wholly free covers as many pixels as its outline is told to have."""
    told = []
    for walk in walks:
        f = walk.frames
        assert (f.whole >= f.seen).all()
        for k, index in zip(*np.nonzero(f.seen > 150)):
            if walk.home.bodies[index].is_object:
                rows, columns = np.nonzero(f.owner[k] == index)
                if rows.min() > 2 and rows.max() < SIZE - 3 and columns.min() > 2 and columns.max() < SIZE - 3:
                    told.append(f.seen[k, index] / f.whole[k, index])
    assert len(told) > 4 and np.max(told) > 0.97 and np.quantile(told, 0.75) > 0.9


def test_a_walk_depends_on_its_number_alone(source, walks):
    other = Walks(9, seed=1, frames=FRAMES, width=SIZE, height=SIZE).draw(1)
    assert np.array_equal(other.frames.rgb, walks[1].frames.rgb) and np.array_equal(
        other.frames.depth, walks[1].frames.depth
    )
    bare = source.draw(1, colours=False)
    assert np.array_equal(bare.frames.owner, other.frames.owner) and not bare.frames.rgb.any()
    frame = source.load(FRAMES + 2)
    Measure(64)(frame)
    record = to_record(frame)
    meta = json.loads(record.meta)
    assert (meta["walk"], meta["frame"]) == ("walk-1-000001", 2) and "room" not in meta
    pose = np.array(meta["pose"]).reshape(4, 4)
    assert np.allclose(pose[:3, 3], walks[1].home.cameras[2].position, atol=1e-5)
    ids = {json.loads(o.provenance)["instance"]: o for o in record.objects}
    for number, thing in ids.items():
        body = walks[1].home.bodies[walks[1].home.instances[number]]
        centre = pose[:3, :3] @ np.array(thing.center) + pose[:3, 3]
        assert thing.name == body.kind and np.allclose(centre, Oracle.middle(body), atol=1e-3)


def test_what_the_hand_does(source, walks):
    plain = walks[0]
    for hand in (Hand(blur=2.0), Hand(exposure=2.0)):
        held = Walks(1, seed=1, frames=FRAMES, width=SIZE, height=SIZE, hand=hand).draw(0)
        assert np.array_equal(held.frames.owner, plain.frames.owner)
        change = np.abs(held.frames.rgb.astype(int) - plain.frames.rgb).mean((1, 2, 3))
        assert change.max() > 1, hand
    still = Walks(1, seed=1, frames=FRAMES, width=SIZE, height=SIZE, hand=Hand(shake=0.0)).draw(0)
    assert np.ptp(still.home.path.positions[:, 2]) < 1e-9 and np.abs(still.home.path.angles[:, 2]).max() == 0
    assert np.abs(plain.home.path.angles[:, 2]).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 0}, "--count=0"),
        ({"walk_frames": 0}, "--walk_frames=0"),
        ({"walk_rooms": 4}, "--walk_rooms=4"),
        ({"width": 8}, "8x224"),
        ({"shake": -1.0}, "--shake=-1"),
    ],
)
def test_options_that_make_no_walk(options, said):
    with pytest.raises(SourceError, match=said):
        open_source({"source": "walk", "count": 1, "seed": 0, **options})


def test_answers_agree_with_the_oracle():
    counts, wrong = collections.defaultdict(collections.Counter), []
    source = Walks(4, seed=8, frames=16, width=64, height=64)
    for number in range(4):
        check(source, number, 16, counts, wrong, 40)
    assert not wrong
    for (definitions, topic), row in counts.items():
        assert row["asked"] > 0, (definitions, topic)
    assert len(counts) == 16


def test_the_oracle_finds_what_is_wrong():
    """One answer changed, one thing moved: the oracle says so."""
    source = Walks(1, seed=8, frames=16, width=SIZE, height=SIZE)
    real = source.draw(0)
    for body in real.home.bodies:
        if body.is_object:
            body.position = body.position * 1.3
            body.solids = [dataclasses.replace(s, half=tuple(1.4 * h for h in s.half)) for s in body.solids]
    counts, wrong = collections.defaultdict(collections.Counter), []
    source.draw = lambda number, colours: real  # the record is made of the moved bodies, the frames are not
    honest = Oracle.one

    def smaller(self, name):
        body = honest(self, name)
        return dataclasses.replace(body, position=body.position / 1.3)

    Oracle.one = smaller
    try:
        check(source, 0, 16, counts, wrong, 40)
    finally:
        Oracle.one = honest
    assert (
        counts["vsi100k", "object_abs_distance"]["wrong"] > 0
        and counts["vsi100k", "object_size_estimation"]["wrong"] > 0
    )


def test_nearest_points_of_curved_solids():
    rng = np.random.default_rng(0)
    kinds = [
        lambda: box((0, 0, 0), rng.uniform(0.2, 1, 3)),
        lambda: ellipsoid((0, 0, 0), rng.uniform(0.1, 0.5, 3)),
        lambda: frustum((0, 0, 0), rng.uniform(0.2, 1), *rng.uniform(0.05, 0.4, 2)),
    ]
    from data_prep.sources.layout import Body

    for a in range(3):
        for b in range(3):
            solids = [kinds[a](), kinds[b]()]
            spots = [np.zeros(3), rng.uniform(1, 2, 3)]
            bodies = [Body("", "", (0, 0, 0), "", [s], p, float(rng.uniform(0, 6)), 0.0) for s, p in zip(solids, spots)]
            clouds = [
                surface_points([[s.kind, *s.center, *s.half, s.axis, s.low, s.high]]) @ o.turn.T + o.position
                for s, o in zip(solids, bodies)
            ]
            found = [Instance(np.zeros(3), np.ones(3), np.eye(3), None, c) for c in clouds]
            true = nearest(*bodies)
            assert true - 1e-4 < nearest_distance(*found) < true + 0.01


def test_from_walks_to_questions(folder, tmp_path, capsys):
    out = tmp_path / "questions"
    assert synthesize.main([f"--rooms={folder}", "--definitions=vsibench", "--most_frames=6", f"--out={out}"]) == 0
    report = json.loads((out / "report.json").read_text())
    assert {row["split"] for row in report["rows"]} >= {"train"}
    held = {json.loads(s.meta)["walk"] for s in SceneDataset(str(folder)) if s.split == "heldout"}
    for split in ("train", "heldout"):
        source = open_questions(str(out), split)
        for record in (source[i] for i in range(len(source))):
            never = record.family in ("vsi_route_planning", "vsi_obj_appearance_order")
            assert (split == "heldout") == (never or record.scene_id in held), "a walk's questions are in its own split"
    assert synthesize.main([f"--rooms={folder}", "--heldout_percent=20", f"--out={tmp_path}/other"]) == 2
    assert "walks and clips keep the split that annotate gave them" in capsys.readouterr().err
    record = open_questions(str(out), "train")[0]
    video = json.loads(record.meta)["video"]
    assert len(record.images) == 6 and video["indices"][0] == 0 and video["indices"][-1] == FRAMES - 1
    assert video["total"] == FRAMES and video["fps"] > 0 and record.scene_id.startswith("walk-1-")
    train = open_questions(str(out), "train")
    check_asked_by_vsgrpo(list({r.family: r for r in (train[i] for i in range(len(train)))}.values()))
    assert report_verb([str(tmp_path), f"--out={tmp_path}/report.html"]) == 0
    page = (tmp_path / "report.html").read_text()
    (section,) = re.findall(r"<section[^>]*>(?:(?!</section>).)*A clip.*?</section>", page, re.S)
    assert "vsi_object_counting" in section and section.count("<img") + section.count("data-src") >= 6


def test_walks_that_cannot_be_asked_about(folder, tmp_path, capsys, monkeypatch):
    whole = SceneDataset.get

    def without_first(self, index):
        scene = whole(self, index)
        return "train scene 0: damaged" if scene.scene_id == "walk-1-000000#000000" else scene

    def rooms_of():
        return {clip: (room, why) for clip, room, why in WalkFolder(str(folder)).rooms(FRAMES)}

    monkeypatch.setattr(SceneDataset, "get", without_first)
    rooms = rooms_of()
    lost, why = rooms.pop("walk-1-000000")
    assert lost is None and "first frame" in why and all(room for room, _ in rooms.values())
    monkeypatch.undo()

    def smaller_third(self, index):
        scene = whole(self, index)
        return dataclasses.replace(scene, width=48) if scene.scene_id == "walk-1-000001#000003" else scene

    monkeypatch.setattr(SceneDataset, "get", smaller_third)
    rooms = rooms_of()
    lost, why = rooms.pop("walk-1-000001")
    assert lost is None and "different sizes" in why and all(room for room, _ in rooms.values())
    monkeypatch.undo()
    ((_, room, _), *_) = WalkFolder(str(folder)).rooms(1)
    assert room.first and all(first == (0, 0) for first in room.first.values()), "one frame has no order"
    plain = tmp_path / "plain"
    assert annotate(["--source=rendered", "--count=2", f"--out={plain}"]) == 0
    assert synthesize.main([f"--rooms={plain}", f"--out={tmp_path}/q"]) == 2
    assert "single pictures" in capsys.readouterr().err

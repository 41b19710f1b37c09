"""Demonstrations on the frames of walks, read from their JSON alone, against the pixels that the renderer drew: boxes
are the things' own, lines over the floor lie on it, and a way is free exactly where nothing stands on it.
"""

import collections
import dataclasses
import json
import re

import numpy as np
import pytest

from data_prep import synthesize
from data_prep.annotate.__main__ import main as annotate
from data_prep.sources.walks import Walks
from data_prep.synthesis.vsi.drawn import problem
from data_prep.synthesis.vsi.walks import WalkFolder
from spatial_jax.data import open_questions
from spatial_jax.data.records import QuestionRecord, SceneRecord, in_stored_pixels

WALKS, FRAMES, SIZE = 5, 12, 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn_walks")
    options = [f"--count={WALKS}", "--seed=6", f"--walk_frames={FRAMES}", f"--width={SIZE}", f"--height={SIZE}"]
    assert annotate(["--source=walk", *options, "--workers=1", f"--out={out}/scenes"]) == 0
    asked = [f"--rooms={out}/scenes", "--demonstrations", f"--most_frames={FRAMES}", f"--out={out}/questions"]
    assert synthesize.main(asked) == 0
    return out


@pytest.fixture(scope="module")
def records(folder):
    found = []
    for split in ("train", "heldout"):
        source = open_questions(str(folder / "questions"), split)
        found += [in_stored_pixels(r) for i in range(len(source)) if isinstance(r := source[i], QuestionRecord)]
    return found


@pytest.fixture(scope="module")
def walks():
    source = Walks(WALKS, seed=6, frames=FRAMES, width=SIZE, height=SIZE)
    return {source.walk_id(number): source.draw(number) for number in range(WALKS)}


def calls(record):
    """(thought, items) of each turn."""
    turns = record.json_field("meta").get("turns", [])
    return [(t.split("</think>")[0], json.loads(t.split("```json\n")[1].split("\n```")[0])) for t in turns]


def frames_of(record):
    """The question's frame (from 0) that each item of its turns is drawn on, followed over the drawn pictures."""
    origin, out = list(range(len(record.images))), []
    for _, items in calls(record):
        out.append([origin[item["index"] - 1] for item in items])
        origin += list(dict.fromkeys(out[-1]))
    return out


def instances(walk, label):
    """Bodies that a label may name."""
    home, kind = walk.home, re.sub(r" \d+$", "", label)
    return [k for k in home.instances if home.bodies[k].kind == kind]


def mask_boxes(walk, frame, label):
    for body in instances(walk, label):
        rows, columns = np.nonzero(walk.frames.owner[frame] == body)
        if len(rows):
            yield columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_last_boxes_are_the_things_own_pixels(records, walks):
    turns, again = collections.Counter[int](), 0
    for record in records:
        walk = walks[record.scene_id]
        last: dict[tuple[int, str], list[float]] = {}
        turns[len(calls(record))] += 1
        for (_, items), frames in zip(calls(record), frames_of(record)):
            for item, frame in zip(items, frames):
                if "bbox_2d" in item:
                    again += any(label == item["label"] and f != frame for f, label in last)
                    last[frame, item["label"]] = item["bbox_2d"]
        for (frame, label), box in last.items():
            off = [max(abs(a - b) for a, b in zip(box, true)) for true in mask_boxes(walk, frame, label)]
            assert min(off) <= 1.5, (record.question, label, box)
    assert set(turns) <= {0, 2, 3, 4, 5} and turns[0] < 0.25 * len(records)
    assert again, "no thing is met again in another frame"


def test_every_thing_of_a_count_is_boxed_under_its_own_label(records):
    counted = [r for r in records if r.family == "vsi_object_counting" and calls(r)]
    assert len(counted) > 5
    for record in counted:
        assert len({item["label"] for _, items in calls(record) for item in items}) == int(record.answer)


def test_lines_called_floor_lie_on_the_floor(records, walks):
    seen = 0
    for record in records:
        walk = walks[record.scene_id]
        for (thought, items), frames in zip(calls(record), frames_of(record)):
            if "The floor between" not in thought:
                continue
            camera, depth = walk.home.cameras[frames[0]], walk.frames.depth[frames[0]]
            steps = np.linspace(items[0]["start_point_2d"], items[0]["end_point_2d"], 11)[2:-2]
            places = np.clip(np.rint(steps).astype(int), 0, SIZE - 1)
            z = depth[places[:, 1], places[:, 0]]
            local = np.stack([(places[:, 0] - camera.cx) / camera.fx, (places[:, 1] - camera.cy) / camera.fy], -1)
            world = camera.position + (np.column_stack([local, np.ones(len(z))]) * z[:, None]) @ camera.rotation
            assert (world[:, 2] < 0.1).mean() >= 0.8, (record.question, world[:, 2].round(2))
            seen += 1
    assert seen > 5


def gap(point, body):
    """Metres from a place [2] to the rectangle that a body covers of the floor."""
    middle = body.turn @ ((body.low + body.high) / 2) + body.position
    local = np.abs(body.turn[:2, :2].T @ (point - middle[:2])) - ((body.high - body.low) / 2)[:2]
    return float(np.hypot(*np.maximum(local, 0)))


def test_a_way_is_free_where_nothing_stands_on_it(records, walks):
    asked = [r for r in records if r.family == "vsi_straight_way"]
    assert {r.answer for r in asked} == {"yes", "no"} and all(calls(r) for r in asked)
    for record in asked:
        home = walks[record.scene_id].home
        ends = [home.bodies[instances(walks[record.scene_id], name)[0]] for name in record.json_field("meta")["named"]]
        places = [(b.turn @ ((b.low + b.high) / 2) + b.position)[:2] for b in ends]
        others = []
        for body in (home.bodies[k] for k in home.instances):
            low, high = body.low[2] + body.position[2], body.high[2] + body.position[2]
            under = any(gap(place, body) == 0 for place in places)  # itself, or what it stands on
            if high > 0.05 and low < 1.1 and not under:
                others.append(body)
        least = min((gap(p, body) for p in np.linspace(places[0], places[1], 200) for body in others), default=9.0)
        assert least >= 0.3 if record.answer == "yes" else least == 0.0, record.question
        boxed = [item["label"] for _, items in calls(record) for item in items if "bbox_2d" in item]
        assert len(set(boxed)) == (2 if record.answer == "yes" else 3)


def test_a_wrong_operation_is_found(folder, records):
    rooms = WalkFolder(str(folder / "scenes"))
    record, room = next(
        (r, room)
        for _, room, _ in rooms.rooms(FRAMES)
        for r in records
        if room
        and room.sights
        and r.scene_id == room.scene_id
        and r.family == "vsi_object_abs_distance"
        and "Tracer" in r.meta
    )
    meta = record.json_field("meta")
    sights = room.sights
    assert sights is not None
    labels = {name: sights.names[name][0] for name in meta["named"]}
    assert problem(record, sights, labels) == ""
    first, *_, last = meta["turns"]
    wrong = (
        (first, first.replace('"label": "', '"label": "no '), "boxed where it is not"),
        (last, re.sub(r'("end_point_2d": )\[[^]]*\]', r"\1[1, 1]", last), "line"),
        (first, first.replace('"index": ', '"index": 9'), "there is no picture"),
    )
    for old, new, words in wrong:
        turns = json.dumps({**meta, "turns": [new if t == old else t for t in meta["turns"]]})
        assert words in problem(dataclasses.replace(record, meta=turns), sights, labels)


def test_sights_are_read_when_first_asked_for(folder, monkeypatch):
    read = []
    reader = "data_prep.synthesis.vsi.walks.read_sights"
    monkeypatch.setattr(reader, lambda facts, frames, *more: read.append(len(frames)) or "sights")
    room = next(room for _, room, _ in WalkFolder(str(folder / "scenes")).rooms(FRAMES) if room)
    assert read == []
    assert room.sights == room.sights == "sights"
    assert read == [FRAMES]


def test_what_cannot_be_drawn_on_is_refused(folder, tmp_path, capsys, monkeypatch):
    rooms = tmp_path / "rooms.json"
    rooms.write_text(json.dumps({"a": {"object_counts": {}, "object_bbox": {}}}))
    for arguments in ((f"--rooms={rooms}", "--demonstrations"), (f"--rooms={folder}/scenes", "--demonstrations=short")):
        assert synthesize.main([*arguments, f"--out={tmp_path}/out"]) == 2
        assert "rendered walks" in capsys.readouterr().err
    # A clip of one's own: nobody knows which thing is which in its frames.
    known = SceneRecord.json_field
    monkeypatch.setattr(
        SceneRecord,
        "json_field",
        lambda self, name: {("video" if k == "walk" else k): v for k, v in known(self, name).items()},
    )
    assert synthesize.main([f"--rooms={folder}/scenes", "--demonstrations", f"--out={tmp_path}/clips"]) == 2
    assert "rendered walks" in capsys.readouterr().err

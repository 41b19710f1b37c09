"""Demonstrations draw over two to five turns, and every operation is where the scene has it: checked here from the JSON
alone, without the grammar and the album.
"""

import collections
import dataclasses
import json
import re

import pytest
from synthesis_world import scene

from data_prep.synthesis.demonstrations import add_demonstration, problem
from data_prep.synthesis.families import choose_families
from data_prep.synthesis.generate import Generator
from data_prep.synthesis.options import with_margins
from data_prep.synthesis.two_pictures import same_object, two_pictures
from spatial_jax.data.records import in_stored_pixels
from spatial_jax.drawing import parse, reflects


@pytest.fixture(scope="module")
def shown():
    """(record with turns, its scene) of many scenes."""
    families = choose_families("bearing,relation,count,depth_order2,listing")
    generator = Generator(families, with_margins([], profile="plain", wordings=1), per_scene=6, seed=3)
    scenes = [dataclasses.replace(scene(i, objects=5), tags=("rendered", "complete")) for i in range(40)]
    return [(add_demonstration(record, s), s) for s in scenes for record in generator(s)]


def calls(record):
    """Items of each turn, in pixels of the stored picture."""
    turns = in_stored_pixels(record).json_field("meta")["turns"]
    return [json.loads(turn.split("```json\n")[1].split("\n```")[0]) for turn in turns]


def iou(a, b):
    width, height = (max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    both = width * height
    return both / (sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - both)


def test_demonstrations_interleave_boxes_and_lines(shown):
    drawn = [(record, s) for record, s in shown if '"turns"' in record.meta]
    assert len(drawn) > 0.9 * len(shown) > 50
    kinds, lengths = collections.Counter(), collections.Counter()
    for record, s in drawn:
        boxes, corrected = {o.caption: o.box for o in s.objects}, False
        lengths[len(calls(record))] += 1
        last = {}
        for number, items in enumerate(calls(record), 1):
            for item in items:
                assert item["index"] == number  # each turn draws on the newest picture
                if "bbox_2d" in item:
                    kinds["box"] += 1
                    corrected |= item["label"] in last
                    last[item["label"]] = item["bbox_2d"]
                else:
                    kinds["line"] += 1
                    for end in (item["start_point_2d"], item["end_point_2d"]):
                        inside = [b for b in last.values() if b[0] <= end[0] <= b[2] and b[1] <= end[1] <= b[3]]
                        assert inside or end == [s.width / 2, s.height / 2]
        for label, box in last.items():
            assert iou(box, boxes[label]) > 0.8
        kinds["corrected"] += corrected
        steps = [parse(turn) for turn in in_stored_pixels(record).json_field("meta")["turns"]]
        assert reflects(steps) == corrected
        assert all("<think> " in t and len(t.split("</think>")[0]) > 30 for t in record.json_field("meta")["turns"])
    assert min(kinds["box"], kinds["line"]) > 40 and 0.2 < kinds["corrected"] / len(drawn) < 0.8
    assert set(lengths) == {2, 3, 4, 5}


def test_a_wrong_operation_is_found(shown):
    record, s = next((r, s) for r, s in shown if "Path Tracer" in r.meta and r.family == "relation")
    turns = record.json_field("meta")["turns"]
    assert problem(record, {1: s}) == ""
    for old, new, words in (
        (turns[0], turns[0].replace('"label": "', '"label": "no '), "is boxed where it is not"),
        (turns[-1], re.sub(r'("end_point_2d": )\[[^]]*\]', r"\1[1, 1]", turns[-1]), "leaves what was boxed"),
        (turns[1], turns[1].replace('"index": 2', '"index": 7'), "there is no picture 7"),
    ):
        meta = {**record.json_field("meta"), "turns": [new if t == old else t for t in turns]}
        assert words in problem(dataclasses.replace(record, meta=json.dumps(meta)), {1: s})


def test_two_pictures_are_both_drawn_on():
    made = []
    for i in range(40):
        first, second = (scene(i, seed=k, objects=9, width=w) for k, w in ((0, 320), (1, 400)))
        record = two_pictures(first, dataclasses.replace(second, content_hash="1" * 64))
        if record is not None:
            made.append((record, (first, second)))
    assert len(made) > 8 and {record.answer for record, _ in made} == {"1", "2"}
    for record, scenes in made:
        pictures = [item["index"] for items in calls(record) for item in items if "bbox_2d" in item]
        assert pictures == [1, 2] and record.widths == (320, 400)
        label = calls(record)[0][0]["label"]
        places = [next(o.box for o in s.objects if o.caption == label) for s in scenes]
        middles = [(box[0] + box[2]) / 2 / s.width for box, s in zip(places, scenes)]
        further = min if "left" in record.question else max
        assert record.answer == str(middles.index(further(middles)) + 1)
        boxed = [item["bbox_2d"] for items in calls(record) for item in items if "bbox_2d" in item]
        assert all(max(abs(a - b) for a, b in zip(x, y)) <= 0.5 for x, y in zip(boxed, places))


def frame(whole, number, instances):
    """The scene as a frame of walk 1, its things with these instances' ids; of each kind two or more."""
    things = [
        dataclasses.replace(
            o, name="ball" if n % 2 else "box", caption=f"{number}{n} thing", provenance=json.dumps({"instance": n})
        )
        for n, o in zip(instances, whole.objects)
    ]
    meta = json.dumps({"walk": "walk-1", "frame": number})
    return dataclasses.replace(whole, objects=tuple(things), meta=meta, content_hash=str(number) * 64)


def test_a_thing_is_followed_over_frames_by_its_instance():
    made = []
    for i in range(12):
        first, second = (scene(i, seed=k, objects=6, width=320) for k in (0, 1))
        frames = frame(first, 1, range(6)), frame(second, 2, (5, 3, 1, 0, 2, 4)[: len(second.objects)])
        assert two_pictures(*frames) is None  # no caption is in both, though things are
        assert same_object(first, second) is None and same_object(frames[0], second) is None
        if (record := same_object(*frames)) is None:
            continue
        made.append(record)
        (asked,), options = calls(record)
        shown = {o.caption: (json.loads(o.provenance)["instance"], o.box) for f in frames for o in f.objects}
        assert asked["index"] == 1 and {item["index"] for item in options} == {2} and len(options) >= 2
        assert {shown[item["label"]][0] % 2 for item in options} == {shown[asked["label"]][0] % 2}
        assert shown[record.answer][0] == shown[asked["label"]][0] and record.answer.startswith("2")
        assert asked["label"] in record.question and all(item["label"] in record.question for item in options)
        assert all(iou(item["bbox_2d"], shown[item["label"]][1]) > 0.8 for item in (asked, *options))
    assert len(made) > 8


def test_short_demonstrations_box_all_in_one_turn_and_correct_in_a_second(shown):
    lengths = collections.Counter()
    for record, s in shown:
        plain = dataclasses.replace(record, meta=json.dumps({**record.json_field("meta"), "turns": []}))
        short = add_demonstration(plain, s, "short")
        if '"turns": []' in short.meta:
            continue
        boxes, drawn = {o.caption: o.box for o in s.objects}, calls(short)
        lengths[len(drawn)] += 1
        last = {item["label"]: item["bbox_2d"] for items in drawn for item in items}
        assert all(iou(box, boxes[label]) > 0.8 for label, box in last.items())
        assert [item["label"] for item in drawn[0]] == list(last) and len(drawn[-1]) == (1 if drawn[1:] else len(last))
        assert reflects([parse(turn) for turn in in_stored_pixels(short).json_field("meta")["turns"]]) == bool(
            drawn[1:]
        )
        if record.family == "count" and not drawn[1:]:
            assert (starts := [box[0] + box[2] for box in last.values()]) == sorted(starts)
    assert set(lengths) == {1, 2} and 0.15 < lengths[2] / lengths.total() < 0.55

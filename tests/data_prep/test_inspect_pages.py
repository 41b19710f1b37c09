"""The inspection pages of scene and question datasets: complete, hostile, damaged."""

import dataclasses
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from data_prep.inspect.__main__ import main
from data_prep.inspect.scenes import _origin
from data_prep.pipeline import Outcome
from data_prep.writer import DatasetWriter, Serializer
from spatial_jax.data.records import (
    QuestionRecord,
    SceneObject,
    SceneRecord,
    question_features,
    scene_features,
    to_example,
)

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.names, self.handlers = [], []
        self.feed(text)

    def handle_starttag(self, name, attributes):
        self.names.append(name)
        self.handlers += [key for key, _ in attributes if key.startswith("on")]


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def scene(text="red ball", **changes):
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 5:25] = 255
    thing = SceneObject(
        "0",
        text,
        text,
        (5, 5, 25, 20),
        png(mask),
        depth_median=2.0,
        depth_q20=1.9,
        depth_q80=2.1,
        center=(0, 0, 2.0),
        extent=(0.3, 0.2, 0.1),
        uncertainty=json.dumps({"depth_median": 0.05, "extent_0": 0.01, "center": 0.02}),
        points=np.zeros((8, 3), np.float16).tobytes(),
        provenance=json.dumps({"box": text}),
    )
    values = {
        "scene_id": text,
        "source": text,
        "split": "train",
        "image": png(np.full((30, 40, 3), 90, np.uint8)),
        "width": 40,
        "height": 30,
        "content_hash": text,
        "objects": (thing,),
        "depth_png": png(np.full((30, 40), 2000, np.uint16)),
        "depth_scale": 0.001,
        "depth_flag": "metric",
        "intrinsics": (40.0, 40.0, 20.0, 15.0),
        "intrinsics_source": "sensor",
        "gravity": (0.0, 1.0, 0.0),
        "tags": (text,),
        "provenance": json.dumps({"depth": text}),
        **changes,
    }
    return SceneRecord(**values)


def question(text="red ball", **changes):
    values = {
        "question_id": text,
        "source": text,
        "split": "train",
        "scene_id": text,
        "images": (png(np.full((30, 40, 3), 90, np.uint8)),),
        "widths": (40,),
        "heights": (30,),
        "question": f"Box of the {text}? {{x:4.0}}",
        "question_type": "box",
        "answer": "[{x:5.000}, {y:5.000}, {x:25.000}, {y:20.000}]",
        "options": (text,),
        "unit": "px",
        "family": text,
        "hops": 2,
        "meta": json.dumps({"margin": 1.5, "objects": ["0"], "captions": [text], "rule_inputs": {text: text}}),
        "tags": (text,),
        **changes,
    }
    return QuestionRecord(**values)


def write(folder, name, records, features, config=None, dropped=()):
    serialize = Serializer(features)
    with DatasetWriter(str(folder), name, features, config or {}, shard_records=100) as writer:
        for i, record in enumerate(records):
            writer.append(
                Outcome(i, f"item{i}", "record", record.split, example=serialize(to_example(record)), objects=1)
            )
        for i, (item, reason) in enumerate(dropped, len(records)):
            writer.append(Outcome(i, item, "dropped", stage="quality", reason=reason))
        writer.finish()
    return folder


def page_of(folder, *arguments):
    assert main([str(folder), "--out", str(folder / "page.html"), *arguments]) == 0
    return (folder / "page.html").read_text(encoding="utf-8")


def test_scenes(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (30, 30)).save(photos / "dark.png")
    config = {"source": {"source": "folder", "path": str(photos)}}
    folder = write(
        tmp_path / "scenes",
        "scenes",
        [scene(), scene("blue box", split="heldout")],
        scene_features(),
        config,
        dropped=[("dark.png", "too dark"), ("../../etc/passwd", "too dark")],
    )
    page = page_of(folder)
    for text in (
        "2.00 ± 0.05",
        "0.300 ± 0.010",
        "(± 0.02)",
        "from a second viewpoint",
        "red ball",
        "blue box",
        "<td>quality</td><td>dropped: too dark</td>",
        "passwd",
        "depth, metric",
        "heldout",
    ):
        assert text in page, text
    # Per scene picture, mask, depth and cloud; of the dropped items only the one inside the source folder.
    assert Tags(page).names.count("img") == 2 * 4 + 1


def test_what_is_seen_of_an_object_is_told_where_it_is_known(tmp_path):
    thing = scene().objects[0]
    heads = {}
    for name, changed in (
        ("unknown", thing),
        ("part", dataclasses.replace(thing, visible_fraction=0.4)),
        ("rendered", dataclasses.replace(thing, provenance='{"box": "rendered"}')),
    ):
        folder = write(tmp_path / name, "scenes", [scene(objects=(changed, thing))], scene_features())
        heads[name] = page_of(folder)
    assert ">visible<" not in heads["unknown"] and "100 %" not in heads["unknown"]
    assert ">40 %<" in heads["part"] and "100 %" not in heads["part"] and ">100 %<" in heads["rendered"]


def test_what_was_not_asked_is_told_with_what_it_counts(tmp_path):
    folder = write(tmp_path / "questions", "questions", [question()], question_features())
    assert "no report.json" in page_of(folder) and "Nothing was refused" not in page_of(folder)
    told = {"rows": [], "found": ["q.jsonl: 1 file, 3 rows"], "not_asked": {}, "refused": {}}
    (folder / "report.json").write_text(json.dumps(told))
    assert "Nothing was refused or left out." in page_of(folder) and "q.jsonl: 1 file" in page_of(folder)
    told["refused"] = {"depth": {"depth_ratio": {"count": 1675, "limit": 1.15, "half": 1.09, "most": 1.01}}}
    told["not_asked"] = {"depth: would tilt the balance": 3, "object: too small": 2, "no picture": 1}
    (folder / "report.json").write_text(json.dumps(told))
    page = page_of(folder)
    assert "Nothing was refused" not in page and "1,675 candidates refused by a margin" in page
    cells = ["margins.depth_ratio", ">1.09<", ">scenes<", ">objects<", ">items<", ">too small<"]
    assert all(text in page for text in cells)


def test_why_a_question_was_asked_and_what_a_picture_is_good_for(tmp_path):
    meta = {
        "margin": 1.5,
        "form": "center",
        "objects": ["0"],
        "uncertainty": 0.12,
        "uncertainty_parts": {"scale": 0.1, "shift": 0.0, "own": 0.066},
        "tolerance": 0.15,
    }
    given = {"family": "distance", "question_type": "number", "answer": "1.7", "unit": "m", "meta": json.dumps(meta)}
    page = page_of(write(tmp_path / "questions", "questions", [question(**given)], question_features()))
    assert "clears margins.most_tolerance 1.5 times" in page and "so it is asked within 15 %." in page
    assert "picture&#x27;s scale ± 0.1" in page and "its shift" not in page and "number within a tolerance" in page
    metric, plane = scene(), scene("b", depth_flag="none", depth_png=b"")
    page = page_of(write(tmp_path / "scenes", "scenes", [metric, plane], scene_features()))
    assert "picture plane only" in page and ">metres<" in page and "can be asked" in page
    assert "needs metric depth, centres, gravity" in page and 'data-facet="verdict"' in page


def test_depths_in_metres_and_relative_ones_are_apart(tmp_path):
    records = [scene(), scene("b", depth_flag="relative")]
    page = page_of(write(tmp_path / "scenes", "scenes", records, scene_features()))
    assert "Depth of objects, relative" in page and page.count("Depth of objects") == 2


def test_questions_find_their_scenes(tmp_path):
    scenes = write(tmp_path / "scenes", "scenes", [scene()], scene_features())
    asked = [question(), question(question_id="2", question_type="number", answer="2.5", unit="m", question="How far?")]
    folder = write(tmp_path / "questions", "questions", asked, question_features(), {"scenes": str(scenes)})
    (folder / "report.json").write_text(
        json.dumps(
            {
                "not_asked": {"box: nothing past its margins": 3},
                "rows": [{"family": "red ball", "split": "train", "chance": 0.5, "constant": 0.55, "words": None}],
            }
        )
    )
    page = page_of(folder)
    for text in (
        "[5, 5, 25, 20]",
        "margin 1.5",
        "2 hops",
        "nothing past its margins",
        "0.55",
        "2.5 m",
        "box truth",
        "red ball: 2 away",
    ):
        assert text in page, text


def test_hostile_text_in_every_field(tmp_path):
    bad = scene(EVIL, depth_flag=EVIL, intrinsics_source=EVIL, meta=json.dumps({EVIL: EVIL}))
    scenes = write(tmp_path / "scenes", "scenes", [bad], scene_features(), {EVIL: EVIL}, dropped=[(EVIL, EVIL)])
    asked = [
        question(EVIL),
        question(EVIL, question_id="2", question_type=EVIL, answer=EVIL, meta=EVIL, reward=json.dumps({EVIL: EVIL})),
    ]
    questions = write(tmp_path / "questions", "questions", asked, question_features(), {"scenes": str(scenes)})
    for folder in (scenes, questions):
        seen = Tags(page_of(folder))
        assert seen.names.count("script") == 1 and not seen.handlers


def test_broken_contents_cost_only_themselves(tmp_path):
    bad = scene("bad")
    thing = dataclasses.replace(
        bad.objects[0], mask_png=b"broken", uncertainty="{", center=(float("nan"),) * 3, box=(float("nan"),) * 4
    )
    small = dataclasses.replace(bad.objects[0], mask_png=png(np.zeros((4, 4), np.uint8)), points=b"123")
    records = [
        dataclasses.replace(bad, objects=(thing, small), depth_png=b"broken", intrinsics=(-1.0, 0.0, 0.0, 0.0)),
        dataclasses.replace(bad, depth_png=b"", intrinsics=(), objects=(dataclasses.replace(thing, mask_png=b""),)),
        scene("good"),
    ]
    page = page_of(write(tmp_path / "scenes", "scenes", records, scene_features()))
    for text in ("mask cannot be read", "mask is 4x4, the picture 40x30", "depth cannot be read", "good"):
        assert text in page, text


def test_damaged_shard_is_named(tmp_path):
    folder = write(tmp_path / "scenes", "scenes", [scene(), scene("b", split="heldout")], scene_features())
    shard = next(folder.glob("*train*"))
    shard.write_bytes(b"")
    assert f"{shard.name} holds 0 of 1 records" in page_of(folder)


@pytest.mark.parametrize(
    "make,words", [(lambda p: p / "nothing", "no finished dataset"), (lambda p: p, "no finished dataset")]
)
def test_no_dataset_is_one_line_and_exit_code_2(tmp_path, capsys, make, words):
    assert main([str(make(tmp_path))]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_where_an_object_comes_from_is_told_in_words():
    assert _origin({"mask": "frame list", "occluded": False, "truncated": True}) == "frame list, truncated"

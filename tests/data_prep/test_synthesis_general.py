"""Colours, names and written words of rendered rooms: the sign is where it is said to be, and the answers are true."""

import json
import random

import numpy as np

from data_prep.annotate import build_pipeline
from data_prep.sources.rendered import RenderedScenes
from data_prep.sources.signs import WORDS, hang_sign
from data_prep.synthesis import FAMILIES, Generator, Options, choose_families
from data_prep.synthesis.view import SceneView
from spatial_jax.data.records import SceneRecord

COUNT = 24


def rooms():
    """(index, room with a sign, its rendering, the rendering without it)."""
    signed, bare = (RenderedScenes("clear", COUNT, 9, signs=signs) for signs in (True, False))
    for index in range(COUNT):
        room, drawn, _ = signed.draw(index)
        if room.sign is not None:
            yield index, room, drawn, bare.draw(index)[1]


def test_a_sign_changes_its_own_pixels_alone_and_nothing_else_of_the_room():
    found = list(rooms())
    assert len(found) > COUNT / 2 and len({room.sign.text for _, room, _, _ in found}) > 3
    for _, room, drawn, bare in found:
        assert (drawn.depth == bare.depth).all() and (drawn.owner == bare.owner).all()
        rows, columns = np.nonzero((drawn.rgb != bare.rgb).any(-1))
        sign, other = room.sign, 1 - room.sign.axis
        middle = np.array([0.0, 0.0, sign.up])
        middle[sign.axis], middle[other] = room.walls[sign.end, sign.axis], sign.along
        corners = np.repeat(middle[None], 4, 0)
        corners[:, other] += sign.half[0] * np.array([-1, 1, 1, -1])
        corners[:, 2] += sign.half[1] * np.array([-1, -1, 1, 1])
        pixels = room.camera.project(corners)
        low, high = pixels.min(0), pixels.max(0)
        assert (low >= 0).all() and (high < (room.camera.width, room.camera.height)).all()
        assert columns.min() >= low[0] - 1 and columns.max() <= high[0] + 1
        assert rows.min() >= low[1] - 1 and rows.max() <= high[1] + 1
        assert (drawn.owner[rows, columns] < 0).all()


def test_a_sign_reads_from_left_to_right():
    """The first letter's board is on the left: what the bitmap has in its left half stands left in the picture."""
    found = []
    for _, room, drawn, bare in rooms():
        if drawn.sign < 1:
            continue
        changed = (drawn.rgb != bare.rgb).any(-1)
        rows, columns = np.nonzero(changed)
        seen = drawn.rgb[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(float).mean(-1)
        ink = np.asarray(room.sign.bitmap, float).mean(-1)
        at = np.linspace(0, ink.shape[0] - 1, seen.shape[0]).astype(int)
        across = np.linspace(0, ink.shape[1] - 1, seen.shape[1]).astype(int)
        like = [np.corrcoef(seen.ravel(), a[np.ix_(at, across)].ravel())[0, 1] for a in (ink, ink[:, ::-1], ink[::-1])]
        found.append(like)
    right, mirrored, upside_down = np.mean(found, 0)
    assert len(found) > 5 and right > 0.5 and right > max(mirrored, upside_down) + 0.1, np.round(found, 2)


def test_no_wall_has_room_no_sign():
    room = RenderedScenes("clear", 1, 0).draw(0)[0]
    low = np.array([room.camera.position - 0.3, room.camera.position + 0.3])
    assert hang_sign(room.camera, low, np.random.default_rng(0)) is None


def test_general_questions_are_true_and_not_part_of_all():
    assert not {"colour", "kind", "reading"} & {f.name for f in choose_families("all")}
    spec = {"source": "rendered", "preset": "clear", "count": 12, "seed": 9, "signs": True}
    pipeline, generator = (
        build_pipeline(spec),
        Generator(choose_families("colour,kind,reading"), Options(), per_scene=9),
    )
    seen = set()
    for index in range(12):
        scene = pipeline.record(index)
        meta = json.loads(scene.meta)
        for question in generator(scene):
            seen.add(question.family)
            if question.family == "reading":
                assert [question.answer] == [s["text"] for s in meta["signs"]] and question.answer in WORDS
            else:
                inputs = json.loads(question.meta)["rule_inputs"]
                pair = (
                    (inputs["answer"], inputs["a"]) if question.family == "colour" else (inputs["a"], inputs["answer"])
                )
                things = [(t["colour"], t["kind"]) for t in meta["truth"]]
                asked = 1 if question.family == "colour" else 0
                assert pair in things and sum(t[asked] == pair[asked] for t in things) == 1
    assert seen == {"colour", "kind", "reading"}


def test_a_word_that_something_stands_before_is_not_asked():
    ask = FAMILIES["reading"].generate
    for visible, asked in ((1.0, 1), (0.8, 0)):
        meta = json.dumps({"signs": [{"text": "exit", "visible": visible}]})
        scene = SceneRecord("s", "t", "train", b"", 112, 112, "s", meta=meta)
        assert len(list(ask(SceneView(scene, Options()), random.Random(0), Options()))) == asked

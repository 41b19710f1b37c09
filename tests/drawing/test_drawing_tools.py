"""Tools: marks of one label, a cut of another size, and a toy tool and a toy form added by their tables alone."""

import dataclasses
import io
import json

import numpy as np
import pytest
import question_sets
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from spatial_jax.blocks import block
from spatial_jax.config import default, strict, strict_as
from spatial_jax.data.prompts import PromptStyle, build_messages, target_text
from spatial_jax.data.records import coordinate, resolve_text
from spatial_jax.drawing import Album, DrawingError, Operation, parse, render_entry
from spatial_jax.drawing.environment import replay, replay_with_text
from spatial_jax.drawing.grammar import valid_block
from spatial_jax.drawing.stored import stored_turns
from spatial_jax.drawing.texts import system_text
from spatial_jax.drawing.tool import has_numbers, put_marks
from spatial_jax.drawing.tools import PUBLISHED, TOOLS
from spatial_jax.evals import score_response
from spatial_jax.evals.settings import EvalSettings
from spatial_jax.forms import FORMS, Form, extract_answer, matches_format
from spatial_jax.rewards import score
from spatial_jax.rewards.attacks import attacks

ALL = (*PUBLISHED, "crop")


def call(*items):
    return "<think> I look. </think> Action: Object Mapper\n```json\n" + json.dumps(items) + "\n```"


def box(label="egg", points=(10, 10, 30, 30), index=1):
    return {"index": index, "bbox_2d": list(points), "label": label}


def cut(points, index=1, label="part"):
    return {"index": index, "crop_2d": list(points), "label": label}


def test_all_boxes_of_one_label_in_one_call_are_drawn():
    album = Album([(112, 84)])
    eggs = [box(points=(x, 10, x + 20, 30)) for x in (5, 40, 75)]
    album.draw(parse(call(*eggs, box("cup", (60, 50, 90, 80)))), 9)
    assert [o.label for o in album.entries[1].drawn] == ["egg"] * 3 + ["cup"]
    picture = np.asarray(render_entry(Image.new("RGB", (112, 84), "white"), album.entries[1], album.labels))
    assert all((picture[20, x] == (255, 0, 0)).all() for x in (5, 40, 75))
    album.draw(parse(call(box(points=(1, 1, 9, 9), index=2), box(points=(2, 40, 30, 60), index=2))), 9)
    assert [(o.label, o.points[0]) for o in album.entries[2].drawn] == [("egg", 1), ("egg", 2), ("cup", 60)]


def test_near_repeats_end_a_sample_where_asked():
    def way(x, label):
        return {"index": 1, "start_point_2d": [5, 5], "end_point_2d": [x, 80], "label": label}

    another = box("another", (12, 10, 30, 30))  # a box's label is seen, so it is another drawing
    turns = (way(102, "b"), another, way(100, "a"), box(points=(11, 9, 30, 30)))
    for near, ends in ((0.0, [False, False, True, False]), (3.0, [True, False, True, True]), (None, [False] * 4)):
        for turn, end in zip(turns, ends):
            album = Album([(112, 84)], near=near)
            album.draw(parse(call(way(100, "a"), box())), 9)
            if end:
                with pytest.raises(DrawingError, match="nothing that was not drawn"):
                    album.draw(parse(call(turn)), 9)
            else:
                album.draw(parse(call(turn)), 9)


@given(st.lists(st.tuples(st.sampled_from(["box", "path"]), st.sampled_from("abc"), st.integers(0, 3)), max_size=8))
def test_a_call_loses_no_mark_and_keeps_no_replaced_one(marks):
    operations = [Operation(kind, 1, label, (float(n),)) for kind, label, n in marks]
    before, new = operations[::2], operations[1::2]
    kept = put_marks(before, new)
    replaced = {(o.kind, o.label) for o in new}
    assert set(kept) == set(new) | {o for o in before if (o.kind, o.label) not in replaced}


def test_a_cut_is_a_picture_of_its_own_size():
    clean = Image.new("RGB", (112, 84), "white")
    ImageDraw.Draw(clean).rectangle((60, 40, 79, 59), fill=(10, 20, 30))
    album = Album([clean.size], fit=lambda size: (28 * round(size[0] / 28), 28 * round(size[1] / 28)))
    new = album.draw(parse(call(box("cup", (0, 0, 20, 20)), cut((79, 59, 60, 40))), ALL), 9)
    assert new == [1, 2] and [e.size for e in album.entries] == [(112, 84), (112, 84), (84, 84)]
    shown = render_entry(clean, album.entries[2], album.labels)
    assert shown.size == (84, 84) and shown.getpixel((42, 42)) == (10, 20, 30)
    album.draw(parse(call(box("leaf", (10, 10, 70, 70), index=3)), ALL), 9)
    marked = render_entry(clean, album.entries[3], album.labels)
    assert marked.size == (84, 84) and marked.getpixel((10, 40)) == marked.getpixel((40, 10)) == (0, 128, 0)
    album.draw(parse(call(cut((0, 0, 42, 42), index=4)), ALL), 9)
    closer = album.entries[4]
    assert [o.kind for o, _ in closer.under] == ["crop", "box", "crop"] and not closer.drawn
    assert render_entry(clean, closer, album.labels).size == closer.size
    _, places, text = replay_with_text([call(cut((60, 40, 80, 60)))], [(112, 84)], 4, 9, ALL)
    assert places == [1] and "image is 2 (width: 97, height: 97)" in text


def test_marks_on_a_cut_follow_the_size_at_which_its_picture_is_seen():
    """A policy saw the picture at half its stored size, the next one sees it whole: the same part of it is marked."""
    turns = [call(cut((60, 40, 80, 60))), call(box("leaf", (10, 20, 70, 80), index=2))]
    kept, made = stored_turns(turns, [(224, 168)], [(112, 84)], coordinate, ALL)
    assert made == 2
    for scale, size in ((0.5, (112, 84)), (1.0, (224, 168))):
        said = [resolve_text(turn, scale, scale) for turn in kept]
        album, _ = replay(said, [size], 9, ALL)
        (mark,), (shown,) = album.entries[2].drawn, {entry.size for entry in album.entries[1:]}
        shares = [round(value / side, 2) for value, side in zip(mark.points, shown * 2)]
        assert shares == [0.1, 0.21, 0.72, 0.82]
        assert scale == 1.0 or (said[0] == turns[0] and parse(said[1]) == parse(turns[1]))


@pytest.mark.parametrize("points", [(200, 200, 300, 300), (10, 10, 11, 80), (-9, -9, -1, 50)])
def test_a_cut_of_nothing_ends_the_sample(points):
    with pytest.raises(DrawingError, match="less than 4 pixels"):
        Album([(112, 84)]).draw(parse(call(cut(points)), ALL), 9)


def test_only_offered_tools_are_read():
    with pytest.raises(DrawingError, match="neither an answer nor an operation"):
        parse(call(cut((1, 1, 50, 50))))
    assert not valid_block(json.dumps([cut((1, 1, 50, 50))])) and valid_block(json.dumps([cut((1, 1, 50, 50))]), ALL)
    assert "Magnifier" not in system_text(PUBLISHED) and "crop_2d" in FORMS["drawing_zoom"].system
    talk = call(cut((1, 1, 50, 50))) + "<|im_end|>\n<|im_start|>assistant\n<think>so</think> Action: Answer\n"
    talk += "<answer>cup</answer><|im_end|>"
    assert matches_format(talk, "drawing_zoom") and not matches_format(talk, "drawing")


class Grey:
    """A toy tool: a picture without its colours."""

    name, action, marks, shows_label = "grey", "Bleacher", False, True
    example, does = '{"index": 1, "grey": [1], "label": "name"}', "Bleacher takes the colours away"

    def read(self, item):
        return (1.0,) if has_numbers(item, "grey", 1) else None

    def place(self, base, operations, fit):
        return dataclasses.replace(base, under=(*base.under, (operations[0], base.size)))

    def show(self, picture, operation, colour, size):
        return picture.convert("L").convert("RGB")


def test_a_toy_tool_is_a_file_and_a_line_of_the_table(monkeypatch):
    monkeypatch.setitem(TOOLS, "grey", Grey())
    album = Album([(56, 56)])
    assert album.draw(parse(call({"index": 1, "grey": [1], "label": "all"}), ("grey",)), 9) == [1]
    shown = render_entry(Image.new("RGB", (56, 56), "red"), album.entries[1], album.labels)
    assert len(set(shown.getpixel((3, 3)))) == 1
    assert "Action: Bleacher" in system_text((*PUBLISHED, "grey"))


def test_a_toy_form_is_one_record_of_the_table(monkeypatch):
    form = Form(
        "shout",
        "Shout {form} inside <shout></shout>.",
        "<shout>{answer}</shout>",
        lambda text: text.startswith("<shout>") and text.endswith("</shout>") and bool(block(text, "shout")),
        lambda text: block(text, "shout"),
    )
    monkeypatch.setitem(FORMS, "shout", form)
    config = default()
    config.data.prompt_mode = "shout"
    assert strict(config).data.prompt_mode == "shout"
    assert strict_as(EvalSettings, {"policy": {"prompt_mode": "shout"}}).policy.prompt_mode == "shout"
    out = io.BytesIO()
    Image.new("RGB", (56, 56)).save(out, "PNG")
    record = question_sets.record(0, images=(out.getvalue(),), widths=(56,), heights=(56,))
    asked = str(build_messages(record, PromptStyle("shout")))
    assert "Shout" in asked and target_text(record, "shout").startswith("<shout>")
    spec = {"kind": "choice", "format": "shout", "format_weight": 0.2}
    known = record.as_dict()
    right = target_text(record, "shout")
    assert score(spec, right, known) == 1.0 and score(spec, extract_answer(right, "shout"), known) == 0.0
    assert next(a for a in attacks(spec, known) if a.name == "the truth").response.startswith("<shout>")
    item = {"id": "1", "type": "2D", "task": "Count", "source": "ADE20K", "answer": "(A)", "choices": ["2", "3"]}
    item |= {"question": "How many?", "prompt": "How many?", "idx": 1}
    assert score_response("cv_bench", "<shout>A</shout>", item, form="shout")["score"] == 1.0

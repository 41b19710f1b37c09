"""The point reward: regions of every kind, units, aims, counts; hostile answers; the way from a question file."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.synthesis.importers.answers import read_answer, stated_type
from data_prep.synthesis.importers.rows import BadRow
from spatial_jax.rewards import check_record, score
from spatial_jax.rewards.kinds.point import in_ring
from spatial_jax.rewards.parsing.points import number_tuples, parse_points

BOX = "[100, 100, 200, 200]"
L_SHAPE = "[[0, 0], [200, 0], [200, 100], [100, 100], [100, 200], [0, 200]]"
TWO = "[[[0, 0], [10, 0], [10, 10], [0, 10]], [[50, 50], [60, 50], [60, 60], [50, 60]]]"
# 3 rows, 2 columns: the right column is inside, column by column
MASK = json.dumps({"size": [3, 2], "counts": [3, 3]})


def record(answer, **more):
    return {"question_id": "q", "question": "Point at it.", "answer": answer, "question_type": "point", **more}


@pytest.mark.parametrize(
    "spec,answer,response,expected",
    [
        ({}, BOX, "(150, 150)", 1.0),
        ({}, BOX, "[(150, 150), (10, 10)]", 0.5),
        ({}, BOX, "At first (5, 5). The answer is (150, 150).", 1.0),
        ({}, BOX, '```json\n[{"point_2d": [150, 150], "label": "cup"}]\n```', 1.0),
        ({}, BOX, '<point x="150" y="150">cup</point>', 1.0),
        ({}, BOX, "[100, 100, 200, 200]", 0.0),
        ({}, BOX, "150, 150", 0.0),
        ({}, BOX, "", 0.0),
        ({}, L_SHAPE, "[[50, 150], [150, 150]]", 0.5),
        ({}, TWO, "[(5, 5), (55, 55), (30, 30), (60, 60)]", 0.75),
        ({"aim": "first"}, BOX, "[(150, 150), (10, 10)]", 1.0),
        ({"aim": "all"}, BOX, "[(150, 150), (10, 10)]", 0.0),
        ({"count": 2}, BOX, "(150, 150)", 0.0),
        ({"count": 2}, BOX, "(150, 150) and (160, 160)", 1.0),
        ({"units": "thousand"}, MASK, "(750, 500)", 1.0),
        ({"units": "thousand"}, MASK, "(250, 500)", 0.0),
        ({"units": "unit"}, MASK, "(0.75, 0.5)", 1.0),
        ({"units": "unit"}, MASK, "(1.75, 0.5)", 0.0),
        ({"format": "think_answer"}, BOX, "<think>at (1, 1)?</think><answer>(150, 150)</answer>", 1.0),
    ],
)
def test_share_of_the_points_inside(spec, answer, response, expected):
    assert score({"kind": "point", **spec}, response, record(answer)) == expected


def test_a_mask_in_pixels_of_the_resized_picture():
    assert score({"kind": "point"}, "(15, 5)", record(MASK, model_sizes=[(20, 30)])) == 1.0
    assert score({"kind": "point"}, "(5, 5)", record(MASK, model_sizes=[(20, 30)])) == 0.0


@pytest.mark.parametrize(
    "answer,words",
    [
        ("[1, 2, 3]", "no region"),
        ("[5, 5, 5, 9]", "no region"),
        ("[[1, 2], [3, 4]]", "no region"),
        ("a cup", "no JSON region"),
        ('{"size": [2, 2], "counts": [1]}', "runs that fill it"),
        ('{"size": [2, 2], "counts": [4]}', "empty"),
        ('{"size": 3}', "runs that fill it"),
    ],
)
def test_truths_that_are_no_region_are_named(answer, words):
    with pytest.raises(ValueError, match=words):
        check_record({"kind": "point"}, record(answer))


def test_wrong_keys_are_named():
    with pytest.raises(ValueError, match="units"):
        check_record({"kind": "point", "units": "px"}, record(BOX))
    with pytest.raises(ValueError, match="count"):
        check_record({"kind": "point", "count": -1}, record(BOX))


@given(st.integers(-20, 220), st.integers(-20, 220))
def test_even_odd_agrees_with_the_shape(x, y):
    ring = [(float(a), float(b)) for a, b in json.loads(L_SHAPE)]
    inside = (0 <= x <= 200 and 0 <= y <= 100) or (0 <= x <= 100 and 0 <= y <= 200)
    assert in_ring((x, y), ring) == inside


@given(st.text(alphabet="(),[]. -0123456789<point xy=\"'>", max_size=200))
def test_any_text_gives_points_or_none(text):
    assert all(np.isfinite(p).all() for p in parse_points(text))
    assert 0.0 <= score({"kind": "point"}, text, record(BOX)) <= 1.0


def test_tuples_as_the_harnesses_read_them():
    assert number_tuples("(1, 2) (3,4.5) (1.,2)") == [["1", "2"], ["3", "4.5"], ["1.", "2"]]
    assert number_tuples("( 1, 2) (1 ,2) (.5, .5) (a, 1)") == []


def test_a_question_file_may_ask_for_points():
    assert stated_type("pointing") == ("point", "")
    found = read_answer([[0, 0], [9, 0], [9, 9]], "Point.", (), "point", "", (10, 10))
    assert found.reward == {"kind": "point"} and found.question_type == "point" and found.text.startswith("[[")
    assert read_answer(MASK, "Point.", (), "point", "", None).text == MASK
    for wrong, words in (("the cup", "no region"), ([[0, 0], [99, 0], [9, 9]], "not lie"), ([[1, 1], [2, 2]], "three")):
        with pytest.raises(BadRow, match=words):
            read_answer(wrong, "Point.", (), "point", "", (10, 10))

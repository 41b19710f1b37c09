"""Letter and number rules of the harnesses, case by case; MRA's float edges; agreement rates are checked by hand on
saved outputs.
"""

import math

import numpy as np
import pytest

from spatial_jax.evals import matching, mra, numbers
from spatial_jax.evals.benchmarks import mindcube
from spatial_jax.evals.matching_spatial import match_number, match_option, option_score

CHOICES = {"A": "left", "B": "right", "C": "above the table", "D": "nan"}


@pytest.mark.parametrize(
    "text,expected",
    [
        ("B", "B"),
        ("(B)", "B"),
        ("Answer: C.", "C"),
        ("the answer is b", "B"),
        ("The correct answer is **D**", "D"),
        ("B C", "Z"),
        ("it is right", "B"),
        ("A long story about a thing that has no end at all", "Z"),
        ("Sorry, I can't help with images of people yet.", "Z"),
        ("Z", "Z"),
        ("", "Z"),
        ("left or right", "Z"),
        ("Failed to obtain answer via API B", "Z"),
        ("b", "Z"),
        ("above the table", "C"),
    ],
)
def test_can_infer(text, expected):
    assert matching.can_infer(text, CHOICES) == expected


def test_can_infer_wants_the_letter_near_the_end():
    assert matching.can_infer_option("B is what I would say", "ABCD") is None
    assert matching.can_infer_option("I would say it is B", "ABCD") == "B"
    assert matching.can_infer_option("B one two three", "ABCD") == "B"  # four tokens: index 0 > 4 - 5


def test_can_infer_text_refuses_long_responses():
    assert matching.can_infer_text("right" + " x" * 40, CHOICES) is None


@pytest.mark.parametrize(
    "text,expected",
    [
        ("The answer is B", "T"),
        ("because", "B"),
        ("(B) right", "B"),
        ("A. x", "A"),
        ("  c", "C"),
        ("1 B", ""),
        ("", ""),
        ("a table", "A"),
    ],
)
def test_leading_letter(text, expected):
    assert matching.leading_letter(text) == expected


@pytest.mark.parametrize(
    "text,expected",
    [
        ("", ""),
        ("B", "B"),
        ("The answer is (C)", "C"),
        ("A. left\nB. right\nSo (B)", "A"),
        ("I think it is D", "D"),
        ("no letter", ""),
        ("A or B", "A"),
        ("Both (A) and (C) fail, the answer is D because", "D"),
        ("xBx", "B"),
    ],
)
def test_ranked_letter(text, expected):
    assert matching.ranked_letter(text) == expected


@pytest.mark.parametrize(
    "text,expected",
    [
        ("A. left", "A"),
        ("B", "B"),
        ("answer: C", "C"),
        ("the answer is D", "D"),
        ("(B) and C.", "B"),
        ("so C. is", "C"),
        ("maybe B then", "B"),
        ("none", None),
        ("", None),
        ("My answer is A", "A"),
    ],
)
def test_pattern_letter(text, expected):
    assert matching.pattern_letter(text) == expected


@pytest.mark.parametrize(
    "text,expected",
    [
        ("B", "B"),
        ("first A\nD. back", "D"),
        ("D\n", None),
        ("a chair", "A"),
        ("It is c.", "C"),
        ("nothing", None),
        ("", None),
    ],
)
def test_last_line_letter(text, expected):
    assert matching.last_line_letter(text) == expected


@pytest.mark.parametrize(
    "text,expected",
    [
        ("<answer>b. left</answer>", "B"),
        ("thinking B </think> C", "B"),
        ("so A\nB", "B"),
        ("I pick\nC. above", "C"),
        ("答案：D", "D"),
        ("no idea", False),
        ("the answer is b", "B"),
        ("\u200bB\u200b", "B"),
        ("**C**", "C"),
        ("(D)", "D"),
        ("Both A and B", False),
        ("", False),
        ("option A: x\nB", "B"),
        ("<answer>42</answer> B", "B"),
    ],
)
def test_spatial_bench_option(text, expected):
    assert match_option(text) == expected


def test_spatial_bench_compares_texts_of_both_sides():
    assert option_score("nothing", "nothing at all") == (1.0, None)  # False == False, as there
    assert option_score("D", "D. back") == (1.0, "D")


@pytest.mark.parametrize(
    "text,expected",
    [
        ("3.5", 3.5),
        ("between 2 and 4", 4.0),
        ("<answer>7 m</answer> or 9", 7.0),
        ("<think>2</think>4", 4.0),
        ("twenty-one", -1.0),
        ("three chairs", 3.0),
        ("-1.5e2", -150.0),
        ("none", None),
        ("", None),
        (".5", 0.5),
        ("[3, 4]", 3.0),
    ],
)
def test_spatial_bench_number(text, expected):
    assert match_number(text) == expected


@pytest.mark.parametrize(
    "text,expected",
    [
        ("twenty-one", 21),
        ("3,500", 3),
        ("<think>2</think>4", 2),
        ("about 3.5 m", 3.5),
        ("one hundred and five cm", 105),
        ("no", None),
        ("-2", -2),
        ("four", 4),
        ("two thousand", 2000),
    ],
)
def test_first_number(text, expected):
    assert numbers.first_number(text) == expected


@pytest.mark.parametrize(
    "text,expected",
    [
        ("A. left", "A"),
        ("...THE TABLE.", "E"),
        ("<Answer>the answer is C</Answer>", "C"),
        ("My answer is B", "B"),
        ("*D*", "D"),
        ("so\nE", "E"),
        ("first A.\nthen B.", "B"),
        ("it is C then", "C"),
        ("none", None),
        ("", None),
        ("answer b", None),
    ],
)
def test_mindcube_extract(text, expected):
    assert mindcube.extract(text) == expected


@pytest.mark.parametrize(
    "p,t,expected",
    [
        (1.05, 1, 1.0),
        (1.10, 1, 0.9),
        (1.30, 1, 0.5),
        (1.35, 1, 0.3),
        (1.50, 1, 0.1),
        (0.5, 1, 0.1),
        (1.51, 1, 0.0),
        (10, 10, 1.0),
        (float("nan"), 1, 0.0),
        (float("inf"), 1, 0.0),
        (4, 10, 0.0),
    ],
)
def test_mra(p, t, expected):
    assert mra.mra_signed(p, t) == expected == mra.mra(p, t)


def test_mra_is_the_published_expression():
    for p in np.linspace(0.3, 1.7, 141):
        limits = np.linspace(0.5, 0.95, int((0.95 - 0.5) / 0.05 + 2))
        assert mra.mra_signed(float(p), 1.0) == pytest.approx((abs(float(p) - 1.0) / 1.0 <= 1 - limits).mean())


def test_mra_variants():
    assert mra.mra_signed(5, -1) == 1.0  # a negative truth always scores 1
    assert mra.mra(5, -1) == 0.0
    assert mra.mra(0, 0) == 1.0 and mra.mra(0.2, 0) == 0.6 and mra.mra(1, 0) == 0.0
    with pytest.raises(ZeroDivisionError):
        mra.mra_signed(1, 0)
    assert mra.mra_vilasr(1.5, 1, strict=True) == 0.0 and mra.mra_vilasr(1.1, 1, strict=True) == pytest.approx(0.8)
    assert mra.mra_vilasr(1.2, 1) == pytest.approx(0.6) and mra.mra_vilasr(0, 0) == 1.0 and mra.mra_vilasr(1, 0) == 0.0
    assert (
        mra.mra_spatial_ssrl(1.05, 1) == 0.9 and mra.mra_spatial_ssrl(1, 0) == 0.0 and mra.mra_spatial_ssrl(5, -1) > 1.0
    )


@pytest.mark.parametrize(
    "text,expected",
    [("1e3", 1000.0), ("1_000", 1000.0), ("٣", 3.0), ("3.5m", None), ("", None), ("9" * 6000, math.inf), (None, None)],
)
def test_to_float(text, expected):
    assert mra.to_float(text) == expected

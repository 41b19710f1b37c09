"""Every reward kind on its published vectors and on the cases that peers got wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatial_jax.rewards import (
    KINDS,
    box_iou,
    check_record,
    is_correct,
    mean_relative_accuracy,
    min_relative,
    overlong_penalty,
    score,
    smooth_depth,
)
from spatial_jax.rewards.rule import RewardRule, reward_spec


def record(answer, **more):
    return {
        "question_id": "q1",
        "question": "?",
        "answer": answer,
        "options": (),
        "unit": "",
        "question_type": "number",
        **more,
    }


# predicted, truth, strict, not strict (the exact columns of the published vectors)
MRA = [
    ("10", "10", 1.0, 1.0),
    ("9.5", "10", 0.9, 1.0),
    ("9", "10", 0.8, 0.9),
    ("7.5", "10", 0.5, 0.6),
    ("5", "10", 0.0, 0.1),
    ("15", "10", 0.0, 0.1),
    ("5.1", "10", 0.1, 0.1),
    ("4", "10", 0.0, 0.0),
    ("1.1", "1", 0.8, 0.9),
    ("1.05", "1", 0.9, 1.0),
    ("0", "0", 1.0, 1.0),
    ("1", "0", 0.0, 0.0),
]


@pytest.mark.parametrize("predicted, truth, strict, loose", MRA)
def test_mra_vectors(predicted, truth, strict, loose):
    assert mean_relative_accuracy(predicted, truth) == strict
    assert score({"kind": "mra"}, predicted, record(truth)) == strict
    assert score({"kind": "mra", "comparison": "<="}, f"The answer is {predicted}.", record(truth)) == loose


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2 m", 1.0),
        ("200 cm", 1.0),
        ("6 ft 6.74 in", 1.0),
        ("2.0 to 2.0", 1.0),
        ("", 0.0),
        ("2 m or 3 m", 0.0),
        ("nan", 0.0),
        ("2 m2", 0.0),
    ],
)
def test_mra_in_units(text, expected):
    assert score({"kind": "mra"}, text, record("2", unit="m")) == expected


@given(st.fractions(min_value=-100, max_value=100), st.fractions(min_value=-100, max_value=100))
def test_mra_properties(p, g):
    strict, loose = mean_relative_accuracy(p, g), mean_relative_accuracy(p, g, "<=")
    assert 0 <= strict <= loose <= 1 and mean_relative_accuracy(g, g) == 1
    assert mean_relative_accuracy(7 * p, 7 * g) == strict and mean_relative_accuracy(-p, -g) == strict


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2", 1.0),
        ("2.5", math.exp(-1)),
        ("1.6 m", math.exp(-1)),
        ("160 cm", math.exp(-1)),
        ("0", 0.0),
        ("-2", 0.0),
        ("", 0.0),
        ("far", 0.0),
    ],
)
def test_smooth_depth(text, expected):
    assert score({"kind": "depth"}, text, record("2", unit="m")) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "text, expected", [("1.5", 1.0), ("2.5", 1.0), ("1.49", 0.0), ("2.51", 0.0), ("8 ft 2.4 in", 1.0), ("0", 0.0)]
)
def test_tolerance_depth(text, expected):
    assert score({"kind": "depth", "form": "tolerance"}, text, record("2", unit="m")) == expected


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_smooth_depth_properties(p, g):
    assert (
        0 <= smooth_depth(p, g) <= 1
        and smooth_depth(p, g) == pytest.approx(smooth_depth(g, p))
        and smooth_depth(g, g) == 1
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        ("[0, 0, 10, 10]", 1.0),
        ("[0, 0, 10, 5]", 0.5),
        ("[5, 0, 15, 10]", 1 / 3),
        ("[20, 20, 30, 30]", 0.0),
        ("[10, 10, 0, 0]", 0.0),
        ("[0, 0, 0, 10]", 0.0),
        ("[0, 0, 10]", 0.0),
        ("[0, 0, 10, 10], [50, 50, 60, 60]", 0.0),
        ("", 0.0),
        ("x1=0", 0.0),
    ],
)
def test_iou(text, expected):
    assert score({"kind": "iou"}, text, record("[0, 0, 10, 10]")) == pytest.approx(expected)


def test_iou_is_clipped_to_the_picture_where_its_size_is_known():
    assert score({"kind": "iou"}, "[-10, 0, 10, 10]", record("[0, 0, 10, 10]", model_sizes=[(100, 100)])) == 1.0


box = st.tuples(*[st.floats(0, 100)] * 4)


@given(box, box)
def test_iou_properties(a, b):
    assert 0 <= box_iou(a, b) <= 1 and box_iou(a, b) == pytest.approx(box_iou(b, a))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("4", 1.0),
        ("four", 1.0),
        ("There are 4 chairs.", 1.0),
        ("4.0", 1.0),
        ("3-5", 0.0),
        ("4 or 5", 0.0),
        ("5", 0.0),
        ("-4", 0.0),
        ("", 0.0),
    ],
)
def test_count(text, expected):
    assert score({"kind": "number"}, text, record("4")) == expected


@pytest.mark.parametrize(
    "text, truth, expected",
    [
        ("12", "1", 1.0),
        ("1", "12", 1.0),
        ("2", "12", 0.0),
        ("11", "12", 1.0),
        ("6", "12", 0.0),
        ("6 o'clock", "7", 1.0),
    ],
)
def test_clock(text, truth, expected):
    assert score({"kind": "number", "absolute": 1, "cyclic": 12}, text, record(truth)) == expected


@pytest.mark.parametrize(
    "partial, text, expected",
    [
        ("none", "1-3-0-2", 1.0),
        ("none", "1-3-2-0", 0.0),
        ("slots", "1-3-2-0", 0.5),
        ("pairs", "1-3-2-0", 5 / 6),
        ("pairs", "2-0-3-1", 0.0),
        ("slots", "1-1-1-1", 0.0),
        ("slots", "1-3-0", 0.0),
        ("pairs", "", 0.0),
    ],
)
def test_order(partial, text, expected):
    assert score({"kind": "order", "partial": partial}, text, record("1-3-0-2")) == pytest.approx(expected)


def test_word_and_choice():
    assert score({"kind": "word", "accept": ["couch"]}, "Couch.", record("sofa")) == 1.0
    assert score({"kind": "word"}, "", record("sofa")) == 0.0
    assert (
        score({"kind": "choice"}, "The answer is B", record("table", options=("chair", "table"), question_type="mcq"))
        == 1.0
    )
    assert (
        score({"kind": "choice"}, "A or B or C", record("B", options=("chair", "table", "lamp"), question_type="mcq"))
        == 0.0
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        ("<think>a</think> \\boxed{B}", 1.0),
        ("\\boxed{B}", 0.9),
        ("<think>a</think> \\boxed{C}", 0.1),
        ("<think>a</think> \\boxed{A} \\boxed{B}", 1.0),
        ("<think>a</think> \\boxed{b}", 0.1),
        ("< think > a < / think >\n\\boxed{B} and more", 1.0),
        ("<think></think>\\boxed{}", 0.0),
        ("", 0.0),
        ("<think>a</think> B", 0.0),
        ("<think>a</think> \\boxed{B", 0.0),
        ("\\boxed{B}<think>a</think>", 0.9),
        ("None", 0.0),
    ],
)
def test_ssrl_vectors(text, expected):
    assert score({"kind": "ssrl"}, text, record("B")) == pytest.approx(expected)


def test_ssrl_variants():
    assert score({"kind": "ssrl", "robust": True}, "<think>a</think> \\boxed{\\text{1 - 3}}", record("1-3")) == 1.0
    assert score({"kind": "ssrl", "released": True}, "<think></think>\\boxed{}", record("B")) == pytest.approx(0.1)
    assert score({"kind": "ssrl"}, "no box", record("None")) == 0.0


TOOL = (
    '<think>look</think> Action: Object Mapper\n```json\n[{{"index": 1, "bbox_2d": [1, 2, 3, {last}], "label":'
    ' "a"}}]\n```'
)
FINAL = "<think>seen</think> Action: Answer\n<answer>{}</answer>"


def chat(*turns):
    return "<|im_end|>\n<|im_start|>user\nimage<|im_end|>\n<|im_start|>assistant\n".join(turns) + "<|im_end|>"


@pytest.mark.parametrize(
    "text, truth, kind, expected",
    [
        (chat(TOOL.format(last=4), FINAL.format("B")), "B", "mcq", 1.0),
        (FINAL.format("B"), "B", "mcq", 1.0),
        (chat(TOOL.format(last='"x"'), FINAL.format("B")), "B", "mcq", 0.5),
        (chat(TOOL.format(last=4), FINAL.format("C")), "B", "mcq", 0.0),
        (FINAL.format("7.9"), "10", "number", 0.8),
        ("B", "B", "mcq", 0.5),
        ("3", "3", "number", 0.5),
        ("<think>I count 3 chairs.</think> Action: Answer", "3", "number", 0.0),  # a thought answers nothing
        ("I count 3 chairs.", "3", "number", 0.0),
        (FINAL.format("b"), "B", "mcq", 0.0),
        ("", "B", "mcq", 0.0),
        (FINAL.format("about 1,200 cm"), "1", "number", 1.0),
        (chat(FINAL.format("B"), FINAL.format("B")), "B", "mcq", 0.5),
        (FINAL.format("B").replace("seen", ""), "B", "mcq", 0.5),
        (FINAL.format("B"), "<answer>B</answer>", "mcq", 1.0),
        (FINAL.format(""), "B", "mcq", 0.0),
        (chat(TOOL.format(last=4).replace("[{", "{").replace("}]", "}"), FINAL.format("B")), "B", "mcq", 0.5),
    ],
)
def test_vilasr_vectors(text, truth, kind, expected):
    assert score({"kind": "vilasr"}, text, record(truth, question_type=kind)) == pytest.approx(expected)


def test_an_answer_is_paid_above_the_gate():
    text, truth = FINAL.format("7.9"), record("10", question_type="number")
    for gate, expected in ((0.0, 0.8), (0.5, 0.8), (0.6, 0.0)):
        assert score({"kind": "vilasr", "gate": gate}, text, truth) == pytest.approx(expected)
        mra = {"kind": "mra", "format": "drawing", "format_weight": 0.5, "gate": gate}
        assert (score(mra, text, truth) > 0) == (expected > 0)
        assert reward_spec({**truth, "reward": {"kind": "vilasr"}}, RewardRule(gate=gate))["gate"] == gate
    with pytest.raises(ValueError, match="gate = 1"):
        score({"kind": "vilasr", "gate": 1}, text, truth)


@pytest.mark.parametrize(
    "predicted, truth, expected",
    [
        ("10", "10", 1.0),
        ("9", "10", 8 / 9),
        ("20", "10", 0.0),
        ("5", "10", 0.0),
        ("0", "0", 1.0),
        ("0", "5", 0.0),
        ("-1", "-1", 1.0),
    ],
)
def test_vsgrpo_numbers(predicted, truth, expected):
    assert score({"kind": "vsgrpo"}, predicted, record(truth)) == pytest.approx(expected)


def test_vsgrpo_modes():
    good = "<think>I look.</think><answer>10</answer>"
    assert score({"kind": "vsgrpo", "mode": "think"}, good, record("10")) == 2.0
    assert score({"kind": "vsgrpo", "mode": "think"}, good.replace("I look.", ""), record("10")) == 1.0
    assert score({"kind": "vsgrpo", "mode": "think"}, "10", record("10")) == 0.0
    assert score({"kind": "vsgrpo", "mode": "observe"}, good.replace("think", "observe"), record("5")) == 1.0
    assert not is_correct({"kind": "vsgrpo", "mode": "think"}, good, record("5"))
    assert score({"kind": "vsgrpo"}, "left", record("left", question_type="word")) == 1.0
    assert score({"kind": "vsgrpo"}, "Left", record("left", question_type="word")) == 0.0
    assert min_relative(3, 2) == 0.5 == min_relative(2, 3)


def test_vsgrpo_pays_long_thoughts_where_it_is_told_how_long():
    spec = {"kind": "vsgrpo", "mode": "observe", "words": 3}
    say = "<observe>{}</observe>\n<answer>10</answer>"
    assert score(spec, say.format("a desk here"), record("10")) == 3.0
    assert score(spec, say.format("a desk here"), record("5")) == 2.0  # right or wrong
    assert score(spec, say.format("a desk"), record("10")) == 2.0
    # Padding outside the one block is not paid, and costs the form.
    assert score(spec, say.format("a desk") + "<observe>here it is</observe>", record("10")) == 1.0
    for bad in ({"mode": "vanilla", "words": 3}, {"words": -1, "mode": "think"}):
        with pytest.raises(ValueError, match="words"):
            check_record({"kind": "vsgrpo", **bad}, record("10"))


def test_format_and_format_weight():
    spec = {"kind": "choice", "format": "think_answer", "format_weight": 0.1}
    choice = record("B", options=("chair", "table"), question_type="mcq")
    assert score(spec, "<think>ok then</think><answer>B</answer>", choice) == pytest.approx(1.0)
    assert score(spec, "<think>ok then</think><answer>A</answer>", choice) == pytest.approx(0.1)
    assert score(spec, "so <answer>B</answer>", choice) == pytest.approx(0.9)
    assert score(spec, "B", choice) == 0.0
    assert score(spec, "<answer>A</answer><answer>B</answer>", choice) == 0.0
    assert score({"kind": "format", "format": "answer_tag"}, "<answer>x</answer>", choice) == 1.0
    # Correctness is about the answer alone, never about the form.
    assert not is_correct(spec, "<think>ok then</think><answer>A</answer>", choice) and is_correct(
        spec, "so <answer>B</answer>", choice
    )


@pytest.mark.parametrize("length, expected", [(0, 0.0), (90, 0.0), (95, -0.5), (100, -1.0), (1000, -1.0)])
def test_overlong(length, expected):
    assert overlong_penalty(length, 100, 10) == pytest.approx(expected)
    limits = {"max_length": 100, "buffer": 10}
    assert score({"kind": "overlong", **limits}, "x", record("3", response_tokens=length)) == pytest.approx(expected)
    assert score({"kind": "number", "overlong": limits}, "3", record("3", response_tokens=length)) == pytest.approx(
        1 + expected
    )


def test_the_question_repeated_is_no_answer():
    listed = record("lamp, chair", question="Order the lamp and the chair from near to far.", question_type="order")
    assert score({"kind": "order"}, listed["question"], listed) == 0.0
    assert score({"kind": "order"}, listed["question"] + " lamp, chair", listed) == 1.0
    assert score({"kind": "order"}, listed["question"] + " chair, lamp", listed) == 0.0


def test_correct_at():
    assert is_correct({"kind": "mra"}, "7.6", record("10")) and not is_correct({"kind": "mra"}, "7", record("10"))
    assert not is_correct({"kind": "mra", "correct_at": 0.9}, "7.6", record("10"))


@pytest.mark.parametrize(
    "spec, answer, more, words",
    [
        ({"kind": "mraa"}, "1", {}, "did you mean 'mra'"),
        ({"kind": "mra", "comparisn": "<"}, "1", {}, "did you mean 'comparison'"),
        ({"kind": "mra", "comparison": "=<"}, "1", {}, "comparison = '=<'"),
        ({"kind": "mra", "format": "answer"}, "1", {}, "did you mean 'answer_tag'"),
        ({"kind": "mra", "format_weight": 0.1}, "1", {}, "would pay for any text"),
        ({"kind": "mra"}, "two or three", {}, "not a number"),
        ({"kind": "mra"}, "2 m2", {"unit": "m"}, "not a number in unit 'm'"),
        ({"kind": "depth"}, "0", {}, "not a positive depth"),
        ({"kind": "iou"}, "[3, 3, 1, 1]", {}, "not a box"),
        ({"kind": "choice"}, "E", {"options": ("a", "b")}, "not one of the options"),
        ({"kind": "choice"}, "A", {}, "at least two options"),
        ({"kind": "order"}, "1", {}, "not an order"),
        ({"kind": "word"}, "...", {}, "no word"),
        ({"kind": "user"}, "1", {}, "name file and function"),
        ({"kind": "format"}, "1", {}, "name a format"),
        ({}, "1", {}, "reward kind None"),
        ({"kind": "overlong", "max_length": 5, "buffer": 9}, "1", {}, "must lie in"),
        ({"kind": "number", "overlong": {"max": 1}}, "1", {}, "max_length and buffer"),
    ],
)
def test_a_bad_spec_or_truth_is_named_before_the_run(spec, answer, more, words):
    with pytest.raises(ValueError, match=words) as caught:
        check_record(spec, record(answer, **more))
    assert "'q1'" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"user", "judge", "overlong"}))
@given(text=st.text(max_size=120))
def test_rewards_are_finite_and_bounded_on_any_text(kind, text):
    truths = {"iou": "[1, 2, 30, 40]", "order": "3-1-2", "choice": "B", "word": "left", "ssrl": "B"}
    spec = {"kind": kind} | ({"format": "think_answer"} if kind == "format" else {})
    known = record(truths.get(kind, "4"), options=("chair", "table", "lamp"), response_tokens=9, question_type="number")
    low, high = {"dapo": (-1.0, 1.0), "video_r1": (0.0, 2.0), "spacer": (0.0, 2.0)}.get(kind, (0.0, 1.0))
    assert low <= score(spec, text, known) <= high

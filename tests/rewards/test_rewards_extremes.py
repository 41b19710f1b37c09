"""Texts and truths at the ends of what numbers can be: every answer has a score or a reason, and none ends a run."""

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial_jax.evals import score_response
from spatial_jax.evals.numbers import first_number
from spatial_jax.rewards import KINDS, check_record, outcome_many, score
from spatial_jax.rewards.base import Kind, Score
from spatial_jax.rewards.lint import built_in
from spatial_jax.rewards.parsing.number_words import find_number_words

WORDS = ["hundred", "dozen", "thousand", "million", "nine", "ninety", "a", "and", "point", "minus", "half", "zero"]
TEXTS = [
    "a" + " hundred" * 155,
    "nine" + " dozen" * 4000,
    "a" + " million" * 400,
    "9" * 400,
    "1e999",
    "-1e-999",
    "nan",
    "inf",
    "1/" + "9" * 400,
    "9" * 400 + "/0",
    "0." + "0" * 400 + "1",
    "1" + "0" * 38 + "e30 m",
    "[1e308, 0, 1e309, 1e308]",
    "[" * 50_000,
    '{"a":' * 50_000,
    "\ud800" * 10,
    "٣" * 500,
]


@pytest.mark.parametrize("label, spec, record", [case for case in built_in() if case[1]["kind"] not in ("judge",)])
@pytest.mark.parametrize("form", ["{}", "<think>a</think><answer>{}</answer>", "\\boxed{{{}}}", "The answer is {} m."])
def test_every_text_has_a_score(label, spec, record, form):
    for text in TEXTS:
        (outcome,) = outcome_many([(spec, form.format(text), record)])
        assert outcome.reward is not None and math.isfinite(outcome.reward), (text[:40], outcome.error)


@settings(max_examples=150)
@given(st.lists(st.sampled_from(WORDS), max_size=300), st.sampled_from(["depth", "mra", "number", "vsgrpo"]))
def test_number_words_of_any_length_are_bounded(words, kind):
    text = " ".join(words)
    assert all(abs(value) <= 10**30 for value, _, _ in find_number_words(text))
    record = {"question": "?", "answer": "3.5", "unit": "m", "question_type": "number", "question_id": "1"}
    assert math.isfinite(score({"kind": kind}, text, record))


def test_ordinary_number_words_are_read():
    read = {
        text: [v for v, _, _ in find_number_words(text)]
        for text in ("two hundred and five", "three million", "a dozen")
    }
    assert list(read.values()) == [[205], [3_000_000], [12]]


def test_whatever_a_rule_raises_costs_one_sample(monkeypatch):
    def breaks(response, record, spec, context):
        if response == "deep":
            raise RecursionError("too deep")
        return Score(math.inf if response == "inf" else 1.0, 1.0)

    monkeypatch.setitem(KINDS, "toy", Kind("toy", {}, breaks, lambda record, spec: None))
    outcomes = outcome_many([({"kind": "toy"}, text, {"question_id": "7"}) for text in ("good", "deep", "inf")])
    assert [o.reward for o in outcomes] == [1.0, None, None]
    assert "record '7': RecursionError" in outcomes[1].error and "no number" in outcomes[2].error


@pytest.mark.parametrize("text", TEXTS)
def test_benchmark_scorers_read_them_as_nothing(text):
    number = {
        "id": "1",
        "question_type": "object_counting",
        "ground_truth": "3",
        "question": "How many?",
        "options": None,
    }
    for scoring in ("official", "spatial_ssrl"):
        verdict = score_response("vsi_bench", text, number, scoring)
        assert 0.0 <= verdict["score"] <= 1.0
    assert first_number("a" + " hundred" * 200) == math.inf


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "depth", "form": "tolerance", "tolerance": "1e999999999"},
        {"kind": "depth", "scale": 10**400},
        {"kind": "number", "cyclic": float("inf")},
        {"kind": "number", "absolute": float("nan")},
        {"kind": "mra", "format": "think_answer", "format_weight": "0.1"},
        {"kind": "choice", "correct_at": None},
        {"kind": "judge", "timeout": True},
    ],
)
def test_a_specs_numbers_are_ordinary(spec):
    record = {"question_id": "7", "question": "?", "answer": "3", "unit": "", "question_type": "number", "options": ()}
    with pytest.raises(ValueError, match=r"record '7', reward .* is no ordinary number"):
        check_record(spec, record)
    (outcome,) = outcome_many([(spec, "3", record)])
    assert outcome.reward is None


@pytest.mark.parametrize("answer", [None, 7, "1" * 400, ["a"], {"a": 1}, "\ud800", "hundred " * 300])
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"user"}))
def test_a_record_of_any_form_is_checked_and_nothing_else_is_raised(kind, answer):
    record = {"question_id": "7", "question": "?", "answer": answer, "unit": 3, "question_type": "number", "options": 5}
    with contextlib.suppress(ValueError):
        check_record({"kind": kind}, record)
    outcome_many([({"kind": kind}, "3 m", record)])

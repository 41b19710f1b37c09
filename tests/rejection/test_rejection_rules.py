"""Rules of what is kept: the published ones, the diverse one, pairs and pass rates; every answer is kept or counted."""

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatial_jax.drawing import Operation, Steps, follow, reflects
from spatial_jax.rejection import Candidate, keep, read_rule
from spatial_jax.rewards.scoring import Outcome


def op(label="cup", x=1, kind="box", index=1):
    return Operation(kind, index, label, (float(x), 2.0, 30.0, 40.0))


def answer(number=0, reward=1.0, correct=True, form=1.0, turns=("a", "b", "<answer>3</answer>"), steps=(), **more):
    outcome = Outcome(reward, correct, float(bool(correct)), form)
    drawn = Steps(tuple(map(tuple, steps)), len(turns), "answer")
    return Candidate(number, tuple(turns), outcome, drawn, **more)


@pytest.mark.parametrize(
    "steps, expected",
    [
        ([[op()], [op(x=9)]], True),
        ([[op()], [op()]], False),  # the same operation again
        ([[op()], [op("Cup", 9)]], False),  # labels are compared letter by letter
        ([[op(), op(x=9)]], False),  # two of one step
        ([[op(), op(x=9)], [op(x=9)]], False),
        ([[op()], [op("lamp")], [op(x=9)]], True),
        ([[op(kind="path")], [op(x=9, kind="path")]], False),  # the released code looks at boxes alone
        ([], False),
    ],
)
def test_reflection_is_the_published_one(steps, expected):
    assert reflects(steps) == expected


def test_published_stages():
    corrected = answer(1, steps=[[op()], [op(x=9)]])
    steady = answer(2, steps=[[op()], [op("lamp")]])
    short = answer(3, turns=("<answer>3</answer>",), steps=[[op()], [op(x=9)]])
    wrong = answer(4, 0.0, False, steps=[[op()], [op(x=9)]])
    loose = answer(5, 0.5, True, 0.0, steps=[[op()], [op(x=9)]], turns=("a", "c", "<answer>3</answer>"))
    lost = Candidate(6, ("x",), Outcome(None, None, error="late"))
    cut = answer(7, cut=True, turns=("a", "b", "c"))
    every = [corrected, steady, short, wrong, loose, lost, cut]
    kept, why = keep(every, read_rule("reflective"))
    assert kept == [corrected, short]
    assert why == {
        "not reflective": 1,
        "wrong": 1,
        "not of the asked form": 1,
        "no score": 1,
        "cut off at the token limit": 1,
    }
    kept, why = keep(every, read_rule("cold_start"))
    assert kept == [corrected] and why["fewer than 3 steps"] == 1 and why["the same as another answer"] == 1


def test_diverse_pairs_and_rates():
    same = [answer(i, turns=(f"t{i}", "<answer>3</answer>"), steps=[[op()]]) for i in range(3)]
    other = answer(3, 0.8, turns=("u", "<answer>4</answer>"), steps=[[op("lamp")]])
    kept, why = keep([*same, other], read_rule("correct,most=2"))
    assert [c.number for c in kept] == [0, 3] and why == {"enough of its question are kept": 2}
    worst = answer(4, 0.1, False)
    kept, _ = keep([*same, other, worst], read_rule("pairs"))
    assert [c.number for c in kept] == [0, 4]
    assert not keep(same, read_rule("pairs"))[0] and not keep([other, *same], read_rule("pairs=0.5"))[0]
    kept, why = keep([*same, worst], read_rule("correct,rate_max=0.5"))
    assert not kept and why == {"the question's pass rate is out of range": 4}


@given(
    st.lists(st.tuples(st.sampled_from([None, 0.0, 0.4, 1.0]), st.booleans(), st.sampled_from("abc")), max_size=9),
    st.sampled_from(["correct,form", "score=0.3", "correct,most=2", "pairs", "steps=3", "rate_min=0.5,correct"]),
)
def test_every_answer_is_kept_or_counted(drawn, rule):
    found = [
        Candidate(i, (text,), Outcome(reward, None if reward is None else right, reward, 1.0))
        for i, (reward, right, text) in enumerate(drawn)
    ]
    kept, why = keep(found, read_rule(rule))
    assert len(kept) + sum(why.values()) == len(found) and isinstance(why, collections.Counter)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "no rule"),
        ("reflectiv", "did you mean 'reflective'"),
        ("score", "score needs a value"),
        ("correct=1", "correct takes no value"),
        ("most=0", "a whole number"),
        ("score=x", "is no number"),
        ("pairs,correct", "pairs takes the best and the worst"),
        ("pass_rates,correct", "keeps no answer"),
    ],
)
def test_what_is_no_rule(text, words):
    with pytest.raises(ValueError, match=words):
        read_rule(text)


CALL = (
    "<think>t</think> Action: Object Mapper\n```json\n"
    '[{{"index": {0}, "bbox_2d": [1, 2, {1}, 40], "label": "cup"}}]\n```'
)
FINAL = "<think>t</think> Action: Answer\n<answer>3</answer>"
BETWEEN = "<|im_end|>\n<|im_start|>user\nshown<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    "turns, ended, drawn, most, cut",
    [
        ([FINAL], "answer", 0, 9, False),
        ([CALL.format(1, 30), CALL.format(2, 31), FINAL], "answer", 2, 9, False),
        ([CALL.format(1, 30), CALL.format(9, 31)], "no_picture", 1, 9, False),
        ([CALL.format(1, 30), CALL.format(1, 30)], "repeat", 1, 9, False),
        ([CALL.format(1, 30), "I only talk."], "no_operation", 1, 9, False),
        ([CALL.format(1, 30), CALL.format(1, 31)], "pictures", 1, 2, False),
        ([CALL.format(1, 30), CALL.format(1, 31)], "limit", 1, 9, False),
        ([CALL.format(1, 30), "and so on"], "length", 1, 9, True),
        ([""], "no_operation", 0, 9, False),
    ],
)
def test_why_a_conversation_ended(turns, ended, drawn, most, cut):
    steps = follow(BETWEEN.join(turns), [(112, 84)], most=most, cut=cut)
    assert (steps.ended, steps.count("box"), steps.turns) == (ended, drawn, len(turns))

"""DPO's rejected answers: of the chosen one's form, another answer, and wrong by the record's own reward; over every
response form, reward kind and synthesized family.
"""

import itertools
import json
from dataclasses import replace

import pytest
from question_sets import record

from data_prep import selfsup, synthesize
from data_prep.annotate.__main__ import main as annotate
from spatial_jax.data.prompts import target_parts, target_text
from spatial_jax.data.records import QuestionRecord, resolve
from spatial_jax.data.source import open_questions
from spatial_jax.forms import FORMS, extract_answer, matches_format
from spatial_jax.rewards.kinds import has_own_format
from spatial_jax.rewards.parsing.choices import option_labels
from spatial_jax.rewards.parsing.text import fold
from spatial_jax.rewards.scoring import score
from spatial_jax.training.pairs import Pairs

SIZE = (112, 112)


def spec_of(mode):
    """The record's reward as a run with this prompt mode lays its format over it."""
    form = "none" if mode in ("bare", "vanilla") else mode

    def spec(values):
        own = dict(values["reward"])
        return own if form == "none" or has_own_format(own) else own | {"format": form, "format_weight": 0.1}

    return spec


def final(text, mode):
    return extract_answer(text, "none" if mode in ("bare", "vanilla") else mode)


def check_pair(item, mode, rejected):
    """The rules that every pair keeps."""
    chosen, values = target_text(item, mode), item.as_dict() | {"model_sizes": [SIZE]}
    right, wrong = final(chosen, mode), final(rejected, mode)
    assert wrong is not None and fold(wrong) != fold(right), (chosen, rejected)
    if mode not in ("bare", "vanilla"):
        assert matches_format(chosen, mode) == matches_format(rejected, mode), (chosen, rejected)
    spec = values["reward"]
    if not has_own_format(spec):
        assert score(spec, wrong, values) < 0.5 <= score(spec, right, values), (chosen, rejected)
        assert score(spec, rejected, values) < 0.5, (chosen, rejected)  # read whole, too: no thought gives it away
    labels = option_labels(item.options)[0] if item.options else []
    assert (right in labels) == (wrong in labels), (chosen, rejected)
    assert [c for c in right if c in "[],"] == [c for c in wrong if c in "[],"], (chosen, rejected)


@pytest.fixture(scope="module")
def synthesized(tmp_path_factory):
    """Questions of every family in both profiles, and of the self-supervised tasks."""
    root = tmp_path_factory.mktemp("pairs")
    assert annotate(["--source=rendered", "--preset=plain", "--count=24", "--seed=4", f"--out={root}/scenes"]) == 0
    out = []
    for profile in ("plain", "full"):
        assert (
            synthesize.main(
                [f"--scenes={root}/scenes", f"--out={root}/{profile}", "--families=all", f"--profile={profile}"]
            )
            == 0
        )
        assert (
            selfsup.main(
                [
                    f"--photos={root}/scenes",
                    f"--out={root}/self_{profile}",
                    f"--profile={profile}",
                    "--tasks=shuffle,flip,crop",
                    *(["--size=112"] if profile == "plain" else []),
                ]
            )
            == 0
        )
        out += [open_questions(root / f"{name}{profile}", "train") for name in ("", "self_")]
    return out


@pytest.mark.parametrize("mode", FORMS)
def test_every_synthesized_family_gets_pairs(synthesized, mode):
    pairs = Pairs(spec_of(mode), mode)
    pairs.learn(synthesized)
    made, left = {}, []
    for source in synthesized:
        for stored in source:
            item = resolve(stored, [SIZE] * len(stored.images))
            if json.loads(item.reward)["kind"] == "ssrl" and target_parts(item, mode)[0] != item.answer:
                continue
            try:
                rejected = pairs.rejection(item, SIZE)
            except ValueError as error:
                left.append((item.family, str(error)))
                continue
            check_pair(item, mode, rejected)
            assert rejected == pairs.rejection(item, SIZE)
            made[item.family] = made.get(item.family, 0) + 1
    assert not left, left[:5]
    assert len(made) >= 15, made


def made_by_hand(question_type, answer, reward, **changes):
    return record(
        0,
        question_type=question_type,
        answer=answer,
        reward=json.dumps(reward),
        options=changes.pop("options", ()),
        meta=json.dumps(changes.pop("meta", {})),
        **changes,
    )


MRA = {"kind": "mra"}
BY_HAND = [
    made_by_hand("mcq", "B", {"kind": "choice"}, options=("cup", "box", "lamp")),
    made_by_hand("mcq", "box", {"kind": "choice"}, options=("cup", "box", "lamp"), meta={"thought": "A box is near."}),
    made_by_hand("mcq", "(B)", {"kind": "choice"}, options=("(A) cup", "(B) box")),
    made_by_hand("mcq", "B. box", {"kind": "choice"}, options=("A. cup", "B. box")),
    made_by_hand("mcq", "b", {"kind": "choice"}, options=("cup", "box")),
    made_by_hand("mcq", "3", {"kind": "choice"}, options=("2", "3", "4"), meta={"thought": "There are 3 of 13."}),
    made_by_hand("number", "0.0", MRA, unit="m"),
    made_by_hand("number", "0", MRA),
    made_by_hand("number", "1", {"kind": "number"}),
    made_by_hand("number", "10", MRA),
    made_by_hand("number", "1,200", MRA, unit="cm"),
    made_by_hand("number", "2.4 m", {"kind": "depth"}, unit="m"),
    made_by_hand("number", "-3", MRA),
    made_by_hand("number", "three", {"kind": "number"}),
    made_by_hand("number", "1/2", MRA),
    made_by_hand("number", "9", {"kind": "number", "absolute": 1, "cyclic": 12}),
    made_by_hand("direction", "9 o'clock", {"kind": "number", "absolute": 1, "cyclic": 12}),
    made_by_hand("word", "yes", {"kind": "word"}),
    made_by_hand("word", "Yes", {"kind": "word", "accept": ["yeah"]}),
    made_by_hand("word", "upper left", {"kind": "word"}),
    made_by_hand("word", "yes", {"kind": "choice"}, options=("yes", "no")),
    made_by_hand("word", "north", {"kind": "word", "vocabulary": ["north", "east"]}),
    made_by_hand("order", "lamp, chair", {"kind": "order"}),
    made_by_hand("order", "lamp, chair, table", {"kind": "order", "partial": "slots"}),
    made_by_hand("order", "lamp > chair > table", {"kind": "order", "partial": "pairs"}),
    made_by_hand("order", "3-1-2", {"kind": "order"}),
    made_by_hand("order", "lamp, chair, table", {"kind": "order"}, options=("chair", "lamp", "table")),
    made_by_hand("box", "[0, 0, 112, 112]", {"kind": "iou"}),
    made_by_hand("box", "[10.5, 20.0, 40.0, 80.5]", {"kind": "iou"}),
    made_by_hand("box", "[3, 3, 4, 4]", {"kind": "iou"}),
    made_by_hand("number", "4", {"kind": "vsgrpo"}),
    made_by_hand("number", "4", {"kind": "vsgrpo", "mode": "think"}),
    made_by_hand("word", "left", {"kind": "vsgrpo", "mode": "observe"}),
    made_by_hand("mcq", "B", {"kind": "ssrl"}, question="Which?\nA. cup\nB. box"),
    made_by_hand("order", "3-1-2", {"kind": "ssrl"}),
    made_by_hand("mcq", "B", {"kind": "vilasr"}, options=("cup", "box")),
    made_by_hand("number", "4", {"kind": "vilasr"}),
]


@pytest.mark.parametrize(("item", "mode"), itertools.product(BY_HAND, FORMS))
def test_answers_that_are_hard_to_corrupt(item, mode):
    rejected = Pairs(spec_of(mode), mode).rejection(item, SIZE)
    check_pair(item, mode, rejected)


def test_the_thought_leads_to_the_rejected_answer_and_keeps_its_words():
    item = made_by_hand(
        "mcq", "B", {"kind": "choice"}, options=("cup", "box"), meta={"thought": "A lamp shines. The box is nearer."}
    )
    text = Pairs(spec_of("think_answer"), "think_answer").rejection(item)
    assert text == "<think>A lamp shines. The cup is nearer.</think>\n<answer>A</answer>"


@pytest.mark.parametrize(
    "item",
    [
        made_by_hand("free", "a room with a view", {"kind": "word"}),  # no other answer is known
        made_by_hand("free", "on the table", {"kind": "judge"}),  # nobody says that another answer is wrong
        made_by_hand("word", "left", {"kind": "format", "format": "think_answer"}),  # any answer is paid alike
        made_by_hand("word", "left", {"kind": "overlong"}),
        made_by_hand("mcq", "box", {"kind": "choice"}, options=("box", "box", "cup")),  # its truth is not one option
        made_by_hand("number", "2-3 m", MRA, unit="m"),  # a range is no answer, so nothing is preferred to it
    ],
    ids=lambda item: json.loads(item.reward)["kind"],
)
def test_what_has_no_wrong_answer_is_left_out(item):
    with pytest.raises(ValueError):
        Pairs(spec_of("think_answer"), "think_answer").rejection(item)


def test_answers_of_other_records_stand_in():
    class Source(list):
        name = "set"

    items = [
        made_by_hand("word", answer, {"kind": "word"}, question_id=f"q{i}")
        for i, answer in enumerate(("cup", "red lamp", "blue box"))
    ]
    pairs = Pairs(spec_of("answer_tag"), "answer_tag")
    pairs.learn([Source(items)])
    assert pairs.rejection(items[0]) in {f"<answer>{item.answer}</answer>" for item in items[1:]}
    assert isinstance(items[0], QuestionRecord)


def test_a_brought_reply_is_rejected_with_another_answer_in_its_own_words():
    reply = "<think>The door is left of it.</think>\n\\boxed{2-0-1}"
    item = record(0, question_type="free", answer="2-0-1", options=(), reward=json.dumps({"kind": "ssrl"}))
    pairs = Pairs(spec_of("think_boxed"), "think_boxed")
    rejected = pairs.rejection(replace(item, meta=json.dumps({"response": reply})))
    assert rejected != reply and rejected.startswith("<think>The door is left of it.</think>\n\\boxed{")
    with pytest.raises(ValueError, match="does not hold its answer"):
        pairs.rejection(replace(item, meta=json.dumps({"response": "elsewhere"})))

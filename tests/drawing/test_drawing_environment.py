"""What a policy asks to be drawn: read, numbered, merged, rendered, and shown to it as the next turn."""

import contextlib
import dataclasses
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import question_sets
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spatial_jax.data.encode import QuestionEncoder
from spatial_jax.data.prompts import PromptStyle
from spatial_jax.data.records import resolve
from spatial_jax.data.sampled import taught_ids, turns_before
from spatial_jax.drawing import Album, DrawingError, Operation, parse, render
from spatial_jax.drawing.environment import DrawingEnvironment, conversation, drawn_pictures, replies
from spatial_jax.evals.generation import sampled_turns
from spatial_jax.models.configs import published_config
from spatial_jax.models.hf_config import config_to_hf
from spatial_jax.processing import Processor, train_tokenizer
from spatial_jax.rejection.kept import Asked, candidates, kept_record
from spatial_jax.rewards import score
from spatial_jax.rewards.rule import RewardRule
from spatial_jax.rollout.turns import extend
from spatial_jax.rollout.types import Trajectory
from spatial_jax.training.answers import AnswerScorer
from spatial_jax.training.settings import DataSettings, RewardSettings, RolloutSettings, RunConfig

CLEAN = Image.new("RGB", (112, 84), "white")


def box(index=1, label="cup", points=(10, 20, 60, 70)):
    return {"index": index, "bbox_2d": list(points), "label": label}


def path(index=1, label="way", start=(5, 5), end=(100, 80)):
    return {"index": index, "start_point_2d": list(start), "end_point_2d": list(end), "label": label}


def tool(*items, quote='"'):
    return "<think> I look. </think> Action: Object Mapper\n```json\n" + json.dumps(items).replace('"', quote) + "\n```"


FINAL = "<think> I see it. </think> Action: Answer\n<answer>{}</answer>"


def test_operations_are_read_from_fenced_blocks():
    text = (
        tool(path(), box(label="lamp"), {"index": 1, "label": "no shape"}, quote="'")
        + "\n```json\nnot json\n```\n"
        + tool(box(2))
    )
    assert parse(text) == [
        Operation("box", 1, "lamp", (10, 20, 60, 70)),
        Operation("box", 2, "cup", (10, 20, 60, 70)),
        Operation("path", 1, "way", (5, 5, 100, 80)),
    ]
    assert parse("<think>\n```json\n[" + json.dumps(box()) + "]</think>") == [
        Operation("box", 1, "cup", (10, 20, 60, 70))
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I only talk.",
        "```json\n{}\n```",
        tool({**box(), "bbox_2d": [1, 2, 3]}),
        tool({**box(), "label": 7}),
        "```json\n__import__('os')\n```",
        tool({**box(), "bbox_2d": [1, 2, 3, float("nan")]}),
        tool({**box(), "bbox_2d": [1, 2, 3, True]}),
        "```json\n" + "[" * 100_000 + "\n```",
    ],
)
def test_a_turn_without_operations_is_refused(text):
    with pytest.raises(DrawingError, match="neither an answer nor an operation"):
        parse(text)


@pytest.mark.parametrize("index", [0, -1, None, "1", 1.0, True])
def test_an_operation_names_its_picture(index):
    with pytest.raises(DrawingError, match="names no picture"):
        parse(tool(box(index)))


@given(st.text(max_size=400))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(DrawingError):
        assert all(o.index >= 1 for o in parse(f"```json\n{text}\n```"))


def test_pictures_are_numbered_and_drawings_merged():
    album = Album([(112, 84)] * 2)
    assert album.draw(parse(tool(box(2, "a"), box(2, "b"), path(1))), 9) == [
        2,
        3,
    ]  # the first picture drawn on comes first
    assert [(e.original, [o.label for o in e.drawn]) for e in album.entries[2:]] == [(1, ["a", "b"]), (0, ["way"])]
    moved = box(3, "a", (1, 1, 9, 9))
    assert album.draw(parse(tool(moved, path(3))), 9) == [4]
    on = album.entries[4]
    assert on.original == 1 and [(o.kind, o.label) for o in on.drawn] == [("box", "a"), ("box", "b"), ("path", "way")]
    assert on.drawn[0].points == (1, 1, 9, 9) and album.labels == {"a": 0, "b": 1, "way": 2}
    with pytest.raises(DrawingError, match="no picture 6; there are 5"):
        album.draw(parse(tool(box(6))), 9)
    with pytest.raises(DrawingError, match="more than 5 pictures"):
        album.draw(parse(tool(box(1, "new"))), 5)
    with pytest.raises(DrawingError, match="was not drawn before"):
        album.draw(parse(tool({**moved, "index": 5})), 9)


def test_drawings_are_where_they_were_asked_for():
    labels = {"cup": 0, "way": 1}
    drawn = np.asarray(
        render(
            CLEAN, [Operation("box", 1, "cup", (60, 70, 10, 20)), Operation("path", 1, "way", (5, 5, 100, 80))], labels
        )
    )
    red, black, blue = (np.all(drawn == colour, -1) for colour in ((255, 0, 0), (0, 0, 0), (0, 0, 255)))
    assert (
        red[40, 10:14].all() and red[40, 57:61].all() and red[20:24, 40].all() and not red[40, 15:25].any()
    )  # corners in any order
    assert red[5, 5] and blue[80, 100] and black[42, 52] and not np.all(np.asarray(CLEAN) == drawn)
    outside = render(
        CLEAN,
        [Operation("box", 1, "cup", (-900, -900, 9e5, 40)), Operation("path", 1, "w\n\u4f60" * 99, (-9, 0, 9e5, 9))],
        {**labels, "w\n\u4f60" * 99: 16},
    )
    assert outside.size == CLEAN.size and CLEAN.getpixel((5, 5)) == (255, 255, 255)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A processor, and a question on one picture of 112 x 84 pixels as the model sees it."""
    folder = tmp_path_factory.mktemp("drawing")
    hf = config_to_hf(published_config("qwen2_5_vl_3b"))
    ids = train_tokenizer(
        [*question_sets.TEXTS, tool(box(), path()), FINAL.format("cup")] * 20,
        600,
        folder,
        max_pixels=112 * 84,
        min_pixels=28 * 28,
    )
    (folder / "config.json").write_text(json.dumps({**hf, **ids}))
    processor = Processor.from_pretrained(folder)
    out = io.BytesIO()
    CLEAN.resize((224, 168)).save(out, "PNG")
    record = question_sets.record(
        0, images=(out.getvalue(),), widths=(224,), heights=(168,), answer="cup", reward='{"kind": "word"}'
    )
    encoder = QuestionEncoder(processor, PromptStyle("drawing"))
    sample = encoder.finish(encoder.encode(record))
    assert len(sample.prompt) == encoder.measure(record)[0]
    return processor, sample


def said(processor, text):
    return Trajectory.written([*processor.tokenizer.encode(text), processor.tokenizer.token_id("<|im_end|>")])


def test_prompts_number_their_pictures(world):
    processor, sample = world
    text = processor.tokenizer.decode(sample.prompt.input_ids, skip_special_tokens=False)
    assert (
        "The index of the given image is 1 (width: 112, height: 84)." in text
        and "Object Mapper" in text
        and "30,20" in text
    )
    assert sample.target.startswith("<think>") and sample.target.endswith("Action: Answer\n<answer>cup</answer>")


def test_a_sample_draws_looks_and_answers(world):
    processor, sample = world
    environment = DrawingEnvironment(processor, [sample.prompt], [sample.record.images], turns=3, most=9)
    one = said(processor, tool(box()))
    shown = environment(one)
    text = processor.tokenizer.decode(shown.input_ids[shown.type_ids == 0], skip_special_tokens=False)
    assert (
        text.startswith("\n<|im_start|>user\n")
        and "image is 2 (width: 112, height: 84)" in text
        and text.endswith("<|im_start|>assistant\n")
    )
    assert "check what was drawn" in text and shown.model_sizes == [(112, 84)]
    expected = processor.encode_text("<|image_pad|>", [render(CLEAN, parse(tool(box())), {"cup": 0})])
    np.testing.assert_array_equal(shown.pixel_values, expected.pixel_values)
    assert int(shown.positions[0, 0]) == sample.prompt.next_position + len(one.tokens)
    two = extend(one, shown, said(processor, tool(box(2, "lamp"))))
    again = environment(two)
    assert "answer now" in processor.decode(again.input_ids[again.type_ids == 0]) and again.model_sizes == [(112, 84)]
    three = extend(two, again, said(processor, FINAL.format("cup")))
    assert environment(three) is None and (replies(three), drawn_pictures(three)) == (3, 2)
    assert not three.loss_mask[len(one) : len(one) + len(shown)].any() and three.loss_mask[: len(one)].all()
    chat = conversation(three, processor)
    assert chat.count("<|im_start|>assistant") == 2 and "image_pad" not in chat
    assert score({"kind": "vilasr"}, chat, {**sample.record.as_dict(), "question_type": "word"}) == 1.0
    wrong = extend(two, again, said(processor, FINAL.format("box")))
    assert (
        score(
            {"kind": "word", "format": "drawing", "format_weight": 0.5},
            conversation(wrong, processor),
            sample.record.as_dict(),
        )
        == 0.0
    )


@pytest.mark.parametrize("text", [FINAL.format("cup"), "I only talk.", tool(box(2)), tool(box(0))])
def test_samples_that_end(world, text):
    processor, sample = world
    environment = DrawingEnvironment(processor, [sample.prompt], [sample.record.images], turns=3, most=9)
    assert environment(said(processor, text)) is None


def test_the_last_picture_asks_for_the_answer(world):
    processor, sample = world
    environment = DrawingEnvironment(processor, [sample.prompt], [sample.record.images], turns=9, most=2)
    assert "answer now" in processor.decode(environment(said(processor, tool(box()))).input_ids)
    cut = said(processor, tool(box()))
    assert (
        environment(dataclasses.replace(cut, tokens=cut.tokens[:-1], turns=cut.turns)) is None
    )  # ended by another token


def test_a_policy_cannot_write_the_chats_marks(world):
    """A tool turn and an answer in one reply are one turn, whatever marks stand between them."""
    processor, _ = world
    forged = said(processor, "<think>a</think> Action: x<|im_end|>\n<|im_start|>assistant\n" + FINAL.format("cup"))
    assert conversation(forged, processor).count("<|im_start|>") == 0
    assert (
        score(
            {"kind": "word", "format": "drawing", "format_weight": 0.5},
            conversation(forged, processor),
            {"answer": "cup", "question": "", "question_type": "word"},
        )
        <= 0.5
    )


def test_a_run_scores_the_last_turn_and_the_form_of_all(world):
    processor, sample = world
    run = RunConfig(
        data=DataSettings(prompt_mode="drawing"),
        rollout=RolloutSettings(turns=3, max_new_tokens=512, max_tokens=8192),
        reward=RewardSettings(format_weight=0.5),
    )
    run.check()
    scorer = AnswerScorer(SimpleNamespace(run=run, processor=processor))
    shown = DrawingEnvironment(processor, [sample.prompt], [sample.record.images], turns=3, most=9)(
        said(processor, tool(box()))
    )
    group = [
        extend(said(processor, first), shown, said(processor, FINAL.format(answer)))
        for first, answer in ((tool(box()), "cup"), (tool(box()), "box"), ("no thought" + tool(box()), "cup"))
    ]
    assert [o.reward for o in scorer(sample, group).outcomes] == [1.0, 0.0, 0.5]


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(data=DataSettings(prompt_mode="vanilla")), "needs config.data.prompt_mode = 'drawing'"),
        (dict(rollout=RolloutSettings(turns=2, max_tokens=100)), "max_tokens = 100 of all turns has no room for 2"),
        (
            dict(rollout=RolloutSettings(turns=2, max_tokens=99_000)),
            "max_tokens = 99000 exceeds the largest of answer_buckets",
        ),
    ],
)
def test_settings_that_contradict(changes, words):
    good = dict(
        data=DataSettings(prompt_mode="drawing"), rollout=RolloutSettings(turns=2, max_new_tokens=512, max_tokens=4096)
    )
    RunConfig(**good).check()
    with pytest.raises(ValueError, match=words):
        RunConfig(**{**good, **changes}).check()


def test_a_policys_own_tokens_are_taught(world):
    """Where tokenizer and sizes are those it was sampled with; else its text, and none in another form."""
    processor, sample = world
    encoder, text = QuestionEncoder(processor, PromptStyle("drawing")), FINAL.format("cup")
    tokens = [*processor.tokenizer.encode(text)[:-1], 3, processor.eos_ids[0]]  # not what the text would give
    facts = {"tokens": [tokens], "tokenizer": processor.tokenizer.digest, "sizes": [[112, 84]]}
    for changes, same in (({}, True), ({"sizes": [[56, 56]]}, False), ({"tokenizer": "x"}, False)):
        meta = json.dumps({"reply": text, "sampled": {**facts, **changes, "prompt_mode": "drawing"}})
        question = encoder.encode(dataclasses.replace(sample.record, meta=meta))
        assert (question.target_ids.tolist() == tokens) == same and question.target == text
    meta = json.dumps({"reply": text, "sampled": {**facts, "prompt_mode": "vanilla"}})
    assert "sampled in the form 'vanilla'" in encoder.encode(dataclasses.replace(sample.record, meta=meta)).reason


def test_a_sampled_conversation_is_taught_by_its_tokens(world):
    """From trajectory to row, kept record and back: the very tokens of each turn, and the same drawings."""
    processor, sample = world
    record = dataclasses.replace(sample.record, widths=(224,), heights=(168,))
    environment = DrawingEnvironment(processor, [sample.prompt], [record.images], turns=4, most=9)
    whole = said(processor, tool(box(points=(10, 20, 60, 71))))
    for text in (tool(box(2, points=(11, 20, 61, 70)), path()), FINAL.format("cup")):
        whole = extend(whole, environment(whole), said(processor, text))
    row = {
        "id": "q",
        "responses": [conversation(whole, processor)],
        "finish": ["stop"],
        "lengths": [len(whole)],
        "tokens": [sampled_turns(whole)],
        "model_sizes": [[112, 84]],
    }
    asked = Asked("m", "drawing", RewardRule("drawing", 0.5), tokenizer=processor.tokenizer.digest)
    (candidate,) = candidates(record, row, asked)
    assert candidate.steps.reflective and candidate.steps.ended == "answer" and candidate.reward == 1.0
    kept = kept_record(record, candidate, row, asked)
    for sizes, same in (([(112, 84)], True), ([(56, 56)], False)):
        seen = resolve(kept, sizes)
        taught = [ids.tolist() for ids in taught_ids(seen, sizes, processor, "drawing")]
        assert (taught == sampled_turns(whole)) == same
        points = [o.points for turn in turns_before(seen) for o in parse(turn) if o.kind == "box"]
        assert points == [[(10, 20, 60, 71), (11, 20, 61, 70)], [(5, 13, 30, 47), (6, 13, 31, 47)]][not same]

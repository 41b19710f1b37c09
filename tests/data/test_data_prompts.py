"""Prompt modes, option lists and supervised targets; and that every target earns its own mode's format."""

import pytest
import question_sets

from spatial_jax.data.prompts import PromptStyle, answer_text, build_messages, instruction, target_text
from spatial_jax.forms import FORMS


def text_of(messages):
    return "".join(part["text"] for part in messages[-1]["content"] if part["type"] == "text")


def test_options_are_listed_once():
    asked = question_sets.record(
        0, question_type="mcq", question="Which is left?", options=("the cup", "the box"), answer="the box"
    )
    text = text_of(build_messages(asked))
    assert text == "Which is left?\nA. the cup\nB. the box\nAnswer with the letter of the right option."
    assert answer_text(asked) == "B" and target_text(asked, "answer_tag") == "<answer>B</answer>"
    listed = question_sets.record(
        0,
        question_type="mcq",
        question="Which?\nA. cup\nB. box\nAnswer with the letter of the right option.",
        answer="A",
    )
    assert text_of(build_messages(listed)) == listed.question and answer_text(listed) == "A"


@pytest.mark.parametrize("mode", FORMS)
def test_each_mode_states_what_it_wants(mode):
    number = question_sets.record(0, question_type="number", question="How far is the cup?", answer="1.5", unit="m")
    text = text_of(build_messages(number, PromptStyle(mode)))
    assert text.startswith("How far is the cup?") and ("a number in metres" in text) == (mode != "bare")
    for tag in {
        "answer_tag": ["<answer>"],
        "think_answer": ["<think>", "<answer>"],
        "observe_answer": ["<observe>", "<answer>"],
        "think_boxed": ["<think>", "\\boxed{}"],
        "vanilla": [],
        "bare": [],
        "drawing": ["<answer>"],
        "drawing_zoom": ["<answer>"],
    }[mode]:
        assert tag in text and tag.rstrip("}") in target_text(number, mode)
    assert "1.5" in target_text(number, mode)


def test_the_bare_mode_adds_nothing():
    asked = question_sets.record(
        0, question_type="mcq", question="Which is left?", options=("the cup", "the box"), answer="the box"
    )
    assert (
        text_of(build_messages(asked, PromptStyle("bare"))) == "Which is left?"
        and target_text(asked, "bare") == " the box"
    )
    assert instruction("bare", "number", "m") == ""


def test_free_questions_stay_as_they_are():
    assert instruction("vanilla", "free") == ""
    assert text_of(build_messages(question_sets.record(0, question_type="free", question="Describe."))) == "Describe."
    with pytest.raises(ValueError, match="prompt mode 'chatty' is unknown; use one of bare, vanilla"):
        PromptStyle("chatty")


def test_system_text_and_image_order():
    plain = build_messages(question_sets.record(0))
    assert [m["role"] for m in plain] == ["user"] and plain[0]["content"][0] == {"type": "image"}
    own = build_messages(question_sets.record(0, question="Look: <image>\nWhere?"), PromptStyle(system="Be brief."))
    assert own[0] == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in own[1]["content"]] == ["text", "image", "text"]


def test_a_question_that_asks_for_the_form_itself_is_not_told_twice():
    own = "Which? Think inside <think></think>, then put the answer in \\boxed{}."
    asked = question_sets.record(0, question_type="free", question=own)
    assert text_of(build_messages(asked, PromptStyle("think_boxed"))) == own
    assert "<answer>" in text_of(build_messages(asked, PromptStyle("think_answer")))

"""The grammar of answers (`spatial_jax.rewards.parsing`): a corpus in eight languages, properties, traps, and time."""

import functools
import json
import pathlib
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatial_jax.forms import extract_answer, matches_format
from spatial_jax.rewards import score
from spatial_jax.rewards.parsing import (
    clean,
    matches_word,
    parse_box,
    parse_choice,
    parse_number,
    parse_order,
)

CORPUS = [
    json.loads(line)
    for line in (pathlib.Path(__file__).parent / "answers.jsonl").read_text(encoding="utf-8").splitlines()
]
OPTIONS = (
    ("chair", "table", "lamp", "sofa bed"),
    ("left", "right", "front", "behind"),
    ("yes", "no"),
    ("1", "2", "3", "4"),
    ("A is closer", "B is closer"),
    ("0.5 m", "1.5 m", "15 m"),
    ("to the left of the bed", "to the right of the bed"),
    ("move the camera up", "move the camera down", "do not move"),
)
FRAMES = (
    "{}",
    "{}.",
    " {}\n",
    "**{}**",
    '"{}"',
    "Answer: {}",
    "**Answer:** {}",
    "The answer is {}.",
    "The correct answer is **{}**.",
    "So the final answer is: {}",
    "\\boxed{{{}}}",
    "$\\boxed{{\\text{{{}}}}}$",
    "<answer>{}</answer>",
    "<answer>\n{}\n</answer>",
    "<think>One could think of A, B or 7 m.</think>\n{}",
    "<think>It is not clear.</think><answer>{}</answer>",
    "The picture shows a room.\n\nAnswer: {}",
    "答案是{}。",
    "答案：{}",
    "La respuesta es {}.",
    "Die Antwort ist {}.",
    "La réponse est {}.",
    "答えは {}",
    "정답은 {}",
    "Ответ: {}",
)


def language_of(row):
    return f"{row['language']}-{row['kind']}"


@pytest.mark.parametrize("name", sorted({language_of(row) for row in CORPUS}))
def test_the_corpus_is_read_right(name):
    wrong = []
    for row in CORPUS:
        if language_of(row) != name:
            continue
        if row["kind"] == "choice":
            got, right = parse_choice(row["text"], row["options"]), row["read"]
        else:
            got = parse_number(row["text"], row["unit"], ranges=False)
            right = None if row["read"] is None else Fraction(row["read"])
        if got != right:
            wrong.append((row["text"], right, got))
    assert not wrong


def test_the_corpus_is_several_hundred_answers_in_many_languages():
    assert len(CORPUS) >= 400
    assert {row["language"] for row in CORPUS} >= {"en", "zh", "es", "de", "fr"}


@st.composite
def choices(draw):
    options = draw(st.sampled_from(OPTIONS))
    index = draw(st.integers(0, len(options) - 1))
    letter, text = "ABCD"[index], options[index]
    spoken = draw(
        st.sampled_from((letter, f"({letter})", f"{letter}. {text}", f"({letter}) {text}", f"{letter}: {text}", text))
    )
    return options, index, spoken


@given(choices(), st.sampled_from(FRAMES))
def test_a_choice_is_read_in_every_frame(choice, frame):
    options, index, spoken = choice
    assert parse_choice(frame.format(spoken), options) == index


@given(choices(), st.sampled_from(FRAMES), st.sampled_from(("{}, not {}", "{} rather than {}", "{}, and not {}")))
def test_what_is_denied_does_not_change_a_choice(choice, frame, denial):
    options, index, _ = choice
    letter, other = "ABCD"[index], "ABCD"[(index + 1) % len(options)]
    assert parse_choice(frame.format(denial.format(letter, other)), options) == index


@given(
    choices(), st.sampled_from(FRAMES), st.sampled_from(("{} or {}", "{}, {}", "{} and {}", "{}/{}", "either {} or {}"))
)
def test_two_options_are_no_answer(choice, frame, join):
    options, index, _ = choice
    letter, other = "ABCD"[index], "ABCD"[(index + 1) % len(options)]
    assert parse_choice(frame.format(join.format(letter, other)), options) is None


@given(
    st.sampled_from(OPTIONS),
    st.sampled_from(("\n", ", ", " ", "; ")),
    st.sampled_from(("{}. {}", "({}) {}", "{}) {}")),
    st.sampled_from(FRAMES),
)
def test_the_question_s_options_said_again_are_no_answer(options, join, label, frame):
    listing = join.join(label.format(letter, option) for letter, option in zip("ABCD", options, strict=False))
    assert parse_choice(frame.format(listing), options) is None


@st.composite
def numbers(draw):
    value = Fraction(draw(st.integers(0, 99_999)), draw(st.sampled_from((1, 10, 100))))
    unit, word = draw(
        st.sampled_from((("m", " m"), ("m", " metres"), ("cm", "cm"), ("", ""), ("degrees", "°"), ("m", "")))
    )
    return value, unit, f"{float(value):.2f}".rstrip("0").rstrip(".") + word


@given(numbers(), st.sampled_from(FRAMES))
def test_a_number_is_read_in_every_frame(number, frame):
    value, unit, spoken = number
    assert parse_number(frame.format(spoken), unit) == value


@given(
    numbers(),
    numbers(),
    st.sampled_from(FRAMES),
    st.sampled_from(("{}, not {}", "{} rather than {}", "{} instead of {}")),
)
def test_what_is_denied_does_not_change_a_number(number, other, frame, denial):
    value, unit, spoken = number
    assert parse_number(frame.format(denial.format(spoken, other[2])), unit) == value


@given(
    st.integers(1, 50),
    st.integers(51, 99),
    st.sampled_from(("{}-{} m", "{} to {} m", "between {} and {} m", "{} or {} m", "{}, {}", "{} m or {} m")),
)
def test_several_numbers_are_no_answer(low, high, join):
    assert parse_number(join.format(low, high), "m", ranges=False) is None


OPTIONS_RECORD = {"options": ["A. chair", "B. table", "C. lamp", "D. sofa"], "answer": "B"}
QUESTION = "Which one is nearest? A. chair B. table C. lamp D. sofa"
TRAPS = (
    ("choice", "A, B, C or D", OPTIONS_RECORD),
    ("choice", "A\nB\nC\nD", OPTIONS_RECORD),
    ("choice", QUESTION, OPTIONS_RECORD),
    ("choice", "The answer is A or B.", OPTIONS_RECORD),
    ("choice", "\\boxed{A} or \\boxed{B}", OPTIONS_RECORD),
    ("choice", "<answer>A</answer><answer>B</answer>", OPTIONS_RECORD),
    ("choice", "Any of A, B, C, D is right.", OPTIONS_RECORD),
    ("choice", "It is not B.", OPTIONS_RECORD),
    ("choice", "", OPTIONS_RECORD),
    ("mra", "between 1 and 3 m", {"answer": "2 m", "unit": "m"}),
    ("mra", "1-3 m", {"answer": "2 m", "unit": "m"}),
    ("mra", "1 m, 2 m, 3 m", {"answer": "2 m", "unit": "m"}),
    ("mra", "not 2 m", {"answer": "2 m", "unit": "m"}),
    ("mra", "2 m or 4 m", {"answer": "2 m", "unit": "m"}),
    ("mra", "<answer>1 m</answer><answer>2 m</answer>", {"answer": "2 m", "unit": "m"}),
    ("mra", "2 degrees", {"answer": "2 m", "unit": "m"}),
    ("mra", "", {"answer": "2 m", "unit": "m"}),
)


@pytest.mark.parametrize("kind, response, record", TRAPS)
def test_traps_score_nothing(kind, response, record):
    assert score({"kind": kind}, response, record) == 0


@functools.cache
def readers():
    options = OPTIONS[0]
    return [
        functools.partial(parse_choice, options=options),
        functools.partial(parse_choice, options=OPTIONS[4]),
        functools.partial(parse_number, unit="m"),
        functools.partial(parse_order, items=("lamp", "chair")),
        functools.partial(matches_word, accepted=("left",), vocabulary=("lamp",)),
        lambda text: matches_format(text, "think_answer"),
        lambda text: extract_answer(text, "answer_tag"),
        parse_box,
        clean,
    ]


PIECES = (
    *(" ", "\n", "9", "1,", "1-2-", "A ", "B. ", "(A)", "A or ", "chair or ", "((1,2", "'", "five ", "not ", "no "),
    *("The answer is not A. ", "answer: B. ", "B is correct. ", "Answer:** 3 ", "I would say ", "答案是", "选", "三米"),
    *("½", "²", "\u200b", "é", "\\boxed{", "\\frac{1}{2}", "\\text{", "{", "^", "=", "3 = ", "*", "`", "```json\n"),
    *("<think>", "</think>", "<answer>", "</answer>", "<|im_start|>assistant", "a half of a ", "and a half ", "1 m "),
    *("A. chair B. table ", "yes.", " - ", "|", "which is ", "\t", "a "),
)


@pytest.mark.parametrize("piece", PIECES)
def test_no_text_takes_long(piece):
    """About a millisecond a kilobyte; four are allowed for a busy machine, and what is quadratic takes hundreds."""
    for size in (4_000, 64_000):
        text = (piece * (size // len(piece) + 1))[:size]
        for reader in readers():
            taken = []
            for _ in range(3):
                begin = time.process_time()
                reader(text)
                taken.append(time.process_time() - begin)
                if taken[-1] <= size * 4e-6:
                    break
            assert min(taken) <= size * 4e-6, reader


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), st.text(max_size=30))
def test_nothing_raises_on_mixed_pieces(text, rest):
    for reader in readers():
        reader(text + rest)
        reader(rest + text)

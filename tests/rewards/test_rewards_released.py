"""Rewards as their authors' code pays them: tables read off that code, and short restatements of its rules on thousands
of generated responses.
"""

import random
import re
import time

import numpy as np
import pytest

from spatial_jax.rewards import check_record, score
from spatial_jax.rewards.grading import equal_answers
from spatial_jax.rewards.kinds.easyr1 import normalize
from spatial_jax.rewards.kinds.videos import spoken_number
from spatial_jax.rewards.parsing import first_number
from spatial_jax.rewards.released import (
    draws,
    last_box,
    mra_float32,
    mra_float64,
    thinks_then_answers,
    thinks_then_boxes,
)
from spatial_jax.rewards.similarity import rouge, stem, word_error_rate


def record(answer, **more):
    return {
        "question_id": "q1",
        "question": "?",
        "answer": answer,
        "options": (),
        "unit": "",
        "question_type": "mcq",
        "response_tokens": 10,
        **more,
    }


def texts(pieces, count, seed=0, most=9):
    """Responses put together at random, the same ones every time."""
    rng = random.Random(seed)
    return ["".join(rng.choice(pieces) for _ in range(rng.randrange(1, most))) for _ in range(count)]


SSRL = [
    ("<think>x</think>\\boxed{ B }", "B", 1.0),
    ("<think>x</think>\\boxed{B}", " B ", 0.1),
    ("<think>x</think>\\boxed{B} \\boxed{", "B", 0.1),
    ("\\boxed{B} \\boxed{", "B", 0.0),
    ("\\boxed{A} \\boxed{B}", "B", 0.9),
    ("<think>x</think> \\boxed{a < b}", "a<b", 1.0),
]


@pytest.mark.parametrize("text, truth, expected", SSRL)
def test_ssrl_as_released(text, truth, expected):
    assert score({"kind": "ssrl", "released": True}, text, record(truth)) == pytest.approx(expected)


def test_ssrl_agrees_with_a_restatement_of_its_script():
    def box(text):
        _, mark, rest = text.rpartition("\\boxed{")
        depth = 0
        for i, sign in enumerate(rest if mark else ""):
            depth += {"{": 1, "}": -1}.get(sign, 0)
            if depth < 0:
                return rest[:i].strip()
        return None

    pieces = ("<think>", "</think>", "\\boxed{", "}", "{", "B", " ", "\n", "A", "\\boxed{B}", "a")
    for text in texts(pieces, 5000):
        assert last_box(text) == box(text)
        formatted = re.fullmatch(r"<think>.*</think>.*\\boxed\{.*\}.*", text, re.DOTALL) is not None
        assert thinks_then_boxes(text) == formatted
        answered = re.fullmatch(r"<think>.*?</think>\s*<answer>.*?</answer>", text, re.DOTALL) is not None
        assert thinks_then_answers(text) == answered


def test_think_and_answer_blocks_agree_with_the_released_pattern():
    pieces = ("<think>", "</think>", "<answer>", "</answer>", "\n", "x", " ", "<think>a</think><answer>B</answer>")
    for text in texts(pieces, 5000, most=7):
        formatted = re.fullmatch(r"<think>.*?</think>\s*<answer>.*?</answer>", text, re.DOTALL) is not None
        assert thinks_then_answers(text) == formatted


VILASR = [
    # truth, said, problem type, score of a well-formed answer
    ("1", "9", "regression", 0.0),
    ("10", "9", "regression", 0.95),  # float32: nine of ten limits
    ("10", "about 9 m", "numerical", 0.95),
    ("0.5", ".5", "regression", 1.0),
    ("5", "\uff15", "regression", 1.0),
    ("1200", "1,200", "regression", 0.0),
    ("B", "B", "multiple choice", 1.0),
    ("B", "b", "multiple choice", 0.0),
    ("<answer>B</answer>", " B ", "multiple choice", 1.0),
    ("left", "left", "free-form", 0.0),
]


@pytest.mark.parametrize("truth, said, kind, expected", VILASR)
def test_vilasr_as_released(truth, said, kind, expected):
    text = f"<think></think> Action: Answer\n<answer>{said}</answer>"
    paid = score({"kind": "vilasr", "released": True}, text, record(truth, problem_type=kind))
    assert paid == pytest.approx(expected)


def test_vilasr_numbers_as_released():
    for text in texts(("1", "2", ".", "-", "+", " ", "a", ",", "\u0663", "0"), 5000):
        match = re.search(r"[-+]?\d*\.?\d+", text)
        expected = None if match is None else float(match.group())
        found = first_number(text)
        assert (found is None) == (expected is None)
        assert found is None or float(found) == expected


TURN, END = "<|im_end|>\n<|im_start|>user\nok<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"
DRAWINGS = [
    ("<think></think>Action: x\n<answer>B</answer>", True),
    ("<think>a</think>\n\nAction:<answer>B</answer>" + END, True),
    ("<think>a</think> action: x <answer>B</answer>", False),
    (" <think>a</think> Action: x <answer>B</answer>", False),
    ("<think>a</think> Action: x", False),
    ("<think>a</think> Action: draw" + TURN + "<think>b</think> Action: y <answer>B</answer>" + END, True),
    ("<think>a</think> Action: <answer>" + TURN + "<think>b</think> Action: y <answer>B</answer>" + END, False),
    ("<think>a</think> Action:\n```json\n[{'bbox_2d': [1, 2, 3, 4], 'label': 'x'}]\n``` <answer>B</answer>", True),
    ("<think>a</think> Action:\n```json\n[{'start_point_2d': 1, 'end_point_2d': 2}]\n``` <answer>B</answer>", False),
    ("<think></think> Action:\n```json\n[{'label', 'start_point_2d', 'end_point_2d'}]\n```<answer></answer>", True),
    ("<think>a</think> Action:\n```json\n[]\n``` <answer>B</answer>", True),
    ("<think>a</think> Action:\n```json\n[{'bbox_2d': [1, 2, 3, 4]}]\n``` <answer>B</answer>", False),
    ('<think>a</think> Action:\n```json\n[{"label": null}]\n``` <answer>B</answer>', False),
    ("<think>a</think> Action:\n```json\nNone\n``` <answer>B</answer>", False),
]


@pytest.mark.parametrize("text, expected", DRAWINGS)
def test_vilasr_drawings_as_released(text, expected):
    assert draws(text) == expected


def test_float32_and_float64_accuracy():
    assert mra_float32(9, 10, strict=True) == pytest.approx(0.9)
    assert mra_float32(1.2, 1, strict=False) == pytest.approx(0.6)
    assert mra_float32(10**400, 1, strict=True) == 0.0
    rng = np.random.default_rng(0)
    limits = np.linspace(0.5, 0.95, 10)
    for predicted, truth in rng.integers(-40, 40, (2000, 2)) / 4:
        if truth != 0:
            expected = np.mean(np.abs(predicted - truth) / truth <= 1 - limits)
            assert mra_float64(float(predicted), float(truth)) == pytest.approx(expected)


GRADES = [
    ("B", "B", True),
    ("b", "B", True),
    ("(B)", "B", True),
    ("B", "(B)", True),
    ("\\text{B}", "B", True),
    ("B.", "B", False),
    ("B. chair", "B", False),
    ("C", "B", False),
    ("no", "on", True),  # two letters: a product
    ("left", "felt", False),
    ("3", "3.0", True),
    ("3.50", "3.5", True),
    ("7/2", "3.5", True),
    ("2/4", "1/2", False),
    ("\\frac{1}{2}", "0.5", True),
    ("\\frac12", "\\frac{1}{2}", True),
    ("1,200", "1200", True),
    ("3 meters", "3", True),
    ("3 m", "3", False),
    ("90^\\circ", "90", True),
    ("50\\%", "50", True),
    ("10^6", "1000000", False),
    ("x=5", "5", True),
    ("2x", "x*2", True),
    ("x+1", "1+x", True),
    ("x+1", "x-1", False),
    ("(1, 2)", "(1,2)", True),
    ("[1, 2]", "(1,2)", False),
    ("1 1/2", "3/2", True),
    ("\\sqrt{4}", "2", False),  # a whole number is asked for
    ("\\sqrt{2}/2", "\\frac{1}{\\sqrt{2}}", True),
    ("", "B", False),
    ("A or B", "B", False),
    ("0.1+0.2", "0.3", False),
]


@pytest.mark.parametrize("given, truth, expected", GRADES)
def test_math_answers_are_graded_as_by_mathruler(given, truth, expected):
    assert equal_answers(given, truth) == expected


def test_grading_takes_any_text():
    pieces = (
        "1",
        "a",
        "+",
        "-",
        "*",
        "/",
        "^",
        "(",
        ")",
        "\\frac",
        "\\sqrt",
        "{",
        "}",
        "\\text{",
        " ",
        "9" * 400,
        "\n",
        "$",
        "e",
        "pi",
        ",000",
    )
    for text in texts(pieces, 3000, most=14):
        assert equal_answers(text, text) or not text.strip()
        equal_answers(text, "3.5")
        equal_answers("1/2", text)
        normalize(text)
    assert not equal_answers("9^9^9^9^9", "1") and not equal_answers("(" * 300, ")")


MATH = [
    ("<think>x</think>\\boxed{B}", "B", 1.0),
    ("<think>x</think>\\boxed{(b)}", "B", 1.0),
    ("< think >x< / think >\\boxed{B}", "B", 1.0),
    ("\\boxed{B}", "B", 0.9),
    ("<think>x</think>\\boxed{C}", "B", 0.1),
    ("<think>x</think>\\boxed{B} \\boxed{", "B", 0.1),
    ("B", "B", 0.0),
    ("no box", "None", 0.0),  # on purpose: the released code pays 0.9
]
R1V = [
    ("<think>x</think><answer>B</answer>", "B", 1.0),
    ("<think>x</think>\n<answer> b </answer>", " B ", 1.0),
    ("<answer>B</answer>", "B", 0.5),
    ("B", "B", 0.5),
    ("<think>x</think><answer>\nB\n</answer>", "B", 0.5),  # the answer's pattern stays on one line
    ("<think>x</think><answer>C</answer>", "B", 0.5),
    ("Sure. <think>x</think><answer>C</answer>", "B", 0.0),
]
DAPO = [
    ("Answer: B", "B", 1.0),
    ("answer : $B$", "B", 1.0),
    ("Answer: A\nAnswer: B", "B", 1.0),
    ("Answer: x = 5", "5", 1.0),
    ("Answer: 1,200", "1200", 1.0),
    ("Answer: 3 meters", "3", 1.0),
    ("Answer: \\boxed{\\frac12}", "\\frac{1}{2}", 1.0),
    ("Answer: \\text{left}", "left", 1.0),
    ("Answer: (B)", "B", -1.0),
    ("Answer: B" + "." * 300, "B", -1.0),
    ("B", "B", -1.0),
    ("", "B", -1.0),
]


@pytest.mark.parametrize(
    "kind, text, truth, expected",
    [(kind, *row) for kind, rows in (("math", MATH), ("r1v", R1V), ("dapo", DAPO)) for row in rows],
)
def test_easyr1_as_released(kind, text, truth, expected):
    assert score({"kind": kind}, text, record(truth)) == pytest.approx(expected)


def test_dapo_takes_the_penalty_on_long_responses():
    spec = {"kind": "dapo", "max_length": 100, "buffer": 40, "factor": 0.5}
    for tokens, penalty in ((60, 0.0), (80, -0.5), (100, -1.0), (500, -1.0)):
        paid = score(spec, "Answer: B", record("B", response_tokens=tokens))
        assert paid == pytest.approx(1.0 + 0.5 * penalty)


def test_dapo_s_wrappers_agree_with_the_released_patterns():
    def restated(answer):
        answer = answer.split("=")[-1].replace(" ", "").replace("{,}", "").replace('"', "")
        answer = re.sub(r"(.*?)\$(.*?)\$(.*)", r"$\2$", answer)
        for name in ("text", "textbf", "overline"):
            answer = re.sub(rf"\\{name}\{{(.*?)\}}", r"\1", answer)
        answer = re.sub(r"\\boxed\{(.*)\}", r"\1", answer)
        answer = re.sub(r"frac([^{])(.)", r"frac{\1}{\2}", answer)
        answer = re.sub(r"sqrt([^{])", r"sqrt{\1}", answer).replace("$", "")
        return answer.replace(",", "") if answer.replace(",", "").isdigit() else answer.strip()

    pieces = ("B", "$", "\\text{", "}", "\\boxed{", "{", "1", ",", "=", " ", '"', "\\frac", "\\sqrt", "x", "\\textbf{")
    for text in texts(pieces, 5000):
        if "\\text{}" not in text:
            assert normalize(text) == restated(text), text


THINK = "<think>a</think>\n"
VIDEOS = [
    # problem type, truth, said, video_r1's accuracy, spacer's
    ("multiple choice", "B", "B", 1.0, 1.0),
    ("multiple choice", "B", "b", 0.0, 0.0),
    ("multiple choice", "<answer>B</answer>", " B ", 1.0, 1.0),
    ("numerical", "3", "3", 1.0, 1.0),
    ("numerical", "3", "3.0", 0.0, 1.0),
    ("numerical", "3.1", "3.104", 1.0, 1.0),
    ("numerical", "3", "three", 0.0, 1.0),
    ("numerical", "2", "a pair of 2", 0.0, 0.1),  # "a" is 1
    ("numerical", "3", "-3", 0.0, 1.0),  # digits without their sign
    ("numerical", "10", "9", 0.0, 0.9),
    ("numerical", "0", "0", 1.0, 0.0),
    ("numerical", "3", "no idea", 0.0, 0.0),
    ("regression", "10", "9", 0.9, 0.9),
    ("regression", "10", "30", 0.0, 0.0),
    ("regression", "1,000", "1000", 1.0, 1.0),
    ("regression", "10", "ten", 0.0, 0.0),
    ("OCR", "exit on the left", "exit on left", 0.75, 0.75),
    ("OCR", "exit", "go out by the door", 0.0, 0.0),
    ("free-form", "a red chair", "A red chair.", 1.0, 1.0),
    ("free-form", "the cat is running", "cats run there", (4 / 7 * 2) / 3, (4 / 7 * 2) / 3),
    ("free-form", "a red chair", "?", 0.0, 0.0),
]


@pytest.mark.parametrize("kind, truth, said, video_r1, spacer", VIDEOS)
def test_video_rewards_as_released(kind, truth, said, video_r1, spacer):
    known = record(truth, problem_type=kind)
    for name, expected in (("video_r1", video_r1), ("spacer", spacer)):
        check_record({"kind": name}, known)
        assert score({"kind": name}, f"{THINK}<answer>{said}</answer>", known) == pytest.approx(1 + expected, abs=1e-8)
        assert score({"kind": name}, f"<answer>{said}</answer>", known) == pytest.approx(expected, abs=1e-8)
        assert score({"kind": name}, said, known) == 0.0


def test_a_number_has_the_type_that_each_uses():
    known = record("10", question_type="number")
    assert score({"kind": "video_r1"}, "<answer>9</answer>", known) == pytest.approx(0.9)
    assert score({"kind": "spacer"}, "<answer>nine</answer>", known) == pytest.approx(0.9)
    with pytest.raises(ValueError, match="knows the types"):
        check_record({"kind": "spacer"}, record("[1, 2, 3, 4]", question_type="box"))


def test_spacer_s_number_words_agree_with_a_restatement():
    words = {
        **{
            w: i + 1
            for i, w in enumerate(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
        },
        **{
            w: i + 11
            for i, w in enumerate(["eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"])
        },
        **{"eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60},
        **{"seventy": 70, "eighty": 80, "ninety": 90, "zero": 0, "a": 1, "an": 1},
    }
    for text in texts((*words, "12", "3.5", ".", "-", " ", " ", " ", "x", "Chair", "A"), 4000):
        expected = next((n for w, n in words.items() if re.search(rf"\b{w}\b", text.strip().lower())), None)
        digits = re.search(r"\d+(\.\d+)?", text)
        expected = expected if expected is not None else float(digits.group()) if digits else None
        assert spoken_number(text) == expected, text


def test_word_error_rate_and_rouge():
    assert word_error_rate("a b c d", "a x c") == 0.5
    assert word_error_rate("", "a b") == 2.0
    assert word_error_rate("a", "b " * 100_000) > 1000
    assert rouge("", "") == 0.0
    assert rouge("the chair", "chair the") == pytest.approx((1 + 0 + 0.5) / 3)
    stems = {
        "caresses": "caress", "ponies": "poni", "dies": "die", "agreed": "agre", "hopping": "hop", "filing": "file",
        "happy": "happi", "relational": "relat", "rationally": "ration", "geologi": "geolog", "adjustment": "adjust",
        "adoption": "adopt", "controlling": "control", "generalization": "gener", "sky": "sky", "enjoy": "enjoy",
    }  # fmt: skip
    assert {word: stem(word) for word in stems} == stems


@pytest.mark.parametrize("kind", ["ssrl", "vilasr", "math", "r1v", "dapo", "video_r1", "spacer"])
def test_no_response_takes_long(kind):
    """About a millisecond a kilobyte; five are allowed for a busy machine, and what is quadratic takes hundreds."""
    pieces = (
        " ",
        "<think>",
        "</think> ",
        "<answer>",
        "</answer>",
        "\\boxed{",
        "{",
        "Answer: ",
        "```json\n",
        "[",
        "a ",
        "1,111",
    )
    known = record("3.5", problem_type="free-form" if kind in ("video_r1", "spacer") else "regression")
    spec = {"kind": kind, "released": True} if kind in ("ssrl", "vilasr") else {"kind": kind}
    for piece in pieces:
        body = (piece * 48_000)[:48_000]
        for text in (body, f"<think>a</think><answer>{body}</answer>", f"<think>{body}</think>\\boxed{{{body}}}"):
            taken = []
            for _ in range(3):
                begin = time.process_time()
                score(spec, text, known)
                taken.append(time.process_time() - begin)
                if taken[-1] <= len(text) * 5e-6:
                    break
            assert min(taken) <= len(text) * 5e-6, piece

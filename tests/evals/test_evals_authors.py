"""Scorers against their authors' rules: tables derived by reading the published scripts, and independent re-statements
on generated responses.
"""

import json
import random
import re

import numpy as np
import pytest

from spatial_jax.evals import get_benchmark, score_response, spatialladder, vilasr
from spatial_jax.evals.benchmarks import spatial_eval, vsr

MCA = {"question_type": "object_rel_distance", "ground_truth": "B", "options": ["A. x", "B. y"], "question": "q"}
NUM = {"question_type": "object_abs_distance", "ground_truth": "2.0", "options": None, "question": "q"}
OMNI = {"id": "x", "answer": 1, "options": list("wxyz"), "question": "q", "task_type": "t", "sub_task_type": "s"}
CV = {"answer": "(B)", "choices": ["3", "N"], "source": "Omni3D", "task": "Count", "prompt": "p"}
SPAR = {"task": "spatial_imagination_oc", "answer": "B", "question": "q"}
VCI = {"task": "view_change_infer", "answer": "move_right:0.4,rotate_left:20", "question": "q"}
VIEW = {"answer": "D. back", "choices": "A. left\nB. right\nC. front\nD. back", "question": "Where?"}
SAT = {"answers": ["left", "right"], "correct_answer": "right", "question": "q", "question_type": "ego_movement"}
SP = {"question_type": "object_counting", "ground_truth": "3", "question": "q"}
SP_C = {"question_type": "object_rel_distance", "ground_truth": "B", "question": "q"}

# (task, question type, response, what the published script takes)
SPATIAL_EVAL = [
    ("spatialmap", 0, "It lies Northwest of the bakery, not southeast.", "Northwest"),
    ("spatialmap", 0, "Southeast is wrong. B. Northeast", "Northeast"),
    ("spatialmap", 0, "to the north", None),
    ("spatialmap", 1, "Oz Mart is located northeast of the school.", "Oz Mart"),
    ("spatialmap", 1, "  Oz Mart is in the southwest of it", "  Oz Mart"),
    ("spatialmap", 1, "Answer first. C. **Oz Mart** is there.", "Oz Mart"),
    ("spatialmap", 1, "I choose B, Oz Mart, because of the map", "B"),
    ("spatialmap", 1, "Choice x(b) fits\nthe map best", None),
    ("spatialmap", 1, "Therefore, the object in the Southwest of Ed Shop is Oz Mart", "Oz Mart"),
    ("spatialmap", 1, "Therefore, the object in the Southwest of what is known is Oz Mart ", "Oz Mart "),
    ("spatialmap", 1, "The right one is Oz Mart, as shown.", "Oz Mart"),
    ("spatialmap", 1, "the shop is\nOz Mart<br>", "Oz Mart"),
    ("spatialmap", 1, "the shop is Oz\nMart. It is Ed Shop.", "Ed Shop"),
    ("spatialmap", 1, "Concise Answer: Oz Mart is to the northeast of it", "to the northeast of it"),
    ("spatialmap", 1, "**Answer:** Oz Mart", None),
    ("spatialmap", 1, "Ed’s Shop is located southeast", "Ed’s Shop"),
    ("spatialmap", 2, "There are no such objects, 2", 0),
    ("spatialmap", 2, "D. 007", 7),
    ("spatialmap", 2, "\n\n1. We count 4", 4),
    ("spatialmap", 2, "\n\n1. no\n2", 2),
    ("spatialmap", 2, "12 of them, maybe three", 12),
    ("spatialmap", 2, "many", None),
    ("mazenav", 0, "There are 3 right turns and one left turn", 1),
    ("mazenav", 0, "no turns; 4 right turns", 0),
    ("mazenav", 0, "I count 05 right turns", 5),
    ("mazenav", 0, "the answer is:\n\n 6 turns, 7 right turn", 7),
    ("mazenav", 0, "Answer:** 2 in 9 steps", 2),
    ("mazenav", 0, "9 steps from S to E is 4", 4),
    ("mazenav", 0, "8 steps", 8),
    ("mazenav", 0, "none", None),
    ("mazenav", 1, "There are 2 right turns, a total of 6 turns", 6),
    ("mazenav", 1, "3 left, 5 total turns", 5),
    ("mazenav", 1, "path has 4 turns of 9", 4),
    ("mazenav", 1, "A. 1\nThere are 8 turns", 8),
    ("mazenav", 1, "There is 1 turn", 1),
    ("mazenav", 2, "Yes, not bad", "Yes"),
    ("mazenav", 2, "this is the shortest path", "Yes"),
    ("mazenav", 2, "it is not", "No"),
    ("mazenav", 2, "the answer is northern", "No"),
    ("mazenav", 2, "yesterday", None),
    ("spatialgrid", 0, "four blocks of 5", 4),
    ("spatialgrid", 0, "5 blocks, four of them", 5),
    ("spatialgrid", 0, "block 0", 0),
    ("spatialgrid", 1, "a Dog or a cat", "Dog"),
    ("spatialgrid", 2, "dogs", None),
    ("spatialgrid", 2, "RABBIT", "RABBIT"),
]


@pytest.mark.parametrize("task,kind,response,expected", SPATIAL_EVAL)
def test_spatial_eval_takes_what_the_published_script_takes(task, kind, response, expected):
    assert spatial_eval.extract(response, task, kind) == expected


def test_spatial_eval_scores_by_containment_and_passes_over_what_the_script_passes_over():
    item = {"id": "mazenav.vqa.0.0", "oracle_answer": "2"}
    assert score_response("spatial_eval", "007 steps", {**item, "oracle_answer": "7"})["score"] == 1
    assert score_response("spatial_eval", "12 right turns", item)["score"] == 1
    assert score_response("spatial_eval", "9" * 5000, {**item, "oracle_answer": "9"})["score"] == 0
    assert score_response("spatial_eval", "2", {**item, "id": "mazenav.vqa.0.7"})["score"] == 0


CASES = [
    # ViLaSR: the answer block, its first character or float() of all of it
    ("vsi_bench", "vilasr", MCA, "<think>A</think> Action: Answer\n<answer> B. y </answer>", 1),
    ("vsi_bench", "vilasr", MCA, "<answer>b</answer>", 1),
    ("vsi_bench", "vilasr", MCA, "because", 1),
    ("vsi_bench", "vilasr", MCA, "<answer>A</answer><answer>B</answer>", 0),
    ("vsi_bench", "vilasr", MCA, "<|im_start|>assistant\n<answer>A</answer><|im_end|>\n<|im_start|>assistant\nB", 1),
    ("vsi_bench", "vilasr", NUM, "<answer>2.2</answer>", 0.9),
    ("vsi_bench", "vilasr", NUM, "<answer>2.2 m</answer>", 0),
    ("vsi_bench", "vilasr", {**NUM, "ground_truth": "1200"}, "<answer>1,200</answer>", 1),
    ("vsi_bench", "vilasr", {**NUM, "ground_truth": "1"}, "1.2", 0.6),
    ("vsi_bench", "vilasr", {**NUM, "problem_type": "numerical"}, "<answer>2</answer>", 0),
    ("vsi_bench", "vilasr", {**NUM, "problem_type": "numerical"}, "<answer>2.001</answer>", 1),
    ("vsi_bench", "vilasr", {**NUM, "ground_truth": "3", "problem_type": "numerical"}, "<answer>3</answer>", 1),
    ("spar_bench", "vilasr", VCI, "<answer>rotate_left:20,move_right:0.4</answer>", 1),
    ("spar_bench", "vilasr", VCI, "<answer>move_right:0.8</answer>", 0.6),
    ("spar_bench", "vilasr", VCI, "<answer>right</answer>", 0),
    ("spar_bench", "vilasr", SPAR, "<answer>b</answer>", 1),
    ("spar_bench", "vilasr", SPAR, "", 0),
    # Spatial-SSRL: with chain of thought only a box counts, and what is read decides the rule
    ("vsi_bench", "spatial_ssrl", MCA, " b ", 1),
    ("vsi_bench", "spatial_ssrl", MCA, "\\boxed{B}", 0),
    ("vsi_bench", "spatial_ssrl", MCA, "B.", 0),
    ("vsi_bench", "spatial_ssrl", NUM, "2.0", 1),
    ("vsi_bench", "spatial_ssrl_cot", MCA, "A \\boxed{B}", 1),
    ("vsi_bench", "spatial_ssrl_cot", MCA, "\\boxed{ B }", 0),
    ("vsi_bench", "spatial_ssrl_cot", MCA, "B", 0),
    ("vsi_bench", "spatial_ssrl_cot", NUM, "\\boxed{1} \\boxed{ 2.1 }", 0.9),
    ("vsi_bench", "spatial_ssrl_cot", NUM, "2.0", 0),
    ("viewspatial", "spatial_ssrl", VIEW, "D\nnot here", 1),
    ("viewspatial", "spatial_ssrl", VIEW, "a look at D", 0),
    ("viewspatial", "spatial_ssrl_cot", VIEW, "A \\boxed{d. back}", 1),
    ("viewspatial", "spatial_ssrl_cot", VIEW, "D", 0),
    # SpatialLadder
    ("vsi_bench", "spatialladder", MCA, "B. y", 1),
    ("vsi_bench", "spatialladder", MCA, " B. y", 0),
    ("vsi_bench", "spatialladder", MCA, "Answer: B. y", 0),
    ("vsi_bench", "spatialladder", MCA, "Answer: b", 1),
    ("vsi_bench", "spatialladder", NUM, "There are two of 7", 1),
    ("vsi_bench", "spatialladder", NUM, "-2.0", 1),
    ("vsi_bench", "spatialladder_thinking", NUM, "<think>9</think><answer> 2.0 </answer>", 1),
    ("vsi_bench", "spatialladder_thinking", MCA, "<think>A</think><answer>\nB.</answer>", 1),
    ("vsi_bench", "spatialladder_thinking", MCA, "<answer>B", 0),
    ("vsi_bench", "spatialladder_thinking", MCA, "B", 1),
    ("spbench", "official", SP_C, " B. x", 0),
    ("spbench", "official", SP_C, " B", 1),
    ("spbench", "thinking", SP_C, "<answer> B. x</answer>", 1),
    ("spbench", "thinking", SP, "<answer> 3 </answer>", 1),
    ("cv_bench", "spatialladder", CV, "[b]. N", 1),
    ("cv_bench", "spatialladder", CV, "It is (B)", 0),
    ("cv_bench", "spatialladder_thinking", CV, "<answer>(b)</answer>", 1),
    ("cv_bench", "spatialladder_thinking", CV, "(b)", 1),
    ("viewspatial", "spatialladder", VIEW, "D. back", 1),
    ("viewspatial", "spatialladder", VIEW, "d", 0),
    ("viewspatial", "spatialladder_thinking", VIEW, "<answer>D</answer>", 1),
    ("spar_bench", "spatialladder", SPAR, "Because", 1),
    ("spar_bench", "spatialladder_thinking", SPAR, "a <answer>b</answer>", 1),
    ("spar_bench", "spatialladder_thinking", SPAR, "<answer></answer>", 1),
    ("spar_bench", "spatialladder_thinking", SPAR, "<answer>B", 0),
    # OmniSpatial keeps the letter's case; an answer that is no text stops its JSON mode, which then says A
    ("omnispatial", "official", OMNI, "Answer: b", 0),
    ("omnispatial", "official", OMNI, "answer: B", 1),
    ("omnispatial", "official_json", {**OMNI, "answer": 0}, '{"answer": 2}', 1),
    ("omnispatial", "official_json", OMNI, '{"answer": " b."}', 1),
    # CV-Bench's 3D script compares the option's text as it is written
    ("cv_bench", "official", CV, "n", 0),
    ("cv_bench", "official", CV, "answer: x. The answer is b", 1),
    # RealWorldQA: letters A to D; Cambrian's splits
    ("realworldqa", "official", {"answer": "C", "question": "q"}, "E) no, C. yes", 1),
    ("realworldqa", "cambrian", {"answer": "two", "question": "q"}, "Answer: Two cars", 1),
    ("realworldqa", "cambrian", {"answer": "two", "question": "q"}, "the answer is: two", 0),
    # SAT's choice script: round brackets only, blanks only
    ("sat_real", "official_choice", SAT, "(B) right", 1),
    ("sat_real", "official_choice", SAT, "[B] right", 0),
    ("sat_real", "official_choice", SAT, "B\nright", 0),
    ("sat_real", "official_choice", SAT, "###Assistant: b ### x", 1),
    # VSR: a full stop after a digit stays, and so does every one after the 32nd
    ("vsr", "official", {"label": 1, "caption": "c"}, "1. 2. 3. yes.", 1),
    ("vsr", "official", {"label": 1, "caption": "c"}, "5. " * 40 + "yes.", 1),
    ("vsr", "official", {"label": 1, "caption": "c"}, ". " * 40 + "yes.", 0),
]


@pytest.mark.parametrize("name,scoring,item,response,expected", CASES)
def test_scores_as_the_authors_do(name, scoring, item, response, expected):
    assert score_response(name, response, {"id": "x", **item}, scoring)["score"] == pytest.approx(expected)


PIECES = [
    *"ABCDabcd()[].,:* \n",
    "Answer:",
    "answer is",
    "answer is:",
    "answer:",
    "<answer>",
    "</answer>",
    "\\boxed{",
    "}",
    "{",
    "two",
    "2.0",
    "1,9",
    "-",
    "-2",
    "a",
    "###",
    "###Human:",
    "x",
    "  ",
]


def _texts(count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        yield "".join(rng.choice(PIECES) for _ in range(rng.randrange(12)))


def _tagged(text):
    found = re.search("<answer>(.*?)</answer>", text, re.DOTALL)
    return found.group(1).strip() if found else None


def _mra(p, t, limits):
    return sum(abs(p - t) / t <= limit for limit in limits) / 10


def _number(text):
    try:
        return float(text)
    except ValueError:
        return None


def test_vilasr_against_a_restatement():
    limits = np.float32(1) - np.arange(0.5, 0.975, 0.05).astype(np.float32)
    for text in _texts(4000, 1):
        said = _tagged(text)
        said = text if said is None else said
        want = float(said.strip()[:1].lower() == "b")
        assert score_response("vsi_bench", text, MCA, "vilasr")["score"] == want, text
        number = _number(said.replace(",", ""))
        error = None if number is None else np.abs(np.float32(number) - np.float32(2)) / np.float32(2)
        want = 0.0 if error is None else float(np.mean(error <= limits))
        assert score_response("vsi_bench", text, NUM, "vilasr")["score"] == pytest.approx(want), text


def test_spatial_ssrl_against_a_restatement():
    for text in _texts(4000, 2):
        boxes = re.findall(r"\\boxed\{([^}]*)\}", text)
        for scoring, said in (("spatial_ssrl", text.strip()), ("spatial_ssrl_cot", boxes[-1] if boxes else "")):
            letter, number = len(said) == 1 and said.isalpha(), _number(said)
            want = float(letter and said.lower() == "b")
            assert score_response("vsi_bench", text, MCA, scoring)["score"] == want, (scoring, text)
            good = 0 if letter or number is None else sum(abs(number - 2) / 2 < 1 - (0.5 + 0.05 * i) for i in range(20))
            assert score_response("vsi_bench", text, NUM, scoring)["score"] == good / 10, (scoring, text)
        for scoring, said in (("spatial_ssrl", text), ("spatial_ssrl_cot", boxes[-1] if boxes else "")):
            found = re.search(r"\b([A-D])\b", said, re.IGNORECASE)
            want = float(found is not None and found.group(1).upper() == "D")
            assert score_response("viewspatial", text, VIEW, scoring)["score"] == want, (scoring, text)


def test_spatialladder_against_a_restatement():
    table = {"two": "2", "a": "1"}
    limits = 1 - np.linspace(0.5, 0.95, 10)
    for text in _texts(4000, 3):
        for scoring in spatialladder.SCORINGS:
            said = text
            if scoring.endswith("thinking") and "<answer>" in text:
                said = _tagged(text) if _tagged(text) is not None else "None"
            plain = said.replace("Answer:", "")
            first = plain.split(" ")[0].strip()
            letter = first[0] if re.search(r"^[A-D]\.?$", first) else plain.strip()
            want = float(letter.lower() == "b")
            assert score_response("vsi_bench", text, MCA, scoring)["score"] == want, (scoring, text)
            lowered = said.strip().lower()
            word = next((w for w in table if re.search(rf"\b{w}\b", lowered)), None)
            digits = re.search(r"\d+(\.\d+)?", lowered)
            number = table[word] if word else digits.group() if digits else None
            want = _mra(float(number), 2.0, limits) if number else 0.0
            assert score_response("vsi_bench", text, NUM, scoring)["score"] == pytest.approx(want), (scoring, text)
            first = said.split(" ")[0].strip()
            match = re.search(r"^[\(\[\{]?[A-D][\)\]\}]?\.?$", first, re.IGNORECASE)
            want = float((re.sub("[^A-D]", "", match.group().upper()) if match else said.strip()) == "B")
            assert score_response("cv_bench", text, CV, scoring)["score"] == want, (scoring, text)


def test_cambrian_and_sat_against_restatements():
    for text in _texts(4000, 4):
        cut = text.lower().strip()
        for mark in ("answer is", "answer is:", "answer:"):
            cut = cut.split(mark)[-1]
        words = cut.strip().rstrip(".").split()
        if words:
            item = {"answer": "B", "question": "q"}
            assert score_response("realworldqa", text, item, "cambrian")["score"] == float(words[0] == "b"), text
        head = text.split("###")[0].strip().lower()
        if head or "###" not in text:
            word = head.replace("(", "").replace(")", "").strip().split(" ")[0]
            assert score_response("sat_real", text, SAT, "official_choice")["score"] == float(word == "b"), text


def test_vsr_against_a_restatement():
    marks = [*';/[]"{}()=+\\_-><@`,?!']
    rng = random.Random(5)
    for _ in range(4000):
        pieces = (rng.choice(["yes", "no", ".", " ", "3", "\n", *marks, "1.", "No"]) for _ in range(rng.randrange(60)))
        text = "".join(pieces)
        low = out = text.lower()
        for mark in marks:
            gone = mark + " " in low or " " + mark in low or re.search(r"\d,\d", low)
            out = out.replace(mark, "" if gone else " ")
        words = re.sub(r"(?<!\d)\.(?!\d)", "", out, count=32).split()
        want = {(True, False): "Yes", (False, True): "No"}.get(("yes" in words, "no" in words), "Unknown")
        assert vsr.read(text) == want, text


def test_net_motion_is_scored_by_the_five_axes():
    assert vilasr.score("move_right:0.4,move_left:0.1", "move_right:0.3", "vci") == (
        1.0,
        [pytest.approx(0.3), 0, 0, 0, 0],
    )
    assert vilasr.score("move_up:nan", "move_up:1", "vci")[0] == pytest.approx(0.8)
    with pytest.raises(ValueError, match="problem_type"):
        score_response("vsi_bench", "1", {**NUM, "problem_type": "OCR"}, "vilasr")


def test_prompts_of_the_papers_own_scripts():
    def ask(name, item, scoring):
        return get_benchmark(name).prompt({"id": "x", **item}, scoring)

    assert ask("vsi_bench", MCA, "spatial_ssrl") == (
        "Watch the given video and anser the following question.\n\nqA. xB. y\nAnswer directly with the option letter"
        " from the given choices."
    )
    assert ask("vsi_bench", NUM, "spatial_ssrl_cot").endswith("The final answer MUST BE put in \\boxed{}.")
    assert "\nThe final answer should be a number(integer or decimal).\nYou FIRST" in ask(
        "vsi_bench", NUM, "spatial_ssrl_cot"
    )
    assert ask("vsi_bench", MCA, "spatialladder") == (
        "Question: q\nOptions:\nA. x\nB. y\n\nPlease answer with the option's letter from the given choices (e.g., A,"
        " B, etc.) directly."
    )
    assert ask("cv_bench", CV, "spatialladder") == (
        "Question: p\n\nPlease answer with the option's letter from the given choices directly."
    )
    assert ask("viewspatial", VIEW, "spatial_ssrl").startswith("Where?\nA. left")
    assert ask("viewspatial", VIEW, "spatialladder_thinking").count("<think>") == 1
    spar = ask("spar_bench", {"task": "position_matching", "question": "q"}, "spatialladder")
    assert spar.startswith("Question: q\n\nThe values represent") and "image.\nPlease answer with" in spar
    assert ask("spar_bench", {"task": "view_change_infer", "question": "q"}, "spatialladder").endswith(
        "q\n\nPlease output the answer directly."
    )


def test_spatialrgpt_errors_are_running_averages_rounded_by_numpy():
    def item(number, judge):
        qa = {"type": "quantitative", "category": "width_data"}
        return {"id": str(number), "qa_info": qa, "answer": "1 m", "judge": json.dumps(judge)}

    benchmark = get_benchmark("spatialrgpt_bench")
    values = [1.0125, 1.7, 0.3, 1.1115]
    items = [item(i, {"answer_in_meters": 1.0, "response_in_meters": v}) for i, v in enumerate(values)]
    outcomes = [benchmark.score("", one, "official") for one in items]
    mean = 0.0
    for count, value in enumerate(values):
        mean = (np.float64(abs(1.0 - value)) + count * mean) / (count + 1)
    assert benchmark.derived(items, outcomes, "official") == {"Quan_width_absrel": np.round(mean, 3)}
    half = {"id": "x", "qa_info": {"type": "qualitative", "category": "left_predicate"}, "answer": "Yes"}
    assert benchmark.score("", {**half, "judge": '{"your_mark": 0.5}'}, "official")[0] == 1.0
    assert benchmark.score("", {**half, "judge": '{"your_mark": null}'}, "official")[0] == 0.0

"""Every benchmark's scorer, rule by rule: one table of (benchmark, scoring, item, response, score)."""

import json
import math
import time

import pytest

from spatial_jax.evals import BENCHMARKS, benchmark_names, get_benchmark, score_response
from spatial_jax.evals.benchmarks import cv_bench, mmsi_bench, spar_bench, spatial457, vsr
from tests.evals.cases_general import CASES_GENERAL
from tests.evals.cases_more import CASES_MORE

CV2 = {"answer": "(B)", "choices": ["3", "4"], "source": "ADE20K", "task": "Count", "prompt": "How many? (A) 3 (B) 4"}
CV3 = {**CV2, "source": "Omni3D", "task": "Depth"}
MCA = {"question_type": "object_rel_distance", "ground_truth": "B", "options": ["A. x", "B. y"], "question": "q"}
NUM = {"question_type": "object_abs_distance", "ground_truth": "2.0", "options": None, "question": "q"}
SPAR = {"task": "spatial_imagination_oc", "answer": "B"}
SPAR_N = {"task": "depth_prediction_oc", "answer": "2.0"}
SPAR_MV = {"task": "depth_prediction_oc_mv", "answer": "2.0"}
VCI = {"task": "view_change_infer", "answer": "move_right:0.4,rotate_left:20"}
SP = {"question_type": "object_counting", "ground_truth": "3"}
SP_C = {"question_type": "object_rel_distance", "ground_truth": "B"}
MMSI = {"answer": "B", "question": "q Options: A: x, B: y, C: z, D: w"}
VIEW = {"answer": "D. back", "choices": "A. left\nB. right\nC. front\nD. back", "question": "Where?"}
SAT = {"answers": ["left", "right"], "correct_answer": "left", "question": "q", "question_type": "ego_movement"}
TURN = {
    **SAT,
    "answers": ["rotated left and rotated right", "did move"],
    "correct_answer": "rotated left and rotated right",
}
BLINK = {
    "answer": "(B)",
    "choices": ["A is closer", "B is closer"],
    "prompt": "p",
    "question": "q",
    "idx": "val_Relative_Depth_1",
}
DSR = {"answer": "B", "A": "yes", "B": "no", "C": "nan", "D": None, "question": "q", "category": "height_higher"}
S457 = {"answer": "suv", "category": "L1_single", "question": "q"}
QSP = {"answer_value": 100.0, "answer_unit": "cm", "question": "q"}
UP = {
    "caption_options": ["mug left of table", "mug right of table"],
    "image_path": "data/controlled_images/mug_left_of_table.jpeg",
}
EMB = {
    "answer": 1,
    "answer_options": ["above", "under", "left", "right"],
    "question": "q",
    "relation": "above",
    "data_source": "mp3d",
}
RWQ, RWQ_W = {"answer": "C", "question": "q"}, {"answer": "Two", "question": "q"}
CUBE = {"gt_answer": "E", "id": "around_1"}
VSR_T, VSR_F = {"label": 1, "caption": "c"}, {"label": 0, "caption": "c"}
RGPT_D = {"qa_info": {"type": "quantitative", "category": "width_data"}, "answer": "The width is 1.0 meters."}
RGPT_C = {"qa_info": {"type": "quantitative", "category": "direction"}, "answer": "around the 12 o'clock direction."}
RGPT_Q = {"qa_info": {"type": "qualitative", "category": "left_predicate"}, "answer": "Yes, it is."}
OMNI = {
    "answer": 1,
    "options": ["w", "x", "y", "z"],
    "question": "q",
    "task_type": "Complex_Logic",
    "sub_task_type": "s",
}
OMNI_A = {**OMNI, "answer": 0}
GEN = {"question": "q", "answer": ["two", "2"]}
GEN_C = {"question": "q", "answer": "dog", "choices": ["cat", "dog"]}


def evaluated(kind, number):
    return {"id": f"{kind}.vqa.0.{number}"}


CASES = [
    # CV-Bench: the official parser keeps one character of what follows "answer is"
    ("cv_bench", "official", CV2, "B", 1),
    ("cv_bench", "official", CV2, "(b) 4.", 1),
    ("cv_bench", "official", CV2, "The answer is B", 1),
    ("cv_bench", "official", CV2, "The answer is: B", 0),
    ("cv_bench", "official", CV2, "Based on the picture", 1),
    ("cv_bench", "official", CV2, "A closer look..", 0),
    ("cv_bench", "official", {**CV2, "answer": "(A)"}, "A closer look..", 1),
    ("cv_bench", "official", CV2, "", 0),
    ("cv_bench", "official", CV2, "answer: b", 1),
    ("cv_bench", "official", CV3, "B:,", 1),
    ("cv_bench", "official", CV3, "4", 1),
    ("cv_bench", "official", CV2, "4", 0),
    ("cv_bench", "lmms_eval", CV2, "The answer is B", 0),
    ("cv_bench", "lmms_eval", CV2, "because", 1),
    ("cv_bench", "lmms_eval", CV2, "(B) 4", 1),
    ("cv_bench", "vlmevalkit", CV2, "The answer is B", 1),
    ("cv_bench", "vlmevalkit", CV2, "four", 0),
    ("cv_bench", "vlmevalkit", CV2, "4", 1),
    # VSI-Bench: only a blank splits
    ("vsi_bench", "official", MCA, "B", 1),
    ("vsi_bench", "official", MCA, "b.", 1),
    ("vsi_bench", "official", MCA, "B\n", 1),
    ("vsi_bench", "official", MCA, "(B)", 0),
    ("vsi_bench", "official", MCA, "B. y", 1),
    ("vsi_bench", "official", MCA, " B", 0),
    ("vsi_bench", "official", MCA, "<answer>B</answer>", 0),
    ("vsi_bench", "official", NUM, "2.0 meters", 1),
    ("vsi_bench", "official", NUM, "about 2", 0),
    ("vsi_bench", "official", NUM, "2m", 0),
    ("vsi_bench", "official", NUM, "two", 0),
    ("vsi_bench", "official", NUM, "2.7", 0.3),
    ("vsi_bench", "official", NUM, "2e0", 1),
    ("vsi_bench", "official", NUM, "nan", 0),
    ("vsi_bench", "official", NUM, "inf", 0),
    ("vsi_bench", "official", NUM, "٢", 1),
    ("vsi_bench", "official", NUM, "", 0),
    ("vsi_bench", "official", {**NUM, "ground_truth": "-1"}, "5", 1),
    ("vsi_bench", "lmms_eval", NUM, "about 2 m", 1),
    ("vsi_bench", "lmms_eval", NUM, "two meters", 1),
    ("vsi_bench", "lmms_eval", MCA, "(B)", 0),
    ("vsi_bench", "vlmevalkit", NUM, "between 9 and 2", 1),
    ("vsi_bench", "vlmevalkit", MCA, "(B)", 1),
    ("vsi_bench", "vilasr", MCA, "b is", 1),
    ("vsi_bench", "spatial_ssrl_cot", NUM, "so \\boxed{2.0}", 0.1 * 10),
    ("vsi_bench", "spatial_ssrl_cot", NUM, "\\boxed{2.1}", 0.9),
    ("vsi_bench", "spatial_ssrl", {**NUM, "ground_truth": "0"}, "1", 0),
    ("vsi_bench", "vlmevalkit", {**NUM, "ground_truth": "0"}, "0", 1),
    # SPAR-Bench: the empty answer is right, prefixes count, view_change_infer divides by the prediction
    ("spar_bench", "official", SPAR, "", 1),
    ("spar_bench", "official", SPAR, "Because", 1),
    ("spar_bench", "official", SPAR, "A", 0),
    ("spar_bench", "vlmevalkit", SPAR, "", 0),
    ("spar_bench", "official", SPAR_N, "first 2.0 then 9", 1),
    ("spar_bench", "official", SPAR_MV, "first 9 then 2.0", 1),
    ("spar_bench", "official", SPAR_N, "-2.0", 1),
    ("spar_bench", "official", SPAR_N, "none", 0),
    ("spar_bench", "official", {**SPAR_N, "answer": "0"}, "0", 1),
    ("spar_bench", "official", VCI, VCI["answer"], 1),
    ("spar_bench", "official", VCI, "move_right", 0),
    ("spar_bench", "official", VCI, "", 0),
    ("spar_bench", "vlmevalkit", VCI, "move_right:0.4,bad,rotate_left:20", 1),
    # SPBench: number words in the table's order, an unclosed answer is "None"
    ("spbench", "official", SP, "There is a table and 3 chairs", 0),
    ("spbench", "official", SP, "3 chairs", 1),
    ("spbench", "official", SP, "three", 1),
    ("spbench", "official", SP, "-3", 1),
    ("spbench", "thinking", SP, "so <answer>3</answer>", 1),
    ("spbench", "thinking", SP, "so <answer>3", 0),
    ("spbench", "thinking", SP, "3", 1),
    ("spbench", "official", SP_C, "B. x", 1),
    ("spbench", "official", SP_C, "b", 1),
    ("spbench", "official", SP_C, "It is B", 0),
    ("spbench", "vlmevalkit", SP_C, "It is B", 1),
    # MMSI-Bench
    ("mmsi_bench", "official", MMSI, "``B``", 1),
    ("mmsi_bench", "official", MMSI, "`B`", 1),
    ("mmsi_bench", "official", MMSI, "\\boxed{B}", 1),
    ("mmsi_bench", "official", MMSI, "A table, so B.", 1),
    ("mmsi_bench", "official", MMSI, "none", 0),
    ("mmsi_bench", "official", MMSI, "b", 0),
    ("mmsi_bench", "lmms_eval", MMSI, "b", 1),
    ("mmsi_bench", "lmms_eval", MMSI, "{B}", 1),
    ("mmsi_bench", "lmms_eval", MMSI, "a table", 0),
    ("mmsi_bench", "vlmevalkit", MMSI, "the answer is b", 1),
    # ViewSpatial
    ("viewspatial", "official", VIEW, "D. back", 1),
    ("viewspatial", "official", VIEW, "D\n", 0),
    ("viewspatial", "official", VIEW, "x\nd", 1),
    ("viewspatial", "official", {**VIEW, "answer": "A. left"}, "a chair", 1),
    ("viewspatial", "official", VIEW, "", 0),
    ("viewspatial", "vlmevalkit", VIEW, "D\n", 1),
    # SAT: the empty answer is right
    ("sat_real", "official", SAT, "", 1),
    ("sat_real", "official", SAT, "to the left", 1),
    ("sat_real", "official", SAT, "right", 0),
    ("sat_real", "official", SAT, "x ### left\nright", 1),
    ("sat_real", "official", TURN, "did not move", 1),
    ("sat_real", "official", TURN, "rotated right and rotated left", 1),
    ("sat_real", "lmms_eval", SAT, "a.", 1),
    ("sat_real", "lmms_eval", SAT, "left", 0),
    ("sat_real", "official_choice", SAT, "(A) left ###", 1),
    # BLINK
    ("blink", "official", BLINK, "(B)", 1),
    ("blink", "official", BLINK, "The answer is (B)", 1),
    ("blink", "official", {**BLINK, "judge": "(A)"}, "(B)", 0),
    ("blink", "official", {**BLINK, "judge": "(Z)"}, "whatever", 0),
    ("blink", "lmms_eval", BLINK, "The answer is (B)", 0),
    ("blink", "vlmevalkit", BLINK, "B is closer.", 1),
    # 3DSRBench
    ("srbench_3d", "official", DSR, "B", 1),
    ("srbench_3d", "official", DSR, "no", 1),
    ("srbench_3d", "lmms_eval", DSR, "no", 0),
    ("srbench_3d", "lmms_eval", DSR, "(B)", 1),
    # Spatial457: super-categories are one; the unquoted number in double quotes is not parsed
    ("spatial457", "official", S457, "{'Reasoning': 'r', 'Answer': 'sedan'}", 1),
    ("spatial457", "official", S457, "bus", 0),
    ("spatial457", "official", {**S457, "answer": "3"}, '{"Answer": 3}', 0),
    ("spatial457", "official", {**S457, "answer": "3"}, "{'Answer': 3}", 1),
    ("spatial457", "official", {**S457, "answer": "3"}, "three", 1),
    ("spatial457", "official", {**S457, "answer": "No"}, "0", 1),
    ("spatial457", "official", {**S457, "answer": "No"}, "none", 1),
    ("spatial457", "official", {**S457, "answer": "Yes"}, "4", 1),
    ("spatial457", "official", {**S457, "answer": "mountain bike"}, "road bike", 1),
    ("spatial457", "official", {**S457, "answer": "school bus"}, "Double bus", 1),
    ("spatial457", "lmms_eval", S457, "{'Answer': 'sedan'}", 0),
    ("spatial457", "lmms_eval", {**S457, "answer": "Yes"}, "answer: true", 1),
    ("spatial457", "lmms_eval", {**S457, "answer": "3"}, '{"Answer": 3}', 1),
    # SpatialEval
    (
        "spatial_eval",
        "official",
        {**evaluated("spatialmap", 0), "oracle_answer": "Northeast"},
        "It is to the northeast.",
        1,
    ),
    (
        "spatial_eval",
        "official",
        {**evaluated("spatialmap", 1), "oracle_answer": "Oz Mart"},
        "Oz Mart is located northeast of it",
        1,
    ),
    ("spatial_eval", "official", {**evaluated("spatialmap", 1), "oracle_answer": "Oz Mart"}, "B. Oz Mart is.", 1),
    (
        "spatial_eval",
        "official",
        {**evaluated("spatialmap", 2), "oracle_answer": "0"},
        "There are no such objects, 2",
        1,
    ),
    ("spatial_eval", "official", {**evaluated("mazenav", 0), "oracle_answer": "2"}, "There are 12 right turns", 1),
    (
        "spatial_eval",
        "official",
        {**evaluated("mazenav", 0), "oracle_answer": "0"},
        "no right turns. There are 3 right turns",
        1,
    ),
    ("spatial_eval", "official", {**evaluated("mazenav", 2), "oracle_answer": "No"}, "It is not.", 1),
    ("spatial_eval", "official", {**evaluated("mazenav", 2), "oracle_answer": "No"}, "No. Or yes", 0),
    ("spatial_eval", "official", {**evaluated("spatialgrid", 0), "oracle_answer": "4"}, "four blocks of 5", 1),
    ("spatial_eval", "official", {**evaluated("spatialgrid", 1), "oracle_answer": "Dog"}, "the dog, not the cat", 1),
    ("spatial_eval", "official", {**evaluated("spatialreal", 0), "oracle_answer": "5"}, "I see 5.", 1),
    (
        "spatial_eval",
        "vlmevalkit",
        {**evaluated("mazenav", 0), "oracle_answer": "2", "oracle_option": "B", "text": "x\nA. 1\nB. 2"},
        "B",
        1,
    ),
    # Q-Spatial
    ("q_spatial", "official", QSP, "\\scalar{1} \\distance_unit{m}", 1),
    ("q_spatial", "official", QSP, "\\scalar{2} \\distance_unit{m}", 0),
    ("q_spatial", "official", QSP, "\\scalar{1.99} \\distance_unit{meters}", 1),
    ("q_spatial", "official", QSP, "\\scalar{1-2} \\distance_unit{m}", 1),
    ("q_spatial", "official", QSP, "\\scalar{150} \\distance_unit{furlong}", 1),
    ("q_spatial", "vlmevalkit", QSP, "\\scalar{150} \\distance_unit{furlong}", 0),
    ("q_spatial", "official", QSP, "1 m", 0),
    ("q_spatial", "vlmevalkit", QSP, "1 m", 0),
    ("q_spatial", "official", QSP, "\\scalar{x} \\distance_unit{m}", 0),
    ("q_spatial", "official", {**QSP, "answer_value": 3}, "\\scalar{1,5} \\distance_unit{cm}", 1),
    ("q_spatial", "official", QSP, "\\scalar{0} \\distance_unit{m}", 0),
    # What'sUp
    ("whatsup", "official", UP, "A", 1),
    ("whatsup", "official", UP, "B", 0),
    ("whatsup", "spatial_ssrl", UP, "Answer: B", 1),
    ("whatsup", "spatial_ssrl", UP, "B", 0),
    ("whatsup", "spatial_ssrl_cot", UP, "A \\boxed{B}", 0),
    ("whatsup", "spatial_ssrl_cot", UP, "\\boxed{A}", 1),
    ("whatsup", "official", {**UP, "scores": [0.5, 0.5]}, "", 1),
    # EmbSpatial, RealWorldQA
    ("embspatial", "official", EMB, "B) under", 1),
    ("embspatial", "official", EMB, "The B", 0),
    ("embspatial", "vlmevalkit", EMB, "The answer is B", 1),
    ("realworldqa", "official", RWQ, "The answer is (C)", 1),
    ("realworldqa", "official", RWQ, "", 0),
    ("realworldqa", "official", RWQ_W, "two.", 1),
    ("realworldqa", "official", RWQ_W, "two cars", 0),
    ("realworldqa", "cambrian", RWQ_W, "the answer is two cars", 1),
    ("realworldqa", "vlmevalkit", {**RWQ, "A": "x", "B": "y", "C": "z"}, "z", 1),
    # MindCube, VSR
    ("mindcube", "official", CUBE, "ON THE TABLE.", 1),
    ("mindcube", "official", CUBE, "e.", 0),
    ("mindcube", "vlmevalkit", CUBE, "<answer>e. Above</answer>", 1),
    ("vsr", "official", VSR_T, "Yes", 1),
    ("vsr", "official", VSR_T, "yes/no", 0),
    ("vsr", "official", VSR_F, "No, it is not.", 1),
    ("vsr", "official", VSR_F, "maybe", 0),
    ("vsr", "official", VSR_T, "yes.", 1),
    ("vsr", "official", VSR_T, "<answer>yes</answer>", 1),
    ("vsr", "official", VSR_T, "", 0),
    # SpatialRGPT-Bench
    (
        "spatialrgpt_bench",
        "official",
        {**RGPT_D, "judge": '{"answer_in_meters": 1.0, "response_in_meters": 1.25}'},
        "",
        1,
    ),
    (
        "spatialrgpt_bench",
        "official",
        {**RGPT_D, "judge": {"answer_in_meters": 1.0, "response_in_meters": 0.74}},
        "",
        0,
    ),
    ("spatialrgpt_bench", "official", {**RGPT_D, "judge": "{broken"}, "", 0),
    ("spatialrgpt_bench", "official", {**RGPT_C, "judge": '{"answer_direction": 12, "response_direction": 1}'}, "", 1),
    ("spatialrgpt_bench", "official", {**RGPT_Q, "judge": '{"your_mark": 1}'}, "", 1),
    ("spatialrgpt_bench", "official", {**RGPT_Q, "judge": '{"your_mark": 0}'}, "", 0),
    ("spatialrgpt_bench", "rules", RGPT_D, "It is 120 cm wide", 1),
    ("spatialrgpt_bench", "rules", RGPT_D, "It is 2 feet", 0),
    ("spatialrgpt_bench", "rules", RGPT_C, "11 o'clock", 1),
    ("spatialrgpt_bench", "rules", RGPT_Q, "yes", 1),
    # OmniSpatial: no answer counts as A
    ("omnispatial", "official", OMNI, "Answer: C\nanswer : B", 1),
    ("omnispatial", "official", OMNI, "no idea", 0),
    ("omnispatial", "official", OMNI_A, "no idea", 1),
    ("omnispatial", "official_json", OMNI, '```json\n{"answer": "B"}\n```', 1),
    ("omnispatial", "official_json", OMNI_A, "{", 1),
    ("omnispatial", "official_direct", OMNI, "b) x", 1),
    ("omnispatial", "official_llm", {**OMNI, "judge": "True"}, "x", 1),
    ("omnispatial", "lmms_eval", OMNI, "A</think><answer> b</answer>", 1),
    ("omnispatial", "vlmevalkit", OMNI, "The answer is B", 1),
    ("general_qa", "official", GEN, "The two.", 1),
    ("general_qa", "official", GEN, "2.0", 1),
    ("general_qa", "official", GEN, "three", 0),
    ("general_qa", "official", GEN_C, "(B)", 1),
    ("general_qa", "official", GEN_C, "a dog", 1),
]


@pytest.mark.parametrize(
    "name,scoring,item,response,score", CASES, ids=lambda v: v if isinstance(v, str) and len(v) < 24 else None
)
def test_scores(name, scoring, item, response, score):
    assert score_response(name, response, {"id": "x", **item}, scoring)["score"] == pytest.approx(score)


ODD = [
    "",
    " ",
    "nan",
    "\x00",
    "A" * 200_000,
    " " * 50_000 + "x",
    "answer" + " " * 50_000 + "z",
    "<answer>" * 20_000,
    "<answer" * 20_000 + "</answer>",
    "١٢٣",
    "{" * 50_000,
    "}" + "scalar{" * 20_000,
    "9" * 50_000,
    "<answer>A</answer><answer>B</answer>",
    "`" * 50_000,
    None,
]


@pytest.mark.parametrize("name", benchmark_names())
def test_oracle_scores_one_and_odd_responses_never_stop_a_run(name):
    benchmark = get_benchmark(name)
    items = {case[0]: [] for case in CASES + CASES_MORE + CASES_GENERAL}
    for case_name, scoring, item, _, _ in CASES + CASES_MORE + CASES_GENERAL:
        items[case_name].append((scoring, {"id": "x", **item}))
    for scoring in benchmark.scorings:
        item = next(i for s, i in items[name] if s == scoring or s in ("official", scoring))
        if name == "spatialrgpt_bench" and scoring == "official":
            item = {**item, "judge": '{"answer_in_meters": 1.0, "response_in_meters": 1.0}'}
        if scoring == "official_llm":
            item = {**item, "judge": "true"}
        item = {**item, "oracle_option": item.get("oracle_option", "B"), "text": item.get("text", "A. 1\nB. 2")}
        if name not in ("spatialrgpt_bench", "spatial_eval"):
            assert score_response(name, benchmark.oracle(item, scoring), item, scoring)["score"] == 1.0, scoring
        for response in ODD:
            if scoring == "cambrian" and not (response or "").strip():
                continue
            start = time.perf_counter()
            value = score_response(name, response, item, scoring)["score"]
            assert 0.0 <= value <= 1.0 and not math.isnan(value)
            assert time.perf_counter() - start < 2.0, (scoring, repr(response)[:30])


def test_spar_view_change_divides_by_the_prediction():
    item = {"task": "view_change_infer", "answer": "move_right:1"}
    official = score_response("spar_bench", "move_right:2", item)["score"]
    harness = score_response("spar_bench", "move_right:2", item, "vlmevalkit")["score"]
    assert official == pytest.approx((0.1 + 4) / 5) and harness == pytest.approx(4 / 5)
    assert spar_bench.net_motion("move_left:1,move_up:2,rotate_down:3") == [-1.0, 2.0, 0.0, 0.0, -3.0]


@pytest.mark.parametrize(
    "name,item,words",
    [
        ("vsi_bench", {**NUM, "ground_truth": "0"}, "division by zero"),
        ("vsi_bench", {"question_type": "object_abs_distance"}, "ground_truth"),
        ("vsi_bench", {**NUM, "question_type": "other"}, "other"),
        ("cv_bench", {"answer": "(A)"}, "choices"),
        ("spar_bench", {**SPAR, "task": "x"}, "x"),
        ("vsr", {"label": 3}, "label"),
        ("spatialrgpt_bench", RGPT_Q, "judge"),
        ("viewspatial", {**VIEW, "answer": "none"}, "names no option"),
    ],
)
def test_items_that_cannot_be_scored_say_why(name, item, words):
    with pytest.raises(ValueError, match=words):
        score_response(name, "1", item)


def test_unknown_names_name_the_nearest():
    with pytest.raises(ValueError, match="vsi_bench"):
        get_benchmark("vsi_bensh")
    with pytest.raises(ValueError, match="lmms_eval"):
        score_response("cv_bench", "A", CV2, "vlmeval")
    assert get_benchmark("3DSRBench").name == "srbench_3d" and len(BENCHMARKS) == len(benchmark_names())


def test_prompts_as_published():
    assert (
        get_benchmark("cv_bench")
        .prompt(CV2, "official")
        .endswith("(B) 4\nAnswer with the option's letter from the given choices directly.")
    )
    assert (
        get_benchmark("cv_bench")
        .prompt(CV2, "lmms_eval")
        .startswith("Note: You only need to respond with A, B without")
    )
    assert (
        get_benchmark("vsi_bench").prompt(MCA, "official")
        == "These are frames of a video.\nq\nOptions:\nA. x\nB. y\nAnswer with the option's letter from the given"
        " choices directly."
    )
    assert (
        get_benchmark("vsi_bench").prompt(NUM, "official")
        == "These are frames of a video.\nq\nPlease answer the question using a single word or phrase."
    )
    assert "Options:" not in get_benchmark("vsi_bench").prompt(MCA, "vlmevalkit")
    assert get_benchmark("spar_bench").prompt({**VCI, "question": "q"}, "official") == "\nq\n\n"
    assert "0-1000 scale" in get_benchmark("spar_bench").prompt(
        {"task": "position_matching", "question": "q", "answer": "A"}, "official"
    )
    assert get_benchmark("viewspatial").prompt(VIEW, "official").startswith("Where?A. left")
    assert get_benchmark("viewspatial").prompt(VIEW, "lmms_eval").startswith("Question: Where?\nChoices: A. left")
    assert get_benchmark("mmsi_bench").prompt(MMSI, "official").endswith("Enclose the option's letter within ``.")
    assert (
        get_benchmark("sat_real")
        .prompt(SAT, "official")
        .endswith('Choose between the following options: "left" or "right". ')
    )
    assert "The first image is from the beginning" in get_benchmark("sat_real").prompt(SAT, "official")
    assert (
        get_benchmark("srbench_3d").prompt(DSR, "official")
        == "Question: q\nOptions:\nA. yes\nB. no\nPlease select the correct answer from the options above. \n"
    )
    assert "thinkg step by step" in get_benchmark("q_spatial").prompt(QSP, "official")
    text = spatial457.prompt(S457, "official")
    assert "refered in the questions" in text and "Airliner, Dirtbike" in text and text.count("<image>") == 1
    assert text.endswith(
        "{'Reasoning': '<your reasons>', 'Answer': '<Your answer>'}"
    ) and "Airliner" not in spatial457.prompt(S457, "lmms_eval")
    assert get_benchmark("omnispatial").prompt(OMNI, "official").endswith("q\nA. w\nB. x\nC. y\nD. z")


def test_rotations_move_the_gold_with_its_text():
    cases = [
        ("cv_bench", {**CV2, "question": "How many?"}, lambda i: i["choices"][ord(i["answer"][1]) - 65], "4"),
        ("mmsi_bench", MMSI, lambda i: mmsi_bench.options(i["question"])[i["answer"]], "y"),
        ("viewspatial", VIEW, lambda i: i["answer"][3:], "back"),
        ("embspatial", EMB, lambda i: i["answer_options"][i["answer"]], "under"),
        ("vsi_bench", MCA, lambda i: i["options"][ord(i["ground_truth"]) - 65][3:], "y"),
        ("omnispatial", OMNI, lambda i: i["options"][i["answer"]], "x"),
        ("whatsup", UP, lambda i: i["caption_options"][i["gold"]], "mug left of table"),
        ("general_qa", GEN_C, lambda i: i["choices"][ord(i["answer"]) - 65], "dog"),
    ]
    for name, item, gold, text in cases:
        for n in range(1, 4):
            assert gold(get_benchmark(name).rotate(item, n)) == text, (name, n)


def test_small_parsers():
    assert cv_bench.parse_official("The answer is: B", "COCO") == ":" and cv_bench.parse_official("x", "Omni3D") == "x"
    assert vsr.without_punctuation("yes" + "." * 40) == "yes" + "." * 8  # it stops after 32
    assert spatial457.parse("{'Answer': '4'}") == ("4", True) and spatial457.parse("4") == ("4", False)
    assert mmsi_bench.options("q Options: A: x y, B: z, C: w, D: v") == {"A": "x y", "B": "z", "C": "w", "D": "v"}


def test_rule_scorers_are_fast():
    item = {"id": "x", **BLINK}
    texts = ["(B) B is closer", "The answer is A because it is nearer to the camera.", "B"] * 2000
    for name, scoring, one in (
        ("blink", "lmms_eval", item),
        ("cv_bench", "official", CV2),
        ("vsi_bench", "official", NUM),
        ("viewspatial", "official", VIEW),
    ):
        start = time.process_time()
        for text in texts:
            score_response(name, text, one, scoring)
        assert len(texts) / (time.process_time() - start) > 20_000, name


def test_cases_cover_every_scoring():
    covered = {(name, scoring) for name, scoring, *_ in CASES + CASES_MORE + CASES_GENERAL}
    alike = {
        ("blink", "official"),
        ("realworldqa", "lmms_eval"),
        ("mindcube", "lmms_eval"),
        ("vsr", "vlmevalkit"),
        ("embspatial", "lmms_eval"),
        ("viewspatial", "lmms_eval"),
        ("spar_bench", "lmms_eval"),
        ("srbench_3d", "vlmevalkit"),
        ("spatial457", "vlmevalkit"),
        ("spbench", "vlmevalkit"),
    }
    papers = ("vilasr", "spatial_ssrl", "spatialladder")  # in test_evals_authors.py
    every = {
        (name, scoring)
        for name in benchmark_names()
        for scoring in get_benchmark(name).scorings
        if not scoring.startswith(papers)
    }
    assert every - covered <= alike, json.dumps(sorted(every - covered - alike))

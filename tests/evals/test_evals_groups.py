"""Groups of items that are not answered whole, doubled ids, VLMEvalKit's own result lines, and the arithmetic that a
result names.
"""

import json

import pytest

from spatial_jax.evals import evaluate_responses, get_benchmark, read_responses


def answers(items, missing=(), wrong=()):
    return {str(i["id"]): {"responses": ["B" if i["id"] in wrong else "A"]} for i in items if i["id"] not in missing}


def test_a_half_answered_3dsrbench_group_is_left_out():
    base = {"A": "yes", "B": "no", "category": "height_higher", "question": "q", "answer": "A"}
    names = ["VIN6MS3J", "VIN6MS3J-1", "VIN6MS3J-flip", "VIN6MS3J-flip-1", "AAAAAAAA", "AAAAAAAA-flip"]
    items = [{**base, "qid": n, "id": n} for n in names]
    rows = answers(items, missing=("VIN6MS3J-1",), wrong=("AAAAAAAA",))
    metrics = evaluate_responses("srbench_3d", items, rows)["metrics"]
    assert metrics["overall"] == pytest.approx(4 / 5)
    # whole: three of four circular groups, of which one is wrong; one of two groups of all variants, which is wrong
    assert metrics["circular"] == pytest.approx(2 / 3) and metrics["flip_circular"] == 0.0
    assert metrics["flip"] == pytest.approx(1 / 2)


def test_a_half_answered_mmbench_question_is_left_out():
    items = [
        {
            "id": str(n),
            "index": n,
            "A": "x",
            "B": "y",
            "question": "q",
            "answer": "A",
            "category": "c",
            "l2-category": "l",
        }
        for n in (1, 1_000_001, 2, 1_000_002)
    ]
    rows = answers(items, missing=("1000001",))
    metrics = evaluate_responses("mmbench", items, rows)["metrics"]
    assert metrics["overall"] == 1.0 and metrics["vanilla"] == 1.0
    rows = answers(items, missing=("1000001",), wrong=("1000002",))
    assert evaluate_responses("mmbench", items, rows)["metrics"]["overall"] == 0.0


def test_a_half_answered_mme_picture_has_no_pair():
    items = [
        {"id": f"{p}{n}", "category": "count", "pair": p, "answer": "Yes", "question": "q"}
        for p in "ab"
        for n in (1, 2)
    ]
    rows = {name: {"responses": [text]} for name, text in (("a1", "Yes"), ("b1", "Yes"), ("b2", "No"))}
    metrics = evaluate_responses("mme", items, rows)["metrics"]
    assert metrics["count (acc and acc+)"] == pytest.approx(2 / 3)


def test_a_half_answered_hallusion_figure_is_left_out():
    items = [
        {
            "id": str(n),
            "category": "VD",
            "subcategory": "chart",
            "set_id": "1",
            "figure_id": str(n // 2 + 1),
            "question_id": str(n % 2),
            "question": "q",
            "gt_answer": "1",
            "visual_input": "1",
        }
        for n in range(4)
    ]
    rows = {str(n): {"responses": ["Yes"]} for n in (0, 2, 3)}
    metrics = evaluate_responses("hallusionbench", items, rows)["metrics"]
    assert metrics["aAcc"] == metrics["fAcc"] == metrics["qAcc"] == 1.0
    rows = {str(n): {"responses": ["Yes" if n == 0 else "No"]} for n in (0, 2, 3)}
    metrics = evaluate_responses("hallusionbench", items, rows)["metrics"]
    assert metrics["fAcc"] == 0.0 and metrics["aAcc"] == pytest.approx(1 / 3)


def test_items_with_one_id_are_not_both_scored():
    items = [{"id": "a", "task": "spatial_imagination_oc", "answer": letter} for letter in "BC"]
    result = evaluate_responses("spar_bench", items, {"a": {"responses": ["B"]}})
    assert result["n"] == 1 and result["left_out"] == 1


def test_vlmevalkit_s_own_3dsrbench_lines_are_read(tmp_path):
    lines = [
        {
            "index": n,
            "qid": qid,
            "question": "q",
            "A": "yes",
            "B": "no",
            "answer": "A",
            "category": "c",
            "prediction": "A",
        }
        for n, qid in enumerate(("VIN6MS3J", "VIN6MS3J-flip"))
    ]
    file = tmp_path / "results.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert set(read_responses(file)) == {"VIN6MS3J", "VIN6MS3J-flip"}


@pytest.mark.parametrize(
    "name, scoring, word",
    [("vsi_bench", "official", "float64"), ("vsi_bench", "vilasr", "float32"), ("spar_bench", "vilasr", "float32")],
)
def test_a_result_names_its_arithmetic(name, scoring, word):
    item = {
        "id": "1",
        "question_type": "object_counting",
        "ground_truth": "3",
        "options": None,
        "task": "depth_prediction_oc",
    }
    result = evaluate_responses(name, [{**item, "answer": "3"}], {"1": {"responses": ["3"]}}, scoring=scoring)
    assert word in result["note"]
    assert set(get_benchmark(name).arithmetic) <= set(get_benchmark(name).scorings)

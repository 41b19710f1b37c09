"""A response form: a tagged right answer scores 1 and a tagged wrong one 0, under every benchmark and scoring."""

import pytest

from spatial_jax.evals import benchmark_names, get_benchmark, score_response
from tests.evals import cases_general, cases_more, test_evals_more
from tests.evals.test_evals_scorers import CASES, CV2

LETTERS_WRONG = {"A": "B", "B": "A", "C": "B", "D": "B", "E": "B"}


def _right_and_wrong(name, scoring, item):
    """A right and a wrong answer to an item, as a policy of any form would give them: bare letters, words, numbers."""
    if name in test_evals_more.WRITERS:
        cases = cases_more if name in test_evals_more.WRITERS_MORE else cases_general
        return cases.right_and_wrong(name, scoring, item)
    gold = {
        "cv_bench": lambda: item["answer"].strip("()"),
        "blink": lambda: item["answer"].strip("()"),
        "omnispatial": lambda: chr(65 + item["answer"]),
        "embspatial": lambda: chr(65 + item["answer"]),
        "mindcube": lambda: item["gt_answer"],
        "viewspatial": lambda: item["answer"][0],
        "whatsup": lambda: "A",
        "vsi_bench": lambda: item["ground_truth"],
        "spbench": lambda: item["ground_truth"],
        "sat_real": lambda: "A" if item["correct_answer"] == item["answers"][0] else "B",
        "q_spatial": lambda: f"{item['answer_value']} {item['answer_unit']}",
        "spatial_eval": lambda: item["oracle_answer"],
        "general_qa": lambda: "B" if item.get("choices") else item["answer"][0],
        "vsr": lambda: "Yes" if item["label"] else "No",
        "spatialrgpt_bench": lambda: item["answer"],
    }.get(name, lambda: item["answer"])()
    wrong = {
        "Yes": "No",
        "No": "Yes",
        "two": "seven",
        "Two": "seven",
        "suv": "bus",
        "100.0 cm": "9 m",
        "3 cm": "9 m",
        "Dog": "cat",
    }
    if name == "spatialrgpt_bench":
        return gold, "No" if gold.startswith("Yes") else "9 meters" if "meters" in gold else "3 o'clock"
    return gold, LETTERS_WRONG.get(gold) or wrong.get(gold) or ("88" if gold[-1].isdigit() else "x")


FORMS = {
    "answer_tag": "<answer>{}</answer>",
    "think_answer": "<think>Is it C? Or 7?</think>\n<answer> {} </answer>",
    "observe_answer": "<observe>A room, 9 chairs.</observe><answer>{}</answer>",
    "think_boxed": "<think>B is near, A far.</think> \\boxed{{{}}}",
    "drawing": "<think>First A.</think> Action: Answer\n<answer>{}</answer><|im_end|>",
    "vanilla": "{}",
    "bare": " {}",
}
FORM_ITEMS = {(name, scoring): [] for name in benchmark_names() for scoring in get_benchmark(name).scorings}
for _name, _, _item, *_ in CASES:
    for _scoring in get_benchmark(_name).scorings:
        _full = {"id": "x", "oracle_option": "B", "text": "A. 1\nB. 2", "A": "x", "B": "y", "C": "z", "D": "w", **_item}
        judged = _name in ("spatialrgpt_bench", "blink") or _scoring == "official_llm"
        if "scores" not in _item and "judge" not in _item and not (judged and _scoring.startswith("official")):
            FORM_ITEMS[_name, _scoring].append(_full)
for _name, _, _item, *_ in test_evals_more.CASES:
    for _scoring in get_benchmark(_name).scorings:
        if not test_evals_more.has_no_plain_answer(_name, _scoring, {"id": "x", **_item}):
            FORM_ITEMS[_name, _scoring].append({"id": "x", **_item})
# What only a judge's saved readings score.
JUDGED = {("blink", "official"), ("spatialrgpt_bench", "official"), ("omnispatial", "official_llm")}


def test_every_benchmark_and_scoring_is_tried():
    assert {key for key, items in FORM_ITEMS.items() if not items} == JUDGED


@pytest.mark.parametrize("name,scoring", [key for key, items in FORM_ITEMS.items() if items])
def test_a_tagged_right_answer_scores_one_and_a_tagged_wrong_one_nothing(name, scoring):
    for item in FORM_ITEMS[name, scoring]:
        if item.get("ground_truth") in ("0", "-1") or item.get("answer") == "0":
            continue
        right, wrong = _right_and_wrong(name, scoring, item)
        if name == "spatial_eval" and scoring == "vlmevalkit":
            right, wrong = item["oracle_option"], "C"
        if name == "realworldqa" and scoring == "vlmevalkit" and right not in "ABCD":
            continue
        for form, text in FORMS.items():
            # Untagged, the answer would have to be worded as the scoring wants it.
            if form in ("vanilla", "bare") and (get_benchmark(name).dress or name in test_evals_more.WRITERS):
                continue
            for answer, want in ((right, 1.0), (wrong, 0.0)):
                got = score_response(name, text.format(answer), item, scoring, form=form)["score"]
                assert got == pytest.approx(want, abs=0.0 if want else 0.81), (form, answer, item)
                assert got == want or task_is_partial(item), (form, answer, item)
        for broken in ("<answer></answer>", "<answer>A</answer><answer>B</answer>", "", "<think>B"):
            assert score_response(name, broken, item, scoring, form="think_answer")["score"] == 0.0


def task_is_partial(item):
    """View changes are a mean over five axes: a wrong one keeps those that agree."""
    return item.get("task") == "view_change_infer"


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="answer_tag"):
        score_response("cv_bench", "A", CV2, form="answers")

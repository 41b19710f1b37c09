"""Two results on the same items: McNemar's test, how sure an item is, and the page of where they differ."""

import json
import math

import pytest
from scipy.stats import binomtest

from spatial_jax.evals.comparison import compare, compare_table
from spatial_jax.evals.comparison_page import write_comparison_page
from spatial_jax.evals.intervals import mcnemar_p
from spatial_jax.evals.results import write_result


def result(scores, model, answers=1, **more):
    items = [
        {"id": f"q{i}", "family": f"f{i % 2}", "scene": f"s{i // 2}", "score": s, "correct": s, "answers": answers}
        for i, s in enumerate(scores)
    ]
    families = {f"f{n}": {"n": len(scores) // 2} for n in (0, 1)}
    told = {"benchmark": "toy", "scoring": "reward", "model": model, "items": items, "families": families}
    return told | {"metrics": {"overall": sum(scores) / len(scores)}, "n": len(scores), "samples": answers} | more


@pytest.mark.parametrize("split", [(0, 0), (3, 3), (1, 9), (12, 2), (0, 7), (400, 460)])
def test_mcnemars_p_is_the_exact_binomials(split):
    expected = binomtest(split[0], sum(split)).pvalue if sum(split) else 1.0
    assert mcnemar_p(*split) == pytest.approx(expected, rel=1e-9)


def test_right_and_wrong_are_compared_by_mcnemar():
    outcome = compare(result([1.0, 0, 0, 0] * 5, "a"), result([1.0, 1, 1, 0] * 5, "b"))
    test = outcome["overall"]["correct"]["mcnemar"]
    assert (test["both"], test["only_a"], test["only_b"], test["neither"]) == (5, 0, 10, 5)
    assert test["p"] == pytest.approx(2 / 2**10) and "McNemar p" in compare_table(outcome)
    assert outcome["families"]["f1"]["correct"]["mcnemar"]["only_b"] == 5
    partly = compare(result([0.5] * 4, "a"), result([1.0, 0.25, 0, 1], "b"))
    assert "mcnemar" not in partly["overall"]["correct"] and "McNemar" not in compare_table(partly)


def test_the_surest_differences_come_first():
    a, b = result([0.0, 0, 0.5, 1, math.nan], "a", 8), result([1.0, 0.25, 0.5, 0, 1], "b", 8)
    items = compare(a, b)["items"]
    assert [item["id"] for item in items] == ["q0", "q3", "q1"]  # what is equal or has no score is none
    assert items[0]["confidence"] > 0.99 > items[2]["confidence"] > 0.5
    single = compare(result([0.0], "a"), result([1.0], "b"))["items"][0]
    assert 0.75 < single["confidence"] < 0.95  # two independent Betas of one answer each: 5 / 6


def test_what_else_differs_is_said():
    files = {"why": ["2 of 9 items lack a video"]}
    a = result([1.0, 0], "a", sampling={"temperature": 0.0}, rule={"format": "none"}, complete=False, files=files)
    b = result([1.0, 0], "b", sampling={"temperature": 1.0}, rule={"format": "none"}, form="think_answer")
    text = compare_table(compare(a, b))
    assert "sampling: temperature is 0.0 in a, 1.0 in b" in text and "form differs: a None; b think_answer" in text
    assert "a is not complete: 2 of 9 items lack a video" in text and "rule:" not in text


def test_the_page_shows_where_they_differ(tmp_path):
    for name, texts in (("a", ("<b>left</b>", "up")), ("b", ("right", "up"))):
        lines = [json.dumps({"id": f"q{i}", "response": text}) for i, text in enumerate(texts)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    a = result([0.0, 1], "a", responses=str(tmp_path / "a.jsonl"))
    b = result([1.0, 1], "b", responses=str(tmp_path / "b.jsonl"))
    items = [{"id": "q0", "question": "Where is the cup?", "choices": ["left", "right"], "answer": "right"}]
    page = write_comparison_page(compare(a, b), a, b, tmp_path / "x.html", items=items).read_text()
    for text in ("Where is the cup?", "&lt;b&gt;left", "b better", "% sure", "1 of 1 items", "data-facet"):
        assert text in page, text
    assert "a better" not in page and ">up<" not in page
    same = write_comparison_page(compare(a, a), a, a, tmp_path / "y.html").read_text()
    assert "Nowhere: every item has the same score" in same


def test_the_verb_writes_the_page_with_the_questions_of_the_result(tmp_path, capsys):
    import question_sets

    from tests.evals.test_evals_loaders import verb

    dataset = question_sets.write(tmp_path / "set", [question_sets.record(i) for i in range(2)])
    where = {"paths": [str(dataset)], "split": "train"}
    for name, scores in (("a", [0.0, 0.0]), ("b", [1.0, 0.0])):
        made = result(scores, name, dataset=where)
        for item, record in zip(made["items"], ("closer/00000", "closer/00001")):
            item["id"] = record
        write_result(tmp_path / f"{name}.json", made)
    text = verb(capsys, "--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"))
    assert "overall" in text and f"page: {tmp_path}/b.compared.html" in text
    page = (tmp_path / "b.compared.html").read_text()
    assert question_sets.record(0).question in page and "data:image/" in page

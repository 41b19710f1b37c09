"""How the general-ability benchmarks aggregate, against sums by hand; files that other layouts bring."""

import json

import pytest

from spatial_jax.evals import evaluate_responses, get_benchmark
from spatial_jax.evals.short_answers import CONTRACTIONS, anls, levenshtein, normalise, relaxed_match
from spatial_jax.evals.sources import SourceError
from spatial_jax.evals.yes_no import yes_or_no_word
from tests.evals.layouts_general import WRITERS_GENERAL
from tests.evals.layouts_more import base64_text, encoded, parquet, tsv


def evaluated(name, items, responses, scoring="official"):
    rows = {item["id"]: {"responses": [text]} for item, text in zip(items, responses)}
    return evaluate_responses(name, items, rows, scoring=scoring)["metrics"]


def test_mmbench_counts_questions_right_in_every_rotation():
    row = {"question": "q", "A": "cat", "B": "dog", "category": "c", "l2-category": "l"}
    items = [
        {**row, "id": "1", "index": 1, "answer": "A"},
        {**row, "id": "1000001", "index": 1_000_001, "A": "dog", "B": "cat", "answer": "B"},
        {**row, "id": "2", "index": 2, "answer": "A"},
        {**row, "id": "1000002", "index": 1_000_002, "A": "dog", "B": "cat", "answer": "B"},
    ]
    metrics = evaluated("mmbench", items, ["A", "B", "A", "A"])
    assert metrics["overall"] == 0.5 and metrics["vanilla"] == 1.0 and metrics["l"] == 0.5


def test_a_picture_column_may_name_another_row(tmp_path):
    WRITERS_GENERAL["mmbench"](tmp_path)
    items = get_benchmark("mmbench").load(tmp_path)
    assert len(items) == 2 and items[0]["images"] == items[1]["images"] == [encoded(0, (200, 200))]


def test_answers_that_are_kept_back_are_told(tmp_path):
    parquet(tmp_path / "test-0.parquet", [{"questionId": 1, "question": "q", "answers": None, "image": None}])
    with pytest.raises(SourceError, match="answers of a test split are not public"):
        get_benchmark("docvqa").load(tmp_path)


def test_hallusion_groups_are_figures_and_questions():
    row = {"category": "VD", "subcategory": "ocr", "set_id": "0", "question": "q", "gt_answer": "1"}
    places = [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")]
    items = [{**row, "id": f"{f}{q}", "figure_id": f, "question_id": q} for f, q in places]
    items.append({**items[0], "id": "vs", "category": "VS"})  # the other ocr set: its own groups
    metrics = evaluated("hallusionbench", items, ["yes", "yes", "yes", "no", "yes"], "vlmevalkit")
    assert metrics["aAcc"] == pytest.approx(4 / 5)
    assert metrics["fAcc"] == pytest.approx(2 / 3) and metrics["qAcc"] == pytest.approx(2 / 3)
    assert metrics["overall"] == pytest.approx((4 / 5 + 2 / 3 + 2 / 3) / 3)
    assert evaluated("hallusionbench", items, ["yes", "yes", "yes", "no", "yes"])["fAcc"] == 0.5  # VS figure 0 left out


def test_hallusion_ids_out_of_the_index(tmp_path):
    row = {"question": "q", "answer": "Yes", "category": "VD", "l2-category": "VD_ocr"}
    picture = base64_text(encoded(0, (200, 200)))
    tsv(tmp_path / "HallusionBench.tsv", [{"index": "VD_ocr_1_2_3_4", **row, "image": picture}])
    item = get_benchmark("hallusionbench").load(tmp_path)[0]
    assert (item["set_id"], item["figure_id"], item["question_id"], item["subcategory"]) == ("2", "3", "4", "ocr")


def test_mme_adds_accuracy_and_pairs():
    base = {"category": "OCR", "question": "q"}
    items = [{**base, "id": f"{p}{a}", "pair": str(p), "answer": a} for p in range(2) for a in ("Yes", "No")]
    metrics = evaluated("mme", items, ["yes", "no", "yes", "yes"])
    assert metrics["OCR (acc and acc+)"] == pytest.approx(0.75 + 0.5)
    assert metrics["perception"] == pytest.approx(1.25) and metrics["cognition"] == 0
    assert metrics["overall"] == pytest.approx(1.25 / 28)


def test_pope_numbers_by_hand():
    base = {"question": "q"}
    items = [
        {**base, "id": str(i), "category": "random", "answer": a} for i, a in enumerate(("yes", "yes", "no", "no"))
    ]
    metrics = evaluated("pope", items, ["Yes", "No", "Yes", "no"])
    assert metrics["precision"] == 0.5 and metrics["recall"] == 0.5 and metrics["f1"] == 0.5 and metrics["yes"] == 0.5
    loose = evaluated("pope", items, ["Yes", "maybe", "no", "no"], "lmms_eval")
    assert loose["recall"] == 1.0 and loose["accuracy"] == 0.75
    assert evaluated("pope", items, ["Yes", "maybe", "no", "no"], "vlmevalkit")["recall"] == 0.5
    items = [{**item, "category": "random,popular"} for item in items]
    assert evaluated("pope", items, ["Yes", "No", "Yes", "no"], "vlmevalkit")["popular f1"] == 0.5


def test_mmstar_averages_parts_in_one_harness_only():
    row = {"question": "q", "category": "math", "answer": "A"}
    items = [{**row, "id": str(i), "l2_category": "g" if i < 3 else "n"} for i in range(4)]
    assert evaluated("mmstar", items, ["A", "A", "A", "B"])["overall"] == 0.75
    assert evaluated("mmstar", items, ["A", "A", "A", "B"], "lmms_eval")["overall"] == 0.5


def test_infographic_and_ocr_layouts(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(encoded())
    rows = [{"id": 0, "dataset_name": "HME100k", "type": "t", "image_path": "a.png", "question": "q", "answers": "x"}]
    (tmp_path / "OCRBench.json").write_text(json.dumps(rows))
    item = get_benchmark("ocrbench").load(tmp_path)[0]
    assert item["answer"] == ["x"] and str(item["images"][0]).endswith("images/a.png")


def test_distances_and_relaxed_rules():
    assert levenshtein("kitten", "sitting") == 3 and levenshtein("", "abc") == 3
    assert anls("", [""]) == 1.0 and anls("x" * 100_000, ["y"]) == 0.0 and anls("STRASSE", ["stra\u00dfe"]) == 1 - 2 / 7
    assert (
        relaxed_match("nan", "nan") == 0.0
        and relaxed_match("inf", "inf") == 0.0
        and relaxed_match("1_000", "1000") == 1.0
    )
    assert relaxed_match("2010", "1950") == 1.0 and relaxed_match("5", "5%") == 0.0


def test_normalisations_differ_where_the_scripts_do():
    assert normalise("The 3. dogs, a cat", "official") == "3 dogs cat"
    assert normalise("The 3. dogs, a cat", "vlmevalkit") == "3. dogs cat"
    assert normalise("dont", "official") == "don't" and normalise("somebody'd", "official") == "somebodyd"
    assert normalise("Bob's", "lmms_eval") == "bob 's"
    assert normalise("1,000", "official") == "1000" and normalise("a/b", "official") == "b"
    assert normalise("x" + "." * 40, "official") == "x" + "." * 8  # it stops after 32
    assert CONTRACTIONS["couldnt've"] == CONTRACTIONS["couldn'tve"] == "couldn't've" and "id" not in CONTRACTIONS


@pytest.mark.parametrize(
    "text,said",
    [
        ("Yes.", "yes"),
        ("A. Yes", "yes"),
        ("**Yes**", None),
        ("nope", None),
        ("yes,no", None),
        ("<answer>Yes</answer>", "yes"),
    ],
)
def test_worded_yes_and_no(text, said):
    assert yes_or_no_word(text) == said

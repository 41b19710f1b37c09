"""What users bring by mistake: answers to another benchmark, answers to nothing, a folder of another version."""

import json

import pytest

from spatial_jax.evals.loading import completeness
from spatial_jax.evals.responses import ResponseLog
from spatial_jax.evals.saved import score_benchmark_file

ITEMS = [
    {"id": str(i), "question": f"Where is the {n}?", "choices": "A. left\nB. right", "answer": "B. right"}
    for i, n in enumerate(("red cup", "tall lamp", "wooden chair"))
]


def files(tmp_path, rows):
    data = tmp_path / "data"
    data.mkdir()
    items = [{**item, "question_type": "t", "image_path": []} for item in ITEMS]
    (data / "ViewSpatial-Bench.json").write_text(json.dumps(items))
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path), [str(data)]


def score(tmp_path, rows, **more):
    path, data = files(tmp_path, rows)
    return score_benchmark_file(path, "viewspatial", data=data, **more)[0]


def test_an_answer_file_that_names_another_benchmark_is_refused(tmp_path):
    _, data = files(tmp_path, [])
    ResponseLog(tmp_path / "of.jsonl", {"benchmark": "cv_bench"}).add({"id": "0", "responses": ["B"]})
    with pytest.raises(ValueError, match="holds responses to cv_bench, as its first line says, not to viewspatial"):
        score_benchmark_file(str(tmp_path / "of.jsonl"), "viewspatial", data=data)
    ResponseLog(tmp_path / "same.jsonl", {"benchmark": "viewspatial"}).add({"id": "0", "responses": ["B"]})
    assert score_benchmark_file(str(tmp_path / "same.jsonl"), "viewspatial", data=data)[0]["n"] == 1
    assert score_benchmark_file(str(tmp_path / "same.jsonl"), "ViewSpatial_Bench", data=data)[0]["n"] == 1


def test_an_answer_file_with_other_questions_is_refused(tmp_path):
    rows = [
        {"id": i, "question": f"How far is object {i} from the camera in metres?", "response": "B"} for i in range(3)
    ]
    with pytest.raises(ValueError, match="3 of 3 questions in it are not those of viewspatial with the same ids"):
        score(tmp_path, rows)


def test_the_same_questions_in_other_words_around_them_are_scored(tmp_path):
    rows = [
        {"id": item["id"], "question": f"<image> Question: {item['question'].upper()} Options:", "response": "B"}
        for item in ITEMS
    ]
    result = score(tmp_path, rows)
    assert result["n"] == 3 and result["unknown"] == 0


def test_answers_to_no_item_are_counted_and_the_row_is_not_complete(tmp_path, caplog):
    result = score(tmp_path, [{"id": i, "response": "B"} for i in (0, 1, 7, 8)])
    assert "2 of 4 responses are to no item, such as 7" in caplog.text
    assert result["complete"] is False
    why = "; ".join(result["files"]["why"])
    assert "2 responses are to no item" in why and "1 items without a response" in why
    assert "3 rows where test has 5,712" in why


def test_a_missing_verdict_is_no_complete_row():
    kept = {"version": "test", "rows": 3, "why": []}
    assert completeness({"judge": {"excluded": 0}}, kept)["complete"]
    told = completeness({"judge": {"excluded": 2}}, kept)
    assert not told["complete"] and "2 answers without the judge's verdict are left out" in told["files"]["why"]

"""Saved answers to questions of one's own are scored; items open no file outside their folder; list flags are read
alike; hostile files are one line.
"""

import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import question_sets

from spatial_jax.evals.heldout import evaluate_saved
from spatial_jax.evals.responses import ResponseLog, read_responses
from spatial_jax.evals.results import read_result
from spatial_jax.evals.runner import load_records
from spatial_jax.evals.sources import SourceError, below, picture, pictures, read_rows
from spatial_jax.media import open_image


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    records = [question_sets.record(i, family="closer" if i % 2 else "count") for i in range(8)]
    return question_sets.write(tmp_path_factory.mktemp("d") / "mine", records)


def test_saved_answers_to_ones_own_dataset_are_scored(dataset):
    records = load_records([dataset], "train")
    rows = {r.question_id: {"responses": ["cup" if i < 6 else "box"]} for i, r in enumerate(records[:7])}
    result = evaluate_saved("mine", records, rows)
    assert result["n"] == 8 and result["metrics"]["overall"] == pytest.approx(6 / 8) and result["missing"] == 1
    with pytest.raises(ValueError, match="none of the 1 responses has the id of one of its 8 questions"):
        evaluate_saved("mine", records, {"other": {"responses": ["cup"]}})


def test_the_verb_scores_a_dataset_and_reads_lists_alike(dataset, tmp_path):
    records = load_records([dataset], "train")
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(json.dumps({"id": r.question_id, "response": "cup"}) for r in records))
    command = [sys.executable, "-m", "spatial_jax.evaluate", f"--score_only={path}", f"--dataset={dataset}"]
    command += ["--split=train", f"--out={tmp_path / 'r.json'}", "--families=closer", "--families=count"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert read_result(tmp_path / "r.json")["metrics"]["overall"] == 1.0 and (tmp_path / "r.html").is_file()


@pytest.mark.parametrize("asked", [["count", "clsoer"], ["nope"], ["closer", "count", "nope"]])
def test_an_unknown_family_is_an_error_beside_known_ones(dataset, asked):
    with pytest.raises(ValueError, match=f"no record of '{asked[-1]}' in split train"):
        load_records([dataset], "train", asked)
    assert {r.family for r in load_records([dataset], "train", ["count"])} == {"count"}


def test_items_open_no_picture_outside_their_folder(tmp_path):
    root = tmp_path / "bench"
    (root / "images").mkdir(parents=True)
    for place in (root / "images" / "a.png", tmp_path / "secret.png"):
        place.write_bytes(question_sets.png(0, 32, 32))
    (root / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "linked").symlink_to(tmp_path)
    open_image(picture("a.png", str(root), "images")).load()
    open_image(picture({"path": "images/a.png"}, str(root))).load()
    outside = [
        "../secret.png",
        str(tmp_path / "secret.png"),
        "images/link.png",
        "linked/secret.png",
        "images/../../secret.png",
    ]
    for name in outside:
        (found,) = pictures([name], str(root), "images")
        assert "refused, it leads out of the folder" in found
        with pytest.raises(OSError):
            open_image(found)
    for name in ("a\0b", "x" * 5000, "none.png"):
        with pytest.raises((OSError, ValueError)):
            open_image(below(str(root), name))
    # A folder that the benchmark itself names may lie beside the files; the hub's cache is made of links.
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "b.png").write_bytes(question_sets.png(1, 32, 32))
    open_image(picture("b.png", str(root), "../pictures")).load()
    snapshot = tmp_path / "hub" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (tmp_path / "hub" / "blobs").mkdir()
    (tmp_path / "hub" / "blobs" / "1").write_bytes(question_sets.png(2, 32, 32))
    (snapshot / "c.png").symlink_to("../../blobs/1")
    open_image(picture("c.png", str(snapshot))).load()


def test_a_responses_file_brings_no_pictures_of_this_machine():
    from spatial_jax.evals.saved import carried_items

    rows = {
        "1": {"item": {"question": "q", "images": ["/etc/passwd", b"png"], "video": "/etc/passwd"}},
        "2": {"item": 3},
    }
    assert carried_items(rows) == [{"question": "q", "images": [b"png"], "video": None, "id": "1"}]


DEEP = "[" * 100_000


@pytest.mark.parametrize("text", [DEEP, '{"id": ' + DEEP, "[1, 2]", '"text"', "9" * 5000, '[{"id": 1}, 3]'])
def test_hostile_files_are_one_line(tmp_path, text):
    for name in ("a.json", "a.jsonl"):
        (tmp_path / name).write_text(text)
        for read in (read_responses, read_result):
            with pytest.raises(ValueError) as told:
                read(tmp_path / name)
            assert str(tmp_path / name) in str(told.value) and len(str(told.value)) < 400
    (tmp_path / "b.jsonl").write_text(text)
    with pytest.raises(SourceError, match=r"b.jsonl: line 1 is not a JSON object"):
        read_rows(tmp_path / "b.jsonl")
    (tmp_path / "log.jsonl").write_text('{"settings": {}, "fingerprint": "44136fa355b3678a"}\n' + text + "\n")
    log = ResponseLog(tmp_path / "log.jsonl", {})
    assert log.rows == {}  # what cannot be read is answered again
    log.close()


def test_line_separators_inside_texts_cut_nothing(tmp_path):
    odd = "a\u2028b\u2029c\u0085d"
    line = json.dumps({"id": "1", "response": odd}, ensure_ascii=False)
    (tmp_path / "r.jsonl").write_text(line + "\n")
    assert read_responses(tmp_path / "r.jsonl")["1"]["responses"] == [odd]
    from spatial_jax.metrics.writer import read_metrics
    from spatial_jax.rl.pass_rates import read_pass_rates

    (tmp_path / "p.jsonl").write_text(json.dumps({"question_id": odd, "pass_k": 1, "n": 2}, ensure_ascii=False) + "\n")
    assert read_pass_rates(tmp_path / "p.jsonl")[0]["question_id"] == odd
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "note": odd}, ensure_ascii=False) + "\n")
    assert read_metrics(tmp_path / "metrics.jsonl")[0]["note"] == odd


def test_files_without_an_extension_are_read_by_their_content_or_named(tmp_path, caplog):
    """Downloads lose their names: what holds rows is read, what does not is named, and papers are no data."""
    rows = [{"index": i, "question": f"question {i}"} for i in range(3)]
    (tmp_path / "LICENSE").write_text("free\n")
    (tmp_path / "odd").write_text("no table at all\n")
    for name, text in (
        ("a1b2", "\n".join(map(json.dumps, rows))),
        ("c3d4", json.dumps(rows)),
        ("e5f6", "index\tquestion\n" + "".join(f"{r['index']}\t{r['question']}\n" for r in rows)),
    ):
        (tmp_path / name).write_text(text)
        assert [row["question"] for row in read_rows(tmp_path)] == [row["question"] for row in rows]
        (tmp_path / name).unlink()
    assert "1 file(s) without an extension hold no table (odd); passed over" in caplog.text
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "0f9e")
    assert len(read_rows(tmp_path)) == 3
    assert "LICENSE" not in caplog.text


def test_one_of_several_processes_writes_the_responses(tmp_path):
    path = tmp_path / "shared.jsonl"
    first = ResponseLog(path, {"model": "m"})
    first.add({"id": "0", "responses": ["A"]})
    second = ResponseLog(path, {"model": "m"}, write=False)
    second.add({"id": "1", "responses": ["B"]})
    assert set(second.rows) == {"0", "1"} and set(read_responses(path)) == {"0"}
    first.add({"id": "2", "responses": ["C"]})
    first.close()
    second.close()
    assert set(read_responses(path)) == {"0", "2"}

"""Question files as their owners have them: whichever usual names the columns have, whatever form the pictures come in,
what an answer is told by itself, and what was guessed is said.
"""

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data_prep.synthesis.importers import BadRow, import_records, parse_columns
from data_prep.synthesis.importers.answers import listed_options, read_answer, unwrap_answer
from data_prep.synthesis.importers.columns import NAMES
from data_prep.synthesis.importers.survey import choose_heldout
from data_prep.synthesize import main
from spatial_jax.data.records import check_record, question_features, to_example


def png(shade=0, size=(40, 30)):
    out = io.BytesIO()
    Image.new("RGB", size, (shade, 10, 20)).save(out, "PNG")
    return out.getvalue()


def url(data):
    return "data:image/png;base64," + base64.b64encode(data).decode()


CHAT = [
    {"role": "system", "content": "Think."},
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How far?"}]},
]
SHAREGPT = [{"from": "human", "value": "<image>How far?"}, {"from": "gpt", "value": "2.5"}]
STYLES = {
    "easyr1": {"images": [png()], "problem": "<image>How far?", "answer": "2.5"},
    "easyr1 bytes dict": {"images": [{"bytes": png(), "path": None}], "problem": "<image>How far?", "answer": "2.5"},
    "trl string": {"prompt": "How far?", "images": [png()], "solution": "<think>a</think><answer>2.5</answer>"},
    "trl chat": {"prompt": CHAT, "image": {"bytes": png(), "path": None}, "solution": "$2.5$"},
    "llama-factory alpaca": {"instruction": "How far?", "input": "", "output": "2.5", "images": [png()]},
    "llama-factory sharegpt": {"conversations": SHAREGPT, "images": [png()]},
    "verl": {"prompt": CHAT, "images": [{"bytes": png()}], "reward_model": {"style": "rule", "ground_truth": "2.5"}},
    "plain": {"question": "How far?", "answer": "\\boxed{2.5}", "image": png()},
}


def _encoded(value):
    """Bytes as JSON has them: base64 text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {k: _encoded(v) for k, v in value.items()}
    return [_encoded(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("form", ["parquet", "jsonl", "json"])
def test_each_projects_columns_in_each_form_give_the_same_record(tmp_path, style, form):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / f"data.{form}"
    row = STYLES[style]
    if form == "parquet":
        flat = {
            k: [{"role": t["role"], "content": json.dumps(t["content"])} for t in v] if v is CHAT else v
            for k, v in row.items()
        }
        flat = {k: json.dumps(CHAT) if row[k] is CHAT else v for k, v in flat.items()}
        pq.write_table(pa.Table.from_pylist([flat]), path)
    else:
        path.write_text(json.dumps([_encoded(row)] if form == "json" else _encoded(row)))
    (record,) = import_records("questions", str(path))
    assert record.question.replace("<image>", "") == "How far?" and record.answer == "2.5" and record.split == "train"
    assert json.loads(record.reward)["kind"] == "mra" and (record.widths, record.heights) == ((40,), (30,))
    assert np.asarray(Image.open(io.BytesIO(record.images[0]))).shape == (30, 40, 3)


def test_hugging_face_folders_open_as_they_are_saved(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "images": datasets.Sequence(datasets.Image()),
            "problem": datasets.Value("string"),
            "answer": datasets.Value("string"),
        }
    )
    pictures = [[Image.new("RGB", (40, 30), (i, 0, 0))] for i in range(20)]
    data = datasets.Dataset.from_dict(
        {"images": pictures, "problem": ["<image>How many?"] * 20, "answer": list(map(str, range(1, 21)))}, features
    )
    data.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": data, "test": data.select(range(3))}).save_to_disk(tmp_path / "splits")
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for shard in range(2):
        part = data.shard(2, shard, contiguous=True)
        part.to_parquet(tmp_path / "hub" / "data" / f"train-0000{shard}-of-00002.parquet")
    for name, train, heldout in (("saved", None, None), ("splits", 20, 3), ("hub", None, None)):
        records = list(import_records("jsonl", str(tmp_path / name)))
        assert len(records) == (23 if name == "splits" else 20) and all(len(r.images) == 1 for r in records)
        splits = [r.split for r in records]
        assert splits.count("heldout") == heldout if train else 0 < splits.count("heldout") < 8
        assert [r.answer for r in records][:20] == list(map(str, range(1, 21)))  # shards in order


def test_pictures_relative_to_the_file_or_embedded_and_none_from_elsewhere(tmp_path):
    (tmp_path / "set" / "pics").mkdir(parents=True)
    (tmp_path / "set" / "pics" / "a.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png())
    (tmp_path / "set" / "link.png").symlink_to(tmp_path / "secret.png")
    forms = ["pics/a.png", "./pics/a.png", url(png()), base64.b64encode(png()).decode(), {"path": "pics/a.png"}]
    forms += [str(tmp_path / "set" / "pics" / "a.png"), {"image_url": {"url": url(png())}}]
    bad = ["../secret.png", str(tmp_path / "secret.png"), "link.png", "https://x.org/a.png", "none.png", "a\0b", 7]
    path = tmp_path / "set" / "q.jsonl"
    path.write_text(
        "\n".join(json.dumps({"question": f"q{i}", "answer": "yes", "image": f}) for i, f in enumerate(forms + bad))
    )
    out = list(import_records("questions", str(path), heldout_percent=0))
    assert [len(r.images) for r in out[: len(forms)]] == [1] * len(forms)
    reasons = [r.args[-1] for r in out[len(forms) :]]
    assert all(isinstance(r, BadRow) for r in out[len(forms) :]) and len(set(reasons)) == 4
    assert reasons[2] == "picture path leaves the folder of pictures"


@pytest.mark.parametrize(
    "row, kind, answer, unit",
    [
        ({"answer": "(B)", "options": ["left", "right"]}, "choice", "B", ""),
        ({"answer": "b", "options": ["left", "right"]}, "choice", "B", ""),
        ({"answer": "b)", "choices": ["A. left", "B. right"]}, "choice", "B", ""),
        ({"answer": "B. right", "options": {"A": "left", "B": "right"}}, "choice", "B", ""),
        ({"answer": "right", "options": ["left", "right"]}, "choice", "right", ""),
        ({"answer": 1, "options": ["left", "right"]}, "choice", "B", ""),
        ({"answer": "B", "A": "left", "B": "right"}, "choice", "B", ""),
        ({"question": "Which? (A) left (B) right", "answer": "b"}, "choice", "B", ""),
        ({"question": "Which?\nA) left\nB) right", "answer": "(A)"}, "choice", "A", ""),
        ({"question": "Which point is closer, A or B?", "answer": "(B)"}, "choice", "B", ""),
        ({"answer": "2.5 m", "unit": "m"}, "mra", "2.5", "m"),
        ({"answer": "2.5 metres", "unit": "m"}, "mra", "2.5", "m"),
        ({"answer": "250 cm", "unit": "m"}, "mra", "2.5", "m"),
        ({"answer": "2.5m"}, "mra", "2.5", "m"),
        ({"answer": "1,200"}, "mra", "1200", ""),
        ({"answer": 3}, "mra", "3", ""),
        ({"answer": "45 degrees"}, "mra", "45", "deg"),
        ({"answer": "3 chairs"}, "word", "3 chairs", ""),
        ({"answer": ["sofa", "couch"]}, "word", "sofa", ""),
        ({"answer": True}, "word", "yes", ""),
        ({"answer": "left", "question_type": "object_direction"}, "word", "left", ""),
        ({"answer": "4", "reward": {"kind": "number", "tolerance": 0}}, "number", "4", ""),
    ],
)
def test_what_an_answer_is_told_by_itself(tmp_path, row, kind, answer, unit):
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": "Which?", **row}))
    (record,) = import_records("questions", str(tmp_path / "q.jsonl"))
    assert not isinstance(record, BadRow), record
    assert (json.loads(record.reward)["kind"], record.answer, record.unit) == (kind, answer, unit)
    from spatial_jax.rewards import score

    resolved = record.as_dict()
    assert score(resolved["reward"], record.answer, resolved) == 1.0  # our own reward takes the answer for right


@pytest.mark.parametrize(
    "row, words",
    [
        ({"answer": "B"}, "letter without options"),
        ({"answer": "(b)"}, "letter without options"),
        ({"answer": "left", "question_type": "mcq"}, "choice without options"),
        ({"answer": "4", "reward": {"kind": "choice"}}, "choice without options"),
        ({"answer": "up", "options": ["left", "right"]}, "none of the options"),
        ({"answer": "C", "options": ["left", "right"]}, "none of the options"),
        ({"answer": "A", "options": ["x"] * 2000}, "more than 26 options"),
        ({"answer": "2 m", "unit": "deg"}, "answer is in m where the unit is deg"),
        ({"answer": "2", "unit": "cubits"}, "unit 'cubits' is unknown"),
        ({"answer": "far", "question_type": "number"}, "not a number"),
        ({"answer": ""}, "no column reads as the answer"),
        ({"answer": "\ud800"}, "lone surrogate"),
        ({"answer": "4", "reward": {"kind": "user", "file": "x.py"}}, "names code"),
        ({"answer": [1, 2, 50, 60], "question_type": "box"}, "no picture"),
        ({"question": "<|im_end|>", "answer": "9" * 400}, ""),
    ],
)
def test_rows_that_contradict_themselves_are_refused_alone(tmp_path, row, words):
    rows = [{"question": "Which?", **row}, {"question": "How many?", "answer": "2"}]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = import_records("questions", str(tmp_path / "q.jsonl"), heldout_percent=0)
    assert second.answer == "2"
    assert not words or words in first.args[-1]


def test_boxes_are_pixels_of_the_picture_and_follow_its_size(tmp_path):
    rows = [{"question": "Where?", "answer": a, "image": url(png())} for a in ([1, 2, 20, 25], "[1, 2, 20, 25]")]
    rows += [{"question": "Where?", "answer": a, "image": url(png())} for a in ([0.1, 0.2, 0.5, 1], [1, 2, 900, 950])]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    a, b, c, d = import_records("questions", str(tmp_path / "q.jsonl"), heldout_percent=0)
    from spatial_jax.data.records import resolve

    assert a.question_type == b.question_type == "box" and resolve(a, [(80, 60)]).answer == "[2, 4, 40, 50]"
    assert "shares of the picture" in c.args[-1] and "does not lie in the picture" in d.args[-1]


def test_ten_percent_are_held_out_and_no_picture_crosses(tmp_path):
    shades = [(i, (i * 7) % 40) for i in range(40)] * 3  # pictures in pairs, each pair in three rows
    rows = [
        {"question": f"q{i}", "answer": "2", "images": [url(png(a)), url(png(b))]}
        for i, (a, b) in enumerate(shades[:60])
    ]
    rows += [{"question": f"r{i}", "answer": "2", "image": url(png(100 + i % 60))} for i in range(180)]
    (tmp_path / "q.json").write_text(json.dumps(rows))
    records = list(import_records("questions", str(tmp_path / "q.json")))
    by = {split: {i for r in records if r.split == split for i in r.images} for split in ("train", "heldout")}
    assert not by["train"] & by["heldout"] and 3 <= len(by["heldout"]) <= 20
    assert choose_heldout({"a": 1}, 10) == set() and len(choose_heldout({"a": 1, "b": 1}, 10)) == 1
    assert choose_heldout({"a": 1, "b": 1}, 0) == set()
    assert len(choose_heldout({str(i): 1 for i in range(2000)}, 10)) in range(160, 240)


def test_the_verb_says_what_it_found_and_claims_nothing_for_nothing(tmp_path, capsys):
    rows = [{"problem": f"How far is it? {i}", "answer": f"{i} m", "images": [url(png(i))]} for i in range(1, 31)]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main([f"--path={tmp_path / 'q.jsonl'}", f"--out={tmp_path / 'o'}"]) == 0
    said = capsys.readouterr().out
    assert "question: column 'problem' (30 rows)" in said and "images: column 'images'" in said
    assert "30 x number -> reward mra" in said and "heldout" in said and "held out:" in said
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert any("column 'problem'" in line for line in report["found"])
    (tmp_path / "odd.jsonl").write_text(json.dumps({"frage": "Wie viele?", "antwort": "3"}))
    odd = [f"--path={tmp_path / 'odd.jsonl'}", f"--out={tmp_path / 'p'}"]
    assert main(odd) == 2
    error = capsys.readouterr().err
    assert "--columns=question=COLUMN" in error and "frage, antwort" in error and error.count("\n") == 1
    assert not (tmp_path / "p").exists()
    assert main([*odd, "--columns=question=frage", "--columns=answer=antwort"]) == 0  # the same --out is free
    (tmp_path / "gone.jsonl").write_text(json.dumps({"question": "q", "answer": "2", "image": "pics/none.png"}))
    assert main([f"--path={tmp_path / 'gone.jsonl'}", f"--out={tmp_path / 's'}"]) == 2
    assert "start from with --images=DIR" in capsys.readouterr().err
    with pytest.raises(ValueError, match="give ROLE=COLUMN"):
        parse_columns("nonsense=x")
    for wrong in (
        ["--path=/nowhere"],
        [f"--path={tmp_path / 'q.jsonl'}", "--images=/nowhere"],
        [f"--path={tmp_path}/o2"],
    ):
        assert main([*wrong, f"--out={tmp_path / 'r'}"]) == 2 and not (tmp_path / "r").exists()


def test_text_forms_that_files_have(tmp_path):
    lines = [
        '{"question": "a\u2028b\u2029c\u0085d", "answer": "1"}',
        "[" * 100000,
        '{"question": "q", "answer": "2"}',
        "[1]",
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    out = list(import_records("questions", str(tmp_path / "q.jsonl"), heldout_percent=0))
    assert [getattr(r, "answer", None) for r in out] == ["1", None, "2", None] and out[
        0
    ].question == "a\u2028b\u2029c\u0085d"
    (tmp_path / "q.tsv").write_text("index\tquestion\tA\tB\tanswer\n0\tWhich?\tleft\tright\tB\n")
    (record,) = import_records("questions", str(tmp_path / "q.tsv"))
    assert record.options == ("left", "right") and record.answer == "B"
    for text, count in (
        ({"data": [{"question": "q", "answer": "1"}]}, 1),
        ({"a": {"question": "q", "answer": "1"}, "b": {"question": "q", "answer": "1"}}, 2),
        ({"question": ["q", "r"], "answer": ["1", "2"]}, 2),
    ):
        (tmp_path / "q.json").write_text(json.dumps(text))
        assert len(list(import_records("questions", str(tmp_path / "q.json")))) == count
    (tmp_path / "q.json").write_text('[{"question": "q"')
    with pytest.raises(ValueError, match=r"q.json: not valid JSON"):
        list(import_records("questions", str(tmp_path / "q.json")))
    (tmp_path / "q.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"q.parquet: cannot be read as parquet"):
        list(import_records("questions", str(tmp_path / "q.parquet")))
    (tmp_path / "q.jsonl").write_bytes(b'{"question": "\xff"}')
    with pytest.raises(ValueError, match="UTF-8"):
        list(import_records("questions", str(tmp_path / "q.jsonl")))


def test_parts_of_reading():
    assert unwrap_answer("<think>a</think><answer>\\boxed{\\frac{1}{2}}</answer>")[:2] == ("\\frac{1}{2}", "a")
    assert unwrap_answer("so it is 5 #### 5")[0] == "5" and unwrap_answer("plain") == ("plain", "", "")
    assert listed_options("Which?\nA. left\nB. right\nAnswer with the letter.") == (
        "left",
        "right\nAnswer with the letter."[:5],
    )
    assert listed_options("A cat and a dog. Which?") == ()
    answer = read_answer("4", "How many?", (), "", "", None)
    assert answer.question_type == "number" and answer.why == "number"


LIKELY = ["A", "(b)", "2 m", "user", "image", url(png())]
KEYS = ["role", "content", "type", "text", "bytes", "path", "kind"]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(LIKELY),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)
COLUMNS = [name for names in NAMES.values() for name in names] + ["A", "B", "input", "videos"]
ROWS = st.dictionaries(st.sampled_from(COLUMNS), JSON_VALUES, max_size=7)


@given(st.lists(ROWS, min_size=1, max_size=4))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_rows_of_any_form_give_a_record_or_a_reason(tmp_path, rows):
    (tmp_path / "q.json").write_text(json.dumps(rows))
    out = list(import_records("questions", str(tmp_path / "q.json")))
    assert len(out) == len(rows)
    for found in out:
        if isinstance(found, BadRow):
            assert "unexpected form" not in str(found.args[-1]), rows  # each reason says what is wrong
        else:
            check_record(found)
            question_features().encode_example(to_example(found))

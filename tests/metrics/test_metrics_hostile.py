"""Files of a run that hold something else than they should: one line each, and the page of what is left."""

import json
import shutil

import pytest

from spatial_jax.metrics.rows import read_rows
from spatial_jax.metrics.writer import cut_after, read_metrics
from spatial_jax.reading import parse_json
from spatial_jax.report import main
from tests.metrics.test_metrics_report import run  # noqa: F401  (a fixture)

HOSTILE = {
    "list": "[1, 2]",
    "number": "7",
    "null": "null",
    "text": '"a"',
    "deep": "[" * 100_000,
    "deep object": '{"a":' * 100_000,
    "deep enough": '{"a":' * 500 + "1" + "}" * 500,
    "torn": '{"step": 1, "lo',
    "empty": "",
    "bytes": "\x00\udcff",
}
VALUES = [None, [], {}, "x", [[1]], {"a": 1}, 10**400, -1, True, "\u2028", float("1e308")]
FILES = ("grpo/metrics.jsonl", "grpo/config.json", "eval/after_sft.json", "gallery/step_000000.jsonl")
RATES = "grpo/pass_rates/step_000019.jsonl"


def report(folder, capsys):
    code = main([str(folder), "--gallery=4"])
    said = capsys.readouterr()
    assert code in (0, 2) and "Traceback" not in said.err
    return code, said.err


@pytest.mark.parametrize("kind", HOSTILE)
def test_files_of_another_kind_are_named_and_the_rest_is_shown(run, capsys, kind):  # noqa: F811
    for name in (*FILES, RATES):
        data = (HOSTILE[kind] + "\n").encode("utf-8", "surrogateescape")
        (run / name).write_bytes(data + ((run / name).read_bytes() if name.endswith("jsonl") else b""))
    code, err = report(run, capsys)
    assert code == 0 and (kind == "empty" or "metrics.jsonl: 1 lines are no rows" in err)
    assert len(read_metrics(run / "grpo")) == 20


def changed(value, path=()):
    """Every place in a JSON value, as a path."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from changed(inner, (*path, key))


def with_value(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_value(copy[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("name", [*FILES, RATES])
def test_any_field_of_any_type_ends_in_a_page_or_one_line(run, capsys, name, tmp_path):  # noqa: F811
    path, lines = run / name, name.endswith("jsonl")
    first, *rest = path.read_text().split("\n") if lines else (path.read_text(),)
    value = json.loads(first)
    places = list(changed(value))
    for number, place in enumerate(places[:: max(1, len(places) // 25)]):
        new = with_value(value, place, VALUES[number % len(VALUES)])
        path.write_text("\n".join([json.dumps(new), *rest]))
        report(run, capsys)


def test_a_folder_without_a_run_is_one_line(tmp_path, capsys):
    for folder in (tmp_path / "nowhere", tmp_path):
        code, err = report(folder, capsys)
        assert code == 2 and err.count("\n") == 1
    (tmp_path / "metrics.jsonl").write_text("[" * 100_000 + "\n")
    (tmp_path / "config.json").write_text("{}")
    code, err = report(tmp_path, capsys)
    assert code == 2 and err.count("\n") == 1 and "1 lines are no rows" in err
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").mkdir()
    assert report(tmp_path, capsys)[0] == 2
    shutil.rmtree(tmp_path / "metrics.jsonl")


def test_rows_end_at_line_feeds_alone(tmp_path):
    path = tmp_path / "metrics.jsonl"
    texts = ["a\u2028b", "c\u2029d", "e\x85f", "g\x0bh"]
    path.write_text("".join(json.dumps({"step": i, "note": t}, ensure_ascii=False) + "\n" for i, t in enumerate(texts)))
    assert [row["note"] for row in read_metrics(path)] == texts
    assert read_rows(path)[1] == 0
    cut_after(path, 2)
    assert [row["step"] for row in read_metrics(path)] == [0, 1, 2]


def test_a_run_resumes_over_damaged_rows_and_says_so(tmp_path, capsys):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + "[" * 100_000 + '\n[1]\n{"step": "x"}\n{"step": 2}\n{"step": 3}\n{"st')
    cut_after(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert "3 lines were no rows and are left out" in capsys.readouterr().err


def test_depth_and_numbers_have_bounds():
    assert parse_json("[" * 60 + "]" * 60) is not None
    assert parse_json(json.dumps([[]] * 1000)) == [[]] * 1000
    for text in ("[" * 70 + "]" * 70, "[" * 10**6, "1" * 400):
        with pytest.raises(ValueError):
            parse_json(text)

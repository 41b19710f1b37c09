"""Suites, published versions of the files, and what a result says of what it lacks."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from spatial_jax.evals import get_benchmark
from spatial_jax.evals.loading import completeness, completeness_line, folder_of, load_benchmark, with_media
from spatial_jax.evals.suites import SUITES, expand, submission, suite_text
from spatial_jax.evals.versions import VERSIONS, Version, check_version
from tests.evals import test_evals_loaders as loaders
from tests.evals.layouts_general import WRITERS_GENERAL
from tests.evals.layouts_more import WRITERS_MORE

WRITERS = {**loaders.WRITERS, **WRITERS_MORE, **WRITERS_GENERAL}


def write(name, root):
    folder = root / name
    folder.mkdir()
    WRITERS[name](folder)
    for item in get_benchmark(name).load(folder):
        if item.get("video"):
            path = folder / item["video"].removeprefix(str(folder)).lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")


def answer_rightly(monkeypatch):
    """The verb's model is replaced by one that knows the answers."""
    from spatial_jax.evals import generation, runner
    from spatial_jax.evals.scoring import evaluate_responses

    def run(sampler, name, items, settings, *, scoring, **_):
        oracle = get_benchmark(name).oracle
        rows = {str(i["id"]): {"responses": [oracle(i, scoring)]} for i in items}
        return evaluate_responses(name, items, rows, scoring=scoring, extra={"model": "lab/tiny"})

    class Model:
        asked = "asked"

    monkeypatch.setattr(runner, "run_benchmark", run)
    monkeypatch.setattr(generation.Sampler, "from_directory", classmethod(lambda cls, *_: Model()))


def test_easi8_prints_the_leaderboards_row_and_file(tmp_path, capsys, monkeypatch):
    answer_rightly(monkeypatch)
    (tmp_path / "data").mkdir()
    for member in SUITES["easi8"].members:
        write(member.benchmark, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "mindcube")
    args = ("--model=lab/tiny", "--benchmarks=easi8", f"--data={tmp_path}/data", f"--out={tmp_path}/out", "--nopage")
    text = loaders.verb(capsys, *args, f"--data=mindcube={tmp_path}/none")
    head = next(line for line in text.splitlines() if line.startswith("model  "))
    assert head.split()[1:] == [m.column for m in SUITES["easi8"].members]
    row = next(line for line in text.splitlines() if line.startswith("lab/tiny"))
    assert row.split()[1:] == ["100.00", "100.00", "-", "100.00", "100.00", "100.00", "100.00", "100.00"]
    assert "MindCube-Tiny is missing" in text and "blink: NOT COMPLETE: 1 rows where val has 1,901" in text
    sent = json.loads((tmp_path / "out" / "easi_results.json").read_text())
    assert list(sent)[:4] == ["modelName", "modelType", "precision", "revision"] and sent["modelName"] == "lab/tiny"
    assert list(sent["scores"]) == sorted(sent["scores"]) and sent["scores"]["mindcube_tiny"] is None
    assert sent["scores"]["site"] == 100.0 and sent["subScores"]["blink"] == {"relative_depth": 100.0}
    assert "route_planning_accuracy" in sent["subScores"]["vsi_bench"] and sent["backend"] == "vlmevalkit"
    assert sent["subScores"]["embspatial"] == {"mp3d": 100.0}
    assert sent["subScores"]["3dsrbench"] == {"circ_eval_overall": 100.0, "height_higher": 100.0, "overall": 100.0}
    files = sorted(str(p) for p in (tmp_path / "out").glob("*.vlmevalkit.json"))
    assert len(files) == 7
    assert row in loaders.verb(capsys, "--table=easi8", *files)


def write_clip(path):
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for i in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 6 * i, np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


@pytest.mark.proof
def test_a_tiny_policy_runs_easi8_end_to_end(tmp_path):
    """Every picture and clip of files of the published layout is shown, every answer read and scored."""
    write_clip(tmp_path / "clip.mp4")
    for member in SUITES["easi8"].members:
        write(member.benchmark, tmp_path)
        for clip in (tmp_path / member.benchmark).rglob("*.mp4"):
            shutil.copy(tmp_path / "clip.mp4", clip)
    settings = "--config.engine.prompt_buckets=(256,1024,2048)", "--config.policy.video_max_pixels=3136"
    command = [sys.executable, "-m", "spatial_jax.evaluate", "--config=configs/eval_spatial.py:tiny", *settings]
    command += ["--config.policy.video_min_pixels=784", "--model=configs/quickstart_policy", "--benchmarks=easi8"]
    command += [f"--data={tmp_path}", f"--out={tmp_path}/out", "--prompt_mode=published"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert done.returncode == 0, done.stderr[-2000:]
    row = next(line for line in done.stdout.splitlines() if line.startswith("configs/quickstart_policy "))
    assert len(row.split()) == 9 and "could not be asked" not in done.stdout and "is missing" not in done.stdout
    sent = json.loads((tmp_path / "out" / "easi_results.json").read_text())
    assert None not in sent["scores"].values() and len(list((tmp_path / "out").glob("*.html"))) == 8


def test_general_has_a_plain_mean_and_a_benchmark_alone_must_be_there(tmp_path, capsys, monkeypatch):
    answer_rightly(monkeypatch)
    for member in SUITES["general"].members:
        write(member.benchmark, tmp_path)
    args = ("--model=lab/tiny", f"--data={tmp_path}", f"--out={tmp_path}/out", "--nopage")
    text = loaders.verb(capsys, "--benchmarks=general", *args)
    row = next(line for line in text.splitlines() if line.startswith("lab/tiny"))
    assert len(row.split()) == 14 and row.split()[9] == "7.14"  # MME: one of fourteen tasks
    error = loaders.verb(capsys, "--benchmarks=docvqa", "--model=m", f"--data={tmp_path}/no", "--nopage", code=2)
    assert error.startswith("evaluate: ") and error.count("\n") == 1
    error = loaders.verb(capsys, "--benchmarks=general", *args[:2], f"--out={tmp_path}/x.json", "--nopage", code=2)
    assert "12 benchmarks cannot share one result" in error
    error = loaders.verb(capsys, "--benchmarks=all", "--model=m", "--data=/no", f"--out={tmp_path}", "--nopage", code=2)
    assert "/no: no such file" in error
    assert "none of its benchmarks" in loaders.verb(capsys, "--benchmarks=general", "--model=m", "--data=/no", code=2)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            "--model=m --benchmarks=cv_bench vsi_bench",
            "unexpected argument 'vsi_bench'; options start",
        ),
        ("--model=m --dataset=d --rotations=4", "--rotations does nothing without --benchmarks"),
        ("--model=m --benchmarks=cv_bench --families=count", "--families does nothing without --dataset"),
        ("--model=m --benchmark=cv_bench --dataset=d", "--benchmark does nothing with --model"),
        ("--model=m --benchmarks=cv_bench --greedy_too", "--greedy_too does nothing without --dataset"),
        ("--model=m --benchmarks=cv_bench --out=o --workdir=w", "two places for the results"),
        ("--model=m --benchmarks=cv_bench --dataset=d --name=n", "cannot share one result"),
        ("--score_only=f --dataset=d --samples=4", "--samples does nothing with --score_only"),
        ("--score_only=f --dataset=d --scoring=lmms_eval", "--scoring does nothing without --benchmark"),
        ("--score_only=f --benchmark=cv_bench --split=train", "--split does nothing without --dataset"),
        ("--score_only=f --benchmark=cv_bench --dataset=d", "give --benchmark, or --dataset"),
        ("--score_only=f --model=m --dataset=d", "--model does nothing with --score_only"),
        ("--score_only=f --table=li2025", "--table and --score_only are tasks of their own"),
        ("--compare a b --limit=3", "--limit does nothing with --compare"),
        ("--table=li2025 a --benchmarks=blink", "--benchmarks does nothing with --table"),
        ("--leakage=d", "--leakage needs --benchmarks"),
        ("--model=m", "nothing to do"),
        ("--dataset=d", "nothing to do"),
    ],
)
def test_what_would_be_left_undone_is_refused(capsys, args, words):
    """A flag that the task does not read was meant to do something."""
    error = loaders.verb(capsys, *args.split(), code=2)
    assert words in error and error.count("\n") == 1


def test_suites_expand_and_are_asked_one_at_a_time():
    names, suite = expand(["easi8", "blink", "cv_bench"])
    assert suite == "easi8" and names.count("blink") == 1 and names[-1] == "cv_bench"
    with pytest.raises(ValueError, match="one suite"):
        expand(["easi8", "general"])
    for suite in SUITES.values():
        for member in suite.members:
            assert suite.scoring in get_benchmark(member.benchmark).scorings
    assert expand(["cv_bench"]) == (["cv_bench"], "")


def test_the_row_names_other_scorings_and_what_is_not_read():
    family = {"n": 10, "unparsed": 0.1}
    result = {
        "benchmark": "blink",
        "scoring": "official",
        "model": "m",
        "metrics": {"overall": 0.5},
        "families": {"a": family},
    }
    text = suite_text("easi8", [{**result, "complete": False, "files": {"why": ["3 rows lack 'answer'"]}}])
    assert (
        "BLINK is scored official, the suite is vlmevalkit" in text
        and "10.0 % is not read; beyond 2.5 % the EASI leaderboard" in text
    )
    assert "BLINK is not complete: 3 rows lack 'answer'" in text and "VSI-Bench is missing" in text
    assert submission([result], "m")["modelName"] == "local/m"
    with pytest.raises(ValueError, match="none of the results"):
        suite_text("easi8", [{**result, "benchmark": "vsr"}])


def test_another_version_is_named():
    blink = get_benchmark("blink")
    items = [
        {"id": f"val_{name}_{i}", "idx": f"val_{name}_{i}", "answer": "(A)"}
        for name, count in VERSIONS["blink"][0].categories.items()
        for i in range(count)
    ]
    assert check_version(blink, items) == {"version": "val", "rows": 1901, "why": []}
    less = check_version(blink, items[1:])
    assert less["version"] == "" and less["why"] == ["1,900 rows where val has 1,901 (Art_Style 116 of 117)"]
    mixed = check_version(blink, [*items[1:], {**items[-1], "answer": None}])
    assert "other counts than val: Art_Style 116 of 117; Visual_Similarity 136 of 135" in mixed["why"][0]
    assert mixed["why"][1] == "1 of 1901 rows lack 'answer'"
    cube = check_version(get_benchmark("mindcube"), [{"id": f"around_{i}", "gt_answer": "A"} for i in range(21154)])
    assert cube["version"] == "full"
    assert check_version(get_benchmark("whatsup"), [{"id": "x", "caption_options": ["a"]}])["version"] == "unchecked"
    for versions in VERSIONS.values():
        for version in versions:
            assert isinstance(version, Version) and sum(version.categories.values()) in (0, version.rows)


def test_missing_media_are_counted_and_none_at_all_is_an_error(tmp_path):
    WRITERS["vsi_debiased"](tmp_path)
    loaded = load_benchmark("vsi_debiased", [str(tmp_path)])
    (tmp_path / "scannet.zip").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1 of 1 items lack a video.*unpack scannet\.zip"):
        with_media(loaded)
    (tmp_path / "two").mkdir()
    WRITERS["vsi_bench"](tmp_path / "two")
    (tmp_path / "two" / "scannet").mkdir()
    loaded = load_benchmark("vsi_bench", [str(tmp_path / "two")])
    loaded.items[0]["video"] = str(tmp_path / "gone.mp4")
    (tmp_path / "two" / "scannet" / "scene0011_00.mp4").write_bytes(b"")
    told = with_media(loaded).files["why"]
    assert told[-1] == f"1 of 2 items lack a video or picture, the first {tmp_path}/gone.mp4"
    result = completeness({"benchmark": "vsi_bench", "failed": 1}, {**loaded.files, "why": []})
    assert not result["complete"] and completeness_line(result).endswith("1 items could not be asked and score 0")


def test_folders_by_any_name_of_a_benchmark(tmp_path):
    (tmp_path / "site_bench").mkdir()
    assert folder_of("site_bench", ["site=/a", "blink=/b"]) == "/a"
    assert folder_of("site_bench", [str(tmp_path)]) == f"{tmp_path}/site_bench"
    assert folder_of("blink", [str(tmp_path)]) == str(tmp_path) and folder_of("blink", []) == ""
    with pytest.raises(ValueError, match="blonk"):
        folder_of("blink", ["blonk=/a"])


def test_a_limit_is_no_complete_result(tmp_path):
    WRITERS["vsi_bench"](tmp_path)
    assert load_benchmark("vsi_bench", [str(tmp_path)], 1).files["why"][-1] == "--limit: 1 of 2 items"

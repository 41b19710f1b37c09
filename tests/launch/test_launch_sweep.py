"""Sweeps with a fast command in place of training: resume, failure, preemption, parallel members, results."""

import json
import math
import signal
import threading
import time

import pytest

from launch import sweep, sweep_results
from spatial_jax.checkpoints import RunLock

RECIPE = """
def sweep(arg=""):
    pairs = [(rate, seed) for rate in (0.1, 0.2) for seed in (0, 1)]
    return [{"optimizer.learning_rate": rate, "train.seed": seed, "data.seed": seed} for rate, seed in pairs]
"""
FAKE = """
import json, os, pathlib, sys
options = dict(a[2:].split("=", 1) for a in sys.argv[1:])
root = pathlib.Path(options["workdir"]); root.mkdir(parents=True, exist_ok=True)
calls = root / "calls"; calls.write_text((calls.read_text() if calls.exists() else "") + "x")
rate, seed = float(options["config.optimizer.learning_rate"]), int(options["config.train.seed"])
if rate == 0.2 and seed == 1 and options.get("config.model.path") == "broken": sys.exit(3)
if options.get("config.model.path") == "preempted" and calls.read_text() == "x": sys.exit(75)
if options.get("config.model.path") == "slow":
    import signal, time
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); (root / "ready").touch(); time.sleep(60)
with open(root / "metrics.jsonl", "a") as out:
    for step in range(1, 21):
        row = {"step": step, "time": 0.0, "pass_rate": rate * step + 0.01 * seed}
        out.write(json.dumps(row) + "\\n")
"""


@pytest.fixture
def start(tmp_path):
    (tmp_path / "recipe.py").write_text(RECIPE)
    (tmp_path / "fake.py").write_text(FAKE)

    def call(*extra):
        return sweep.main(
            [
                f"--config={tmp_path / 'recipe.py'}",
                f"--workdir={tmp_path / 'runs'}",
                f"--command={tmp_path / 'fake.py'}",
                "--metrics=pass_rate",
                *extra,
            ]
        )

    return call


def calls(root):
    return {path.parent.name: path.read_text() for path in (root / "runs").glob("*/calls")}


def test_failure_does_not_end_the_sweep_and_finished_members_are_kept(start, tmp_path, capsys):
    assert start("--parallel=2", "--config.model.path=broken") == 1
    assert "3 of 4 members finished; failed: learning_rate=0.2,seed=1" in capsys.readouterr().out
    assert start("--config.model.path=broken") == 1
    assert sorted(calls(tmp_path).values()) == ["x", "x", "x", "xx"]
    assert start("--config.model.path=other") == 2
    assert "holds a member with other settings" in capsys.readouterr().err


def test_results_table_and_page(start, tmp_path, capsys):
    assert start("--then=-c pass") == 0
    results = json.loads((tmp_path / "runs" / "sweep.json").read_text())
    first = results["settings"][0]
    assert first["setting"] == "learning_rate 0.1" and first["seeds"] == 2
    assert first["metrics"]["pass_rate"]["value"] == pytest.approx(0.1 * 19.5 + 0.005)
    page = (tmp_path / "runs" / "sweep.html").read_text()
    assert "learning_rate 0.2" in page and "stroke:none" in page
    assert "learning_rate 0.1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["[1]", "null", "7", "{", "[" * 100_000, '{"metrics": [1]}', '{"metrics": {"x": "y"}}']
)
def test_damaged_files_of_a_member_are_named_and_the_rest_goes_on(start, tmp_path, capsys, text):
    assert start("--then=-c pass") == 0
    root = tmp_path / "runs" / "learning_rate=0.1,seed=0"
    (root / "sweep.json").write_text(text)  # what it was told is not known any more: it is run again
    (root / "eval").mkdir()
    (root / "eval" / "b.json").write_text(text)
    rows = (root / "metrics.jsonl").read_text()
    (root / "metrics.jsonl").write_text(text + "\n" + rows)
    capsys.readouterr()
    assert start("--then=-c pass") == 0
    out = capsys.readouterr().out
    assert calls(tmp_path)[root.name] == "xx" and "metrics.jsonl: 1 lines are no rows" in out
    assert ("b.json: no result" in out) == ("y" not in text) and (tmp_path / "runs" / "sweep.html").exists()


def test_two_sweeps_do_not_share_a_folder(start, tmp_path, capsys):
    with RunLock(tmp_path / "runs"):
        assert start() == 2
    assert "another sweep is going on here" in capsys.readouterr().err and not calls(tmp_path)


def test_dry_run_lists_and_starts_nothing(start, tmp_path, capsys):
    assert start("--dry_run") == 0
    out = capsys.readouterr().out
    assert "[4/4] learning_rate=0.2,seed=1: to run" in out and "--config.optimizer.learning_rate=0.2" in out
    assert not (tmp_path / "runs").exists()


def test_preempted_member_is_started_again(start, tmp_path):
    assert start("--config.model.path=preempted") == 0
    assert set(calls(tmp_path).values()) == {"xx"}


def test_stop_ends_members_and_starts_no_more(tmp_path):
    (tmp_path / "recipe.py").write_text(RECIPE)
    (tmp_path / "fake.py").write_text(FAKE)
    chosen = sweep.members(
        str(tmp_path / "recipe.py"),
        tmp_path / "runs",
        ["--config.model.path=slow"],
        command=[str(tmp_path / "fake.py")],
    )
    running = sweep.Sweep(tmp_path / "runs", chosen)

    def stop():
        deadline = time.monotonic() + 30
        while not list((tmp_path / "runs").glob("*/ready")) and time.monotonic() < deadline:
            time.sleep(0.05)
        running.stop(signal.SIGTERM, None)

    thread = threading.Thread(target=stop)
    thread.start()
    assert running.run() == sweep.EXIT_PREEMPTED
    thread.join()
    assert len(calls(tmp_path)) == 1


def test_interval_is_students():
    estimate = sweep_results.interval([1.0, 2.0, 3.0])
    assert estimate.value == 2.0 and estimate.high - 2.0 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-5)
    assert math.isnan(sweep_results.interval([]).value) and math.isnan(sweep_results.interval([1.0]).low)


def test_labels_that_add_to_the_one_above_say_what_they_add():
    assert sweep_results.short_labels(["families a", "families a+b+c", "families a+b+c+d", "families e"]) == [
        "families a",
        "+ b, c",
        "+ d",
        "families e",
    ]
    assert sweep_results.short_labels(["kl_coef 0.0", "kl_coef 0.01"]) == ["kl_coef 0.0", "kl_coef 0.01"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--config=no.py"], "no such file"),
        (["--config={here}"], "has no sweep"),
        (["--config={here}", "--lr=1"], "overrides start with --config."),
    ],
)
def test_bad_calls_are_one_line(argv, words, tmp_path, capsys):
    here = tmp_path / "plain.py"
    here.write_text("")
    assert sweep.main([a.format(here=here) for a in argv] + [f"--workdir={tmp_path}"]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1

"""A run's folder: one run at a time, going on with what was told, beginning anew beside what was there, and every
failure one line.
"""

import dataclasses
import json
import os
import shutil
import signal

import pytest

from spatial_jax.checkpoints import EXIT_PREEMPTED, CheckpointManager, CheckpointNotWritten, FolderTaken, RunLock
from spatial_jax.checkpoints.aside import begin_anew, finish_move, forget
from spatial_jax.metrics import read_metrics
from spatial_jax.models import load_pretrained
from spatial_jax.training import loop
from spatial_jax.training.loop import train
from spatial_jax.training.setup import Setup
from spatial_jax.training.sft import Sft
from tests.kills import killed_at
from tests.tiny_worlds import make_world
from tests.training.test_training_end_to_end import settings


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), scenes=12, families="bearing,listing", seed=3)


def told(world, **parts):
    run = settings("sft", world, world / "policy", "questions", steps=1)
    parts = {"optimizer": {"schedule": "constant"}, **parts}
    return dataclasses.replace(
        run, **{name: dataclasses.replace(getattr(run, name), **fields) for name, fields in parts.items()}
    )


@pytest.fixture(scope="module")
def finished(world):
    assert train(told(world), world / "run") == 0
    return world / "run"


@pytest.fixture
def run_folder(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def refused(run, folder, words, **options):
    config = (folder / "config.json").read_bytes()
    with pytest.raises(ValueError, match=words) as error:
        train(run, folder, **options)
    assert "\n" not in str(error.value) and (folder / "config.json").read_bytes() == config


def test_other_settings_are_listed_and_need_a_flag(world, run_folder, monkeypatch, capsys):
    other = told(world, optimizer={"schedule": "constant", "learning_rate": 0.05}, train={"seed": 9, "steps": 2})
    monkeypatch.setattr(loop, "make_setup", lambda *_: pytest.fail("refused only after the model was loaded"))
    refused(
        other, run_folder, r"train.seed 0 -> 9, optimizer.learning_rate .* -> 0.05 .*train.steps 1 -> 2.*--allow_chang"
    )
    monkeypatch.undo()
    before = (run_folder / "config.json").read_bytes()
    assert train(other, run_folder, allow_changes=True) == 0
    said = capsys.readouterr().out
    assert "another setting: train.steps 1 -> 2" in said and "another run (--allow_changes): train.seed 0 -> 9" in said
    assert (run_folder / "config.1.json").read_bytes() == before
    assert json.loads((run_folder / "config.json").read_text())["train"]["seed"] == 9
    assert [row["step"] for row in read_metrics(run_folder)] == [1, 2]


def test_other_data_or_another_policy_under_the_same_name_are_refused(world, run_folder, tmp_path):
    make_world(tmp_path / "other", scenes=12, families="bearing,listing", seed=4)
    questions, policy = tmp_path / "questions", tmp_path / "policy"
    shutil.copytree(world / "questions", questions)
    shutil.copytree(world / "policy", policy)
    run = told(world, data={"paths": (str(questions),)}, model={"path": str(policy)})
    assert train(run, run_folder) == 0  # moved, the same content
    for shard in questions.glob("*train*.array_record*"):  # other questions under the same name
        shutil.copy(tmp_path / "other" / "questions" / shard.name, shard)
    for name in ("dataset_info.json", "manifest.json"):
        shutil.copy(tmp_path / "other" / "questions" / name, questions / name)
    refused(run, run_folder, r"data.paths \[.*other content")
    shutil.rmtree(questions)
    shutil.copytree(world / "questions", questions)
    shutil.rmtree(policy)
    shutil.copytree(run_folder / "export", policy)
    refused(run, run_folder, r"model.path .*other content")


def test_beginning_anew_keeps_the_older_run_and_goes_on_after_a_kill(world, run_folder, monkeypatch, capsys):
    weights = (run_folder / "export" / "model.safetensors").read_bytes()
    run = told(world, train={"seed": 9, "steps": 2}, checkpoint={"every": 1})

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.RunFolder, "push", killed)  # right after the first save
    with pytest.raises(KeyboardInterrupt):
        train(run, run_folder, resume=False)
    monkeypatch.undo()
    older = run_folder / "earlier_1"
    assert (older / "export" / "model.safetensors").read_bytes() == weights and (older / "metrics.jsonl").exists()
    assert f"what was there is in {older} now" in capsys.readouterr().out
    assert train(run, run_folder, resume=False) == 0  # the same command
    assert "not finished: going on with it" in capsys.readouterr().out
    assert [row["step"] for row in read_metrics(run_folder)] == [1, 2] and not (run_folder / "earlier_2").exists()
    with CheckpointManager(older) as manager:
        assert manager.all_steps() == [1]


def test_a_kill_while_the_older_run_is_moved_is_made_good(tmp_path):
    def older_run():
        root = tmp_path / f"run_{at}"
        (root / "checkpoints" / "00000001").mkdir(parents=True)
        for name in ("metrics.jsonl", "config.json", "config.1.json", "notes.txt"):
            (root / name).write_text(name)
        return root

    for at in range(40):
        root = older_run()
        with killed_at(tmp_path, at) as kill:
            begin_anew(root, "new")
        finish_move(root)
        begin_anew(root, "new")
        begin_anew(root, "new")
        assert sorted(p.name for p in root.iterdir()) == ["earlier_1", "fresh.json", "notes.txt"]
        assert len(list((root / "earlier_1").iterdir())) == 4
        if not kill.dead:
            break
    assert at > 4
    forget(root)
    (root / "config.json").write_text("{}")
    assert "earlier_2" in begin_anew(root, "new")
    (root / "fresh.json").write_text("[" * 100_000)
    assert begin_anew(root, "new") == ""


def test_two_trainings_do_not_share_a_folder_and_nothing_of_the_first_is_touched(world, run_folder):
    with RunLock(run_folder):
        refused(told(world), run_folder, "another training is going on here")
        refused(told(world), run_folder, "another training is going on here", resume=False)
    assert not (run_folder / "run.lock").exists()


def test_a_folder_that_is_deleted_while_the_run_goes_ends_it(world, run_folder, monkeypatch):
    run = told(world, train={"steps": 3})
    step = Sft.step

    def deleted(*arguments):
        shutil.rmtree(run_folder)
        return step(*arguments)

    monkeypatch.setattr(Sft, "step", deleted)
    with pytest.raises(FolderTaken, match="was deleted or moved while the training was going"):
        train(run, run_folder)
    assert not (run_folder / "checkpoints").exists()


@pytest.mark.parametrize("where", ["make_setup", "export"])
def test_a_request_to_stop_while_loading_or_exporting_leaves_at_once(world, run_folder, monkeypatch, where):
    def asked(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("went on")

    target = loop if where == "make_setup" else Setup
    monkeypatch.setattr(target, where, asked)
    weights = (run_folder / "export" / "model.safetensors").read_bytes()
    assert train(told(world, train={"steps": 2}), run_folder) == EXIT_PREEMPTED
    assert (run_folder / "export" / "model.safetensors").read_bytes() == weights
    assert not (run_folder / "run.lock").exists()
    monkeypatch.undo()
    assert train(told(world, train={"steps": 2}), run_folder) == 0
    assert (run_folder / "export" / "model.safetensors").read_bytes() != weights


def test_a_disk_that_is_full_is_one_line_and_the_last_save_stays(world, run_folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spatial_jax.checkpoints.manager.write_part", full)
    with pytest.raises(CheckpointNotWritten, match=r"No space left on device; step 1 is intact: .* again") as error:
        train(told(world, train={"steps": 2}), run_folder)
    assert "\n" not in str(error.value)
    assert [p.name for p in (run_folder / "checkpoints").iterdir()] == ["00000001"]  # nothing half-written stays


def test_checkpoints_that_are_all_damaged_are_one_line(world, run_folder):
    for path in (run_folder / "checkpoints").rglob("process_*.json"):
        path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"is damaged: file host/process_00000\.json.*no intact checkpoint") as error:
        train(told(world, train={"steps": 2}), run_folder)
    assert "\n" not in str(error.value) and load_pretrained(run_folder / "export") is not None

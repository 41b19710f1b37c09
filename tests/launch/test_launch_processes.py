"""A rehearsed pod trains as one process does: the same answers, rewards and losses from two processes of two devices as
from one of four.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.rehearsal import rehearse
from spatial_jax.metrics import read_metrics
from tests.tiny_worlds import make_world


def test_two_processes_train_as_one(tmp_path, capfd):
    world = make_world(tmp_path, scenes=24, families="bearing,depth_order2", seed=5)
    options = {
        "model.path": world / "policy",
        "data.paths": f"('{world / 'questions'}',)",
        "train.steps": 2,
        "train.prompts": 4,
        "train.update_prompts": 4,
        "train.micro_prompts": 4,
        "rollout.group_size": 4,
        "rollout.answer_buckets": (16,),  # one program of each kind: each is made three times
        "data.prompt_buckets": (96,),
        "algorithm.drop_zero_variance": False,
        "algorithm.kl_coef": 0.01,
        "algorithm.refill_rounds": 1,
        "optimizer.warmup_steps": 0,
        "optimizer.schedule": "constant",
        "log.console_every": 1,
        "log.gallery_every": 0,
        "log.sinks": "('jsonl', 'console')",  # TensorBoard's takes seconds to import
        "data.cache_mib": 16,
        "mesh.fsdp": -1,
    }
    rows = {}
    for processes in (2, 1):
        given = [f"--config.{k}={v}" for k, v in options.items()]
        arguments = ["--config=configs/quickstart.py:grpo", f"--workdir={tmp_path / str(processes)}", *given]
        assert rehearse(processes, 4 // processes, ["spatial_jax.train", *arguments], tmp_path / "logs") == 0
        rows[processes] = read_metrics(tmp_path / str(processes))
        assert (tmp_path / str(processes) / "export" / "model.safetensors").is_file()
    told = capfd.readouterr().out
    assert "[Gloo]" not in told and "step 2/2" in told
    assert [row["step"] for row in rows[2]] == [1, 2]
    for two, one in zip(rows[2], rows[1], strict=True):
        assert two["reward/mean"] == one["reward/mean"] and two["answer_tokens"] == one["answer_tokens"]
        for name in ("loss", "kl/reference", "entropy", "grad_norm"):
            assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-6), name


def test_processes_without_a_mesh_are_refused(tmp_path, capfd):
    arguments = [
        "--config=configs/quickstart.py:grpo",
        f"--workdir={tmp_path / 'run'}",
        "--config.model.path=configs/quickstart_policy",
        "--config.data.paths=('runs/questions',)",
    ]
    assert rehearse(2, 1, ["spatial_jax.train", *arguments], tmp_path / "logs", grace=5.0) == 2
    assert (
        "train: the mesh is of one device, but 2 processes"
        in capfd.readouterr().out + (tmp_path / "logs" / "process_1.txt").read_text()
    )


def start(world, workdir, steps):
    """A rehearsal as a user starts it; its parent process."""
    options = {
        "model.path": world / "policy",
        "data.paths": f"('{world / 'questions'}',)",
        "train.steps": steps,
        "train.prompts": 4,
        "train.update_prompts": 4,
        "train.micro_prompts": 4,
        "rollout.answer_buckets": (16,),
        "rollout.max_new_tokens": 16,
        "log.console_every": 1,
        "checkpoint.every": 1,
        "checkpoint.keep": 3,
        "data.cache_mib": 16,
        "mesh.fsdp": -1,
    }
    return subprocess.Popen(
        [
            sys.executable,
            "launch/tpu_run.py",
            "--local_processes=2",
            "--devices_per_process=1",
            "--config=configs/quickstart.py:sft",
            f"--workdir={workdir}",
            *(f"--config.{k}={v}" for k, v in options.items()),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def worker(parent, process):
    """Process id of one of the rehearsal's workers."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent.pid
            if ours and f"--process={process}".encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                return int(folder.name)
        except (OSError, IndexError):
            continue
    raise AssertionError(
        f"process {process} is not there:"
        f" {parent.communicate()[0] if parent.poll() is not None else 'parent still runs'}"
    )


def wait_for_step(parent, workdir, step):
    """Until `step` is logged."""
    deadline = time.monotonic() + 240
    while (
        not (workdir / "metrics.jsonl").is_file()
        or max((row["step"] for row in read_metrics(workdir)), default=0) < step
    ):
        assert parent.poll() is None and time.monotonic() < deadline, (
            parent.communicate()[0] if parent.poll() is not None else "too slow"
        )
        time.sleep(0.2)


@pytest.mark.proof
def test_a_worker_asked_to_stop_saves_with_all_and_a_killed_one_ends_the_run_which_resumes(tmp_path, monkeypatch):
    world, run = make_world(tmp_path, scenes=12, families="bearing", seed=6), tmp_path / "run"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    first = start(world, run, 100_000)
    wait_for_step(first, run, 2)
    os.kill(worker(first, 1), signal.SIGTERM)  # one only: all must save the same step and leave
    said = first.communicate(timeout=120)[0]
    assert first.returncode == 75 and "asked to stop: saved step" in said
    saved = int(re.search(r"saved step (\d+)", said)[1])

    second = start(world, run, 100_000)
    wait_for_step(second, run, saved + 2)
    os.kill(worker(second, 1), signal.SIGKILL)
    killed = time.monotonic()
    said = second.communicate(timeout=150)[0]
    assert second.returncode == 137 and "process 1 ended with exit code -9" in said and time.monotonic() - killed < 120

    reached = max(row["step"] for row in read_metrics(run))
    third = start(world, run, reached + 2)
    said = third.communicate(timeout=240)[0]
    assert third.returncode == 0, said
    begun = int(re.search(r"sft from step (\d+)", said)[1])
    assert saved < begun <= reached  # from the last save, not from the start
    assert [row["step"] for row in read_metrics(run)] == list(range(1, reached + 3))

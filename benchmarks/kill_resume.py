"""kill -9 at random moments of a whole GRPO run, twenty times: its losses must equal those of the run that nobody
touched.

    python -m benchmarks.kill_resume --out=benchmarks/results/kill_resume.json

Everything a resume could forget is on: a curriculum, refilled batches, a replaced reference, an adapting optimizer.
Both runs are the `spatial_jax.train` command itself; a kill falls anywhere from the start of a process to some steps
after it resumed, saves included.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from spatial_jax.metrics.writer import read_metrics

COMPARED = (
    "loss",
    "reward/mean",
    "entropy",
    "kl/reference",
    "grad_norm",
    "group/std",
    "groups/drawn",
    "length/mean",
    "eval/reward",
)


def prepare(root: Path) -> None:
    """A few rendered scenes, their questions, and a random policy; kept when they are there."""
    commands = {
        "scenes": ("data_prep.annotate", "--source=rendered", "--preset=plain", "--count=24", "--seed=3"),
        "questions": (
            "data_prep.synthesize",
            f"--scenes={root}/scenes",
            "--families=bearing,depth_order2",
            "--profile=plain",
            "--wordings=1",
            "--seed=3",
        ),
        "policy": ("spatial_jax.convert", "--fresh=tiny", f"--texts={root}/questions"),
    }
    for name, (module, *rest) in commands.items():
        if not (root / name).exists():
            subprocess.run(
                [sys.executable, "-m", module, *rest, f"--out={root / name}"], check=True, stdout=subprocess.DEVNULL
            )


def command(root: Path, workdir: Path, steps: int) -> list[str]:
    """The training command of both runs."""
    return [
        sys.executable,
        "-m",
        "spatial_jax.train",
        "--config=configs/quickstart.py:grpo",
        f"--workdir={workdir}",
        f"--config.model.path={root}/policy",
        f"--config.data.paths=('{root}/questions',)",
        f"--config.train.steps={steps}",
        "--config.train.prompts=4",
        "--config.train.update_prompts=4",
        "--config.train.micro_prompts=4",
        "--config.rollout.group_size=4",
        "--config.rollout.max_new_tokens=4",
        "--config.rollout.answer_buckets=(4,)",
        "--config.data.prompt_buckets=(72,)",
        "--config.data.cache_mib=16",
        "--config.algorithm.refill_rounds=2",
        "--config.algorithm.drop_zero_variance=False",
        "--config.curriculum.enabled=True",
        "--config.reference.n=3",
        "--config.checkpoint.every=2",
        "--config.validation.every=5",
        "--config.validation.questions=8",
        "--config.entropy.adaptive=True",
        "--config.log.sinks=('jsonl',)",
        "--config.log.console_every=1",
        "--config.log.gallery_every=0",
    ]


def start(root: Path, workdir: Path, steps: int, log: Path) -> subprocess.Popen:
    """The training process, its output added to `log`; all share one compilation cache."""
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str((root / "compiled").resolve()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
        **os.environ,
    }
    with log.open("a") as file:
        return subprocess.Popen(command(root, workdir, steps), env=environment, stdout=file, stderr=file)


def last_step(workdir: Path) -> int:
    """The newest logged step, 0 before the first."""
    return max((row["step"] for row in read_metrics(workdir)), default=0)


def saved_step(workdir: Path) -> int:
    """The newest complete checkpoint, 0 without one: where the next process goes on."""
    return max((int(path.parent.name.split(".")[0]) for path in workdir.glob("checkpoints/*/manifest.json")), default=0)


def life(child: subprocess.Popen, workdir: Path, resumes_at: int, delay: float, early: bool) -> dict[str, Any]:
    """Lets the process get past the first step after its resume (unless `early`), waits `delay` seconds more, kills it;
    what happened.
    """
    began = time.monotonic()
    cut = early
    while child.poll() is None and not early:
        step = last_step(workdir)
        cut = cut or step <= resumes_at  # a resume first cuts the rows after its checkpoint
        if cut and step > resumes_at:
            break
        time.sleep(0.02)
    time.sleep(delay)
    finished = child.poll() is not None
    child.kill()
    child.wait()
    return {
        "after_s": round(time.monotonic() - began, 2),
        "resumed_at": resumes_at,
        "step_logged": last_step(workdir),
        "step_saved": saved_step(workdir),
        "early": early,
        "already_finished": finished,
    }


def difference(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> list[str]:
    """Every step and metric at which two runs are not exactly equal."""
    if [row["step"] for row in one] != [row["step"] for row in two]:
        return [f"steps {[row['step'] for row in one]} against {[row['step'] for row in two]}"]
    return [
        f"step {a['step']} {key}: {a.get(key)} against {b.get(key)}"
        for a, b in zip(one, two)
        for key in COMPARED
        if a.get(key) != b.get(key)
    ]


def prove(root: Path, steps: int, kills: int, seed: int) -> dict[str, Any]:
    """Runs both and compares."""
    prepare(root)
    whole, killed, chance = root / "uninterrupted", root / "killed", random.Random(seed)
    if start(root, whole, steps, root / "uninterrupted.log").wait() != 0:
        raise SystemExit(f"the uninterrupted run failed: see {root}/uninterrupted.log")
    lives = []
    for number in range(kills):
        resumes_at = saved_step(killed)
        child = start(root, killed, steps, root / "killed.log")
        # Every fifth falls into the start of a process: imports, restore, compilation.
        early = number % 5 == 4
        lives.append(
            life(child, killed, resumes_at, chance.uniform(0.5, 6.0) if early else chance.uniform(0.0, 3.0), early)
        )
        print(f"kill {number + 1} of {kills}: {lives[-1]}", flush=True)
    if start(root, killed, steps, root / "killed.log").wait() != 0:
        raise SystemExit(f"the killed run could not be finished: see {root}/killed.log")
    rows = [read_metrics(path) for path in (whole, killed)]
    wrong = difference(*rows)
    counted = sum(not entry["already_finished"] for entry in lives)
    return {
        "command": "python -m benchmarks.kill_resume",
        "steps": steps,
        "kills": counted,
        "seed": seed,
        "compared": list(COMPARED),
        "differences": wrong,
        "equal": not wrong,
        "losses": [row.get("loss") for row in rows[0]],
        "lives": lives,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill_resume", description=__doc__)
    parser.add_argument("--root", default="runs/kill_resume", help="an empty directory")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="", help="where the result goes as JSON")
    args = parser.parse_args()
    root = Path(args.root)
    root.mkdir(parents=True, exist_ok=True)
    result = prove(root, args.steps, args.kills, args.seed)
    if args.out:
        Path(args.out).write_text(json.dumps(result, indent=1))
    print(
        f"{result['kills']} kills of {args.steps} steps:"
        f" {'losses are equal' if result['equal'] else result['differences'][:3]}"
    )
    return 0 if result["equal"] else 1


if __name__ == "__main__":
    sys.exit(main())

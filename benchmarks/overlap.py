"""What one step of overlap hides of slow rewards: the same GRPO run with and without, each answer's reward waiting as
for a judge.

    python -m benchmarks.overlap            # some minutes on two cores; writes benchmarks/results/overlap.json

Both runs are the `spatial_jax.train` command on the quickstart's shipped policy, one after the other; the reward is a
user's function that sleeps. Without overlap a step is sampling, the rest of the wait, and the update; with overlap the
next step's answers are sampled while this step's rewards are waited for.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.kill_resume import prepare
from benchmarks.policies import RESULTS
from spatial_jax.metrics.writer import read_metrics

REWARD = """import time


def reward(response, record):
    time.sleep({seconds})
    return float(response.strip().lower() == record["answer"].strip().lower())
"""
PROMPTS, GROUP, THREADS, WARM = 32, 16, 32, 3


def run(root: Path, overlap: bool, steps: int) -> dict[str, Any]:
    """Median seconds of a step and of its phases, the first steps (which compile) left out."""
    workdir = root / f"overlap_{overlap}"
    command = [
        sys.executable,
        "-m",
        "spatial_jax.train",
        "--config=configs/quickstart.py:grpo",
        f"--workdir={workdir}",
        "--config.model.path=configs/quickstart_policy",
        f"--config.data.paths=('{root}/questions',)",
        f"--config.train.steps={steps}",
        f"--config.train.prompts={PROMPTS}",
        f"--config.train.update_prompts={PROMPTS}",
        f"--config.rollout.group_size={GROUP}",
        "--config.data.prompt_buckets=(72,)",
        "--config.rollout.answer_buckets=(16,)",
        "--config.algorithm.is_cap=2.0",
        "--config.algorithm.drop_zero_variance=False",
        f"--config.rollout.overlap={overlap}",
        f"--config.reward.user_file={root}/reward.py",
        f"--config.reward.threads={THREADS}",
        "--config.log.sinks=('jsonl',)",
        "--config.log.console_every=1",
        "--config.log.gallery_every=0",
        "--config.checkpoint.every=1000",
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={"JAX_PLATFORMS": "cpu", **os.environ})
    rows = read_metrics(workdir)[WARM:]
    phases = ("step", "rollout", "reward", "update")
    return {name: round(median(row.get(f"time/{name}", 0.0) for row in rows), 3) for name in phases}


def main() -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overlap", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.1, help="wait for one answer's reward")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--out", default=str(RESULTS / "overlap.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(root)
        (root / "reward.py").write_text(REWARD.format(seconds=args.seconds))
        without, overlapped = run(root, False, args.steps), run(root, True, args.steps)
    result = {
        "command": "python -m benchmarks.overlap",
        "prompts": PROMPTS,
        "group": GROUP,
        "reward_seconds": args.seconds,
        "reward_threads": THREADS,
        "steps": args.steps,
        "without": without,
        "overlapped": overlapped,
        "times_faster": round(without["step"] / overlapped["step"], 2),
    }
    Path(args.out).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

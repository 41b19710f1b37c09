"""A recipe as a user runs it, by the ordinary commands: questions about rendered rooms, a policy of random weights, the
first steps of `configs/debug_gpu.py` (3B, LoRA) with a reward that differs from answer to answer.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.card import Work

STEPS = 4
# Random weights are right by chance alone, and a group of equal rewards has no gradient: every step shall have one.
REWARD = """import zlib


def reward(response, record):
    return zlib.crc32(response.encode()) % 101 / 100
"""


def _run(*arguments: str) -> float:
    """Seconds that a command took; RuntimeError where it fails."""
    begun = time.monotonic()
    if code := subprocess.run([sys.executable, "-m", *arguments]).returncode:
        raise RuntimeError(f"python -m {arguments[0]} ended with {code}")
    return round(time.monotonic() - begun, 1)


def prepare(work: Work) -> dict[str, Any]:
    """Questions, and a policy with a tokenizer of their texts: `questions` and `policy` in the work's folder."""
    tiny, folder = work.model == "tiny", work.folder
    sizes = ("--preset=plain",) if tiny else ("--preset=rich", "--width=768", "--height=512")
    rooms = ("data_prep.annotate", "--source=rendered", *sizes, "--count=48", f"--out={folder}/scenes")
    asked = ("data_prep.synthesize", f"--scenes={folder}/scenes", "--per_scene=6", f"--out={folder}/questions")
    fresh = (f"--fresh={work.model}", f"--texts={folder}/questions", "--dtype=bfloat16", f"--out={folder}/policy")
    return {
        "scenes_s": _run(*rooms),
        "questions_s": _run(*asked),
        "policy_s": _run("spatial_jax.convert", *fresh),
    }


def steps(work: Work) -> dict[str, Any]:
    """Seconds a step of a run that has to compile its programs."""
    return _train(work, "first", STEPS)


def first_step(work: Work) -> dict[str, Any]:
    """The same run begun anew: its programs are in JAX's compilation cache."""
    return _train(work, "again", 1)


def _train(work: Work, name: str, steps: int) -> dict[str, Any]:
    """A run until `steps` rows of metrics are there, then ended: it need not write what it has learned. Its time to the
    first row is from the command's start, imports and loading included.
    """
    if not (work.folder / "policy" / "config.json").exists():
        raise RuntimeError("there is no policy: the part that makes it failed")
    recipe, *less = (
        ("configs/debug_cpu.py", "--config.data.prompt_buckets=(384,)", "--config.rollout.answer_buckets=(16,)")
        if work.model == "tiny"
        else ("configs/debug_gpu.py",)
    )
    (work.folder / "reward.py").write_text(REWARD)
    command = [
        *(sys.executable, "-m", "spatial_jax.train", f"--config={recipe}", f"--workdir={work.folder / name}"),
        f"--config.model.path={work.folder}/policy",
        f'--config.data.paths=("{work.folder}/questions",)',
        f"--config.train.steps={max(steps, 2)}",
        f"--config.reward.user_file={work.folder}/reward.py",
        "--config.log.sinks=('jsonl','console')",
        *less,
    ]
    environment = {"JAX_COMPILATION_CACHE_DIR": str(work.folder / "compiled"), "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.92"}
    begun, first = time.monotonic(), 0.0
    rows: list[dict[str, Any]] = []
    process = subprocess.Popen(command, env=os.environ | environment)
    try:
        while len(rows) < steps and process.poll() is None:
            time.sleep(0.2)
            rows = _rows(work.folder / name)
            first = first or (time.monotonic() - begun if rows else 0.0)
    finally:
        process.kill()
        process.wait()
    rows = _rows(work.folder / name)[:steps]
    if len(rows) < steps:
        raise RuntimeError(f"python -m spatial_jax.train ended with {process.returncode} after {len(rows)} steps")
    if not all("time/update" in row for row in rows):
        raise RuntimeError("a step had no update: no group's rewards differ")
    seconds = [row["time/step"] for row in rows]
    gaps = [row["gap/mean"] for row in rows]
    later = {"seconds_a_step": round(statistics.median(seconds[1:]), 2)} if steps > 1 else {}
    return later | {
        "start_to_first_step_s": round(first, 1),
        "first_step_s": round(seconds[0], 2),
        "steps_s": [round(s, 2) for s in seconds],
        "gap": round(max(gaps), 6),
        "recipe": recipe,
    }


def _rows(workdir: Path) -> list[dict[str, Any]]:
    """Of the metrics so far; a line that is being written is left for later."""
    file = workdir / "metrics.jsonl"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [row for row in map(json.loads, lines) if "time/step" in row]

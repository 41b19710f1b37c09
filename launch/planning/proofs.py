"""The committed plans: each recipe on the topologies it is meant for, one process after another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launch.planning.report import seconds

RESULTS = Path("benchmarks/results/plans")
FRAMES = "--config.data.frames="
LI_7B, LI_3B = "configs/li2025_qwen2_5_vl_7b.py", "configs/li2025_qwen2_5_vl_3b.py"
VSGRPO_7B = "configs/vsgrpo_qwen2_vl_7b.py"
# (recipe, topology, settings beside the recipe's own)
PROOFS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    # Over 16 ways every width of the model (3,584 and the tower's 1,280) is a multiple of a tile's 16 rows; over 64 the
    # TPU compiler writes gathers and scatters of weights as all-reduces of the whole, twice the traffic or more. On v5e
    # the state fits only over 64.
    (LI_7B, "v5p:4x4x4", ("--config.train.micro_answers=8", "--config.mesh.data=4", "--config.rollout.max_slots=4096")),
    (LI_7B, "v6e:8x8", ("--config.train.micro_answers=2", "--config.mesh.data=4", "--config.rollout.max_slots=2048")),
    (LI_7B, "v5e:8x8", ("--config.train.micro_answers=1",)),
    (
        LI_3B,
        "v5e:4x4",
        ("--config.train.micro_answers=1", "--config.train.micro_prompts=16", "--config.rollout.max_slots=256"),
    ),
    # A video of 16 frames: the tower takes them in pairs.
    ("configs/vsgrpo_qwen2_vl_2b.py", "v5e:4x4", ("--pictures=8",)),
    ("configs/spatial_ssrl_qwen2_5_vl_7b.py", "v5p:4x4x4", ("--config.mesh.data=4",)),
    (
        "configs/vsgrpo_qwen2_vl_7b.py:sft",
        "v5e:8x8",
        ("--pictures=8", "--config.mesh.data=2", "--config.mesh.tensor=2", "--config.train.micro_prompts=32"),
    ),
    (
        LI_7B,
        "v5e:16x16",
        (
            "--config.train.micro_answers=1",
            "--config.train.micro_prompts=256",
            "--config.rollout.max_slots=2048",
            "--config.mesh.data=4",
        ),
    ),
    (
        LI_7B,
        "tpu7x:4x4x4",
        (
            "--config.train.micro_answers=8",
            "--config.train.micro_prompts=128",
            "--config.rollout.max_slots=4096",
            "--config.mesh.data=8",
        ),
    ),
    # The 3B with adapters on one card.
    ("configs/debug_gpu.py", "h100:1", ()),
    ("configs/debug_gpu.py", "rtx4090:1", ()),
    # Eight cards: a group a card, cut to so many answers that its rows fit, and caches of as many slots as have room.
    (LI_7B, "h200:8", ("--config.train.micro_prompts=8", "--config.train.micro_answers=4")),
    (
        LI_7B,
        "h100:8",
        ("--config.train.micro_prompts=8", "--config.train.micro_answers=2", "--config.rollout.max_slots=512"),
    ),
    (LI_3B, "h200:8", ("--config.train.micro_prompts=8", "--config.train.micro_answers=4")),
    (LI_3B, "h100:8", ("--config.train.micro_prompts=8", "--config.train.micro_answers=4")),
    ("configs/vsgrpo_qwen2_vl_2b.py", "h100:1", ("--pictures=8",)),
    ("configs/vsgrpo_qwen2_vl_7b.py:sft", "h100:8", ("--pictures=8", "--config.model.remat=none")),
    # Clips of more frames: prompts of 2,136, 8,064, 15,968 and nearly 32,000 tokens.
    (VSGRPO_7B, "v5p:2x2x4", (f"{FRAMES}16",)),
    (
        VSGRPO_7B,
        "v5p:2x2x4",
        (f"{FRAMES}64", "--config.data.prompt_buckets=(8448,)", "--config.data.patch_buckets=(65536,524288)"),
    ),
    (
        VSGRPO_7B,
        "v5p:2x2x4",
        (
            f"{FRAMES}128",
            "--config.data.prompt_buckets=(16640,)",
            "--config.data.patch_buckets=(65536,1048576)",
            "--config.train.micro_answers=2",
        ),
    ),
    (
        VSGRPO_7B,
        "v5p:2x2x4",
        (
            f"{FRAMES}256",
            "--config.data.prompt_buckets=(32768,)",
            "--config.data.patch_buckets=(65536,2097152)",
            "--config.train.micro_answers=2",
        ),
    ),
    ("configs/vilasr_qwen2_5_vl_7b.py", "h200:8", ("--config.train.micro_prompts=8",)),
)


def result_file(recipe: str, topology: str, settings: Sequence[str] = ()) -> Path:
    """Named by recipe, topology and, where the plan chooses it, how many frames a clip has."""
    file, *argument = recipe.split(":")
    frames = [f"{s.removeprefix(FRAMES)}_frames" for s in settings if s.startswith(FRAMES)]
    return RESULTS / f"{'_'.join([Path(file).stem, *argument, *frames])}_{topology.replace(':', '_')}.json"


def remake(force: bool) -> int:
    """Compiles the programs that are missing (or all) and writes the table; 0 when every plan fits."""
    for count, (recipe, topology, settings) in enumerate(PROOFS):
        out = result_file(recipe, topology, settings)
        if force:
            out.unlink(missing_ok=True)
        earlier: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {"complete": False, "missing": []}
        if not earlier["complete"]:
            print(f"[{count + 1}/{len(PROOFS)}] {recipe} on {topology}", flush=True)
            subprocess.run(
                [
                    sys.executable,
                    "launch/plan.py",
                    f"--config={recipe}",
                    f"--topology={topology}",
                    f"--out={out}",
                    f"--programs={','.join(earlier['missing'])}",
                    *settings,
                ],
                check=False,
            )
    records = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))]
    (RESULTS / "table.md").write_text(table(records))
    return 0 if all(record["fits"] and record["complete"] for record in records) else 1


def table(records: list[dict]) -> str:
    """Markdown: a line a plan."""
    lines = [
        (
            "Made by `python launch/plan.py --proofs`: compiled by the chip's own compiler, not run. Seconds are"
            " rooflines from public peak rates, every answer at its longest and its cache at that length from the first"
            " token on. A token's bytes are those that decoding reads and writes for it, over the weights and caches"
            " once (on TPUs of one layer and all else); plans from before this was counted do not tell."
        ),
        "",
        (
            "| recipe | topology | mesh | prompts x answers x tokens | remat | GiB a device | of |"
            " update FLOPs / model's | a token's bytes / least | step at least | fits |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in records:
        batch, update = r["batch"], r["programs"].get("update", {})
        mesh = " x ".join(f"{name} {size}" for name, size in r["mesh"].items() if size > 1)
        ratio = f"{update['model_ratio']:.2f}" if update.get("model_ratio") else "-"
        token = r["programs"].get("decode", {}).get("token")
        touched = f"{token['bytes'] / token['least_bytes']:.2f}" if token else "-"
        step = seconds(r["step"]["seconds_at_least"]) if "step" in r else "-"
        verdict = ("yes" if r["fits"] else "NO") + ("" if r["complete"] else f", of {', '.join(r['programs'])} alone")
        work = f"{batch['prompts']} x {batch['group_size']} x {batch['answer_tokens']}"
        frames = r.get("settings", {}).get("data", {}).get("frames")
        clip = f", {frames} frames" if frames else ""
        lines.append(
            f"| {r['config'].removeprefix('configs/')}{clip} | {r['topology']} | {mesh} | {work} | {batch['remat']} |"
            f" {r['largest_gib']:.1f} ({r['largest_program']}) | {r['capacity_gib']:.1f} | {ratio} | {touched} |"
            f" {step} | {verdict} |"
        )
    return "\n".join(lines) + "\n"

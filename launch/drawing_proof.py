"""`python -m launch.proofs --drawing`: ViLaSR's three stages at toy scale (configs/draw_tiny.py), each measured on
held-out scenes, and the same policy trained on the same questions without drawing.

Results: benchmarks/results/drawing_learning.json. Every step is a command that can be run alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from launch.proof_figures import curve, figure_line, mean_over_seeds
from launch.quickstart import COLD_START, PRESET
from launch.steps import Step
from spatial_jax.evals import compare, read_result
from spatial_jax.evals.intervals import paired_difference

RESULT = "benchmarks/results/drawing_learning.json"
FAMILIES = "count,relation,depth_order2,listing"  # an answer that one look at each thing gives
SCENES, ITEMS, SAMPLED = 3000, 96, 320  # rendered; held-out questions; questions of the reflective sampling
STAGES = ("sft", "reflect", "grpo")
CURVES = {
    "sft": ("loss",),
    "plain": ("loss",),
    "reflect": ("loss",),
    "grpo": ("reward/mean", "pass_rate", "turns/reflective", "entropy"),
}


def data_steps(root: Path, scenes: int) -> list[Step]:
    """Scenes, questions with demonstrations (a tenth of the scenes is held out), and the shipped policy with a token
    for each phrase that they repeat.
    """
    return [
        Step(
            "scenes",
            "render scenes",
            (
                "-m",
                "data_prep.annotate",
                "--source=rendered",
                f"--preset={PRESET}",
                f"--count={scenes}",
                "--seed=11",
                "--workers=2",
                f"--out={root}/scenes",
            ),
            scenes / 9000,
        ),
        Step(
            "questions",
            "ask questions, and show how their answers are drawn",
            (
                "-m",
                "data_prep.synthesize",
                f"--scenes={root}/scenes",
                "--profile=plain",
                "--per_scene=9",
                "--wordings=1",
                f"--families={FAMILIES}",
                "--demonstrations=short",
                "--seed=11",
                f"--out={root}/questions",
            ),
            scenes / 6000,
        ),
        Step(
            "policy",
            "tokens for the protocol's phrases",
            (
                "-m",
                "spatial_jax.convert",
                f"--from={COLD_START}",
                f"--to_hf={root}/policy",
                f"--phrases={root}/questions",
            ),
            0.2,
        ),
    ]


def seed_steps(root: Path, seed: int, steps: Mapping[str, int], items: int = ITEMS) -> list[Step]:
    """The three stages and the run without drawing, each with its evaluation. `steps`: of the trainings that shall not
    be as long as their recipe says; `items`: held-out questions.
    """
    out = root / f"seed{seed}"

    def train(stage: str, model: str, data: str, minutes: float) -> Step:
        own = (f"--config.train.steps={steps[stage]}",) if stage in steps else ()
        return Step(
            f"{stage}_{seed}",
            f"{stage}, seed {seed}",
            (
                "-m",
                "spatial_jax.train",
                f"--config=configs/draw_tiny.py:{stage}",
                f"--workdir={out}/{stage}",
                f"--config.model.path={model}",
                f"--config.data.paths=('{data}',)",
                f"--config.train.seed={seed}",
                f"--config.data.seed={seed}",
                *own,
            ),
            minutes,
        )

    def evaluate(stage: str) -> Step:
        return Step(
            f"eval_{stage}_{seed}",
            f"evaluate {stage}, seed {seed}",
            (
                "-m",
                "spatial_jax.evaluate",
                "--config=configs/eval_spatial.py:draw_tiny",
                f"--model={out}/{stage}/export",
                f"--dataset={root}/questions",
                "--split=heldout",
                f"--limit={items}",
                "--samples=8",
                "--temperature=1.0",
                "--nopage",
                f"--out={out}/eval/{stage}.json",
            ),
            1.5,
        )

    sample = Step(
        f"sample_{seed}",
        f"the cold-started policy's own drawings, right and reflective, seed {seed}",
        (
            "-m",
            "spatial_jax.sample",
            "--config=configs/eval_spatial.py:draw_tiny",
            f"--model={out}/sft/export",
            f"--dataset={root}/questions",
            f"--limit={SAMPLED}",
            "--samples=4",
            f"--seed={seed}",
            "--keep=reflective",
            f"--out={out}/reflective",
        ),
        2.0,
    )
    return [
        train("plain", f"{root}/policy", f"{root}/questions", 3),
        evaluate("plain"),
        train("sft", f"{root}/policy", f"{root}/questions", 8),
        evaluate("sft"),
        sample,
        train("reflect", f"{out}/sft/export", f"{out}/reflective", 2),
        evaluate("reflect"),
        train("grpo", f"{out}/reflect/export", f"{root}/questions", 8),
        evaluate("grpo"),
    ]


def table(root: Path, seeds: Sequence[int], command: str, device: str) -> dict[str, Any]:
    """The four claims, seed by seed, with 95 % intervals over scenes, and over the seeds."""
    rows = [seed_row(root / f"seed{seed}", seed) for seed in seeds]
    return {"command": command, "device": device, "seeds": list(seeds), "over_seeds": over_seeds(rows), "rows": rows}


def seed_row(out: Path, seed: int) -> dict[str, Any]:
    """What one seed shows: figures of each stage, the differences that the claims are about, and the curves."""
    results = {name: read_result(out / "eval" / f"{name}.json") for name in ("plain", *STAGES)}
    changes = {
        "drawing_over_plain": {name: families(compare(results["plain"], results[name])) for name in STAGES},
        "grpo_over_reflect": families(compare(results["reflect"], results["grpo"])),
        "reflective": {"sft_to_reflect": drawn_change(results["sft"], results["reflect"], "reflective")},
        "box_iou": {
            f"{a}_to_{b}": drawn_change(results[a], results[b], "box_iou")
            for a, b in (("sft", "reflect"), ("reflect", "grpo"), ("sft", "grpo"))
        },
    }
    stages = {name: stage_figures(result) for name, result in results.items()}
    curves = {name: curve(out / name, CURVES[name]) for name in ("plain", *STAGES)}
    return {"seed": seed, "stages": stages, "changes": changes, "curves": curves}


def stage_figures(result: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics, what was drawn, and right answers by family."""
    drawn = {key: value for key, value in (result.get("drawing") or {}).items() if key != "items"}
    return {
        "items": len(result["items"]),
        "metrics": result["metrics"],
        "drawing": drawn or None,
        "families": {
            name: {key: row[key] for key in ("n", "accuracy", "reward", "prior_constant") if key in row}
            for name, row in result["families"].items()
        },
    }


def families(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """Right answers and rewards of a comparison, by family and overall, without its items."""
    return {**comparison["families"], "overall": comparison["overall"]}


def drawn_change(a: Mapping[str, Any], b: Mapping[str, Any], figure: str) -> dict[str, float]:
    """b minus a of a figure of drawing, paired over questions, scenes resampled."""
    left, right = (result["drawing"]["items"] for result in (a, b))
    scenes = {item["id"]: item["scene"] for item in a["items"]}
    common = [key for key in left if key in right]
    first, second = (np.array([items[key][figure] for key in common]) for items in (left, right))
    return {
        "a": float(first.mean()),
        "b": float(second.mean()),
        **paired_difference(first, second, [scenes[key] for key in common]),
    }


def over_seeds(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and 95 % interval (Student's t over seeds) of each claim's figure; the interval is None of one seed."""
    gaps = {
        name: [row["stages"][name]["metrics"]["pass@8"] - row["stages"][name]["metrics"]["pass@1"] for row in rows]
        for name in STAGES
    }
    figures: dict[str, list[float]] = {
        **{
            f"accuracy of drawing minus plain, {family}": [
                row["changes"]["drawing_over_plain"]["grpo"][family]["correct"]["difference"] for row in rows
            ]
            for family in rows[0]["changes"]["drawing_over_plain"]["grpo"]
        },
        "reflection rate, reflective stage minus cold start": [
            row["changes"]["reflective"]["sft_to_reflect"]["difference"] for row in rows
        ],
        "sampled reward, GRPO minus its start": [
            row["changes"]["grpo_over_reflect"]["overall"]["score"]["difference"] for row in rows
        ],
        **{f"pass@8 minus pass@1, {name}": values for name, values in gaps.items()},
        **{f"IoU, {name}": [row["stages"][name]["drawing"]["box_iou"] for row in rows] for name in STAGES},
        "IoU of the best constant box": [row["stages"]["grpo"]["drawing"]["box_iou_constant"] for row in rows],
    }
    return {name: mean_over_seeds(values) for name, values in figures.items()}


def told(made: Mapping[str, Any]) -> str:
    """The claims' figures, one a line."""
    return "\n".join(figure_line(name, figure) for name, figure in made["over_seeds"].items())

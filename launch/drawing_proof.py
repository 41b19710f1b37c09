"""`python -m launch.proofs --drawing`: ViLaSR's three stages at toy scale (configs/draw_tiny.py), each measured on
held-out scenes, and the same policy trained on the same questions without drawing. The cold start is made once, the
other stages by each seed. With --cold_start the policy that all begin with is made again: the quickstart's, which then
learned where things are, and what they are.

Results: benchmarks/results/drawing_learning.json. Every step is a command that can be run alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from launch.proof_figures import curve, figure_line, mean_over_seeds
from launch.quickstart import COLD_START, PRESET
from launch.steps import Step, train_args
from spatial_jax.evals import compare, read_result
from spatial_jax.evals.intervals import paired_difference

RECIPE = "configs/draw_tiny.py"
RESULT = "benchmarks/results/drawing_learning.json"
LOCALISER = "configs/drawing_policy"  # boxes what is named, tells kinds; its vocabulary has tokens for pixels
BOX_SCENES, SIGN_SCENES = 16000, 9000  # of the localiser's training: other scenes than those below
WORDS = ("kind", "colour")  # of these families alone when the decoder learns to read the tower
LOOKS = "colour,kind,count,relation,depth_order2,listing,bearing"  # it answers these without drawing
FAMILIES = "count,relation,depth_order2,listing"  # an answer that one look at each thing gives
SCENES, ITEMS, SAMPLED = 9000, 192, 640  # rendered; held-out questions; questions of the reflective sampling
COLD_SEED = 1  # of the cold start, which the seeds share
TEMPERATURE, TOP_P = 0.75, 0.9  # as published; of all evaluations and of the reflective sampling
STAGES = ("sft", "reflect", "grpo")
SHARED = ("call", "sft")  # made once
SEEING = {"boxes": 26, "align": 15, "names": 8, "kinds": 9, "settle": 30}  # the localiser's stages
MINUTES = {**SEEING, "call": 8, "sft": 30, "reflect": 1, "plain": 10, "grpo": 15}
CURVES = {
    "call": ("loss",),
    "sft": ("loss",),
    "plain": ("loss",),
    "reflect": ("loss",),
    "grpo": ("reward/mean", "pass_rate", "turns/reflective", "entropy"),
}


def _scenes(name: str, count: int, seed: int, out: str, *more: str) -> Step:
    return Step(
        name,
        "render scenes",
        (
            "-m",
            "data_prep.annotate",
            "--source=rendered",
            f"--preset={PRESET}",
            *more,
            f"--count={count}",
            f"--seed={seed}",
            "--workers=2",
            f"--out={out}",
        ),
        count / 9000,
    )


def _questions(name: str, what: str, scenes: str, families: str, per_scene: int, seed: int, *more: str) -> Step:
    """Of the scenes' folder, beside it."""
    return Step(
        name,
        what,
        (
            "-m",
            "data_prep.synthesize",
            f"--scenes={scenes}",
            "--profile=plain",
            f"--per_scene={per_scene}",
            "--wordings=1",
            f"--families={families}",
            *more,
            f"--seed={seed}",
            f"--out={Path(scenes).parent / name}",
        ),
        1.5,
    )


def question_steps(root: Path, scenes: int) -> list[Step]:
    """Scenes, and questions with demonstrations; a tenth of the scenes is held out. So few a scene that the rarer kinds
    of question, which need a look most, are as many as the others.
    """
    what = "ask questions, and show how their answers are drawn"
    return [
        _scenes("scenes", scenes, 11, f"{root}/scenes"),
        _questions("questions", what, f"{root}/scenes", FAMILIES, 4, 11, "--demonstrations=short"),
    ]


def localiser_steps(root: Path, ship: str) -> list[Step]:
    """From the quickstart's policy to one that boxes what is named and tells what things are, copied to `ship`: it gets
    tokens for pixels and answers with boxes, which a thing's colour finds; then its tower learns words, its decoder
    reads them, and both go on with boxes among plain questions.
    """
    boxed, signed = f"{root}/box_scenes", f"{root}/sign_scenes"
    looks = {"look_questions": 0.4, "sign_questions": 0.6}
    return [
        _scenes("box_scenes", BOX_SCENES, 12, boxed),
        _scenes("sign_scenes", SIGN_SCENES, 13, signed, "--signs"),
        _questions("box_questions", "ask for boxes", boxed, "box", 3, 12),
        _questions("look_questions", "ask what is seen", boxed, LOOKS, 7, 12),
        _questions("sign_questions", "ask of rooms with signs", signed, f"{LOOKS},box,abs_depth,reading", 10, 13),
        Step(
            "coordinates",
            "tokens for pixels",
            ("-m", "spatial_jax.convert", f"--from={COLD_START}", f"--to_hf={root}/start", "--coordinates=112"),
            0.2,
        ),
        _see("boxes", "where things are", root, "start", {"box_questions": 0.85, "questions": 0.15}),
        _see("align", "words for visual tokens", root, "boxes/export", {"box_scenes": 0.5, "sign_scenes": 0.5}),
        _see("names", "the decoder reads them", root, "align/export", looks, f"--config.data.families={WORDS}"),
        _see("kinds", "boxes among questions", root, "names/export", {"box_questions": 0.25} | _share(looks, 0.75)),
        _see("settle", "tower and decoder", root, "kinds/export", {"box_questions": 0.3} | _share(looks, 0.7)),
        Step(
            "ship",
            f"copy the policy to {ship}",
            ("-m", "spatial_jax.convert", f"--from={root}/settle/export", f"--to_hf={ship}", "--dtype=bfloat16"),
            0.1,
        ),
    ]


def _share(asked: Mapping[str, float], share: float) -> dict[str, float]:
    return {name: round(part * share, 3) for name, part in asked.items()}


def _see(stage: str, what: str, root: Path, model: str, asked: Mapping[str, float], *more: str) -> Step:
    """A stage of the localiser, on datasets of `root` by their shares (alignment takes every picture equally often)."""
    datasets = {f"{root}/{name}": share for name, share in asked.items()}
    args = train_args(
        f"{RECIPE}:{stage}", root / stage, root / model, list(datasets) if stage == "align" else datasets, *more
    )
    return Step(stage, what, args, MINUTES[stage])


def policy_step(root: Path) -> Step:
    """The shipped policy with a token for each phrase that demonstrations repeat."""
    return Step(
        "policy",
        "tokens for the protocol's phrases",
        (
            "-m",
            "spatial_jax.convert",
            f"--from={LOCALISER}",
            f"--to_hf={root}/policy",
            f"--phrases={root}/questions",
        ),
        0.2,
    )


def start_steps(root: Path, steps: Mapping[str, int], items: int = ITEMS) -> list[Step]:
    """The cold start in two parts (call: first turns; sft: whole demonstrations) and its evaluation, in `root`."""
    return [
        _train("call", root, COLD_SEED, f"{root}/policy", f"{root}/questions", steps),
        _train("sft", root, COLD_SEED, f"{root}/call/export", f"{root}/questions", steps),
        _evaluate("sft", root, root, items),
    ]


def seed_steps(root: Path, seed: int, steps: Mapping[str, int], items: int = ITEMS) -> list[Step]:
    """The reflective stage and GRPO from the cold start, and the run without drawing, each with its evaluation.
    `steps`: of the trainings that shall not be as long as their recipe says; `items`: held-out questions.
    """
    out, start, questions = root / f"seed{seed}", f"{root}/sft/export", f"{root}/questions"
    sample = Step(
        f"sample_{seed}",
        f"the cold-started policy's own drawings, right and reflective, seed {seed}",
        (
            "-m",
            "spatial_jax.sample",
            "--config=configs/eval_spatial.py:draw_tiny",
            f"--model={start}",
            f"--dataset={questions}",
            f"--limit={SAMPLED}",
            "--samples=4",
            f"--temperature={TEMPERATURE}",
            f"--top_p={TOP_P}",
            f"--seed={seed}",
            "--keep=reflective",
            f"--out={out}/reflective",
        ),
        5,
    )
    return [
        sample,
        _train("reflect", out, seed, start, f"{out}/reflective", steps),
        _evaluate("reflect", root, out, items),
        _train("plain", out, seed, f"{root}/policy", questions, steps),
        _evaluate("plain", root, out, items),
        _train("grpo", out, seed, f"{out}/reflect/export", questions, steps),
        _evaluate("grpo", root, out, items),
    ]


def _train(stage: str, out: Path, seed: int, model: str, data: str, steps: Mapping[str, int]) -> Step:
    more = [
        f"--config.train.seed={seed}",
        f"--config.data.seed={seed}",
        "--config.data.check=False",  # all fit: rendered scenes of one size
        *([f"--config.train.steps={steps[stage]}"] if stage in steps else []),
    ]
    name = stage if stage in SHARED else f"{stage}_{seed}"
    args = train_args(f"{RECIPE}:{stage}", out / stage, model, [data], *more)
    return Step(name, f"{stage}, seed {seed}", args, MINUTES[stage])


def _evaluate(stage: str, root: Path, out: Path, items: int) -> Step:
    return Step(
        f"eval_{stage}" if out == root else f"eval_{stage}_{out.name.removeprefix('seed')}",
        f"evaluate {stage}" + ("" if out == root else f", {out.name}"),
        (
            "-m",
            "spatial_jax.evaluate",
            f"--config=configs/eval_spatial.py:{'tiny' if stage == 'plain' else 'draw_tiny'}",
            f"--model={out}/{stage}/export",
            f"--dataset={root}/questions",
            "--split=heldout",
            f"--limit={items}",
            "--samples=8",
            f"--temperature={TEMPERATURE}",
            f"--config.sampling.top_p={TOP_P}",
            "--nopage",
            f"--out={out}/eval/{stage}.json",
        ),
        2,
    )


def table(root: Path, seeds: Sequence[int], command: str, device: str) -> dict[str, Any]:
    """The four claims, seed by seed, with 95 % intervals over scenes, and over the seeds; of a run that was stopped
    what it has evaluated by then.
    """
    rows = [seed_row(root / f"seed{seed}", seed) for seed in seeds]
    return {"command": command, "device": device, "seeds": list(seeds), "over_seeds": over_seeds(rows), "rows": rows}


def seed_row(out: Path, seed: int) -> dict[str, Any]:
    """What one seed shows: figures of each stage, the differences that the claims are about, and the curves."""
    places = {name: out.parent if name in SHARED else out for name in CURVES}
    files = {name: places[name] / "eval" / f"{name}.json" for name in ("plain", *STAGES)}
    results = {name: read_result(file) for name, file in files.items() if file.is_file()}
    drawn = [name for name in STAGES if name in results]
    changes: dict[str, Any] = {
        "drawing_over_plain": {
            name: families(compare(results["plain"], results[name])) for name in drawn if "plain" in results
        },
        "reflective": {
            f"{a}_to_{b}": drawn_change(results[a], results[b], "reflective") for a, b in itertools.pairwise(drawn)
        },
        "box_iou": {
            f"{a}_to_{b}": drawn_change(results[a], results[b], "box_iou") for a, b in itertools.combinations(drawn, 2)
        },
    }
    if "reflect" in results and "grpo" in results:
        changes["grpo_over_reflect"] = families(compare(results["reflect"], results["grpo"]))
    stages = {name: stage_figures(result) for name, result in results.items()}
    trained = [name for name in CURVES if (places[name] / name / "metrics.jsonl").is_file()]
    curves = {name: curve(places[name] / name, CURVES[name]) for name in trained}
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
    figures: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    for row in rows:
        stages, changes = row["stages"], row["changes"]
        last = next((name for name in reversed(STAGES) if name in stages), "")
        for family, change in changes["drawing_over_plain"].get(last, {}).items():
            note(f"accuracy of drawing ({last}) minus plain, {family}", change["correct"]["difference"])
        if change := changes["reflective"].get("sft_to_reflect"):
            note("reflection rate, reflective stage minus cold start", change["difference"])
        if change := changes.get("grpo_over_reflect"):
            note("sampled reward, GRPO minus its start", change["overall"]["score"]["difference"])
        for name in (n for n in STAGES if n in stages):
            metrics = stages[name]["metrics"]
            note(f"pass@8 minus pass@1, {name}", metrics["pass@8"] - metrics["pass@1"])
        for name in (n for n in STAGES if n in stages):
            note(f"IoU, {name}", stages[name]["drawing"]["box_iou"])
        if last:
            note("IoU of the best constant box", stages[last]["drawing"]["box_iou_constant"])
    return {name: {**mean_over_seeds(values), "seeds": len(values)} for name, values in figures.items()}


def told(made: Mapping[str, Any]) -> str:
    """The claims' figures, one a line."""
    return "\n".join(figure_line(name, figure) for name, figure in made["over_seeds"].items())

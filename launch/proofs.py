"""`make proofs`: the shipped cold start made again, and three seeds of GRPO from it, measured on held-out questions.

Every step is a command that can be run alone. Results: benchmarks/results/quickstart_learning.json (the table in the
README). With --drawing: that a policy learns to draw (launch/drawing_proof.py); with --selfsup: Spatial-SSRL's tasks
(launch/selfsup_proof.py); with --video: vsGRPO's comparison on walks (launch/video_proof.py).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import shlex
import sys
from pathlib import Path

from launch import drawing_proof, selfsup_proof, video_proof
from launch.quickstart import COLD_START, FAMILIES, PRESET
from launch.steps import Step, StepRunner, say
from spatial_jax.ending import leave
from spatial_jax.options import Listed, list_parts

RESULT = "benchmarks/results/quickstart_learning.json"
SCENES, ITEMS, GRPO_STEPS = 6000, 1200, 600  # rendered; held-out questions; steps of each seed


def data_steps(root: Path, scenes: int, preset: str = PRESET) -> list[Step]:
    """Scenes of a preset and questions about them, in `root`; a tenth of the scenes is held out. Those of the
    quickstart's preset are what the cold start ends with, and what GRPO and the evaluations share.
    """
    return [
        Step(
            f"scenes_{preset}",
            f"render {preset} scenes",
            (
                "-m",
                "data_prep.annotate",
                "--source=rendered",
                f"--preset={preset}",
                f"--count={scenes}",
                "--seed=7",
                "--workers=2",
                f"--out={root}/{preset}/scenes",
            ),
            scenes / 9000,
        ),
        Step(
            f"questions_{preset}",
            "ask questions",
            (
                "-m",
                "data_prep.synthesize",
                f"--scenes={root}/{preset}/scenes",
                "--profile=plain",
                "--per_scene=9",
                "--wordings=1",
                f"--families=listing,{FAMILIES}",  # lists teach names in order, though few come out right
                "--seed=7",
                f"--out={root}/{preset}/questions",
            ),
            scenes / 6000,
        ),
    ]


def cold_start_steps(root: Path, ship: str) -> list[Step]:
    """From nothing to a policy that has learned to look and to copy a name, copied to `ship`: words and places, then
    questions about rooms of every make, then about the quickstart's.
    """
    return [
        *data_steps(root, 16000, "plain"),
        *_policy_steps(root),
        *_training_steps(root),
        Step(
            "ship",
            f"copy the cold start to {ship}",
            ("-m", "spatial_jax.convert", f"--from={root}/sft_clear/export", f"--to_hf={ship}"),
            0.1,
        ),
    ]


def _policy_steps(root: Path) -> list[Step]:
    """Questions on photos that packages bring, and a random policy whose tokenizer knows the words of both kinds."""
    return [
        Step(
            "photos",
            "read photos",
            (
                "-m",
                "data_prep.annotate",
                "--source=folder",
                "--path=package:skimage,sklearn",
                "--heldout_percent=20",
                f"--out={root}/photos",
            ),
            0.1,
        ),
        Step(
            "selfsup",
            "self-supervised tasks",
            (
                "-m",
                "data_prep.selfsup",
                f"--photos={root}/photos",
                "--profile=plain",
                "--wordings=1",
                "--per_photo=200",
                f"--out={root}/selfsup",
            ),
            0.3,
        ),
        Step(
            "policy",
            "a random policy with its tokenizer",
            (
                "-m",
                "spatial_jax.convert",
                "--fresh=tiny",
                f"--texts={root}/plain/questions,{root}/selfsup",
                f"--out={root}/policy",
            ),
            0.2,
        ),
    ]


def _training_steps(root: Path) -> list[Step]:
    """The random policy's three trainings, each from the one before."""
    return [
        Step(
            "align",
            "words for what is seen, and where",
            (
                "-m",
                "spatial_jax.train",
                "--config=configs/quickstart.py:align",
                f"--workdir={root}/align",
                f"--config.model.path={root}/policy",
                f"--config.data.paths=('{root}/plain/scenes',)",
            ),
            3,
        ),
        Step(
            "sft",
            "cold start",
            (
                "-m",
                "spatial_jax.train",
                "--config=configs/quickstart.py:sft_cold",
                f"--workdir={root}/sft",
                f"--config.model.path={root}/align/export",
                f"--config.data.paths=('{root}/plain/questions','{root}/selfsup')",
                "--config.data.weights=(0.95,0.05)",
            ),
            5,
        ),
        Step(
            "sft_clear",
            "cold start on the quickstart's rooms",
            (
                "-m",
                "spatial_jax.train",
                "--config=configs/quickstart.py:sft_clear",
                f"--workdir={root}/sft_clear",
                f"--config.model.path={root}/sft/export",
                f"--config.data.paths=('{root}/{PRESET}/questions',)",
            ),
            15,
        ),
    ]


def seed_steps(root: Path, start: str, seed: int, steps: int, items: int) -> list[Step]:
    """GRPO of one seed and its two evaluations (the one before is of the same starting policy, sampled with the same
    seeds).
    """
    out = root / f"seed{seed}"

    def evaluate(name: str, model: str) -> Step:
        return Step(
            f"eval_{name}_{seed}",
            f"evaluate {name}, seed {seed}",
            (
                "-m",
                "spatial_jax.evaluate",
                "--config=configs/eval_spatial.py:tiny",
                f"--model={model}",
                f"--dataset={root}/{PRESET}/questions",
                f"--families={FAMILIES}",
                "--split=heldout",
                f"--limit={items}",
                "--samples=8",
                "--temperature=1.0",
                "--greedy_too",
                "--nopage",
                f"--out={out}/eval/{name}.json",
            ),
            0.5,
        )

    return [
        evaluate("after_sft", start),
        Step(
            f"grpo_{seed}",
            f"GRPO, seed {seed}",
            (
                "-m",
                "spatial_jax.train",
                "--config=configs/quickstart.py:grpo",
                f"--workdir={out}/grpo",
                f"--config.model.path={start}",
                f"--config.data.paths=('{root}/{PRESET}/questions',)",
                f"--config.train.seed={seed}",
                f"--config.data.seed={seed}",
                f"--config.train.steps={steps}",
            ),
            9,
        ),
        evaluate("after_grpo", f"{out}/grpo/export"),
    ]


def run_seeds(root: Path, plans: dict[int, list[Step]], at_once: int) -> int:
    """Runs the seeds' plans, `at_once` of them side by side; 0, or the exit code of the first that failed."""
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        codes = list(pool.map(lambda seed: StepRunner(root / f"seed{seed}", plans[seed]).run(), plans))
    return next((code for code in codes if code), 0)


def table(root: Path, seeds: list[int], steps: int, device: str) -> dict:
    """Differences after GRPO minus after SFT, paired over items, with 95 % intervals over scenes."""
    from spatial_jax.evals import compare, read_result

    rows = []
    for seed in seeds:
        for kind in ("", ".greedy"):
            before, after = (
                read_result(root / f"seed{seed}" / "eval" / f"{name}{kind}.json")
                for name in ("after_sft", "after_grpo")
            )
            rows.append(
                {
                    "seed": seed,
                    "decoding": "greedy" if kind else "sampled",
                    "before": before["metrics"],
                    "after": after["metrics"],
                    "prior": after.get("prior"),
                    "difference": compare(before, after),
                    "families": {
                        f: {
                            "n": v["n"],
                            "before": before["families"][f]["reward"],
                            "after": v["reward"],
                            "prior_constant": v.get("prior_constant"),
                            "prior_words": v.get("prior_words"),
                        }
                        for f, v in after["families"].items()
                    },
                }
            )
    return {
        "command": "make proofs ARGS=" + shlex.quote(" ".join(sys.argv[1:])),
        "device": device,
        "grpo_steps": steps,
        "rows": rows,
    }


def prove_quickstart(args: argparse.Namespace, root: Path, seeds: list[int]) -> int:
    """GRPO from the shipped cold start (with --cold_start made again before)."""
    steps, scenes = args.grpo_steps or GRPO_STEPS, args.scenes or SCENES
    plan = data_steps(root, scenes) + (cold_start_steps(root, COLD_START) if args.cold_start else [])
    code = StepRunner(root, plan).run() or run_seeds(
        root, {s: seed_steps(root, COLD_START, s, steps, args.items or ITEMS) for s in seeds}, args.at_once
    )
    if code == 0:
        result = Path(RESULT)
        made = table(root, seeds, steps, os.environ["JAX_PLATFORMS"])
        before = json.loads(result.read_text()) if result.is_file() else {}
        if (
            before.get("grpo_steps") == steps and not args.cold_start
        ):  # other seeds from the same start stay in the table
            made["rows"] = sorted(
                [r for r in before["rows"] if r["seed"] not in seeds] + made["rows"], key=lambda r: r["seed"]
            )
        result.write_text(json.dumps(made, indent=1))
        say(f"wrote {result}")
    return code


def prove_drawing(args: argparse.Namespace, root: Path, seeds: list[int]) -> int:
    """ViLaSR's three stages at toy scale, see launch/drawing_proof.py."""
    steps = {"grpo": args.grpo_steps} if args.grpo_steps else {}
    items = args.items or drawing_proof.ITEMS
    plans = {s: drawing_proof.seed_steps(root, s, steps, items) for s in seeds}
    plan = drawing_proof.question_steps(root, args.scenes or drawing_proof.SCENES)
    plan += drawing_proof.localiser_steps(root, drawing_proof.LOCALISER) if args.cold_start else []
    plan += [drawing_proof.policy_step(root), *drawing_proof.start_steps(root, steps, items)]
    code = StepRunner(root, plan).run()
    if code == 0:
        code = run_seeds(root, plans, args.at_once)
        command = "python -m launch.proofs " + shlex.join(sys.argv[1:])
        made = drawing_proof.table(root, seeds, command, os.environ["JAX_PLATFORMS"])
        # Of a run that was stopped what there is, and not in the place of a whole one.
        file = root / Path(drawing_proof.RESULT).name if code else Path(drawing_proof.RESULT)
        file.write_text(json.dumps(made, indent=1))
        say(f"{drawing_proof.told(made)}\nwrote {file}")
    return code


def prove_selfsup(args: argparse.Namespace, root: Path, seeds: list[int]) -> int:
    """Spatial-SSRL's five tasks at toy scale, see launch/selfsup_proof.py."""
    arms = list_parts(args.arms) or list(selfsup_proof.ARMS)
    if unknown := set(arms) - selfsup_proof.ARMS.keys():
        print(f"--arms: {', '.join(sorted(unknown))}: give some of {', '.join(selfsup_proof.ARMS)}", file=sys.stderr)
        return 2
    steps = selfsup_proof.plan(
        root,
        args.scenes or selfsup_proof.SCENES,
        seeds,
        args.items or selfsup_proof.ITEMS,
        args.supervised_steps,
        args.grpo_steps,
        arms,
    )
    code = StepRunner(root, steps).run()
    if code == 0:
        command = "python -m launch.proofs " + shlex.join(sys.argv[1:])
        made = selfsup_proof.table(root, arms, seeds, os.environ["JAX_PLATFORMS"], command)
        Path(selfsup_proof.RESULT).write_text(json.dumps(made, indent=1))
        say(f"wrote {selfsup_proof.RESULT}")
    return code


def prove_video(args: argparse.Namespace, root: Path, seeds: list[int]) -> int:
    """vsGRPO's comparison on walks, see launch/video_proof.py. The result is written after every round of arms."""
    items = args.items or video_proof.ITEMS
    shared = video_proof.data_steps(root, args.scenes or video_proof.WALKS) + video_proof.start_steps(root, items)
    code = StepRunner(root, shared).run()
    command = "python -m launch.proofs " + shlex.join(sys.argv[1:])
    for place, plan in video_proof.rounds(root, seeds, args.grpo_steps, items) if code == 0 else ():
        code = StepRunner(place, plan).run()
        if code:
            break
        made = video_proof.table(root, seeds, command, os.environ["JAX_PLATFORMS"])
        Path(video_proof.RESULT).write_text(json.dumps(made, indent=1))
        say(f"{video_proof.told(made)}\nwrote {video_proof.RESULT}")
    return code


PROOFS = {"drawing": prove_drawing, "selfsup": prove_selfsup, "video": prove_video}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m launch.proofs", description=__doc__)
    parser.add_argument("--root", default="", help="default: runs/proofs, with _drawing, _selfsup or _video after it")
    parser.add_argument(
        "--drawing", action="store_true", help="the three stages of drawing instead (launch/drawing_proof.py)"
    )
    parser.add_argument(
        "--selfsup", action="store_true", help="self-supervised tasks instead (launch/selfsup_proof.py)"
    )
    parser.add_argument("--video", action="store_true", help="vsGRPO on walks instead (launch/video_proof.py)")
    parser.add_argument(
        "--supervised_steps", type=int, default=0, help="--selfsup: supervised steps; 0: as its recipe says"
    )
    parser.add_argument("--arms", default="", action=Listed, help="--selfsup: some of selfsup,spatial; all when empty")
    parser.add_argument(
        "--scenes",
        type=int,
        default=0,
        help=f"0: {SCENES:,}, drawing {drawing_proof.SCENES:,}, selfsup {selfsup_proof.SCENES:,},"
        f" walks {video_proof.WALKS:,}",
    )
    parser.add_argument(
        "--grpo_steps", type=int, default=0, help=f"0: {GRPO_STEPS:,}, of the others as their recipes say"
    )
    parser.add_argument(
        "--items",
        type=int,
        default=0,
        help=f"held-out questions of an evaluation; 0: {ITEMS:,}, drawing {drawing_proof.ITEMS:,},"
        f" selfsup {selfsup_proof.ITEMS:,}, video {video_proof.ITEMS:,}",
    )
    parser.add_argument("--seeds", default="1,2,3", action=Listed, help="seeds of the runs: 1,2 or given again")
    parser.add_argument("--at_once", type=int, default=1, help="seeds that run side by side (a GPU or many cores)")
    parser.add_argument(
        "--cold_start",
        action="store_true",
        help=f"make the policy that the proof begins with again, too, and put it into {COLD_START}, with --drawing"
        f" {drawing_proof.LOCALISER}",
    )
    args = parser.parse_args()
    asked = [name for name in PROOFS if getattr(args, name)]
    root = Path(args.root or "_".join(["runs/proofs", *asked[:1]]))
    seeds = [int(s) for s in list_parts(args.seeds)]
    if len(asked) > 1:
        parser.error(f"--{' and --'.join(asked)} are proofs of their own: give one")
    if asked not in ([], ["drawing"]) and args.cold_start:
        parser.error(f"--{asked[0]} has a start of its own: leave --cold_start out")
    root.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str((root / ".compiled").resolve()))
    prove = PROOFS[asked[0]] if asked else prove_quickstart
    return prove(args, root, seeds)


if __name__ == "__main__":
    leave(main, "proofs", goes_on=True)

"""`make quickstart`: from pictures to an evaluated, better policy. A list of ordinary commands; all logic is in the
verbs they call.

    python -m launch.quickstart
    python -m launch.quickstart --photos=my_photos
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from launch.steps import Step, StepRunner, say
from spatial_jax.checkpoints import RunLock
from spatial_jax.options import Parser

COLD_START = "configs/quickstart_policy"  # a policy that has learned to look; how it was made: launch/proofs.py
FAMILIES = "listing,bearing,relation,depth_order2,abs_depth,count"


def steps(root: Path, photos: str, from_scratch: bool, scenes: int, seed: int) -> list[Step]:
    """The whole way, in order."""
    at = {
        name: str(root / name)
        for name in (
            "scenes",
            "photos",
            "stereo",
            "questions",
            "selfsup",
            "policy",
            "align",
            "sft",
            "grpo",
            "eval",
            "report.html",
            "story.json",
        )
    }
    data = f"--config.data.paths=('{at['questions']}','{at['selfsup']}')"
    start = f"{at['align']}/export" if from_scratch else COLD_START
    align = [
        Step(
            "align",
            "the random policy learns the words for what it sees, and where it is",
            (
                "-m",
                "spatial_jax.train",
                "--config=configs/quickstart.py:align",
                f"--workdir={at['align']}",
                f"--config.model.path={at['policy']}",
                f"--config.data.paths=('{at['scenes']}',)",
            ),
            2.5,
        )
    ]

    def evaluate(name: str, model: str, what: str) -> Step:
        return Step(
            f"eval_{name}",
            f"evaluate {what} on held-out questions: 8 sampled answers each, and the greedy one",
            (
                "-m",
                "spatial_jax.evaluate",
                "--config=configs/eval_spatial.py:tiny",
                f"--model={model}",
                f"--dataset={at['questions']},{at['selfsup']}",
                "--split=heldout",
                "--samples=8",
                "--temperature=1.0",
                "--greedy_too",
                f"--out={at['eval']}/{name}.json",
            ),
            0.8,
        )

    photo_source = f"--path={photos}" if photos else "--path=package:skimage,sklearn"
    fresh = (
        ("--fresh=tiny", f"--texts={at['questions']},{at['selfsup']}") if from_scratch else (f"--fresh={COLD_START}",)
    )
    return [
        Step(
            "scenes",
            "render RGB-D scenes with known geometry",
            (
                "-m",
                "data_prep.annotate",
                "--source=rendered",
                "--preset=plain",
                f"--count={scenes}",
                f"--seed={seed}",
                "--workers=2",
                f"--out={at['scenes']}",
            ),
            0.6,
        ),
        Step(
            "photos",
            f"read the photos of {photos}" if photos else "read the photos inside scikit-image and scikit-learn",
            (
                "-m",
                "data_prep.annotate",
                "--source=folder",
                photo_source,
                "--heldout_percent=20",
                f"--out={at['photos']}",
            ),
            0.1,
        ),
        Step(
            "stereo",
            "read scikit-image's stereo pair as a real, metric RGB-D frame",
            ("-m", "data_prep.annotate", "--source=stereo", "--heldout_percent=20", f"--out={at['stereo']}"),
            0.1,
        ),
        Step(
            "questions",
            "ask Li 2025's families about the scenes",
            (
                "-m",
                "data_prep.synthesize",
                f"--scenes={at['scenes']}",
                f"--families={FAMILIES}",
                "--per_scene=9",
                "--profile=plain",
                "--wordings=1",
                f"--seed={seed}",
                f"--out={at['questions']}",
            ),
            0.4,
        ),
        Step(
            "selfsup",
            "make Spatial-SSRL's self-supervised tasks from the photos",
            (
                "-m",
                "data_prep.selfsup",
                f"--photos={at['photos']},{at['stereo']}",
                "--profile=plain",
                "--wordings=1",
                "--per_photo=60",
                f"--seed={seed}",
                f"--out={at['selfsup']}",
            ),
            0.2,
        ),
        Step(
            "policy",
            "make a tiny Qwen2.5-VL with random weights"
            + (" and a tokenizer of its own" if from_scratch else ", to compare with"),
            ("-m", "spatial_jax.convert", *fresh, f"--seed={seed}", f"--out={at['policy']}"),
            0.1,
        ),
        evaluate("before", at["policy"], "the untrained policy"),
        *(align if from_scratch else []),
        Step(
            "sft",
            (
                "cold start by supervised fine-tuning"
                if from_scratch
                else "go on with the shipped cold start: supervised fine-tuning"
            ),
            (
                "-m",
                "spatial_jax.train",
                f"--config=configs/quickstart.py:{'sft_scratch' if from_scratch else 'sft'}",
                f"--workdir={at['sft']}",
                f"--config.model.path={start}",
                data,
            ),
            4.0 if from_scratch else 0.8,
        ),
        evaluate("after_sft", f"{at['sft']}/export", "the policy after the cold start"),
        Step(
            "grpo",
            "GRPO: sixteen answers a question, the better ones reinforced",
            (
                "-m",
                "spatial_jax.train",
                "--config=configs/quickstart.py:grpo",
                f"--workdir={at['grpo']}",
                f"--config.model.path={at['sft']}/export",
                data,
            ),
            3.0,
        ),
        evaluate("after_grpo", f"{at['grpo']}/export", "the policy after GRPO"),
        Step(
            "verify",
            "load the policy in transformers and compare its numbers",
            ("-m", "spatial_jax.convert", f"--verify={at['grpo']}/export"),
            0.4,
        ),
        Step(
            "report",
            "write the report",
            (
                "-m",
                "spatial_jax.report",
                str(root),
                f"--story={at['story.json']}",
                "--title=Quickstart: from pictures to an evaluated policy",
                f"--out={at['report.html']}",
                *(f"--next={line}" for line in next_commands(root)),
            ),
            0.2,
        ),
    ]


def next_commands(root: Path) -> list[str]:
    """What to try after the quickstart."""
    return [
        (
            f"python -m spatial_jax.chat --model={root}/grpo/export --image=PICTURE "
            "--question='Is the red ball on the left or the right?'"
        ),
        f"python -m data_prep.inspect {root}/questions",
        (
            "python -m spatial_jax.train --config=configs/quickstart.py:grpo --workdir=runs/longer"
            f" --config.model.path={root}/grpo/export --config.data.paths=\"('{root}/questions',)\""
            " --config.train.steps=400"
        ),
    ]


def story(plan: list[Step], from_scratch: bool) -> list[dict[str, str]]:
    """What the report tells of each step."""
    told = [
        {"title": step.what[0].upper() + step.what[1:], "text": "", "command": step.command}
        for step in plan
        if not step.name.startswith("eval_")
    ]
    if not from_scratch:
        told.insert(
            0,
            {
                "title": "Where the policy starts",
                "text": (
                    "To leave the time to what comes after, this run begins with a policy whose cold start (about ten"
                    f" minutes on two cores) was made beforehand ({COLD_START}, by `make proofs ARGS=--cold_start`) on"
                    " other scenes of the same generator. `make quickstart FROM_SCRATCH=1` starts from random weights."
                ),
            },
        )
    return told


def finish(root: Path) -> None:
    """The table, what GRPO changed, the page, and what to try next."""
    from spatial_jax.evals.results import compare, read_result

    columns = [(name, kind) for name in ("before", "after_sft", "after_grpo") for kind in ("", ".greedy")]
    results = {key: read_result(root / "eval" / f"{key[0]}{key[1]}.json") for key in columns}
    families = sorted(results["after_grpo", ""]["families"])
    say("\nmean reward on held-out questions (sampled at temperature 1 | greedy)")
    say(f"{'family':<18}{'items':>6}{'before':>16}{'after SFT':>16}{'after GRPO':>16}")
    for family in families:
        cells = [
            f"{results[n, '']['families'][family]['reward']:.3f} |"
            f" {results[n, '.greedy']['families'][family]['reward']:.3f}"
            for n in ("before", "after_sft", "after_grpo")
        ]
        say(
            f"{family:<18}{results['after_grpo', '']['families'][family]['n']:>6}"
            + "".join(f"{cell:>16}" for cell in cells)
        )
    for kind, what in (("", "sampled"), (".greedy", "greedy")):
        change = compare(results["after_sft", kind], results["after_grpo", kind])["overall"]["score"]
        say(
            f"GRPO, {what}: {change['a']:.3f} -> {change['b']:.3f}, {change['difference']:+.3f}, 95 %"
            f" {change['low']:+.3f} to {change['high']:+.3f}"
        )
    say(f"\nreport: {root / 'report.html'}\n\nnext:")
    for line in next_commands(root):
        say(f"    {line}")


def root_folder(photos: str, from_scratch: bool) -> Path:
    """Runs on other photos or from scratch live beside the plain one."""
    name = "quickstart" + (f"-{Path(photos).resolve().name}" if photos else "") + ("-scratch" if from_scratch else "")
    return Path("runs") / name


def main() -> int:
    parser = Parser("python -m launch.quickstart", __doc__)
    parser.add_argument("--photos", default="", help="a folder of your own pictures for the self-supervised tasks")
    parser.add_argument(
        "--from_scratch", action="store_true", help=f"do not start from the shipped cold-started policy ({COLD_START})"
    )
    parser.add_argument(
        "--scenes", type=int, default=0, help="rendered scenes, a tenth of them held out; 0: 1,500, from scratch 8,000"
    )
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    root = root_folder(args.photos, args.from_scratch)
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / ".writable").write_text("")
        (root / ".writable").unlink()
    except OSError as error:
        say(f"quickstart: cannot write to {root}: {error.strerror}; run it in a folder you may write to")
        return 2
    if args.photos and not Path(args.photos).is_dir():
        say(f"quickstart: PHOTOS={args.photos} is no folder; give a folder of pictures")
        return 2
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # The verbs are separate processes; what one has compiled the next need not compile again.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str((root / ".compiled").resolve()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
    plan = steps(root, args.photos, args.from_scratch, args.scenes or (8000 if args.from_scratch else 1500), args.seed)
    try:
        with RunLock(root, "quickstart"):
            (root / "story.json").write_text(json.dumps(story(plan, args.from_scratch)))
            code = StepRunner(root, plan).run()
            if code == 0:
                finish(root)
    except (ValueError, OSError) as error:
        say(f"quickstart: {error}")
        return 2
    return code


if __name__ == "__main__":
    sys.exit(main())

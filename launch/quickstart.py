"""`make quickstart`: from pictures to an evaluated, better policy. A list of ordinary commands; all logic is in the
verbs they call.

    python -m launch.quickstart
    python -m launch.quickstart --photos=my_photos
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from data_prep.sources import SourceError, open_source
from launch.pace import slower, speed
from launch.steps import Step, StepRunner, say
from spatial_jax.checkpoints import RunLock
from spatial_jax.ending import leave
from spatial_jax.options import Parser

COLD_START = "configs/quickstart_policy"  # a policy that has learned to look; how it was made: launch/proofs.py
PRESET = "clear"
PHOTO_FAMILIES = "depth_order2,abs_depth,distance,size"
FAMILIES = "bearing,relation,depth_order2,abs_depth,count"
SCENES, SCRATCH_SCENES = 1500, 8000  # rendered, where nothing is told


def has_depth(photos: str) -> bool:
    """Whether pictures of the folder have depth files beside them."""
    try:
        return len(open_source({"source": "rgbd", "path": photos, "convention": "generic"})) > 0
    except SourceError:
        return False


def photo_steps(root: Path, photos: str, seed: int) -> list[Step]:
    """Spatial-SSRL's self-supervised tasks from a folder of pictures; with depth beside them also questions in metres,
    about the folder's labelled objects or about points that are marked.
    """
    with_depth = has_depth(photos)
    source = ("--source=rgbd", "--by_frame") if with_depth else ("--source=folder",)
    read = ("-m", "data_prep.annotate", *source, f"--path={photos}", "--heldout_percent=20")
    marked = Step(  # apart from the photos themselves: the self-supervised tasks want no marks
        "photo_scenes",
        "mark points on photos that have depth and no labels",
        (*read, "--points=4", f"--out={root}/photo_scenes"),
        0.1,
    )
    asked = Step(
        "photo_questions",
        "ask about depth and distance in the photos",
        (
            "-m",
            "data_prep.synthesize",
            f"--scenes={root}/photo_scenes",
            f"--families={PHOTO_FAMILIES}",
            "--per_scene=9",
            "--profile=plain",
            "--wordings=1",
            f"--seed={seed}",
            f"--out={root}/photo_questions",
        ),
        0.1,
    )
    return [
        Step(
            "photos",
            f"read the photos of {photos}",
            (*read, f"--out={root}/photos"),
            0.1,
        ),
        Step(
            "selfsup",
            "make Spatial-SSRL's self-supervised tasks from the photos",
            (
                "-m",
                "data_prep.selfsup",
                f"--photos={root}/photos",
                "--tasks=shuffle,flip,depth_order,position3d",  # a crop's candidates need twice this policy's pixels
                "--profile=plain",
                "--wordings=1",
                "--per_photo=60",
                f"--seed={seed}",
                f"--out={root}/selfsup",
            ),
            0.2,
        ),
        *([marked, asked] if with_depth else []),
    ]


def scratch_steps(root: Path, questions: str, data: str, seed: int) -> list[Step]:
    """From random weights to a policy that has begun to look."""
    return [
        Step(
            "policy",
            "make a tiny Qwen2.5-VL with random weights and a tokenizer of its own",
            (
                "-m",
                "spatial_jax.convert",
                "--fresh=tiny",
                f"--texts={questions}",
                f"--seed={seed}",
                f"--out={root}/policy",
            ),
            0.1,
        ),
        Step(
            "align",
            "the random policy learns the words for what it sees, and where it is",
            (
                "-m",
                "spatial_jax.train",
                "--config=configs/quickstart.py:align",
                f"--workdir={root}/align",
                f"--config.model.path={root}/policy",
                f"--config.data.paths=('{root}/scenes',)",
            ),
            2.5,
        ),
        Step(
            "sft",
            "cold start by supervised fine-tuning",
            (
                "-m",
                "spatial_jax.train",
                "--config=configs/quickstart.py:sft_scratch",
                f"--workdir={root}/sft",
                f"--config.model.path={root}/align/export",
                data,
            ),
            4.0,
        ),
    ]


def evaluation(root: Path, name: str, model: str, what: str, questions: str) -> Step:
    """Of held-out questions, into `root`/eval/`name`.json."""
    return Step(
        f"eval_{name}",
        f"evaluate {what} on held-out questions: 8 sampled answers each, and the greedy one",
        (
            "-m",
            "spatial_jax.evaluate",
            "--config=configs/eval_spatial.py:tiny",
            f"--model={model}",
            f"--dataset={questions}",
            "--split=heldout",
            "--samples=8",
            "--temperature=1.0",
            "--greedy_too",
            f"--out={root}/eval/{name}.json",
        ),
        0.8,
    )


def question_steps(root: Path, scenes: int, seed: int) -> list[Step]:
    """Rendered rooms, and questions about them."""
    return [
        Step(
            "scenes",
            "render RGB-D scenes with known geometry",
            (
                "-m",
                "data_prep.annotate",
                "--source=rendered",
                f"--preset={PRESET}",
                f"--count={scenes}",
                f"--seed={seed}",
                "--workers=2",
                f"--out={root}/scenes",
            ),
            0.4,
        ),
        Step(
            "questions",
            "ask Li 2025's families about the scenes",
            (
                "-m",
                "data_prep.synthesize",
                f"--scenes={root}/scenes",
                f"--families={FAMILIES}",
                "--per_scene=9",
                "--profile=plain",
                "--wordings=1",
                f"--seed={seed}",
                f"--out={root}/questions",
            ),
            0.4,
        ),
    ]


def walk_steps(root: Path, seed: int) -> list[Step]:
    """A walk through rendered rooms, and VSI-Bench's topics about it: shown in the report, not trained on."""
    return [
        Step(
            "walks",
            "walk a camera through rendered rooms",
            (
                "-m",
                "data_prep.annotate",
                "--source=walk",
                "--count=1",
                "--workers=1",
                f"--seed={seed}",
                f"--out={root}/walks",
            ),
            0.1,
        ),
        Step(
            "walk_questions",
            "ask VSI-Bench's topics about the walk",
            (
                "-m",
                "data_prep.synthesize",
                f"--rooms={root}/walks",
                "--definitions=vsibench",
                "--most=4",
                f"--seed={seed}",
                f"--out={root}/walk_questions",
            ),
            0.1,
        ),
    ]


def steps(root: Path, photos: str, from_scratch: bool, scenes: int, seed: int) -> list[Step]:
    """The whole way, in order."""
    of_photos = photo_steps(root, photos, seed) if photos else []
    made = [f"{root}/{step.name}" for step in of_photos if step.name in ("selfsup", "photo_questions")]
    datasets = [f"{root}/questions", *made]
    questions = ",".join(datasets)
    data = "--config.data.paths=(" + "".join(f"'{name}'," for name in datasets) + ")"
    start = f"{root}/sft/export" if from_scratch else COLD_START
    return [
        *question_steps(root, scenes, seed),
        *walk_steps(root, seed),
        *of_photos,
        *(scratch_steps(root, questions, data, seed) if from_scratch else []),
        evaluation(root, "before", start, "the policy after its cold start", questions),
        Step(
            "grpo",
            "GRPO: sixteen answers a question, the better ones reinforced",
            (
                "-m",
                "spatial_jax.train",
                "--config=configs/quickstart.py:grpo",
                f"--workdir={root}/grpo",
                f"--config.model.path={start}",
                data,
            ),
            5.8,
        ),
        evaluation(root, "after_grpo", f"{root}/grpo/export", "the policy after GRPO", questions),
        Step(
            "verify",
            "load the policy in transformers and compare its numbers",
            ("-m", "spatial_jax.convert", f"--verify={root}/grpo/export"),
            0.4,
        ),
        Step(
            "report",
            "write the report",
            (
                "-m",
                "spatial_jax.report",
                str(root),
                f"--story={root}/story.json",
                "--title=Quickstart: from pictures to an evaluated policy",
                f"--out={root}/report.html",
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
                    "To leave the time to what comes after, this run begins with a policy whose cold start (supervised,"
                    f" half an hour on two cores) was made beforehand ({COLD_START}, by `make proofs"
                    " ARGS=--cold_start`) on other scenes of the same generator."
                    " `make quickstart FROM_SCRATCH=1` starts from random weights."
                ),
            },
        )
    return told


def finish(root: Path) -> None:
    """The table, what GRPO changed, the page, and what to try next."""
    from spatial_jax.evals import compare, read_result

    stages, kinds = ("before", "after_grpo"), ("", ".greedy")
    results = {(name, kind): read_result(root / "eval" / f"{name}{kind}.json") for name in stages for kind in kinds}
    say("\nmean reward on held-out questions (sampled at temperature 1 | greedy)")
    say(f"{'family':<18}{'items':>6}{'best constant':>16}{'before GRPO':>16}{'after GRPO':>16}")
    for family, row in sorted(results["after_grpo", ""]["families"].items()):
        cells = [" | ".join(f"{results[n, kind]['families'][family]['reward']:.3f}" for kind in kinds) for n in stages]
        say(
            f"{family:<18}{row['n']:>6}{row.get('prior_constant', float('nan')):>16.3f}"
            + "".join(f"{cell:>16}" for cell in cells)
        )
    for kind, what in (("", "sampled"), (".greedy", "greedy")):
        change = compare(results["before", kind], results["after_grpo", kind])["overall"]["score"]
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
    parser.add_argument(
        "--photos",
        default="",
        help="a folder of your own pictures (with depth beside them: PHOTO_depth.png in millimetres)",
    )
    parser.add_argument(
        "--from_scratch", action="store_true", help=f"do not start from the shipped cold-started policy ({COLD_START})"
    )
    parser.add_argument(
        "--scenes",
        type=int,
        default=0,
        help=f"rendered scenes, a tenth of them held out; 0: {SCENES:,}, from scratch {SCRATCH_SCENES:,}",
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
    plan = steps(
        root,
        args.photos,
        args.from_scratch,
        args.scenes or (SCRATCH_SCENES if args.from_scratch else SCENES),
        args.seed,
    )
    try:
        with RunLock(root, "quickstart"):
            (root / "story.json").write_text(json.dumps(story(plan, args.from_scratch)))
            runner = StepRunner(root, plan, pace=slower(speed()))
            say(
                f"about {max(1, round(runner.minutes_left()))} minutes on this machine as busy as it is now"
                f" ({runner.pace:.1f} times as long as on two idle server cores)"
            )
            code = runner.run()
            if code == 0:
                finish(root)
    except (ValueError, OSError) as error:
        say(f"quickstart: {error}")
        return 2
    return code


if __name__ == "__main__":
    leave(main, "quickstart", goes_on=True)

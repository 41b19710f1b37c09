"""`python -m launch.proofs --selfsup`: Spatial-SSRL's five tasks at a tiny size. What is asked of the same held-out
rooms at every stage: the tasks themselves, Li's spatial families, others that no step trains on, and colours, names,
counts and words, which have nothing to do with either; what shall be kept is replayed. The tasks are not taught by
their answers alone, which taught this size nothing: first every visual token learns the word for the mark or patch it
shows, then many questions on each picture ask for the answer's parts. As many steps on Li's families stand beside it.

Results: benchmarks/results/selfsup_learning.json (the tables in docs/measured.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launch.drawing_proof import LOCALISER
from launch.proof_figures import curve, mean_over_seeds
from launch.quickstart import PRESET
from launch.steps import Step, train_args

RESULT = "benchmarks/results/selfsup_learning.json"
RECIPE = "configs/selfsup_tiny.py"
SCENES, ITEMS = 2400, 2000  # rendered; held-out questions of an evaluation
SPATIAL = "bearing,relation,depth_order2,abs_depth"  # of Li's families, those that the starting policy knows
GENERAL = "colour,kind,count,reading"
UNSEEN = "listing,direction,multihop"  # spatial families that no step here trains on; it knows the first of them
TASKS = ("ssrl_shuffle", "ssrl_flip", "ssrl_crop", "ssrl_depth_order", "ssrl_position3d")
ARMS = {"selfsup": "keep", "spatial": "families"}  # what is trained on: the name of its last supervised stage
BEFORE = ("pieces", "align", "parts", "cold", "settle")  # the stages before it of the self-supervised arm
TASKED = ("marks", "patches", "selfsup_photos")  # datasets that hold the tasks
OWN = {"selfsup": {"marks": 0.6, "patches": 0.4}, "spatial": {"spatial": 1.0}}  # an arm's datasets and their shares
PIECES = {"crops": 1.0}  # by alignment first, for 800 steps: what fits is the hardest to see
SEEN = {"regions": 0.45, "crops": 0.25, "scenes": 0.3}  # by alignment then: all marks and patches, the rooms' things
REPLAY = {"general": 0.2, "spatial": 0.15}  # shares of a supervised stage that go to what shall be kept
SETTLE = {"general": 0.25, "spatial": 0.25}  # of the two last ones, which bring back what alignment took
KEEP = {"general": 0.4, "spatial": 0.25}


def data_steps(root: Path, scenes: int) -> list[Step]:
    """Rooms with signs and the photos that come with packages, held out by room and by photo, and the questions on
    them.
    """
    read, ask, selfsup = "data_prep.annotate", "data_prep.synthesize", "data_prep.selfsup"
    rooms, plain = f"{root}/scenes", ("--profile=plain", "--wordings=1")
    asked = ("-m", ask, f"--scenes={rooms}", *plain, "--per_scene=4")
    return [
        Step(
            "scenes",
            "render rooms with signs",
            (
                "-m",
                read,
                "--source=rendered",
                f"--preset={PRESET}",
                "--signs",
                f"--count={scenes}",
                "--seed=23",
                "--workers=2",
                f"--out={rooms}",
            ),
            scenes / 6000,
        ),
        Step(
            "photos",
            "read photos",
            (
                "-m",
                read,
                "--source=folder",
                "--path=package:skimage,sklearn",
                "--heldout_percent=30",
                f"--out={root}/photos",
            ),
            0.1,
        ),
        _puzzles(
            root,
            "regions",
            "marks and patches as the objects of scenes",
            "--tasks=shuffle,flip,depth_order,position3d",
            "--per_photo=8",
            "--regions",
        ),
        _puzzles(
            root, "crops", "what fits a hole and what does not, as well", "--tasks=crop", "--per_photo=8", "--regions"
        ),
        _puzzles(
            root,
            "marks",
            "the tasks that read marks, and their parts",
            "--tasks=depth_order,position3d",
            "--per_photo=8",
            "--parts=8",
        ),
        _puzzles(
            root,
            "patches",
            "the tasks of patches, and their parts",
            "--tasks=shuffle,flip,crop",
            "--per_photo=9",
            "--parts=4",
        ),
        Step(
            "selfsup_photos",
            "self-supervised tasks of the photos",
            (
                "-m",
                selfsup,
                f"--photos={root}/photos",
                "--tasks=shuffle,flip,crop",
                *plain,
                "--per_photo=60",
                f"--out={root}/selfsup_photos",
            ),
            0.3,
        ),
        *(
            Step(name, what, (*asked, f"--families={families}", f"--out={root}/{name}"), scenes / 8000)
            for name, what, families in (
                ("general", "ask about colours, names, counts and words", GENERAL),
                ("spatial", "ask Li's families", SPATIAL),
                ("unseen", "ask spatial families that no training sees", UNSEEN),
            )
        ),
    ]


def _puzzles(root: Path, name: str, what: str, *more: str) -> Step:
    """Puzzles of the rooms in the short form, with what else is to be made of them."""
    return Step(
        name,
        what,
        (
            "-m",
            "data_prep.selfsup",
            f"--photos={root}/scenes",
            "--profile=plain",
            "--wordings=1",
            *more,
            "--seed=2",
            "--workers=2",
            f"--out={root}/{name}",
        ),
        3,
    )


def _train(root: Path, name: str, stage: str, what: str, model: str, data: Mapping[str, float], *more: str) -> Step:
    datasets = {f"{root}/{folder}": share for folder, share in data.items()}
    minutes = {"align": 12, "parts": 10, "cold": 10, "settle": 10, "keep": 8, "families": 30, "grpo": 8}[stage]
    return Step(name, what, train_args(f"{RECIPE}:{stage}", root / name, model, datasets, *more), minutes)


def _evaluate(root: Path, name: str, model: str, items: int) -> list[Step]:
    """Greedy answers to held-out questions: of the datasets that are trained on, the tasks themselves, not their parts;
    and of the families that are not.
    """
    known = ",".join(f"{root}/{folder}" for folder in (*TASKED, "spatial", "general"))

    def ask(step: str, what: str, data: str, families: str) -> Step:
        args = (
            "-m",
            "spatial_jax.evaluate",
            "--config=configs/eval_spatial.py:tiny",
            f"--model={model}",
            f"--dataset={data}",
            f"--families={families}",
            "--split=heldout",
            f"--limit={items}",
            "--temperature=0",
            "--max_new_tokens=12",
            "--nopage",
            f"--out={root}/eval/{step.partition('_')[2]}.json",
        )
        return Step(step, what, args, 1)

    return [
        ask(f"eval_{name}", f"evaluate {name}", known, f"{','.join(TASKS)},{SPATIAL},{GENERAL}"),
        ask(f"eval_{name}_unseen", f"ask {name} what was not trained", f"{root}/unseen", UNSEEN),
    ]


def start_steps(root: Path, items: int) -> list[Step]:
    """The policy that the arms begin with: one that boxes what is named, with tokens for the tasks' phrases."""
    datasets = f"{root}/marks,{root}/patches"
    phrases = ("--phrases=" + datasets, "--asked")
    return [
        Step(
            "start",
            "tokens for what the tasks say",
            ("-m", "spatial_jax.convert", f"--from={LOCALISER}", f"--to_hf={root}/start", *phrases),
            0.2,
        ),
        *_evaluate(root, "start", f"{root}/start", items),
    ]


def arm_steps(root: Path, arm: str, seeds: Sequence[int], items: int, supervised: int, grpo: int) -> list[Step]:
    """An arm's supervised stages, then GRPO of each seed on its own questions alone; each with its evaluation. The
    tasks' regions are seen first: Li's families begin where things are known already.
    """
    stage, own, out, model = ARMS[arm], OWN[arm], list[Step](), f"{root}/start"
    mixture, steps = _mixture(own, REPLAY), [f"--config.train.steps={supervised}"] if supervised else []

    def train(name: str, recipe: str, what: str, data: Mapping[str, float], *more: str) -> None:
        nonlocal model
        out.append(_train(root, name, recipe, what, model, data, *more))
        model = f"{root}/{name}/export"

    if arm == "selfsup":
        train("pieces", "align", "what fits a hole and what does not", PIECES, *(steps or ["--config.train.steps=800"]))
        train("align", "align", "words for marks, patches and things, and where", SEEN, *steps)
        train("parts", "parts", "what answers are made of", mixture, *steps)
        train("cold", "cold", "the same over a tower that learns", mixture, *steps)
        train("settle", "settle", "half of it what it knew before", _mixture(own, SETTLE), *steps)
        mixture = _mixture(own, KEEP)
    train(stage, stage, f"supervised steps on {arm}", mixture, *steps)
    out += _evaluate(root, stage, model, items)
    for seed in seeds:
        name = f"grpo_{arm}_{seed}"
        more = [f"--config.train.seed={seed}", f"--config.data.seed={seed}"]
        more += [f"--config.train.steps={grpo}"] if grpo else []
        if arm == "selfsup":
            more.append(f"--config.data.families={TASKS}")
        out.append(_train(root, name, "grpo", f"GRPO on {arm}, seed {seed}", model, own, *more))
        out += _evaluate(root, name, f"{root}/{name}/export", items)
    return out


def _mixture(own: Mapping[str, float], replay: Mapping[str, float]) -> dict[str, float]:
    """Shares of an arm's own datasets and of what is replayed."""
    out = {folder: weight * (1 - sum(replay.values())) for folder, weight in own.items()}
    for folder, weight in replay.items():
        out[folder] = out.get(folder, 0.0) + weight
    return out


def plan(
    root: Path, scenes: int, seeds: Sequence[int], items: int, supervised: int, grpo: int, arms: Sequence[str]
) -> list[Step]:
    """All of it in order; `supervised` and `grpo` steps, 0: the recipe's."""
    out = data_steps(root, scenes) + start_steps(root, items)
    return out + [step for arm in arms for step in arm_steps(root, arm, seeds, items, supervised, grpo)]


def group(item: Mapping[str, Any]) -> str:
    """What an item is counted with: its family, and for a task whether it is of a photo."""
    family = str(item["family"])
    return f"{family} of photos" if family in TASKS and not str(item["scene"]).startswith("rendered") else family


def measure(result: Mapping[str, Any]) -> dict[str, Any]:
    """Of each group: items, mean score, its Wilson interval where every score is right or wrong (else over scenes)."""
    import numpy as np

    from spatial_jax.evals.intervals import mean_interval, wilson_interval

    out = {}
    for name in sorted({group(item) for item in result["items"]}):
        items = [item for item in result["items"] if group(item) == name]
        scores = np.array([item["score"] for item in items], np.float64)
        if set(scores.tolist()) <= {0.0, 1.0}:
            bounds = wilson_interval(int(scores.sum()), len(scores))
        else:
            bounds = mean_interval(scores, [item["scene"] for item in items])
        out[name] = {"n": len(items), "score": float(scores.mean()), "low": bounds[0], "high": bounds[1]}
    return out


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Of each group, of "spatial", "general" and "unseen": after minus before on the same items, 95 % over scenes."""
    import numpy as np

    from spatial_jax.evals.intervals import paired_difference

    first, second = ({item["id"]: item for item in result["items"]} for result in (before, after))
    names: dict[str, list[str]] = {}
    for key in first:
        if key in second:
            family = group(first[key])
            names.setdefault(family, []).append(key)
            for whole, parts in (("spatial", SPATIAL), ("general", GENERAL), ("unseen", UNSEEN)):
                if family in parts.split(","):
                    names.setdefault(whole, []).append(key)
    out = {}
    for name, keys in sorted(names.items()):
        a, b = (np.array([side[key]["score"] for key in keys], np.float64) for side in (first, second))
        out[name] = {
            "before": float(a.mean()),
            "after": float(b.mean()),
            **paired_difference(a, b, [first[key]["scene"] for key in keys]),
        }
    return out


def chances(root: Path, result: Mapping[str, Any]) -> dict[str, float]:
    """Of each group of tasks: the score of blind chance, one over the number of answers that its form allows, as a mean
    over items.
    """
    from spatial_jax.data import QuestionRecord, open_questions

    answers = {"ssrl_flip": 8, "ssrl_crop": 4, "ssrl_position3d": 4, "ssrl_depth_order": 6}
    forms = {}
    for folder in TASKED:
        for record in open_questions(f"{root}/{folder}", "heldout"):
            if not isinstance(record, QuestionRecord):
                continue
            forms[record.question_id] = answers.get(record.family) or math.factorial(len(record.options))
    out: dict[str, list[float]] = {}
    for item in result["items"]:
        if item["id"] in forms:
            out.setdefault(group(item), []).append(1 / forms[item["id"]])
    return {name: sum(values) / len(values) for name, values in out.items()}


def main_curve(workdir: Path, points: int = 40) -> dict[str, list[float | None]]:
    """The loss (supervised) or mean reward (GRPO) of a run's steps, thinned."""
    found = curve(workdir, ("reward/mean", "loss"), points)
    if "reward/mean" in found:
        found.pop("loss", None)
    return found


def table(root: Path, arms: Sequence[str], seeds: Sequence[int], device: str, command: str) -> dict[str, Any]:
    """What the runs below `root` came to: measures of each stage, differences between stages, curves."""
    from spatial_jax.evals import read_result

    def read(name: str) -> dict[str, Any]:
        known, unseen = (read_result(root / "eval" / f"{part}.json") for part in (name, f"{name}_unseen"))
        families, items = known["families"] | unseen["families"], [*known["items"], *unseen["items"]]
        return known | {"families": families, "items": items}

    start = read("start")
    out: dict[str, Any] = {
        "command": command,
        "device": device,
        "decoding": "greedy",
        "replay": REPLAY,
        "chance": chances(root, start),
        "blind": {f: {k: row[k] for k in row if k.startswith("prior_")} for f, row in start["families"].items()},
        "start": measure(start),
        "arms": {},
    }
    for arm in arms:
        taught = read(ARMS[arm])
        rows: dict[str, Any] = {
            "cold": measure(taught),
            "cold_minus_start": differences(start, taught),
            "seeds": {},
        }
        for seed in seeds:
            after = read(f"grpo_{arm}_{seed}")
            rows["seeds"][str(seed)] = {
                "after": measure(after),
                "after_minus_cold": differences(taught, after),
                "after_minus_start": differences(start, after),
            }
        afters = [row["after"] for row in rows["seeds"].values()]
        rows["over_seeds"] = {
            name: mean_over_seeds([after[name]["score"] for after in afters]) for name in (afters[0] if afters else ())
        }
        out["arms"][arm] = rows
    runs = [
        *(["pieces", "align", "parts", "cold", "settle"] if "selfsup" in arms else []),
        *(ARMS[arm] for arm in arms),
    ]
    runs += [f"grpo_{arm}_{seed}" for arm in arms for seed in seeds]
    out["curves"] = {name: main_curve(root / name) for name in runs}
    return out

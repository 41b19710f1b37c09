"""`python -m launch.proofs --video`: vsGRPO's comparison at a size that runs on one core (configs/vsgrpo_tiny.py).

A policy of two million random weights learns from a short cold start to answer in the three forms. From there, on the
same questions and steps: SFT, DPO, and GRPO in the vanilla, think and observe forms, its KL coefficient, and a reward
for the length of what is observed. Measured on rooms never walked through in training, the two topics apart that no run
asks.

Results: benchmarks/results/video_comparison.json (the tables in docs/measured.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from launch.proof_figures import curve, figure_line, mean_over_seeds, read_rows
from launch.steps import Step

RESULT = "benchmarks/results/video_comparison.json"
RECIPE = "configs/vsgrpo_tiny.py"
WALKS, ITEMS, SAMPLES = 1600, 480, 4
FORMS = {"vanilla": "vanilla", "think": "think_answer", "observe": "observe_answer"}
NUMERIC = ("object_counting", "object_abs_distance", "object_size_estimation", "room_size_estimation")
TRAINED = (*NUMERIC, "object_rel_distance", "object_rel_direction")
HELD_OUT = ("route_planning", "obj_appearance_order")  # topics that no run trains on
WORDS = 3  # that the length reward pays for: a cold-started observation has one or two
# Of each run: the recipe's argument, the form that it answers in, and what else its command says.
ARMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "sft": ("sft", "vanilla", ()),
    "dpo": ("dpo", "vanilla", ()),
    "vanilla": ("grpo,vanilla", "vanilla", ()),
    "think": ("grpo,think", "think", ()),
    "observe": ("grpo,observe", "observe", ()),
    "observe, KL 0": ("grpo,observe", "observe", ("--config.algorithm.kl_coef=0.0",)),
    "observe, KL 1e-2": ("grpo,observe", "observe", ("--config.algorithm.kl_coef=0.01",)),
    "observe, length": ("grpo,observe", "observe", (f"--config.reward.by_family=('vsi_*=vsgrpo:words={WORDS}',)",)),
}
METHODS, FORMED = ("sft", "dpo", "vanilla"), ("think", "observe")  # the other arms vary what "observe" is paid
CURVES = ("reward/mean", "format/share", "length/mean", "kl/reference", "entropy", "loss", "dpo/accuracy")
# (b, a): what a difference is of, on the questions that both answered
COMPARED = (
    *((arm, f"start, {form}") for arm, (_, form, _) in ARMS.items()),
    ("vanilla", "sft"),
    ("sft", "dpo"),
    ("vanilla", "dpo"),
    ("think", "vanilla"),
    ("observe", "vanilla"),
    ("observe, KL 0", "observe"),
    ("observe, KL 1e-2", "observe"),
    ("observe, length", "observe"),
)


def folder(name: str) -> str:
    """An arm's name as that of a folder."""
    return name.replace(", ", "_").replace(" ", "")


def data_steps(root: Path, walks: int) -> list[Step]:
    """Walks (a seventh of them held out), their questions, the same in three forms, a random policy with a tokenizer of
    their words, and its cold start.
    """
    return [
        Step(
            "walks",
            "render walks",
            (
                "-m",
                "data_prep.annotate",
                "--source=walk",
                f"--count={walks}",
                "--walk_frames=8",
                "--walk_rooms=1",
                "--width=84",
                "--height=84",
                "--heldout_percent=15",
                "--seed=31",
                f"--out={root}/walks",
            ),
            walks / 400,
        ),
        Step(
            "questions",
            "ask VSI's topics",
            (
                "-m",
                "data_prep.synthesize",
                f"--rooms={root}/walks",
                "--most=2",
                "--wordings=1",
                f"--out={root}/questions",
            ),
            walks / 1500,
        ),
        Step(
            "forms",
            "questions with replies in three forms",
            ("-m", "launch.several_forms", f"--questions={root}/questions", f"--out={root}/forms"),
            walks / 4000,
        ),
        Step(
            "policy",
            "a random policy with its tokenizer",
            (
                "-m",
                "spatial_jax.convert",
                "--fresh=tiny",
                f"--texts={root}/forms",
                "--vocab_size=640",
                f"--out={root}/policy",
            ),
            0.4,
        ),
        Step(
            "cold",
            "cold start in three forms",
            (
                "-m",
                "spatial_jax.train",
                f"--config={RECIPE}:cold",
                f"--workdir={root}/cold",
                f"--config.model.path={root}/policy",
                f"--config.data.paths=('{root}/forms',)",
            ),
            5,
        ),
    ]


def evaluate(root: Path, out: Path, name: str, model: str, form: str, items: int, topics: str = "trained") -> Step:
    """Of held-out rooms' questions, SAMPLES answers at temperature 1 and a greedy one; `topics`: "trained" or
    "heldout", those that no run trains on.
    """
    families = ",".join(f"vsi_{topic}" for topic in (TRAINED if topics == "trained" else HELD_OUT))
    return Step(
        f"eval_{folder(name)}_{topics}_{out.name}",
        f"evaluate {name}, {topics} topics, {out.name}",
        (
            "-m",
            "spatial_jax.evaluate",
            "--config=configs/eval_spatial.py:walk_tiny",
            f"--model={model}",
            f"--dataset={root}/questions",
            f"--families={families}",
            "--split=heldout",
            f"--prompt_mode={FORMS[form]}",
            f"--limit={items if topics == 'trained' else items // 4}",
            f"--samples={SAMPLES}",
            "--temperature=1.0",
            "--greedy_too",
            "--nopage",
            f"--out={out}/eval/{topics}/{folder(name)}.json",
        ),
        0.6,
    )


def start_steps(root: Path, items: int, topics: str = "trained") -> list[Step]:
    """The cold-started policy asked in each form."""
    start, model = root / "start", f"{root}/cold/export"
    return [evaluate(root, start, f"start, {form}", model, form, items, topics) for form in FORMS]


def seed_steps(root: Path, seed: int, arms: Sequence[str], steps: int, items: int) -> list[Step]:
    """Arms of one seed with their evaluations; `steps` of each in the recipe's place, 0: as that says."""
    out, plan = root / f"seed{seed}", []
    for name in arms:
        arg, form, more = ARMS[name]
        own = (f"--config.train.steps={steps}",) if steps else ()
        plan.append(
            Step(
                f"{folder(name)}_{seed}",
                f"{name}, seed {seed}",
                (
                    "-m",
                    "spatial_jax.train",
                    f"--config={RECIPE}:{arg}",
                    f"--workdir={out}/{folder(name)}",
                    f"--config.model.path={root}/cold/export",
                    f"--config.data.paths=('{root}/questions',)",
                    f"--config.train.seed={seed}",
                    f"--config.data.seed={seed}",
                    *more,
                    *own,
                ),
                2.5,
            )
        )
        plan.append(evaluate(root, out, name, f"{out}/{folder(name)}/export", form, items))
    return plan


def heldout_steps(root: Path, seed: int, items: int) -> list[Step]:
    """The topics that no run trains on, asked of the methods and forms after one seed."""
    out = root / f"seed{seed}"
    return [
        evaluate(root, out, name, f"{out}/{folder(name)}/export", ARMS[name][1], items, "heldout")
        for name in METHODS + FORMED
    ]


def rounds(root: Path, seeds: Sequence[int], steps: int, items: int) -> list[tuple[Path, list[Step]]]:
    """Plans in the order in which they run, each with its folder: the methods of every seed, then the forms and what
    varies them, the first seed's first, then the topics that no run trains on.
    """
    rest = tuple(name for name in ARMS if name not in METHODS + FORMED)

    def arms(seed: int, part: str, names: Sequence[str]) -> tuple[Path, list[Step]]:
        return root / f"seed{seed}" / part, seed_steps(root, seed, names, steps, items)

    out = [arms(seed, "methods", METHODS) for seed in seeds]
    out += [arms(seeds[0], "forms", FORMED), arms(seeds[0], "rest", rest)]
    out += [arms(seed, "forms", FORMED) for seed in seeds[1:]]
    out.append((root / "start", start_steps(root, items, "heldout")))
    out += [(root / f"seed{seed}" / "heldout", heldout_steps(root, seed, items)) for seed in seeds]
    return out + [arms(seed, "rest", rest) for seed in seeds[1:]]


def read_answers(result: Path, records: Sequence[Any], form: str) -> dict[str, dict[str, Any]]:
    """Of each question of a saved evaluation, as means over its answers: `right` (the paper's accuracy reward), `mra`
    (VSI-Bench's measure: mean relative accuracy, or right and wrong), `form`, and the words of its thought.
    """
    from spatial_jax.blocks import first_block
    from spatial_jax.evals.heldout import answers_of, resolved_dict
    from spatial_jax.evals.responses import read_responses
    from spatial_jax.forms import get_form
    from spatial_jax.rewards.rule import RewardRule, score_answers

    asked_for = get_form(FORMS[form]).format
    by_paper, own = RewardRule(asked_for, 0.0, by_family=("vsi_*=vsgrpo",)), RewardRule(asked_for, 0.0)
    rows = read_responses(result)
    out = {}
    for record in records:
        row = rows.get(record.question_id)
        if row is None:
            continue
        asked, answers = resolved_dict(record, row.get("model_sizes")), answers_of(row["responses"], row)
        paper = score_answers(asked, answers, by_paper, threads=1)
        mra = score_answers(asked, answers, own, threads=1)
        thoughts = [(first_block(a.text, form) or "").split() for a in answers] if form != "vanilla" else []
        out[record.question_id] = {
            "topic": record.family.removeprefix("vsi_"),
            "scene": record.scene_id,
            "right": float(np.mean([o.accuracy or 0.0 for o in paper])),
            "form": float(np.mean([o.format or 0.0 for o in paper])),
            "mra": float(np.mean([o.accuracy or 0.0 for o in mra])),
            **({"words": float(np.mean([len(words) for words in thoughts]))} if thoughts else {}),
        }
    return out


GROUPS = {"six topics": TRAINED, "numeric topics": NUMERIC, "held-out topics": HELD_OUT}


def figures(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Means of an evaluation by topic and by group of topics."""
    groups = {**GROUPS, **{topic: (topic,) for topic in (*TRAINED, *HELD_OUT)}}
    out: dict[str, Any] = {}
    for name, topics in groups.items():
        rows = [row for row in answers.values() if row["topic"] in topics]
        keys = [key for key in ("right", "mra", "form", "words") if rows and key in rows[0]]
        out[name] = {"n": len(rows), **{key: float(np.mean([row[key] for row in rows])) for key in keys}}
    return out


def differences(a: Mapping[str, Mapping[str, Any]], b: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """b minus a of `right` and `mra` by group of topics: paired over questions, 95 % over scenes."""
    from spatial_jax.evals.intervals import paired_difference

    out: dict[str, Any] = {}
    for name, topics in GROUPS.items():
        keys = [key for key in a if key in b and a[key]["topic"] in topics]
        scenes = [a[key]["scene"] for key in keys]
        if keys:
            out[name] = {
                measure: paired_difference(
                    np.array([a[key][measure] for key in keys]), np.array([b[key][measure] for key in keys]), scenes
                )
                for measure in ("right", "mra")
            }
    return out


def passed_tokens(run: Path) -> dict[str, float]:
    """What a run came to: its steps, and the tokens that went through the decoder (an update counts thrice: forward,
    and backward at twice its cost), from its log.
    """
    rows = [row for row in read_rows(run) if "time/update" in row and "tokens_per_second" in row]
    updated = float(np.mean([row["tokens_per_second"] * row["time/update"] for row in rows]))
    steps = int(rows[-1]["step"])
    # Sampling passes each token once; a KL term, and DPO, once more through the reference.
    seen = rows[-1]
    passes = 3.0 + ("reward/mean" in seen) + ("kl/reference" in seen or "dpo/accuracy" in seen)
    return {"steps": steps, "tokens a step": updated, "passes": passes, "tokens": steps * updated * passes}


def seed_row(root: Path, seed: int, records: Sequence[Any]) -> dict[str, Any]:
    """What one seed shows, by decoding: figures of every arm that has run, the differences, and the curves."""
    out: dict[str, Any] = {"seed": seed, "figures": {}, "differences": {}, "runs": {}, "curves": {}}
    places = {f"start, {form}": (root / "start", form) for form in FORMS}
    places |= {name: (root / f"seed{seed}", form) for name, (_, form, _) in ARMS.items()}
    for decoding, end in (("sampled", ""), ("greedy", ".greedy")):
        read: dict[str, dict[str, Any]] = {}
        for name, (where, form) in places.items():
            files = [where / "eval" / topics / f"{folder(name)}{end}" for topics in ("trained", "heldout")]
            if not files[0].with_name(files[0].name + ".json").is_file():
                continue
            read[name] = {}
            for file in files:
                saved = file.with_name(file.name + ".responses.jsonl")
                read[name] |= read_answers(saved, records, form) if saved.is_file() else {}
        out["figures"][decoding] = {name: figures(answers) for name, answers in read.items()}
        out["differences"][decoding] = {
            f"{b} minus {a}": differences(read[a], read[b]) for b, a in COMPARED if a in read and b in read
        }
    for name in out["figures"]["sampled"]:
        if name in ARMS:
            run = root / f"seed{seed}" / folder(name)
            out["runs"][name] = passed_tokens(run)
            out["curves"][name] = curve(run, CURVES)
    return out


def over_seeds(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and 95 % interval (Student's t over the seeds that have it) of every difference; no interval of one seed."""
    out: dict[str, Any] = {}
    for decoding in ("sampled", "greedy"):
        values: dict[tuple[str, str], list[float]] = {}
        for row in rows:
            for name, groups in row["differences"][decoding].items():
                for group, found in groups.items():
                    for measure, change in found.items():
                        place = name, f"{decoding}, {group}, {measure}"
                        values.setdefault(place, []).append(change["difference"])
        for (name, figure), seen in values.items():
            out.setdefault(name, {})[figure] = {**mean_over_seeds(seen), "seeds": seen}
    return out


def table(root: Path, seeds: Sequence[int], command: str, device: str) -> dict[str, Any]:
    """All that has run of these seeds."""
    from spatial_jax.evals.runner import load_records

    records = load_records([f"{root}/questions"], "heldout")
    rows = [seed_row(root, seed, records) for seed in seeds]
    made: dict[str, Any] = {"command": command, "device": device, "seeds": list(seeds)}
    made["missing"] = {row["seed"]: left for row in rows if (left := [n for n in ARMS if n not in row["runs"]])}
    found = [row["differences"]["sampled"].get("vanilla minus start, vanilla") for row in rows]
    gained = [change["six topics"]["right"]["difference"] for change in found if change]
    reached = sum(gain >= 0.1 for gain in gained)
    made["goal"] = {"sampled reward, GRPO minus its start": gained, "seeds of at least 0.10": reached}
    made["blind"] = _blind(root / "start" / "eval" / "trained" / f"{folder('start, vanilla')}.json")
    made["cold"] = curve(root / "cold", ("loss", "entropy"))
    return {**made, "over_seeds": over_seeds(rows), "rows": rows}


def _blind(result: Path) -> dict[str, Any]:
    """Of each topic what the best constant answer and a model of the question's words come to (VSI-Bench's measure)."""
    from spatial_jax.evals import read_result

    rows: Iterable[tuple[str, Mapping[str, Any]]] = read_result(result)["families"].items()
    return {name: {key: row[key] for key in ("prior_constant", "prior_words") if key in row} for name, row in rows}


def told(made: Mapping[str, Any]) -> str:
    """The differences on the six topics, one a line."""
    shown = "sampled, six topics, right"
    return "\n".join(figure_line(name, found[shown]) for name, found in made["over_seeds"].items())

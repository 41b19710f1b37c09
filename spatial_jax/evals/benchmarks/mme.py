"""MME (Fu et al., arXiv 2306.13394): two yes-or-no questions a picture in fourteen tasks.

A task scores 100 (acc + acc+), acc+ = pictures with both right; Perception is the sum of ten tasks (at most 2000),
Cognition of four (at most 800). Metrics here are shares: perception 20.0 prints as 2000.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spatial_jax.evals import yes_no
from spatial_jax.evals.benchmarks.base import Benchmark, Derived, Item, Outcome, Scored, correct, is_whole
from spatial_jax.evals.general_files import general_rows, unique_ids

PERCEPTION = (
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
_ENDING = " Please answer yes or no."


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the test parquet or of VLMEvalKit's TSV; "pair" is the picture that two questions share."""
    rows = general_rows(root, ("*test*", "*MME*", "*"))
    for row in rows:
        row["pair"] = f"{row.get('category')}/{row.get('question_id') or row.get('image_path') or row['id']}"
    return unique_ids(rows)


def prompt(item: Item, scoring: str) -> str:
    question = str(item["question"])
    if scoring == "lmms_eval":
        return question.replace(_ENDING, "") + "\nAnswer the question using a single word or phrase."
    return question


READERS = {"official": yes_no.leading, "lmms_eval": yes_no.leading_lmms, "vlmevalkit": yes_no.yes_or_no_word}


def score(response: str, item: Item, scoring: str) -> Scored:
    said = READERS[scoring](response)
    return correct(said == str(item["answer"]).strip().lower(), said)


def derive(items: Sequence[Item], outcomes: Sequence[Outcome], scoring: str) -> dict[str, Derived]:
    """A score a task, their sums "perception" and "cognition", and "overall", the share of 2800."""
    values: dict[str, list[float]] = {}
    pairs: dict[str, dict[str, list[float]]] = {}
    for item, (value, _) in zip(items, outcomes):
        task = str(item.get("category"))
        if is_whole([value]):
            values.setdefault(task, []).append(value)
        key = item.get("pair") or item.get("question_id") or item["id"]
        pairs.setdefault(task, {}).setdefault(str(key), []).append(value)
    scores = {}
    for task, own in values.items():
        both = [float(min(pair) >= 1) for pair in pairs[task].values() if is_whole(pair)]
        scores[task] = sum(own) / len(own) + (sum(both) / len(both) if both else 0.0)
    sums = {
        name: sum(scores.get(task, 0.0) for task in tasks)
        for name, tasks in (("perception", PERCEPTION), ("cognition", COGNITION))
    }
    return {"overall": sum(sums.values()) / 28, **sums, **{f"{task} (acc and acc+)": v for task, v in scores.items()}}


BENCHMARK = Benchmark(
    name="mme",
    title="MME",
    hub="lmms-lab/MME",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("category", "all")),
    scene=lambda item: str(item.get("pair") or item.get("question_id") or item["id"]),
    oracle=lambda item, scoring: str(item["answer"]),
    derived=derive,
    grouped=True,
    guesses=lambda item: ["Yes", "No"],
    max_new_tokens=16,
    notes="perception and cognition print x 100 as the published sums; overall is their share of 2800",
)

"""OCRBench (Liu et al., arXiv 2305.07895): 1,000 questions, right where an accepted answer stands in the response.

overall x 1000 is the published score. Formulas (HME100k) are compared without blanks and with their case.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import Benchmark, Item, Metrics, Scored
from spatial_jax.evals.general_files import general_rows, golds
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.short_answers import contains

FORMULA = "Handwritten Mathematical Expression Recognition"
RECOGNITION = tuple(
    f"{kind} Recognition"
    for kind in (
        "Regular Text",
        "Irregular Text",
        "Artistic Text",
        "Handwriting",
        "Digit String",
        "Non-Semantic Text",
    )
)


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the parquet (answer), the authors' JSON (answers) or VLMEvalKit's TSV (answer as a list's text)."""
    patterns = ("*test*", "*OCRBench*", "*")
    try:
        rows = general_rows(root, patterns, folders=("images", "OCRBench_Images"))
    except ValueError:
        rows = general_rows(root, patterns, answer="answers", folders=("images", "OCRBench_Images"))
    return [{**row, "answer": golds(row.get("answer", row.get("answers")))} for row in rows]


def kind(item: Item) -> str:
    return str(item.get("question_type") or item.get("type") or item.get("category") or "all")


def prompt(item: Item, scoring: str) -> str:
    return str(item["question"])


def is_formula(item: Item, scoring: str) -> bool:
    """VLMEvalKit goes by the type, the others by the source."""
    named = item.get("dataset_name") or item.get("dataset")
    return kind(item) == FORMULA if scoring == "vlmevalkit" or not named else str(named) == "HME100k"


def score(response: str, item: Item, scoring: str) -> Scored:
    value = contains(response, golds(item["answer"]), formula=is_formula(item, scoring), fold=scoring == "lmms_eval")
    return value, response.strip()[:80] or None


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    out: Metrics = {"overall": pool(list(cells.values())).mean, **{name: cell.mean for name, cell in cells.items()}}
    read = [cell for name, cell in cells.items() if name in RECOGNITION]
    if read:
        out["Text Recognition"] = pool(read).mean
    return out


BENCHMARK = Benchmark(
    name="ocrbench",
    title="OCRBench",
    hub="echo840/OCRBench",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=kind,
    oracle=lambda item, scoring: golds(item["answer"])[0],
    aggregate=aggregate,
    guesses=lambda item: ["a", "1", "the"],
    max_new_tokens=128,
    notes="overall x 1000 is the published score",
)

"""DocVQA (Mathew et al., arXiv 2007.00398): questions on documents, ANLS (the RRC script's formula).

InfographicVQA's files have the same shape and the same score.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import Benchmark, Item, Scored
from spatial_jax.evals.general_files import general_rows, golds
from spatial_jax.evals.short_answers import anls
from spatial_jax.evals.sources import as_list

ASK = "\nAnswer the question using a single word or phrase."


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the validation parquet or of VLMEvalKit's TSV (one or several accepted answers)."""
    rows = read_validation(root)
    return [{**row, "answers": golds(row.get("answers", row.get("answer")))} for row in rows]


def read_validation(root: Path) -> list[dict[str, Any]]:
    """Rows of the validation files; TSV files name their answers in the singular."""
    patterns = ("*DocVQA/validation*", "*validation*", "*[Dd]oc*VAL*", "*[Vv]al*", "*")
    try:
        return general_rows(root, patterns, answer="answers")
    except ValueError:
        return general_rows(root, patterns)


def prompt(item: Item, scoring: str) -> str:
    return str(item["question"]) + ASK


def score(response: str, item: Item, scoring: str) -> Scored:
    return anls(response, golds(item["answers"])), response.strip()[:80] or None


def kind(item: Item) -> str:
    """The first published type of the question."""
    named = as_list(item.get("question_types") or item.get("answer_type"))
    return str(named[0]) if named else "all"


BENCHMARK = Benchmark(
    name="docvqa",
    title="DocVQA",
    hub="lmms-lab/DocVQA",
    required=("answers",),
    load=load,
    prompt=prompt,
    score=score,
    category=kind,
    oracle=lambda item, scoring: golds(item["answers"])[0],
    guesses=lambda item: ["yes", "no", "1", "2"],
    max_new_tokens=32,
    notes="ANLS: blanks around a response raise it, as in the RRC script",
)

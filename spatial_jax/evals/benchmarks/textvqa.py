"""TextVQA (Singh et al., arXiv 1904.08920): ten people's answers a question, VQA accuracy.

Three normalisations are in use: the VQA script's own (only where people differ), VLMEvalKit's and lmms-eval's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import Benchmark, Item, Scored
from spatial_jax.evals.benchmarks.docvqa import ASK
from spatial_jax.evals.general_files import general_rows, golds
from spatial_jax.evals.short_answers import vqa_accuracy


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the validation parquet or of VLMEvalKit's TSV."""
    patterns = ("*validation*", "*[Tt]ext*VAL*", "*[Vv]al*", "*")
    try:
        rows = general_rows(root, patterns, answer="answers")
    except ValueError:
        rows = general_rows(root, patterns)
    return [{**row, "answers": golds(row.get("answers", row.get("answer")))} for row in rows]


def prompt(item: Item, scoring: str) -> str:
    """lmms-eval puts all but the question's first letter in lower case."""
    question = str(item["question"])
    return (question.capitalize() if scoring == "lmms_eval" else question) + ASK


def score(response: str, item: Item, scoring: str) -> Scored:
    return vqa_accuracy(response, golds(item["answers"]), scoring), response.strip()[:80] or None


def oracle(item: Item, scoring: str) -> str:
    """The commonest answer: it scores 1 where four people gave it."""
    found = golds(item["answers"])
    return max(found, key=found.count)


BENCHMARK = Benchmark(
    name="textvqa",
    title="TextVQA",
    hub="lmms-lab/textvqa",
    required=("answers",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: "all",
    oracle=oracle,
    guesses=lambda item: ["yes", "no", "1", "2", "unanswerable"],
    max_new_tokens=32,
    notes="an answer that four of ten people gave scores 1, three .9, two .6, one .3",
)

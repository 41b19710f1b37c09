"""RealWorldQA (xAI): photographs with questions that name their choices; gold a letter, a number or a word. No scorer
was published.

`official` here is lmms-eval's rule (ranked letter for gold A-D, else plain equality); `cambrian` compares the first
word, VLMEvalKit asks everything as multiple choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Item,
    ItemError,
    Metrics,
    Scored,
    correct,
    option_texts,
    vlmevalkit_prompt,
)
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.matching import after_answer_marks, can_infer, ranked_letter
from spatial_jax.evals.sources import picture, read_rows


def load(root: Path) -> list[dict[str, Any]]:
    return [
        {
            **row,
            "id": str(row.get("index", row.get("id", number))),
            "answer": str(row.get("answer")),
            "images": [picture(row.get("image") or row.get("image_path"), row["_root"], "images")],
        }
        for number, row in enumerate(read_rows(root, ("*test*", "*RealWorldQA*", "*")))
    ]


def prompt(item: Item, scoring: str) -> str:
    if scoring == "vlmevalkit":
        return vlmevalkit_prompt(item)
    question = str(item["question"])
    return (
        f"{question}\nAnswer the question using a single word or phrase." if scoring == "cambrian" else question.strip()
    )


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = str(item["answer"]).strip()
    if scoring == "vlmevalkit":
        letter = can_infer(response, option_texts(item) or dict.fromkeys("ABCD", "\0"))
        return correct(letter == gold, None if letter == "Z" else letter)
    if scoring == "cambrian":
        words = after_answer_marks(response).rstrip(".").split()
        if not words:
            raise ItemError("realworldqa: an empty response stops the Cambrian script (no first word)")
        return correct(words[0] == gold.lower(), words[0])
    if gold in ("A", "B", "C", "D"):
        letter = ranked_letter(response, "ABCD")
        return correct(letter == gold, letter)
    said = response.lower().strip().rstrip(".")
    return correct(said == gold.lower(), said[:80])


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    return {"overall": pool(list(cells.values())).mean}


def kind(item: Item) -> str:
    """choice, number or word: what the gold is."""
    gold = str(item["answer"]).strip()
    return "choice" if gold in ("A", "B", "C", "D") else "number" if gold.replace(".", "", 1).isdecimal() else "word"


BENCHMARK = Benchmark(
    name="realworldqa",
    title="RealWorldQA",
    hub="xai-org/RealworldQA",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=kind,
    oracle=lambda item, scoring: str(item["answer"]),
    aggregate=aggregate,
    scorings=("official", "lmms_eval", "vlmevalkit", "cambrian"),
    max_new_tokens=16,
    guesses=lambda item: ["A", "B", "C", "D", "Yes", "No", "0", "1", "2", "3", "4"],
)

"""AI2D (Kembhavi et al., arXiv 1603.07396): choices on diagrams of science books.

`official` here is lmms-eval's rule (the authors publish no scorer for free text): the letter before a first dot, else
the whole text, compared without case and punctuation.
"""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any

from spatial_jax.evals import matching
from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Item,
    Scored,
    correct,
    letter_options,
    option_texts,
    rotated_index,
    rotated_list,
    vlmevalkit_prompt,
)
from spatial_jax.evals.general_files import general_rows
from spatial_jax.evals.sources import as_list

_LETTER_DOT = re.compile(r"^\s*([A-Z])\.")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the test parquet (options, answer as an index) or of VLMEvalKit's TSV (columns, answer as a letter)."""
    rows = general_rows(root, ("*test*", "*AI2D*", "*"))
    return [{**row, "options": as_list(row.get("options")) or list(option_texts(row).values())} for row in rows]


def gold_letter(item: Item) -> str:
    """The letter, out of an index or a letter."""
    answer = str(item["answer"]).strip()
    return chr(65 + int(answer)) if answer.isdecimal() else answer.upper()[:1]


def prompt(item: Item, scoring: str) -> str:
    if scoring == "vlmevalkit":
        return vlmevalkit_prompt(item)
    return (
        f"{item['question']}\n{letter_options(item['options'])}\n"
        "Answer with the option's letter from the given choices directly."
    )


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = gold_letter(item)
    if scoring == "vlmevalkit":
        letter = matching.can_infer(response, option_texts(item) or dict.fromkeys("ABCD", "\0"))
        return correct(letter == gold, None if letter == "Z" else letter)
    found = _LETTER_DOT.match(response)
    said = (found.group(1) if found else response).lower().translate(_NO_PUNCTUATION)
    return correct(said == gold.lower(), said[:20])


def rotate(item: Item, n: int) -> dict[str, Any]:
    texts = list(item["options"])
    gold = rotated_index(ord(gold_letter(item)) - 65, len(texts), n)
    return {**item, "options": rotated_list(texts, n), "answer": chr(65 + gold)}


BENCHMARK = Benchmark(
    name="ai2d",
    title="AI2D",
    hub="lmms-lab/ai2d",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("category") or "all"),
    oracle=lambda item, scoring: gold_letter(item),
    rotate=rotate,
    max_new_tokens=16,
)

"""General ability on any items given as jsonl: {"id", "image" or "images", "question", "answer", "choices"?,
"category"?}.

Choice items (with choices) are read like lmms-eval's ranked letter, or by the option's text; the others by equality
with any of the accepted answers ("answer" may be a list) after lower case, without articles and final dots; numbers
compare as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Item,
    Metrics,
    Scored,
    correct,
    letter_of,
    letter_options,
    rotated_index,
    rotated_list,
)
from spatial_jax.evals.intervals import Cell, macro, pool
from spatial_jax.evals.matching import can_infer_text, letters, ranked_letter
from spatial_jax.evals.mra import to_float
from spatial_jax.evals.sources import as_list, pictures, read_rows

_ARTICLE = re.compile(r"\b(a|an|the)\b")


def load(root: Path) -> list[dict[str, Any]]:
    return [
        {
            **row,
            "id": str(row.get("id", number)),
            "choices": as_list(row.get("choices")),
            "images": pictures(row.get("images", row.get("image")), row["_root"], "images"),
        }
        for number, row in enumerate(read_rows(root))
    ]


def prompt(item: Item, scoring: str) -> str:
    if item.get("choices"):
        return (
            f"{item['question']}\n{letter_options(item['choices'])}\nAnswer with the option's letter from the given"
            " choices directly."
        )
    return f"{item['question']}\nAnswer the question using a single word or phrase."


def _plain(text: str) -> str:
    return " ".join(_ARTICLE.sub(" ", text.lower().strip().rstrip(".")).split())


def gold_letter(item: Item) -> str:
    """The gold as a letter, also where it is given as the option's text."""
    answer, choices = item["answer"], [str(c) for c in item["choices"]]
    return chr(65 + choices.index(answer)) if isinstance(answer, str) and answer in choices else letter_of(answer)


def score(response: str, item: Item, scoring: str) -> Scored:
    choices = [str(c) for c in item.get("choices") or []]
    if choices:
        letter = ranked_letter(response, letters(len(choices))) or can_infer_text(
            response, dict(zip(letters(len(choices)), choices))
        )
        return correct(letter == gold_letter(item), letter)
    said = _plain(response)
    for gold in as_list(item["answer"]):
        number, truth = to_float(said), to_float(gold)
        if said == _plain(str(gold)) or (number is not None and number == truth):
            return 1.0, said[:80]
    return 0.0, said[:80] or None


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    means = {name: cell.mean for name, cell in cells.items()}
    return {"overall": pool(list(cells.values())).mean, "macro": macro(list(means.values())), **means}


def rotate(item: Item, n: int) -> dict[str, Any]:
    choices = list(item.get("choices") or [])
    if not choices:
        return dict(item)
    return {
        **item,
        "choices": rotated_list(choices, n),
        "answer": chr(65 + rotated_index(ord(gold_letter(item)) - 65, len(choices), n)),
    }


BENCHMARK = Benchmark(
    name="general_qa",
    title="General ability",
    hub="",
    required=("question", "answer"),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("category", "all")),
    aggregate=aggregate,
    rotate=rotate,
    scorings=("official",),
    max_new_tokens=32,
    oracle=lambda item, scoring: gold_letter(item) if item.get("choices") else str(as_list(item["answer"])[0]),
    guesses=lambda item: letters(len(item["choices"])) if item.get("choices") else ["yes", "no", "2", "1"],
)

"""SEED-Bench (Li et al., arXiv 2307.16125) and SEED-Bench-2-Plus: four choices on pictures and clips, or on charts,
maps and web pages.

The authors rank the options by likelihood; `official` here is lmms-eval's rule for free text, the first character.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals import matching
from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Item,
    Metrics,
    Scored,
    correct,
    letter_of,
    letter_options,
    missing,
    option_texts,
    rotated_index,
    rotated_list,
)
from spatial_jax.evals.general_files import general_rows
from spatial_jax.evals.intervals import Cell, pool

_KEYS = ("choice_a", "choice_b", "choice_c", "choice_d")


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the test parquet (choice_a to choice_d) or of VLMEvalKit's TSV (A to D)."""
    rows = general_rows(root, ("*test*", "*SEED*", "*"))
    for row in rows:
        row["options"] = [row[k] for k in _KEYS if not missing(row.get(k))] or list(option_texts(row).values())
    return rows


def options_by_letter(item: Item) -> dict[str, Any]:
    """letter -> option."""
    columns = [item[key] for key in _KEYS if not missing(item.get(key))]
    return option_texts({"options": item.get("options") or columns}) or option_texts(item)


def prompt(item: Item, scoring: str) -> str:
    options = letter_options(options_by_letter(item))
    if scoring == "vlmevalkit":
        return (
            f"Question: {item['question']}\nOptions:\n{options}\n"
            "Please select the correct answer from the options above. \n"
        )
    return f"{item['question']}\n{options}\nAnswer with the option's letter from the given choices directly."


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = letter_of(item["answer"])
    if scoring == "vlmevalkit":
        letter = matching.can_infer(response, options_by_letter(item) or dict.fromkeys("ABCD", "\0"))
        return correct(letter == gold, None if letter == "Z" else letter)
    first = response.strip()[:1].upper()
    return correct(first == gold, first)


def kind(item: Item) -> str:
    """The published question type or picture kind."""
    named = (item.get(k) for k in ("question_type_id", "data_type", "category"))
    return next((str(value) for value in named if not missing(value)), "all")


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    """overall over all items; "image" (types 1 to 9) and "video" (10 to 12) where the types are numbered."""
    out: Metrics = {"overall": pool(list(cells.values())).mean, **{name: cell.mean for name, cell in cells.items()}}
    for name, wanted in (("image", range(1, 10)), ("video", range(10, 13))):
        members = [cell for key, cell in cells.items() if key.isdecimal() and int(key) in wanted]
        if members:
            out[name] = pool(members).mean
    return out


def rotate(item: Item, n: int) -> dict[str, Any]:
    texts = list(options_by_letter(item).values())
    gold = rotated_index(ord(letter_of(item["answer"])) - 65, len(texts), n)
    return {**item, "options": rotated_list(texts, n), "answer": chr(65 + gold)}


BENCHMARK = Benchmark(
    name="seed_bench",
    title="SEED-Bench",
    hub="lmms-lab/SEED-Bench",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=kind,
    oracle=lambda item, scoring: letter_of(item["answer"]),
    aggregate=aggregate,
    rotate=rotate,
    max_new_tokens=16,
    notes="published numbers rank the options by likelihood; free text is read here",
)

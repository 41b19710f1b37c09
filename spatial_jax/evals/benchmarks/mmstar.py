"""MMStar (Chen et al., arXiv 2403.20330): 1,500 choices that need the picture, in 6 categories of 250 and 18 parts.

Official: the answer letter starts the text, or follows "(", "option " or "the answer is "; overall = mean over items.
lmms-eval averages the 18 parts.
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
    by_category,
    correct,
    letter_of,
    option_texts,
    vlmevalkit_prompt,
)
from spatial_jax.evals.benchmarks.mmsi_bench import options
from spatial_jax.evals.general_files import general_rows
from spatial_jax.evals.intervals import Cell, macro, pool


def load(root: Path) -> list[dict[str, Any]]:
    """Items of mmstar.parquet (options inside the question) or of VLMEvalKit's TSV."""
    rows = general_rows(root, ("*mmstar*", "*MMStar*", "*val*", "*"))
    return [{**row, "l2_category": row.get("l2_category") or row.get("l2-category") or "all"} for row in rows]


def prompt(item: Item, scoring: str) -> str:
    if scoring == "vlmevalkit" and option_texts(item):
        return vlmevalkit_prompt(item)
    question = str(item["question"])
    if scoring == "lmms_eval":
        return question.strip() + "\nAnswer with the option's letter from the given choices directly"
    return question


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = letter_of(item["answer"])
    if scoring == "vlmevalkit":
        shown = option_texts(item) or options(str(item.get("question", ""))) or dict.fromkeys("ABCD", "\0")
        letter = matching.can_infer(response, shown)
        return correct(letter == gold, None if letter == "Z" else letter)
    if scoring == "lmms_eval":
        letter = matching.ranked_letter(response, "ABCD")
        return correct(letter == gold, letter)
    said = response.lower().strip().replace("\n", " ")
    starts = tuple(f"{head}{gold.lower()}" for head in ("", "(", "option ", "the answer is "))
    return correct(said.startswith(starts), said[:20])


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    """Cells are "category|part"."""
    if scoring == "lmms_eval":
        parts = {name.split("|")[1]: cell.mean for name, cell in cells.items()}
        groups: dict[str, list[Any]] = {}
        for name, cell in cells.items():
            groups.setdefault(name.split("|")[0], []).append(cell.mean)
        return {"overall": macro(list(parts.values())), **parts, **{name: macro(own) for name, own in groups.items()}}
    names = (by_category(cells, lambda key, part=part: key.split("|")[part]) for part in (1, 0))
    return {"overall": pool(list(cells.values())).mean, **{n: c.mean for group in names for n, c in group.items()}}


BENCHMARK = Benchmark(
    name="mmstar",
    title="MMStar",
    hub="Lin-Chen/MMStar",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("category", "all")),
    cell=lambda item: f"{item.get('category', 'all')}|{item.get('l2_category') or item.get('l2-category') or 'all'}",
    oracle=lambda item, scoring: letter_of(item["answer"]),
    aggregate=aggregate,
    max_new_tokens=64,
)

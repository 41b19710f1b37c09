"""EmbSpatial-Bench (Du et al., arXiv 2406.05756): six relations in embodied scenes, four options.

Its authors publish no scorer; `official` here is lmms-eval's prompt and start-anchored letter, which published numbers
use.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Item,
    Metrics,
    Scored,
    by_category,
    correct,
    letter_of,
    letter_options,
    rotated_index,
    rotated_list,
)
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.matching import leading_letter
from spatial_jax.evals.matching_spatial import option_score
from spatial_jax.evals.sources import as_list, picture, read_rows


def load(root: Path) -> list[dict[str, Any]]:
    return [
        {
            **row,
            "id": str(row.get("question_id", number)),
            "answer_options": as_list(row.get("answer_options")),
            "answer": _index(row.get("answer")),
            "images": [picture(row.get("image"), row["_root"], "images")],
            "scene": str(row.get("scene_id") or row.get("question_id", number)),
        }
        for number, row in enumerate(read_rows(root, ("*embspatial*", "*test*", "*")))
    ]


def _index(answer: Any) -> Any:
    return int(answer) if isinstance(answer, str) and answer.strip().isdecimal() else answer


def prompt(item: Item, scoring: str) -> str:
    if scoring == "vlmevalkit":
        return (
            f"Question: {item['question']}\nOptions:\n{letter_options(item['answer_options'], '{letter}: {text}')}\n"
            "Give me the answer letter directly. The best answer is:"
        )
    return (
        "Note: You only need to respond with A, B, C, D without providing any additional information.\n"
        f"{item['question']}\n{letter_options(item['answer_options'], '{letter}) {text}')}"
    )


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = letter_of(item["answer"])
    if scoring == "vlmevalkit":
        return option_score(response, gold)
    found = leading_letter(response)
    return correct(found == gold, found)


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    sources = by_category(cells, lambda key: key.split("|")[1])
    relations = by_category(cells, lambda key: key.split("|")[0])
    return {
        "overall": pool(list(cells.values())).mean,
        **{name: cell.mean for name, cell in {**relations, **sources}.items()},
    }


def rotate(item: Item, n: int) -> dict[str, Any]:
    options = list(item["answer_options"])
    return {
        **item,
        "answer_options": rotated_list(options, n),
        "answer": rotated_index(ord(letter_of(item["answer"])) - 65, len(options), n),
    }


BENCHMARK = Benchmark(
    name="embspatial",
    title="EmbSpatial-Bench",
    hub="FlagEval/EmbSpatial-Bench",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("relation", "all")),
    cell=lambda item: f"{item.get('relation', 'all')}|{item.get('data_source', 'all')}",
    oracle=lambda item, scoring: letter_of(item["answer"]),
    aggregate=aggregate,
    rotate=rotate,
    max_new_tokens=16,
)

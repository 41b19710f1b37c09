"""SPBench-SI and SPBench-MV (SpatialLadder, arXiv 2510.08531): choice and numeric questions on one or several views.

`official` is SpatialLadder's default prompt mode, `thinking` the one that asks for <think> and <answer>; both are read
as evals/spatialladder.py says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals import spatialladder
from spatial_jax.evals.benchmarks import vsi_bench
from spatial_jax.evals.benchmarks.base import Benchmark, Item, ItemError, Metrics, Scored
from spatial_jax.evals.intervals import Cell
from spatial_jax.evals.matching_spatial import match_number, option_score
from spatial_jax.evals.mra import finite, mra, to_float
from spatial_jax.evals.sources import as_list, pictures, read_rows

CHOICE = (
    "object_rel_direction",
    "object_rel_distance",
    "object_rel_direction_easy",
    "object_rel_direction_medium",
    "object_rel_direction_hard",
)
NUMERIC = ("object_counting", "object_abs_distance", "object_size_estimation")


def load(root: Path) -> list[dict[str, Any]]:
    return [
        {
            **row,
            "id": f"{row['_file']}_{row.get('id', number)}",
            "options": as_list(row.get("options")) or None,
            "ground_truth": str(row.get("ground_truth")),
            "images": pictures(row.get("images", row.get("image")), row["_root"], "images"),
            "scene": str(row.get("scene_name", row.get("id", number))),
        }
        for number, row in enumerate(read_rows(root, ("SPBench*", "*")))
    ]


def _is_choice(item: Item) -> bool:
    kind = str(item["question_type"])
    if kind not in CHOICE and kind not in NUMERIC:
        raise ItemError(f"spbench: question_type {kind!r} is not one of its types")
    return kind in CHOICE


def prompt(item: Item, scoring: str) -> str:
    return spatialladder.prompt(
        str(item["question"]),
        "choice" if _is_choice(item) else "number",
        scoring,
        options="\n".join(item.get("options") or ()),
    )


def score(response: str, item: Item, scoring: str) -> Scored:
    choice = _is_choice(item)
    if scoring != "vlmevalkit":
        return spatialladder.score_item(response, item, scoring, choice=choice)
    gold = str(item["ground_truth"])
    if choice:
        return option_score(response, gold)
    number, truth = match_number(response), to_float(gold)
    if truth is None:
        raise ItemError(f"spbench: ground_truth {gold!r} is not a number")
    return (mra(number, truth) if number is not None and finite(number) else 0.0), number


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    if scoring == "vlmevalkit":
        return vsi_bench.aggregate(cells, scoring)
    return spatialladder.aggregate({name: cell.mean for name, cell in cells.items()}, NUMERIC)


BENCHMARK = Benchmark(
    name="spbench",
    title="SPBench",
    hub="hongxingli/SPBench",
    required=("question_type", "ground_truth"),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item["question_type"]),
    aggregate=aggregate,
    scorings=("official", "thinking", "vlmevalkit"),
    max_new_tokens=128,
    oracle=lambda item, scoring: (
        f"<answer>{item['ground_truth']}</answer>" if scoring == "thinking" else str(item["ground_truth"])
    ),
    guesses=lambda item: ["A", "B", "C", "D"] if item["question_type"] in CHOICE else [],
)

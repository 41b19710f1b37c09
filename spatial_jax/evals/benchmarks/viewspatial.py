"""ViewSpatial-Bench (Li et al., arXiv 2505.21500): directions from the camera's and from a person's view; four options.

Official: the last line, its first standalone A-D in any case (so the article "a" counts). Question and choices are
joined without a separator and Qwen's pictures are brought to 420x280.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import Benchmark, Item, ItemError, Metrics, Scored, correct, rotated_list
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.matching import last_line_letter
from spatial_jax.evals.matching_spatial import option_score
from spatial_jax.evals.sources import pictures, read_rows

POST = "\nReply only to the corresponding option.\nAnswer:"


def load(root: Path) -> list[dict[str, Any]]:
    items = []
    for number, row in enumerate(read_rows(root, ("ViewSpatial-Bench*", "*"))):
        # published paths start with the folder that the pictures' archive unpacks to
        paths = [p.removeprefix("ViewSpatial-Bench/") for p in row.get("image_path", [])]
        items.append(
            {
                **row,
                "id": str(row.get("index", number)),
                "images": pictures(paths, row["_root"], "ViewSpatial-Bench"),
                "scene": "+".join(paths) or str(number),
            }
        )
    return items


def prompt(item: Item, scoring: str) -> str:
    if scoring == "official":
        return f"{item['question']}{item['choices']}{POST}"
    return f"Question: {item['question']}\nChoices: {item['choices']}{POST}"


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = str(item["answer"])
    if scoring == "vlmevalkit":
        return option_score(response, gold)
    truth = last_line_letter(gold)
    if truth is None:
        raise ItemError(f"viewspatial: answer {gold!r} names no option")
    letter = last_line_letter(response)
    return correct(letter == truth, letter)


def rotate(item: Item, n: int) -> dict[str, Any]:
    texts = [line.split(". ", 1)[-1] for line in str(item["choices"]).split("\n")]
    moved = rotated_list(texts, n)
    text = str(item["answer"]).split(". ", 1)[-1]
    return {
        **item,
        "choices": "\n".join(f"{chr(65 + i)}. {t}" for i, t in enumerate(moved)),
        "answer": f"{chr(65 + moved.index(text))}. {text}",
    }


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    return {"overall": pool(list(cells.values())).mean, **{name: cell.mean for name, cell in cells.items()}}


BENCHMARK = Benchmark(
    name="viewspatial",
    title="ViewSpatial-Bench",
    hub="lidingm/ViewSpatial-Bench",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("question_type", "all")),
    oracle=lambda item, scoring: str(item["answer"]),
    aggregate=aggregate,
    rotate=rotate,
    image_size=(420, 280),
    max_new_tokens=64,
)

"""3DSRBench (Ma et al., arXiv 2412.07825): 3D relations on natural pictures, with flipped and circular variants of
every question.

Numbers: vanilla (items), flip (question and its flip both right), circular (all option orders right), flip_circular
(all variants). Published results use the circular TSV and a group counts only when all its members are right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spatial_jax.evals import matching
from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Derived,
    Item,
    Metrics,
    Outcome,
    Scored,
    correct,
    is_whole,
    letter_options,
    option_texts,
    vlmevalkit_prompt,
)
from spatial_jax.evals.intervals import Cell, by_prefix, pool
from spatial_jax.evals.sources import picture, read_rows

GROUPS = ("height", "location", "orientation", "multi_object")


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the TSV (circular before flips before raw when several are there), csv or parquet."""
    items = []
    for row in read_rows(root, ("*circular*", "*vlmevalkit*", "*")):
        qid = str(row.get("qid") or row["index"])
        items.append(
            {
                **row,
                "qid": qid,
                "id": qid,
                "images": [picture(row.get("image") or row.get("image_path"), row["_root"], "images")],
                "scene": qid[:8],
            }
        )
    return items


def prompt(item: Item, scoring: str) -> str:
    if scoring == "lmms_eval":
        return (
            f"Question: {item['question']}\nOptions:\n{letter_options(option_texts(item))}\nPlease select the correct"
            " answer from the options above. \n"
        )
    return vlmevalkit_prompt(item)


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = str(item["answer"]).strip()
    if scoring == "lmms_eval":
        letter = matching.pattern_letter(response)
    else:
        letter = matching.can_infer(response, option_texts(item))
    return correct(letter == gold, None if letter == "Z" else letter)


_KEYS: dict[str, Callable[[str], str]] = {
    "flip": lambda qid: qid.replace("-flip", ""),
    "circular": lambda qid: qid[:13] if "-flip" in qid else qid[:8],
    "flip_circular": lambda qid: qid[:8],
}


def derive(items: Sequence[Item], outcomes: Sequence[Outcome], scoring: str) -> dict[str, Derived]:
    """Group metrics: 1 when every member of a group is right. A nan member leaves its group out."""
    out: dict[str, Derived] = {}
    for name, key in _KEYS.items():
        groups: dict[str, list[float]] = {}
        for item, (value, _) in zip(items, outcomes):
            groups.setdefault(key(str(item.get("qid", item.get("id")))), []).append(value)
        if len(groups) < len(items):
            out[name] = [
                (float(all(v == 1.0 for v in values)), group[:8])
                for group, values in groups.items()
                if is_whole(values)
            ]
    return out


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    return {
        "overall": pool(list(cells.values())).mean,
        **{name: cell.mean for name, cell in by_prefix(cells, GROUPS).items()},
        **{name: cell.mean for name, cell in cells.items()},
    }


BENCHMARK = Benchmark(
    name="srbench_3d",
    title="3DSRBench",
    hub="ccvl/3DSRBench",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("category", "all")),
    oracle=lambda item, scoring: str(item["answer"]),
    aggregate=aggregate,
    derived=derive,
    grouped=True,
    guesses=lambda item: list(option_texts(item)) or ["A", "B"],
    max_new_tokens=128,
)

"""MMSI-Bench (Yang et al., arXiv 2505.23764): 1000 four-option questions on several pictures, eleven categories.

Official: unwrap ``..`` then `..`, then the first capital A-D that no " letter" follows; none is wrong. The circular
variant asks every item with its options rotated (ABCD, BCDA, CDAB, DABC) and counts it only when all four are right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import Benchmark, Item, Metrics, Scored, correct, missing
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.matching import closed_braces
from spatial_jax.evals.matching_spatial import option_score
from spatial_jax.evals.sources import pictures, read_rows

_DOUBLE, _SINGLE, _BRACES = re.compile(r"``([^`]*)``"), re.compile(r"`([^`]*)`"), re.compile(r"\{([^}]*)\}")
_LETTER = re.compile(r"\b[A-D]\b(?!\s[a-zA-Z])")
_LETTER_LMMS = re.compile(r"\b[A-F]\b(?!\s[a-zA-Z])", re.IGNORECASE)
_OPTION = re.compile(r"(?:^|[\s,])([A-D]):\s*(.*?)(?=,?\s+[A-D]:\s|,?\s*$)", re.DOTALL)
POST = "\nAnswer with the option's letter from the given choices directly. Enclose the option's letter within ``."


def load(root: Path) -> list[dict[str, Any]]:
    return [
        {
            **row,
            "id": str(row.get("id", number)),
            "images": pictures(row.get("images", row.get("image")), row["_root"], "images"),
        }
        for number, row in enumerate(read_rows(root, ("MMSI*", "*test*", "*")))
    ]


def prompt(item: Item, scoring: str) -> str:
    question = str(item["question"])
    if scoring == "vlmevalkit" and not missing(item.get("A")):
        question += "\nOptions: " + "".join(f"{c}: {item[c]}, " for c in "ABCD" if not missing(item.get(c)))
    return question + POST


def parse(response: str, *, braces: bool = False, pattern: re.Pattern[str] = _LETTER) -> str | None:
    """The letter after unwrapping, None without one."""
    for wrap in (_DOUBLE, _SINGLE, *((_BRACES,) if braces else ())):
        match = wrap.search(closed_braces(response) if wrap is _BRACES else response)
        if match:
            response = match.group(1)
    match = pattern.search(response)
    return match.group() if match else None


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = str(item["answer"]).strip()
    if scoring == "vlmevalkit":
        return option_score(response, gold)
    if scoring == "lmms_eval":
        letter = parse(response, braces=True, pattern=_LETTER_LMMS)
        return correct(letter is not None and letter.lower() == gold.lower(), letter)
    letter = parse(response)
    return correct(letter == gold, letter)


def options(question: str) -> dict[str, str]:
    """{"A": text, ...} out of "... Options: A: x, B: y, C: z, D: w"; empty when they cannot be told apart."""
    _, found, tail = question.rpartition("Options:")
    pairs = dict(_OPTION.findall(tail)) if found else {}
    return pairs if set(pairs) == set("ABCD") else {}


def rotate(item: Item, n: int) -> dict[str, Any]:
    texts = options(str(item["question"]))
    if not texts:
        return dict(item)
    head = str(item["question"]).rpartition("Options:")[0]
    moved = {letter: texts["ABCD"[(i + n) % 4]] for i, letter in enumerate("ABCD")}
    gold = "ABCD"[("ABCD".index(str(item["answer"]).strip()) - n) % 4]
    return {**item, "question": head + "Options: " + ", ".join(f"{k}: {v}" for k, v in moved.items()), "answer": gold}


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    return {"overall": pool(list(cells.values())).mean, **{name: cell.mean for name, cell in cells.items()}}


BENCHMARK = Benchmark(
    name="mmsi_bench",
    title="MMSI-Bench",
    hub="RunsenXu/MMSI-Bench",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("question_type", item.get("category", "all"))),
    aggregate=aggregate,
    rotate=rotate,
    oracle=lambda item, scoring: f"``{item['answer']}``",
    max_new_tokens=64,
)

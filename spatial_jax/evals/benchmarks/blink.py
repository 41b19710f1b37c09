"""BLINK (Fu et al., arXiv 2404.12390), its spatial subtasks Relative_Depth and Spatial_Relation (validation split).

Official: a GPT-3.5 judge maps the text to (A)..(E) or (Z); equality with the gold; total = unweighted mean over
subtasks. A judge's reading is used when the item (or the responses line) carries one under "judge"; without it the rule
that agrees best with that judge on 5,073 outputs of 19 models (.91) reads the text, and the result says so.
"""

from __future__ import annotations

import re
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
    lettered,
    rotated_index,
    rotated_list,
    vlmevalkit_prompt,
)
from spatial_jax.evals.intervals import Cell, macro, pool
from spatial_jax.evals.sources import as_list, picture, read_rows

SUBTASKS = ("Relative_Depth", "Spatial_Relation")
_EXACT = re.compile(r"\(?([A-EZ])\)?")


def load(root: Path) -> list[dict[str, Any]]:
    items = []
    for row in read_rows(root, ("val*", "*val*", "*")):
        if row.get("sub_task") and row["sub_task"] not in SUBTASKS:
            continue
        images = [picture(row.get(f"image_{i}"), row["_root"]) for i in range(1, 5)]
        items.append(
            {
                **row,
                "id": str(row.get("idx", row.get("index"))),
                "choices": as_list(row.get("choices")),
                "images": [i for i in images if i],
            }
        )
    return items


def subtask(item: Item) -> str:
    """The subtask, out of its field or an id like val_Relative_Depth_7."""
    named = (
        item.get("sub_task")
        or item.get("category")
        or re.sub(r"^(val|test)_|_\d+$", "", str(item.get("idx", item.get("id", ""))))
    )
    return str(named).replace(" ", "_")


def prompt(item: Item, scoring: str) -> str:
    if scoring == "lmms_eval":
        names = ", ".join(matching.letters(len(item["choices"])))
        return (
            f"Note: You only need to respond with {names} without providing any additional"
            f" information.\n{item['prompt']}"
        )
    return vlmevalkit_prompt(item) if scoring == "vlmevalkit" else str(item["prompt"])


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = letter_of(item["answer"])
    if scoring == "lmms_eval":
        letter: str | None = matching.leading_letter(response)
    elif scoring == "vlmevalkit":
        options = {chr(65 + i): c for i, c in enumerate(item.get("choices") or [])}
        letter = matching.can_infer(response, options or dict.fromkeys("ABCD", "\0"))
    else:
        read = _EXACT.fullmatch(str(item.get("judge", response)).strip())
        letter = read.group(1) if read else matching.pattern_letter(response)
    return correct(letter == gold, None if letter == "Z" else letter)


def rotate(item: Item, n: int) -> dict[str, Any]:
    choices = rotated_list(item["choices"], n)
    gold = rotated_index(ord(letter_of(item["answer"])) - 65, len(choices), n)
    head = str(item["prompt"]).split("\n(A)")[0]
    return {
        **item,
        "choices": choices,
        "answer": f"({chr(65 + gold)})",
        "prompt": f"{head}\n{lettered(choices, '({letter}) {text}')}",
    }


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    means = {name: cell.mean for name, cell in cells.items()}
    overall = macro(list(means.values())) if scoring == "official" else pool(list(cells.values())).mean
    return {"overall": overall, **means}


BENCHMARK = Benchmark(
    name="blink",
    title="BLINK (relative depth, spatial relation)",
    hub="BLINK-Benchmark/BLINK",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=subtask,
    oracle=lambda item, scoring: f"({letter_of(item['answer'])})",
    aggregate=aggregate,
    rotate=rotate,
    guesses=lambda item: ["A", "B"],
    max_new_tokens=128,
    notes="official scoring reads by a judge's letter where one is given, else by rules",
)

"""SpatialViz-Bench (Wang et al., arXiv 2507.07610): mental rotation, folding, penetration and animation; 1,180 choices.

Official: of a reply with both tags the capitals A to D of the answer up to its first dot, else those after the first
phrase that occurs; exactly one letter must be there, so "CUBE B" names two.
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
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.matching_spatial import option_score
from spatial_jax.evals.sources import as_list, below, picture, read_rows

_HEAD = (
    "You should first provide a reasoning process, then provide a single option(A, B, C or D) as the final answer. The"
    " reasoning process and the answer are enclosed within <think></think> and <answer></answer> tags, respectively,"
    " i.e., <think>reasoning process</think>, <answer>answer</answer>.\n"
)
_PHRASES = (
    "<answer>",
    "Answer:",
    "Final answer",
    "final answer",
    "Final Answer",
    "the answer is",
    "The answer is",
    "correct answer",
    "Correct answer",
    "Correct Answer",
)
# A comma is missing between the last two phrases of the official list.
_LAST = {"official": ("\u7b54\u6848correct path",), "lmms_eval": ("\u7b54\u6848", "correct path")}


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the parquet; the picture is ROOT/{Category}/{Task}/{Level}/{Image_id}.png, or the row's own."""
    items = []
    for number, row in enumerate(read_rows(root, ("*test*", "*[Ss]patial*", "*"))):
        named = [str(row.get(part)) for part in ("Category", "Task", "Level")]
        own = row.get("image")
        shown = (
            picture(own, row["_root"])
            if own
            else below(row["_root"], "/".join([*named, f"{row['Image_id']}.png"]), "images")
        )
        items.append(
            {
                **row,
                "id": f"{'_'.join(named)}_{row.get('Image_id', number)}_{number}",
                "Choices": as_list(row.get("Choices")),
                "images": [shown],
            }
        )
    return items


def prompt(item: Item, scoring: str) -> str:
    word = {"official": "Qustion: ", "lmms_eval": "Question: "}.get(scoring, "Question:")
    return f"{_HEAD}{word}{item['Question']}\n{letter_options(item['Choices'])}\n"


def letters_of(response: str, scoring: str) -> set[str]:
    """The letters that the rule finds."""
    closed = "<think>" in response and "</think>" in response[response.find("<think>") :]
    answer = re.search(r"<answer>(.*?)</answer>", response[: response.rfind("</answer>") + 9], re.DOTALL)
    if closed and answer and "</answer>" in response:
        return set(re.findall("[A-D]", answer.group(1).strip().split(".")[0]))
    if len(response) == 1:
        return set(re.findall("[A-D]", response))
    for phrase in (*_PHRASES, *_LAST[scoring]):
        if phrase in response:
            return set(re.findall("[A-D]", response.split(phrase)[-1].strip().split(".")[0]))
    return set()


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = letter_of(item["Answer"])
    if scoring == "vlmevalkit":
        return option_score(response, gold)
    found = letters_of(response, scoring)
    letter = next(iter(found)) if len(found) == 1 else None
    return correct(letter == gold, letter)


def dress(text: str, item: Item, scoring: str) -> str:
    """What a response form extracts, behind a phrase that the rule reads."""
    return text if scoring == "vlmevalkit" else f"Answer: {text}"


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    """Cells are "category|task|level": overall = mean over items; categories, tasks and levels of tasks beside it."""
    out: dict[str, list[Cell]] = {}
    for name, cell in cells.items():
        category, task, level = name.split("|")
        for key in (category, task, f"{task} {level}"):
            out.setdefault(key, []).append(cell)
    return {"overall": pool(list(cells.values())).mean, **{name: pool(group).mean for name, group in out.items()}}


def rotate(item: Item, n: int) -> dict[str, Any]:
    texts = list(item["Choices"])
    gold = rotated_index(ord(letter_of(item["Answer"])) - 65, len(texts), n)
    return {**item, "Choices": rotated_list(texts, n), "Answer": chr(65 + gold)}


BENCHMARK = Benchmark(
    name="spatialviz",
    title="SpatialViz-Bench",
    hub="PLM-Team/Spatial-Visualization-Benchmark",
    required=("Answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("Task", "all")),
    cell=lambda item: "|".join(str(item.get(part, "all")) for part in ("Category", "Task", "Level")),
    oracle=lambda item, scoring: letter_of(item["Answer"]),
    aggregate=aggregate,
    rotate=rotate,
    dress=dress,
    max_new_tokens=1024,
)

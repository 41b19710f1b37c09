"""ViewSpatial-Bench (Li et al., arXiv 2505.21500): directions from the camera's and from a person's view; four options.

Official: the last line, its first standalone A-D in any case (so the article "a" counts). Question and choices are
joined without a separator and Qwen's pictures are brought to 420x280.

`spatial_ssrl` is Spatial-SSRL's script: the first standalone A-D of the whole reply (`spatial_ssrl_cot`: of its last
box, so no box is no answer). `spatialladder` and `spatialladder_thinking`: evals/spatialladder.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals import spatialladder
from spatial_jax.evals.benchmarks.base import (
    SCORINGS,
    Benchmark,
    Item,
    ItemError,
    Metrics,
    Scored,
    boxed_for,
    correct,
    rotated_list,
)
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.matching import closed_braces, last_line_letter, standalone_letter
from spatial_jax.evals.matching_spatial import option_score
from spatial_jax.evals.sources import pictures, read_rows

CAMERA, PERSON = "Camera perspective", "Person perspective"
SCANNET = (f"{CAMERA} - Relative Direction", f"{PERSON} - Scene Simulation Relative Direction")
_BOXED = re.compile(r"\\boxed\{([^}]*)\}")
_COT = (
    "\nThe final answer should be the option letter from the given choices.\nYou FIRST think about the reasoning"
    " process as an internal monologue and then provide the final answer. The reasoning process MUST BE enclosed within"
    " <think> </think> tags. The final answer MUST BE put in \\boxed{}."
)
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
    if scoring.startswith("spatial_ssrl"):
        return f"{item['question']}\n{item['choices']}{_COT if scoring.endswith('_cot') else POST}"
    if scoring in spatialladder.SCORINGS:
        return spatialladder.prompt(str(item["question"]), "letter", scoring, options=str(item["choices"]))
    return f"Question: {item['question']}\nChoices: {item['choices']}{POST}"


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = str(item["answer"])
    if scoring == "vlmevalkit":
        return option_score(response, gold)
    truth = last_line_letter(gold)
    if truth is None:
        raise ItemError(f"viewspatial: answer {gold!r} names no option")
    if scoring in spatialladder.SCORINGS:
        said = spatialladder.letter(spatialladder.answer_text(response, scoring))
        return correct(said == spatialladder.letter(gold[:1]), said)
    if scoring.endswith("_cot"):
        boxes = _BOXED.findall(closed_braces(response))
        letter = standalone_letter(boxes[-1]) if boxes else None
    else:
        letter = standalone_letter(response) if scoring == "spatial_ssrl" else last_line_letter(response)
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
    out: Metrics = {"overall": pool(list(cells.values())).mean, **{name: cell.mean for name, cell in cells.items()}}
    if scoring in spatialladder.SCORINGS:
        sides = {
            "scannet": lambda name: name in SCANNET,
            "coco": lambda name: name.startswith((CAMERA, PERSON)) and name not in SCANNET,
            "person": lambda name: name.startswith(PERSON),
            "camera": lambda name: name.startswith(CAMERA),
        }
        for side, belongs in sides.items():
            members = [cell for name, cell in cells.items() if belongs(name)]
            if members:
                out[side] = pool(members).mean
    return out


BENCHMARK = Benchmark(
    name="viewspatial",
    title="ViewSpatial-Bench",
    hub="lidingm/ViewSpatial-Bench",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("question_type", "all")),
    scorings=(*SCORINGS, "spatial_ssrl", "spatial_ssrl_cot", *spatialladder.SCORINGS),
    oracle=lambda item, scoring: (
        f"\\boxed{{{item['answer']}}}" if scoring == "spatial_ssrl_cot" else str(item["answer"])
    ),
    aggregate=aggregate,
    dress=boxed_for("_cot"),
    rotate=rotate,
    image_size=(420, 280),
    max_new_tokens=64,
)

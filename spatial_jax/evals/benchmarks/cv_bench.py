"""CV-Bench (Tong et al., Cambrian-1, arXiv 2406.16860): 2D relation and count, 3D depth and distance; 2-6 options.

Official: three scripts (ADE20K, COCO, Omni3D) whose shared parser keeps the first character after the last "answer is";
published number = mean of (mean of the two 2D sources) and the 3D source. lmms-eval reports the plain mean over items,
VLMEvalKit 2D and 3D, SpatialLadder (`spatialladder`, `spatialladder_thinking`) the mean of those two.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.evals import matching, spatialladder
from spatial_jax.evals.benchmarks.base import (
    SCORINGS,
    Benchmark,
    Item,
    Metrics,
    Scored,
    by_category,
    correct,
    letter_options,
    rotated_index,
    rotated_list,
)
from spatial_jax.evals.intervals import Cell, macro, pool
from spatial_jax.evals.sources import as_list, picture, read_rows


def load(root: Path) -> list[dict[str, Any]]:
    """Items of test_2d / test_3d (or one test) parquet, tsv or json."""
    items = []
    for row in read_rows(root, ("test*", "*")):
        row = dict(row, choices=as_list(row.get("choices")), images=[picture(row.get("image"), row["_root"], "img")])
        row["id"] = f"{row.get('source', '')}_{row['idx']}" if "idx" in row else str(row.get("index"))
        row["scene"] = str(row.get("source_filename") or row.get("filename") or row["id"])
        items.append(row)
    return items


def prompt(item: Item, scoring: str) -> str:
    if scoring in spatialladder.SCORINGS:
        return spatialladder.prompt(str(item["prompt"]), "letter", scoring)
    if scoring == "lmms_eval":
        names = ", ".join("ABCDE"[: len(item["choices"])])
        return (
            f"Note: You only need to respond with {names} without providing any additional"
            f" information.\n\n{item['prompt']}"
        )
    if scoring == "vlmevalkit":
        return str(item["prompt"])
    return f"{item['prompt']}\nAnswer with the option's letter from the given choices directly."


def parse_official(response: str, source: str) -> str:
    """One lower-case character (or what is left): "A closer look.." is "a", "The answer is: B" is ":"."""
    text = matching.after_answer_marks(response)
    text = text.rstrip(".:," if source == "Omni3D" else ".").lstrip("(").rstrip(")")
    return text[:1]


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = str(item["answer"]).strip("() ").upper()[:1]
    if scoring == "lmms_eval":
        letter = matching.leading_letter(response)
        return correct(letter == gold, letter)
    if scoring == "vlmevalkit":
        letter = matching.can_infer(response, {chr(65 + i): c for i, c in enumerate(item["choices"])})
        return correct(letter == gold, None if letter == "Z" else letter)
    if scoring in spatialladder.SCORINGS:
        said = spatialladder.bracketed_letter(spatialladder.answer_text(response, scoring))
        return correct(said == spatialladder.bracketed_letter(str(item["answer"])), said)
    parsed = parse_official(response, str(item.get("source", "")))
    right = parsed == gold.lower()
    if item.get("source") == "Omni3D" and not right:
        index = ord(gold) - 65
        right = 0 <= index < len(item["choices"]) and parsed == str(item["choices"][index])
    return correct(right, parsed.upper())


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    """overall by the harness's rule; by source and by 2D / 3D beside it."""
    sources = by_category(cells, lambda key: key.split("|")[1])
    means = {name: cell.mean for name, cell in sources.items()}
    flat = [means[name] for name in ("ADE20K", "COCO") if name in means]
    solid = means.get("Omni3D")
    out: Metrics = {}
    if flat:
        out["2D"] = macro(flat)
    if solid is not None:
        out["3D"] = solid
    if scoring in spatialladder.SCORINGS:
        out["overall"] = macro(list(out.values()))  # of 2D and 3D, whichever are there
    elif scoring == "official" and flat and solid is not None:
        out["overall"] = 0.5 * (np.asarray(out["2D"]) + np.asarray(solid))
    elif scoring != "vlmevalkit":
        out["overall"] = pool(list(cells.values())).mean
    return {**out, **means}


def rotate(item: Item, n: int) -> dict[str, Any]:
    choices = rotated_list(item["choices"], n)
    gold = rotated_index(ord(str(item["answer"]).strip("() ").upper()[:1]) - 65, len(choices), n)
    question = item.get("question", "")
    text = f"{question} Select from the following choices.\n{letter_options(choices, '({letter}) {text}')}"
    return {**item, "choices": choices, "answer": f"({chr(65 + gold)})", "prompt": text}


BENCHMARK = Benchmark(
    name="cv_bench",
    title="CV-Bench",
    hub="nyu-visionx/CV-Bench",
    required=("answer", "choices"),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("task", "all")),
    cell=lambda item: f"{item.get('task', 'all')}|{item.get('source', '')}",
    oracle=lambda item, scoring: str(item["answer"]).strip("()"),
    aggregate=aggregate,
    rotate=rotate,
    scorings=(*SCORINGS, *spatialladder.SCORINGS),
    guesses=lambda item: matching.letters(len(item["choices"])),
    max_new_tokens=16,
)

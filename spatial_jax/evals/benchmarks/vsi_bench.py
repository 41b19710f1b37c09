"""VSI-Bench (Yang et al., Thinking in Space, arXiv 2412.14171): eight tasks on indoor videos.

Official parser: the text up to the first blank, without trailing dots; letters compared in lower case, numbers by
Python's float and MRA divided by the signed truth. Overall = unweighted mean of the eight types, directions being one.
`vilasr` and `spatial_ssrl` are the variants with which those two papers report.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Item,
    ItemError,
    Metrics,
    Scored,
    correct,
    missing,
    rotated_index,
    rotated_list,
)
from spatial_jax.evals.intervals import Cell, macro, pool
from spatial_jax.evals.matching import closed_braces
from spatial_jax.evals.matching_spatial import match_number, option_score
from spatial_jax.evals.mra import finite, mra, mra_signed, mra_spatial_ssrl, mra_vilasr, to_float
from spatial_jax.evals.numbers import first_number
from spatial_jax.evals.sources import as_list, read_rows

DIRECTIONS = ("object_rel_direction_easy", "object_rel_direction_medium", "object_rel_direction_hard")
CHOICE = (*DIRECTIONS, "object_rel_distance", "route_planning", "obj_appearance_order")
NUMERIC = ("object_abs_distance", "object_counting", "object_size_estimation", "room_size_estimation")


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the parquet (test), jsonl or json; the video is ROOT/dataset/scene_name.mp4 (or mp4_path, video)."""
    items = []
    for number, row in enumerate(read_rows(root, ("test-0*", "test.*", "test*", "*"))):
        options = as_list(row.get("options")) or [row[c] for c in "ABCD" if not missing(row.get(c))]
        video = (
            row.get("video")
            or row.get("mp4_path")
            or (f"{row['dataset']}/{row['scene_name']}.mp4" if "scene_name" in row else "")
        )
        items.append(
            {
                **row,
                "id": str(row.get("id", number)),
                "options": options or None,
                "images": [],
                "ground_truth": str(row.get("ground_truth", row.get("answer"))),
                "video": str(Path(row["_root"]) / video) if video else None,
                "scene": str(row.get("scene_name") or video),
            }
        )
    return items


def prompt(item: Item, scoring: str) -> str:
    kind = _kind(item)
    head = f"These are frames of a video.\n{item['question']}\n"
    if kind in NUMERIC:
        return head + (
            "Answer briefly and directly in one float number."
            if scoring == "vlmevalkit"
            else "Please answer the question using a single word or phrase."
        )
    options = "\n".join(item["options"])
    return (
        head
        + ("" if scoring == "vlmevalkit" else "Options:\n")
        + options
        + "\nAnswer with the option's letter from the given choices directly."
    )


def _kind(item: Item) -> str:
    kind = str(item["question_type"])
    if kind not in CHOICE and kind not in NUMERIC:
        raise ItemError(f"vsi_bench: question_type {kind!r} is not one of its types")
    return kind


def first_word(response: str) -> str:
    """The official parser: only a blank splits, so "3.5 meters" works and "about 3.5", " 3.5" and "3.5m" do not."""
    return response.split(" ", 1)[0].rstrip(".").strip()


_BOXED = re.compile(r"\\boxed\{([^}]*)\}")


def _boxed_or_all(response: str) -> str:
    found = _BOXED.findall(closed_braces(response))
    return found[-1] if found else response.strip()


def score(response: str, item: Item, scoring: str) -> Scored:
    kind, gold = _kind(item), str(item["ground_truth"]).strip()
    if kind in CHOICE:
        if scoring == "vlmevalkit":
            return option_score(response, gold)
        if scoring == "vilasr":
            letter = response.strip()[:1]
            return correct(letter.lower() == gold.lower() and letter != "", letter)
        word = _boxed_or_all(response) if scoring == "spatial_ssrl" else first_word(response)
        return correct(word.lower() == gold.lower(), word)
    truth = to_float(gold)
    if truth is None:
        raise ItemError(f"vsi_bench: ground_truth {gold!r} of a {kind} item is not a number")
    number = {
        "lmms_eval": lambda: first_number(response),
        "vlmevalkit": lambda: match_number(response),
        "vilasr": lambda: first_number(response),
        "spatial_ssrl": lambda: to_float(_boxed_or_all(response)),
    }.get(scoring, lambda: to_float(first_word(response)))()
    if number is None:
        return 0.0, None
    if truth == 0 and scoring in ("official", "lmms_eval"):
        raise ItemError("vsi_bench: ground_truth 0 stops the official script (division by zero)")
    rule = {"vlmevalkit": mra, "vilasr": mra_vilasr, "spatial_ssrl": mra_spatial_ssrl}.get(scoring, mra_signed)
    return (rule(number, truth) if finite(number) else 0.0), number


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    """Mean a type; rel_direction one of eight (its three kinds' plain mean; pooled by item in ViLaSR, apart in
    VLMEvalKit).
    """
    out: Metrics = {name: cell.mean for name, cell in cells.items()}
    present = [name for name in DIRECTIONS if name in cells]
    parts = {name: mean for name, mean in out.items() if name not in DIRECTIONS or scoring == "vlmevalkit"}
    if present:
        pooled = pool([cells[n] for n in present]).mean if scoring == "vilasr" else macro([out[n] for n in present])
        out["object_rel_direction"] = pooled
        if scoring != "vlmevalkit":
            parts["object_rel_direction"] = pooled
    numeric, choice = (
        [np.asarray(v) for k, v in parts.items() if (k in NUMERIC) == wanted] for wanted in (True, False)
    )
    if numeric:
        out["numeric"] = macro(numeric)
    if choice:
        out["choice"] = macro(choice)
    return {"overall": macro(list(parts.values())), **out}


def rotate(item: Item, n: int) -> dict[str, Any]:
    if not item.get("options"):
        return dict(item)
    texts = [re.sub(r"^[A-F]\.\s*", "", o) for o in item["options"]]
    gold = rotated_index(ord(item["ground_truth"]) - 65, len(texts), n)
    return {
        **item,
        "options": [f"{chr(65 + i)}. {t}" for i, t in enumerate(rotated_list(texts, n))],
        "ground_truth": chr(65 + gold),
    }


def guesses(item: Item) -> list[str]:
    return ["A", "B", "C", "D"] if item["question_type"] in CHOICE else []


BENCHMARK = Benchmark(
    name="vsi_bench",
    title="VSI-Bench",
    hub="nyu-visionx/VSI-Bench",
    required=("question_type", "ground_truth"),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item["question_type"]),
    oracle=lambda item, scoring: str(item["ground_truth"]),
    aggregate=aggregate,
    rotate=rotate,
    guesses=guesses,
    scorings=("official", "lmms_eval", "vlmevalkit", "vilasr", "spatial_ssrl"),
    max_new_tokens=16,
    frames=32,
)

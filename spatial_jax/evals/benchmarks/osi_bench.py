"""OSI-Bench: object-centric spatial questions on outdoor videos whose objects carry numeric tags; choices and numbers.

The authors' code is not public; `official` here is lmms-eval's reading of it: the last number by mean relative accuracy
(against a threshold where the truth is 0 and the quantity is a motion), the first bracketed or free-standing capital.
The text comes before the frames in the official order; here, as in lmms-eval's default, the frames come first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Item,
    ItemError,
    Metrics,
    Scored,
    correct,
    letter_of,
    rotated_index,
    rotated_list,
)
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.matching_spatial import match_number, option_score
from spatial_jax.evals.mra import finite, mra, to_float
from spatial_jax.evals.sources import as_list, below, read_rows

FRAMES = 32
CHOICE = (
    "relative_distance",
    "relative_direction_categorical",
    "relative_direction_categorical_cardinal",
    "relative_direction_categorical_ordinal",
    "trajectory_description",
)
NUMERIC = (
    "object_3d_localization",
    "absolute_distance",
    "depth_aware_counting",
    "absolute_displacement",
    "absolute_speed",
    "trajectory_length",
    "relative_direction_angular",
)
# A truth of 0 means standing still: a prediction below the threshold is right.
THRESHOLDS = {"absolute_speed": 0.30, "absolute_displacement": 0.30, "trajectory_length": 2.0}
_ENDS_IN_NEWLINE = ("absolute_distance", "trajectory_length", "relative_direction_angular")
_TAGGED = (
    "These are frames of a video.\nIn the video, objects are identified by numeric tags shown nearby.\nWith that in"
    " mind, please answer the following question based on the video."
)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_STANDING = re.compile(r"[\[(\s,.]([A-Z])[\])\s,.]")
_FIRST = re.compile(r"\s*([A-Z])")
_NAMED = re.compile(r"[(\[A-Z]\s{0,20}\u7b54\u6848\u662f?[:\uff1a]?\s{0,20}'?\"?([A-Z])", re.IGNORECASE)
_LABEL = re.compile(r"^[A-F]\.\s*")


def load(root: Path) -> list[dict[str, Any]]:
    """Items of data.parquet; the video is ROOT/file_name or ROOT/videos/file_name."""
    return [
        {
            **row,
            "id": str(row.get("index", number)),
            "options": as_list(row.get("options")) or None,
            "answer": str(row.get("answer")),
            "images": [],
            "video": below(row["_root"], str(row["file_name"]), "videos", "video"),
            "scene": str(row["file_name"]),
        }
        for number, row in enumerate(read_rows(root, ("data*", "*[Oo][Ss][Ii]*", "*")))
    ]


def _category(item: Item) -> str:
    name = str(item["category"])
    if name not in CHOICE and name not in NUMERIC:
        raise ItemError(f"osi_bench: category {name!r} is not one of its categories")
    return name


def prompt(item: Item, scoring: str) -> str:
    name = _category(item)
    length = to_float(item.get("video_length"))
    head = ""
    if length and length > 0:
        head = (
            f"The video is {round(length, 2)} seconds long. The following {FRAMES} frames are uniformly sampled from it"
            " in chronological order:\n"
        )
    head += "" if name == "trajectory_description" else _TAGGED + "\n"
    joint = "\n" if scoring != "vlmevalkit" else ""
    if name in CHOICE:
        shown = "\n".join(item.get("options") or [])
        ask = "Your answer must be only the single letter (e.g., A, B, C, or D) of the correct option."
        return f"{head}Question: {item['question']}\n{shown}\n\n{ask}{joint}The answer is:"
    ask = "Your answer must be only the final numeric value, without units or any other text."
    end = "\n" if name in _ENDS_IN_NEWLINE else ""
    return f"{head}Question: {item['question']}\n\n{ask}{end}{joint}The answer is:"


def read_number(response: str) -> float | None:
    """The last signed decimal once the commas are gone."""
    found = _NUMBER.findall(response.replace(",", ""))
    return to_float(found[-1]) if found else None


def read_letter(response: str) -> str | None:
    """The first capital between brackets, blanks, commas or dots, else the one that the text starts with."""
    for pattern, text in ((_NAMED, response), (_STANDING, f" {response} ")):
        match = pattern.search(text)
        if match:
            return match.group(1).upper()
    match = _FIRST.match(response)
    return match.group(1) if match else None


def relative(prediction: float, truth: float, category: str) -> float:
    """MRA / |t|; t = 0: equality, or against the category's threshold where it is a motion."""
    if truth == 0:
        threshold = THRESHOLDS.get(category)
        if threshold is None or prediction < threshold:
            return float(threshold is not None or prediction == 0)
        truth = threshold
    return mra(prediction, truth)


def score(response: str, item: Item, scoring: str) -> Scored:
    name = _category(item)
    if name in CHOICE:
        gold = letter_of(item["answer"])
        if scoring == "vlmevalkit":
            return option_score(response, gold)
        letter = read_letter(response)
        return correct(letter == gold, letter)
    truth = to_float(item["answer"])
    if truth is None:
        raise ItemError(f"osi_bench: answer {item['answer']!r} of a {name} item is not a number")
    number = match_number(response) if scoring == "vlmevalkit" else read_number(response)
    if number is None or not finite(number):
        return 0.0, None
    return relative(number, truth, name), number


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    return {"overall": pool(list(cells.values())).mean, **{name: cell.mean for name, cell in cells.items()}}


def rotate(item: Item, n: int) -> dict[str, Any]:
    if str(item["category"]) not in CHOICE or not item.get("options"):
        return dict(item)
    texts = [_LABEL.sub("", option) for option in item["options"]]
    gold = rotated_index(ord(letter_of(item["answer"])) - 65, len(texts), n)
    shown = [f"{chr(65 + i)}. {text}" for i, text in enumerate(rotated_list(texts, n))]
    return {**item, "options": shown, "answer": chr(65 + gold)}


BENCHMARK = Benchmark(
    name="osi_bench",
    title="OSI-Bench",
    hub="HarmlessSR07/OSI-Bench",
    required=("category", "answer"),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item["category"]),
    oracle=lambda item, scoring: str(item["answer"]),
    aggregate=aggregate,
    rotate=rotate,
    guesses=lambda item: ["A", "B", "C", "D"] if str(item["category"]) in CHOICE else [],
    max_new_tokens=64,
    frames=FRAMES,
    notes="frames before the text (visual first); the authors put them after it",
)

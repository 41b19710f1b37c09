"""STI-Bench (Li et al., arXiv 2503.23765): eight tasks on position, size and motion in videos, five options.

The authors' open-model script: the first of six patterns, else the whole text, and then its last character.
`vlmevalkit` asks as their API script does.
"""

from __future__ import annotations

import json
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
    by_category,
    correct,
    letter_of,
    rotated_index,
    rotated_list,
)
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.matching_spatial import option_score
from spatial_jax.evals.sources import below, read_rows
from spatial_jax.media import ClipError, clip_timing
from spatial_jax.reading import parse_json

LETTERS = "ABCDE"
FRAMES = 30
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        r"\(([A-E])\)",
        r"Ans\s*=\s*['\"]?([A-E])['\"]?",
        r"Answer\s*[:=]\s*([A-E])",
        r"Option\s+([A-E])",
        r"\b([A-E])\s*(?:is|was)\s*correct",
        r"\b([A-E])[.)]\s*$",
    )
)


def candidates(item: Item) -> dict[str, str]:
    """letter -> text, out of the dict or its JSON text. ItemError where it is neither."""
    value = item.get("Candidates")
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            value = None
    if not isinstance(value, dict):
        raise ItemError(f"sti_bench: item {item.get('id', '?')} has no Candidates (letter to text)")
    return {str(letter): str(text) for letter, text in value.items() if text is not None}


def load(root: Path) -> list[dict[str, Any]]:
    """Items of qa.parquet (or VLMEvalKit's TSV); the video is ROOT/video/NAME, shown whole."""
    return [
        {
            **row,
            "id": f"{row.get('Video')}_{row.get('ID', row.get('index', number))}",
            "images": [],
            "video": below(row["_root"], str(row["Video"]), "video"),
            "scene": str(row["Video"]),
        }
        for number, row in enumerate(read_rows(root, ("qa*", "*")))
    ]


def _api_head(item: Item) -> str:
    """The API script's first line, with the rate of 30 frames over the whole video; "" where the video is not there
    (the runner tells that when it opens it).
    """
    try:
        times = clip_timing(item["video"]).times
    except (KeyError, ClipError, OSError, TypeError):
        return ""
    rate = FRAMES / times[-1] if len(times) > FRAMES and times[-1] else len(times) / max(times[-1], 1e-9)
    return f"Answer the question below based on the frames provided, which are sampled at about {rate:.2f} FPS.\n"


def prompt(item: Item, scoring: str) -> str:
    start, end = item["time_start"], item["time_end"]
    if scoring == "vlmevalkit":
        shown = "\n".join(f"{letter} {text}" for letter, text in candidates(item).items())
        return (
            f"{_api_head(item)}Question: From {start} seconds to {end} seconds. {item['Question']}\n{shown}\n"
            "Please output only the option you choose!"
        )
    shown = "\n".join(f"({letter}) {text}" for letter, text in candidates(item).items())
    return f"From {start} s to {end} s. {item['Question']}\n{shown}\nPlease output only the option letter!"


def read(response: str) -> str:
    """The letter of the first pattern that matches, else the stripped text."""
    response = re.sub(r"\s{3,}", lambda m: "\n" if "\n" in m.group() else "  ", response)  # linear time, same matches
    for pattern in _PATTERNS:
        match = pattern.search(response)
        if match:
            return match.group(1).upper()
    return response.strip()


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = letter_of(item["Answer"])
    if scoring == "vlmevalkit":
        return option_score(response, gold)
    last = read(response)[-1:]
    letter = last if last in tuple(LETTERS) else None
    return correct(letter == gold, letter)


def place(item: Item) -> str:
    """The kind of scene: the published Source or Scene, else read off the video's name as the authors do."""
    named = item.get("Source") or item.get("Scene") or item.get("scene_type")
    if named:
        return str(named)
    name = str(item.get("Video", ""))
    stem = name.split(".")[0]
    if "camera" in name:
        return "outdoor"
    if name.startswith("scene"):
        return "indoor"
    return "desktop" if stem.isdigit() and len(stem) == 6 else "unknown"


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    """Cells are "task|scene": mean over items, by task and by scene."""
    tasks = by_category(cells, lambda key: key.split("|")[0])
    scenes = by_category(cells, lambda key: key.split("|")[1])
    means = {name: cell.mean for name, cell in {**tasks, **scenes}.items()}
    return {"overall": pool(list(cells.values())).mean, **means}


def rotate(item: Item, n: int) -> dict[str, Any]:
    known = candidates(item)
    letters, texts = list(known), list(known.values())
    gold = rotated_index(letters.index(letter_of(item["Answer"])), len(texts), n)
    turned = dict(zip(letters, rotated_list(texts, n)))
    return {**item, "Candidates": json.dumps(turned), "Answer": letters[gold]}


BENCHMARK = Benchmark(
    name="sti_bench",
    title="STI-Bench",
    hub="MINT-SJTU/STI-Bench",
    required=("Answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("Task", "all")),
    cell=lambda item: f"{item.get('Task', 'all')}|{place(item)}",
    oracle=lambda item, scoring: letter_of(item["Answer"]),
    aggregate=aggregate,
    rotate=rotate,
    guesses=lambda item: LETTERS,
    scorings=("official", "vlmevalkit"),
    max_new_tokens=512,
    frames=FRAMES,
    notes="a missing video leaves the authors' denominator; here it scores 0 and is counted as failed",
)

"""VSI-SUPER Recall (Yang et al., Cambrian-S, arXiv 2511.04670): the order of four places in videos of up to four hours.

The authors' code is not public; `official` here is lmms-eval's rule: the first of A to D in the upper-cased text, so
"The answer is C" reads A.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import Benchmark, Item, Scored, correct, letter_of
from spatial_jax.evals.matching_spatial import option_score
from spatial_jax.evals.sources import as_list, below, read_rows

FRAMES = 128
_LETTER = re.compile("[A-D]")


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the test parquet; the video is ROOT/video_path ("10mins/00000000.mp4")."""
    return [
        {
            **row,
            "id": str(row.get("id", number)),
            "options": as_list(row.get("options")),
            "images": [],
            "video": below(row["_root"], str(row["video_path"])),
            "scene": str(row["video_path"]),
        }
        for number, row in enumerate(read_rows(root, ("*test*", "*")))
    ]


def prompt(item: Item, scoring: str) -> str:
    shown = "\n".join(item["options"])
    return f"{item['question']}\nOptions:\n{shown}\nAnswer with the option's letter from the given choices directly."


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = letter_of(item["answer"])
    if scoring == "vlmevalkit":
        return option_score(response, gold)
    found = _LETTER.search(response.upper())
    return correct(found is not None and found.group() == gold, found.group() if found else None)


BENCHMARK = Benchmark(
    name="vsi_super_recall",
    title="VSI-SUPER Recall",
    hub="nyu-visionx/VSI-SUPER-Recall",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("type", "all")),
    oracle=lambda item, scoring: letter_of(item["answer"]),
    max_new_tokens=16,
    frames=FRAMES,
)

"""VSI-SUPER Count (Yang et al., Cambrian-S, arXiv 2511.04670): objects counted over videos of up to two hours.

The authors' code is not public; `official` here is lmms-eval's rule: the first number (0 without one), mean relative
accuracy. A streaming item's answers are a JSON list, paired in order; missing ones are not punished there. Streaming
needs the video cut at every query, so those rows are left out when files are read.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import Benchmark, Item, ItemError, Scored
from spatial_jax.evals.matching_spatial import match_number
from spatial_jax.evals.mra import finite, mra, to_float
from spatial_jax.evals.sources import as_list, below, read_rows
from spatial_jax.reading import parse_json

log = logging.getLogger(__name__)

FRAMES = 128
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the parquet that are not streaming; the video is ROOT/video_path."""
    rows = read_rows(root, ("*test*", "*"))
    kept = [row for row in rows if "streaming" not in str(row.get("split", ""))]
    if len(kept) < len(rows):
        log.warning("vsi_super_count: %d of %d rows are streaming and are left out", len(rows) - len(kept), len(rows))
    return [
        {
            **row,
            "id": f"{row.get('split')}_{number}",
            "images": [],
            "video": below(row["_root"], str(row["video_path"])),
            "scene": str(row["video_path"]),
        }
        for number, row in enumerate(kept)
    ]


def prompt(item: Item, scoring: str) -> str:
    return (
        f"These are frames of a video.\n{item['question']}\nPlease answer the question using a single word or phrase."
    )


def relative(prediction: float, truth: float) -> float:
    """MRA / |t|; a truth of 0 needs equality."""
    if truth == 0:
        return float(prediction == 0)
    return mra(prediction, truth) if finite(prediction) else 0.0


def _score_stream(response: str, truths: list[Any]) -> Scored:
    try:
        said = parse_json(response)
        pairs = [(float(p), float(t)) for p, t in zip(said, truths)]
    except (ValueError, TypeError, OverflowError):
        return 0.0, None
    return (sum(relative(p, t) for p, t in pairs) / len(pairs), response[:80]) if pairs else (0.0, None)


def score(response: str, item: Item, scoring: str) -> Scored:
    if as_list(item.get("answers")) and scoring != "vlmevalkit":
        return _score_stream(response, as_list(item["answers"]))
    truth = to_float(item.get("answer"))
    if truth is None:
        raise ItemError(f"vsi_super_count: answer {item.get('answer')!r} is not a number")
    if scoring == "vlmevalkit":
        number = match_number(response)
        return (relative(number, truth), number) if number is not None else (0.0, None)
    found = _NUMBER.search(response)
    return relative(float(found.group()) if found else 0.0, truth), float(found.group()) if found else None


BENCHMARK = Benchmark(
    name="vsi_super_count",
    title="VSI-SUPER Count",
    hub="nyu-visionx/VSI-SUPER-Count",
    required=("question",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("split", "all")),
    oracle=lambda item, scoring: str(item["answer"]),
    guesses=lambda item: ["10", "20", "40", "80"],
    max_new_tokens=16,
    frames=FRAMES,
)

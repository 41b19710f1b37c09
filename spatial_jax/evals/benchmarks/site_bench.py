"""SITE-Bench (Wang et al., arXiv 2505.05456): 8,068 choices on pictures and videos, chance-adjusted accuracy.

CAA = sum(hit - 1/n) / sum(1 - 1/n), n = options of the item: 0 for a guesser, below 0 for worse; pictures and
videos are pooled by item. The official parser picks at random when it reads no letter; here such a response scores 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.evals import matching
from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Item,
    ItemError,
    Metrics,
    Scored,
    correct,
    letter_of,
    letter_options,
    rotated_index,
    rotated_list,
)
from spatial_jax.evals.intervals import Cell
from spatial_jax.evals.matching_spatial import option_score
from spatial_jax.evals.sources import VIDEO_SUFFIXES, as_list, below, picture, read_rows

_VIDEO_HEAD = (
    "Select the best answer to the following multiple-choice question based on the video. Respond with only the letter"
    " of the correct option.\n"
)
_ASK = "Give me the answer letter directly. The best answer is:"


def load(root: Path) -> list[dict[str, Any]]:
    """Items of both configs (parquet, or VLMEvalKit's two TSV files); what ends as a video file is one."""
    items = []
    for number, row in enumerate(read_rows(root, ("*test*", "*[Ss]ite*", "*"))):
        shown = as_list(row.get("visual") or row.get("image") or row.get("video") or row.get("image_path"))
        video = bool(shown) and str(shown[0])[-5:].lower().endswith(VIDEO_SUFFIXES)
        items.append(
            {
                **row,
                "id": f"{'video' if video else 'image'}_{row.get('index', row.get('id', number))}_{number}",
                "options": as_list(row.get("options") or row.get("candidates")),
                "images": [] if video else [picture(i, row["_root"], "images") for i in shown],
                "video": below(row["_root"], str(shown[0]), "videos") if video else None,
            }
        )
    return items


def options(item: Item, scoring: str) -> list[str]:
    """The option texts. VLMEvalKit counts a list that cannot be read as four options; official code needs it."""
    found = as_list(item.get("options"))
    if not found and scoring != "vlmevalkit":
        raise ItemError(f"site_bench: item {item.get('id', '?')} has no list of options")
    return found or ["", "", "", ""]


def prompt(item: Item, scoring: str) -> str:
    shown = letter_options(options(item, scoring), "{letter}: {text}")
    text = f"Question: {str(item['question']).strip()}\nOptions:\n{shown}\n{_ASK}"
    if item.get("video"):
        return _VIDEO_HEAD + text
    marked = "<image>" in text
    return text if marked else "<image>" * len(item.get("images") or []) + "\n" + text


def site_letter(response: str, choices: str) -> str | None:
    """The official parser: "(X)", else a letter between blanks, else "X.", else a letter at a colon; of several the one
    whose last place between blanks is latest (the first letter where none stands so). None where it picks at random.
    """
    text = f" {response.strip()} "
    for forms in (("({})",), (" {} ",), ("{}.",), ("{}:", ":{}", ": {}")):
        found = [c for c in choices if any(form.format(c) in text for form in forms)]
        if found:
            return max(found, key=lambda c: text.rfind(f" {c} "))
    return None


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = letter_of(item["answer"])
    if scoring == "vlmevalkit":
        return option_score(response, gold)
    letter = site_letter(response, matching.letters(len(options(item, scoring))))
    return correct(letter == gold, letter)


def chance_adjusted_accuracy(cells: Mapping[str, Cell]) -> np.ndarray | float:
    """CAA of cells "category|n"."""
    hits: np.ndarray | float = 0.0
    room: np.ndarray | float = 0.0
    for name, cell in cells.items():
        chance = 1.0 / int(name.rsplit("|", 1)[1])
        hits = hits + cell.total - chance * cell.count
        room = room + (1.0 - chance) * cell.count
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(hits, room)


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    """overall and each category chance-adjusted; "accuracy" is the plain mean over items."""
    out: Metrics = {"overall": chance_adjusted_accuracy(cells)}
    for category in dict.fromkeys(name.rsplit("|", 1)[0] for name in cells):
        out[category] = chance_adjusted_accuracy({n: c for n, c in cells.items() if n.rsplit("|", 1)[0] == category})
    with np.errstate(invalid="ignore", divide="ignore"):
        out["accuracy"] = np.divide(sum(c.total for c in cells.values()), sum(c.count for c in cells.values()))
    return out


def rotate(item: Item, n: int) -> dict[str, Any]:
    texts = options(item, "official")
    return {
        **item,
        "options": rotated_list(texts, n),
        "answer": chr(65 + rotated_index(ord(letter_of(item["answer"])) - 65, len(texts), n)),
    }


BENCHMARK = Benchmark(
    name="site_bench",
    title="SITE-Bench",
    hub="franky-veteran/SITE-Bench",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("category", "all")),
    cell=lambda item: f"{item.get('category', 'all')}|{len(options(item, 'vlmevalkit'))}",
    oracle=lambda item, scoring: letter_of(item["answer"]),
    aggregate=aggregate,
    rotate=rotate,
    guesses=lambda item: matching.letters(len(options(item, "vlmevalkit"))),
    max_new_tokens=1024,
    frames=32,
    notes="chance-adjusted; the official parser's random pick where no letter is read scores 0 here",
)

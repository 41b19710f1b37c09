"""SpatialEval (Wang et al., NeurIPS 2024, arXiv 2406.14852): maps, mazes, grids, photos; text, picture, or both (tqa,
vqa, vtqa).

Official: extraction by task and question type (the last number of the id), then the lower-cased oracle answer must be
contained in what was extracted ("2" is contained in "12"). Spatial-Real has no extractor in the repository: its whole
text is searched for the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals import matching
from spatial_jax.evals.benchmarks.base import Benchmark, Item, Metrics, Scored, correct
from spatial_jax.evals.intervals import Cell, macro, pool
from spatial_jax.evals.sources import picture, read_rows

TASKS = ("spatialmap", "mazenav", "spatialgrid", "spatialreal")
POST = (
    "\nFirst, provide a concise answer in one sentence. Then, elaborate on the reasoning behind your answer in a"
    " detailed, step-by-step explanation."
)
MAX_TEXT = 8000  # characters that the patterns for names look at
_NUMBERS = {
    "zero": 0,
    "no": 0,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
}
_DIRECTION = r"(?:southeast|northeast|northwest|southwest)"
_DIRECTION_RE = re.compile(rf"\b({_DIRECTION})\b", re.IGNORECASE)
_ANIMAL = re.compile(r"\b(giraffe|cat|dog|elephant|rabbit)\b", re.IGNORECASE)
_OPTION_NUMBER = re.compile(r"\b[A-D]\.\s*(\d+)")
_NUMBER_OR_WORD = re.compile(r"\b(" + "|".join(_NUMBERS) + r")\b|(\d+)", re.IGNORECASE)
_YES = re.compile(r"\byes\b|is the shortest path", re.IGNORECASE)
_NO = re.compile(r"\bno\b|\bnot\b", re.IGNORECASE)
_PLACES = (
    re.compile(rf"^([\w\s']+?)\s+is\s+(?:located\s+|in\s+the\s+|located\s+to\s+the\s+)\b{_DIRECTION}\b", re.IGNORECASE),
    re.compile(r"\b[A-D]\.\s*(.*)"),
    re.compile(rf"Therefore, the object in the \b{_DIRECTION}\b of [\w\s']+ is ([\w\s']+)", re.IGNORECASE),
    re.compile(
        r"Concise Answer:(?:\*\*)?\s+([\w\s']+?)\s+is"
        rf"\s+(?:located\s+|in\s+the\s+|in\s+|located\s+to\s+the\s+|to\s+the\s+)\b{_DIRECTION}\b",
        re.IGNORECASE,
    ),
    re.compile(rf"^([\w\s']+?)\s+is\s+to\s+the\s+\b{_DIRECTION}\b", re.IGNORECASE),
    re.compile(r"\*\*Answer:?\*\*:?\s+([\w\s']+)", re.IGNORECASE),
    re.compile(r"\bis\b\s+(.*?)(?=\.|,|<|$)"),
)
_TURNS = {
    0: tuple(
        re.compile(p, re.IGNORECASE)
        for p in (
            r"\bThere are\s*(\d+)\s*right turns\b",
            r"\bThere is\s*(\d+)\s*right turn\b",
            r"answer is:?\s+(\d+)",
            r"from S to E is\s+(\d+)",
            r"Answer:\*\*\s*(\d+)\b",
        )
    ),
    1: tuple(
        re.compile(p, re.IGNORECASE)
        for p in (
            r"\bThere are\s*(\d+)\s*(?:total )?turns\b",
            r"\bThere is\s*(\d+)\s*(?:total )?turn\b",
            r"answer is:?\s+(\d+)",
            r"from S to E is\s+(\d+)",
            r"\btotal of\s+(\d+)\s+turns?",
            r"Answer:\*\*\s*(\d+)\b",
        )
    ),
}
_WORD_TURNS = tuple(
    (re.compile(rf"\b{word}\s*(?:right|left|total)?\s*turns?\b", re.IGNORECASE), value)
    for word, value in _NUMBERS.items()
)


def load(root: Path) -> list[dict[str, Any]]:
    return [
        {**row, "id": str(row.get("id", number)), "images": [p for p in [picture(row.get("image"), row["_root"])] if p]}
        for number, row in enumerate(read_rows(root, ("*test*", "*")))
    ]


def task_and_type(item: Item) -> tuple[str, int]:
    """("mazenav", 2) out of an id like "mazenav.vqa.0.2"."""
    parts = str(item["id"]).split(".")
    return parts[0].replace("-", "").lower(), int(parts[-1]) if parts[-1].isdigit() and len(parts[-1]) < 3 else 0


def prompt(item: Item, scoring: str) -> str:
    return str(item["text"]) if scoring == "vlmevalkit" else f"{item['text']}{POST}"


def extract(response: str, task: str, kind: int) -> str | None:
    """What the official scripts take from a response, None when nothing."""
    if task == "spatialmap":
        return _extract_map(response, kind)
    if task == "mazenav":
        return _extract_maze(response, kind)
    if task == "spatialgrid":
        if kind == 0:
            return _earliest_number(response)
        match = _ANIMAL.search(response)
        return match.group(1) if match else None
    return response or None


def _extract_map(text: str, kind: int) -> str | None:
    if kind == 0:
        match = _DIRECTION_RE.search(text)
        return match.group(1) if match else None
    if kind == 1:
        text = text[:MAX_TEXT]
        for rank, pattern in enumerate(_PLACES):
            match = pattern.search(text)
            if match:
                found = match.group(1)
                return (
                    found.replace("**", "").replace(".", "").split(" is", 1)[0].strip() if rank == 1 else found.strip()
                )
        return None
    match = _OPTION_NUMBER.search(text)
    return match.group(1) if match else _earliest_number(text)


def _extract_maze(text: str, kind: int) -> str | None:
    if kind == 2:
        return "Yes" if _YES.search(text) else "No" if _NO.search(text) else None
    match = _OPTION_NUMBER.search(text)
    if match:
        return match.group(1)
    # number words in dictionary order come before the phrases with digits
    for pattern, value in _WORD_TURNS:
        if pattern.search(text):
            return str(value)
    for pattern in _TURNS[min(kind, 1)]:
        match = pattern.search(text)
        if match:
            return match.group(1)
    first = re.search(r"\d+", text)
    return first.group() if first else None


def _earliest_number(text: str) -> str | None:
    match = _NUMBER_OR_WORD.search(re.sub(r"^\n\n\d+\.\s", "", text))
    if not match:
        return None
    return str(_NUMBERS[match.group(1).lower()]) if match.group(1) else match.group(2)


def score(response: str, item: Item, scoring: str) -> Scored:
    if scoring == "vlmevalkit":
        options = dict(
            re.findall(r"^\s*([A-D])\.\s*(.+?)\s*$", str(item.get("text", "")), re.MULTILINE)
        ) or dict.fromkeys("ABCD", "\0")
        letter = matching.can_infer(response, options)
        return correct(
            letter == str(item.get("oracle_option", "")).strip().upper()[:1], None if letter == "Z" else letter
        )
    found = extract(response, *task_and_type(item))
    return correct(str(item["oracle_answer"]).lower() in str(found).lower(), found)


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    means = {name: cell.mean for name, cell in cells.items()}
    return {"overall": macro(list(means.values())), "micro": pool(list(cells.values())).mean, **means}


BENCHMARK = Benchmark(
    name="spatial_eval",
    title="SpatialEval",
    hub="MilaWang/SpatialEval",
    required=("oracle_answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: task_and_type(item)[0],
    aggregate=aggregate,
    scorings=("official", "vlmevalkit"),
    max_new_tokens=512,
    oracle=lambda item, scoring: str(
        item.get("oracle_option")
        if scoring == "vlmevalkit"
        else item.get("oracle_full_answer") or item["oracle_answer"]
    ),
    guesses=lambda item: [f"{c}." for c in "ABCD"],
)

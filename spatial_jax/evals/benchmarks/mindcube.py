"""MindCube (Yin et al., arXiv 2506.21458): spatial mental models from few views.

Official extraction: the last capital A-E before a dot anywhere ("...THE TABLE." gives E), else patterns in order of
trust. Official overall leaves out ids with "translation"; lmms-eval counts all items and takes the type from the id's
first part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.evals.benchmarks.base import Benchmark, Item, Metrics, Scored, correct
from spatial_jax.evals.intervals import Cell, by_prefix, pool
from spatial_jax.evals.matching_spatial import option_score
from spatial_jax.evals.sources import pictures, read_rows

SETTINGS = ("around", "rotation", "translation", "among")
_DOTTED = re.compile(r"([A-E])\.")
_SECTION = re.compile(r"<Answer>(.*?)(?:<|$)", re.DOTALL)
_IN_SECTION = tuple(re.compile(p) for p in (r"[Mm]y answer is ([A-E])", r"[Tt]he answer is ([A-E])", r"\b([A-E])\b"))
# The published list also holds forms with "A."; the dotted rule above has taken every such text already.
_IN_TEXT = tuple(
    re.compile(p)
    for p in (
        r"(?:^|\n)(?:Answer: )?([A-E])(?:$|\s)",
        r"[*\"]([A-E])[*\"]",
        r"\bAnswer:?\s*([A-E])\b",
        r"[Mm]y answer is ([A-E])",
        r"answer is ([A-E])",
    )
)
_WORD = re.compile(r"\b([A-E])\b")


def load(root: Path) -> list[dict[str, Any]]:
    return [
        {
            **row,
            "id": str(row["id"]),
            "images": pictures(row.get("images"), row["_root"], "data", "images"),
            "scene": str(row["id"]).rsplit("_", 1)[0],
        }
        for row in read_rows(root, ("MindCube_tinybench*", "*tiny*", "*"))
    ]


def prompt(item: Item, scoring: str) -> str:
    return str(item.get("input_prompt") or item["question"])


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.findall(text)
    return found[-1] if found else None


def extract(text: str) -> str | None:
    """The official extraction: case-sensitive, the last hit of the first form that occurs, else the last line with a
    lone letter.
    """
    dotted = _last(_DOTTED, text)
    if dotted:
        return dotted
    section = _SECTION.search(text)
    if section:
        for pattern in _IN_SECTION:
            letter = _last(pattern, section.group(1))
            if letter:
                return letter
    for pattern in _IN_TEXT:
        letter = _last(pattern, text)
        if letter:
            return letter
    for line in reversed(text.split("\n")):
        match = _WORD.search(line)
        if match:
            return match.group(1)
    return None


def setting(item: Item) -> str:
    """The first of around, rotation, translation, among that stands in the id, else other."""
    name = str(item["id"]).lower()
    return next((s for s in SETTINGS if s in name), "other")


def setting_by_prefix(item: Item) -> str:
    """lmms-eval: by the id's first part."""
    first = str(item["id"]).split("_", 1)[0]
    return {"among": "among", "rotation": "rotation", "around": "around", "aroundnew": "around"}.get(first, "other")


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = str(item["gt_answer"])
    if scoring == "vlmevalkit":
        return option_score(response, gold)
    found = extract(response.strip() if scoring == "lmms_eval" else response)
    return correct(found == gold, found)


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    """Cells are "official setting|lmms-eval type"."""
    by_prefixed = {name: cell.mean for name, cell in by_prefix(cells, (*SETTINGS, "other")).items()}
    if scoring != "official":
        types: dict[str, list[Cell]] = {}
        for name, cell in cells.items():
            types.setdefault(name.split("|")[1], []).append(cell)
        return {
            "overall": pool(list(cells.values())).mean,
            **{name: pool(members).mean for name, members in types.items()},
        }
    counted = [cell for name, cell in cells.items() if not name.startswith("translation")]
    return {"overall": pool(counted).mean if counted else np.nan, **by_prefixed}


BENCHMARK = Benchmark(
    name="mindcube",
    title="MindCube",
    hub="MLL-Lab/MindCube",
    required=("gt_answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=setting,
    cell=lambda item: f"{setting(item)}|{setting_by_prefix(item)}",
    oracle=lambda item, scoring: f"<answer>{item['gt_answer']}.</answer>",
    aggregate=aggregate,
    max_new_tokens=512,
)

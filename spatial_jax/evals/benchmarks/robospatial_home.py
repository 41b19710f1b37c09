"""RoboSpatial-Home (Song et al., arXiv 2411.16537): 350 questions on rooms: yes or no, or a point in free space.

Official: the response starts with the gold word, or its first point lies in the gold polygon (shares of the picture).
overall = mean over items as the code prints it; "macro" = mean of the three categories as the readme's table has it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spatial_jax.evals import points
from spatial_jax.evals.benchmarks.base import Benchmark, Item, ItemError, Scored, correct
from spatial_jax.evals.benchmarks.refspatial import JSON_ASK
from spatial_jax.evals.sources import picture, read_rows
from spatial_jax.media import open_image
from spatial_jax.rewards.parsing.points import number_tuples

Polygon = list[tuple[float, float]]
_PAIRS = tuple(
    re.compile(rf"{start}\s*(\d+\.?\d*)\s*,\s*(\d+\.?\d*)\s*{end}") for start, end in ((r"\(", r"\)"), (r"\[", r"\]"))
)
_LIST = re.compile(r"\[(.*?)\]", re.DOTALL)


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the parquet files of the three splits."""
    return [
        {
            **row,
            "id": f"{row.get('category')}_{number}",
            "images": [picture(row.get("img") or row.get("image"), row["_root"], "images")],
        }
        for number, row in enumerate(read_rows(root))
    ]


def prompt(item: Item, scoring: str) -> str:
    question = str(item["question"])
    if scoring == "vlmevalkit" and "Your answer should" in question:
        return question.split("Your answer should")[0] + "\n\n" + JSON_ASK
    return question


def polygon(item: Item) -> Polygon | None:
    """The gold region, None for a question of yes or no. ItemError for what is neither."""
    gold = item["answer"]
    if str(gold).strip().lower() in ("yes", "no"):
        return None
    try:
        value = ast.literal_eval(gold) if isinstance(gold, str) else gold
        corners = [(float(x), float(y)) for x, y in value]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        corners = []
    if len(corners) < 3:
        raise ItemError(f"robospatial_home: answer {str(gold)[:60]!r} is neither yes, no nor a polygon")
    return corners


def inside(x: float, y: float, corners: Sequence[tuple[float, float]]) -> bool:
    """Ray casting as the authors': an edge counts where it passes y strictly on one side and x lies before it."""
    found = False
    for (x1, y1), (x2, y2) in zip(corners, [corners[-1], *corners[:-1]]):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            found = not found
    return found


def inside_vlmevalkit(x: float, y: float, corners: Sequence[tuple[float, float]]) -> bool:
    """VLMEvalKit's edge rule: y above the lower and up to the upper end, x up to the crossing."""
    found = False
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]]):
        passes = min(y1, y2) < y <= max(y1, y2) and x <= max(x1, x2)
        if passes and (x1 == x2 or x <= (y - y1) * (x2 - x1) / (y2 - y1) + x1):
            found = not found
    return found


def first_point(response: str) -> tuple[float, float] | None:
    """The authors' reader: the first "(x, y)", else the first "[x, y]", else the first bracket's content as Python."""
    for pattern in _PAIRS:
        match = pattern.search(response)
        if match:
            return float(match[1]), float(match[2])
    match = _LIST.search(response)
    if match is None:
        return None
    try:
        value: Any = ast.literal_eval("[" + re.sub(r",(\S)", r", \1", match[1]).strip().removesuffix(",") + "]")
        if len(value) == 2 and all(isinstance(v, (int, float)) for v in value):
            value = [tuple(value)]
        x, y = value[0]
        return float(x), float(y)
    except (ValueError, SyntaxError, TypeError, IndexError, KeyError, OverflowError, MemoryError, RecursionError):
        return None


def picture_size(item: Item) -> tuple[int, int]:
    """(width, height) of the item's picture, (1, 1) where there is none to open."""
    try:
        with open_image((item.get("images") or [None])[0]) as image:
            return image.size
    except (OSError, ValueError, TypeError, AttributeError):
        return 1, 1


def vlmevalkit_point(response: str, item: Item) -> tuple[float, float] | None:
    """EASI's parser, first point, as shares of the picture."""
    width, height = picture_size(item)
    found = points.json_points(response, width, height)
    if found:
        return found[0]
    for numbers in number_tuples(response):
        values = [float(n) for n in numbers]
        if len(values) in (2, 4):
            across, down = (1, 1) if max(abs(v) for v in values) <= 1.5 else (width, height)
            return min(values[0::2]) / across, min(values[1::2]) / down
    return None


def score(response: str, item: Item, scoring: str) -> Scored:
    corners = polygon(item)
    if corners is None:
        said = response.strip().lower()
        word = next((w for w in ("yes", "no") if said.startswith(w)), None)
        return correct(said.startswith(str(item["answer"]).strip().lower()), word)
    point = vlmevalkit_point(response, item) if scoring == "vlmevalkit" else first_point(response)
    if point is None:
        return 0.0, None
    return correct((inside_vlmevalkit if scoring == "vlmevalkit" else inside)(*point, corners), point)


def oracle(item: Item, scoring: str) -> str:
    """The gold word, or the middle of three neighbouring corners that lies inside."""
    corners = polygon(item)
    if corners is None:
        return str(item["answer"]).strip().lower()
    for a, b, c in zip(corners, [*corners[1:], corners[0]], [*corners[2:], *corners[:2]]):
        x, y = (round((u + v + w) / 3, 6) for u, v, w in zip(a, b, c))
        if inside(x, y, corners) and inside_vlmevalkit(x, y, corners):
            return f"({x}, {y})"
    raise ItemError("robospatial_home: the polygon is empty")


BENCHMARK = Benchmark(
    name="robospatial_home",
    title="RoboSpatial-Home",
    hub="chanhee-luke/RoboSpatial-Home",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("category", "all")),
    oracle=oracle,
    guesses=lambda item: ["yes", "no", "(0.5, 0.5)", "(0.5, 0.7)", "(0.3, 0.7)", "(0.7, 0.7)"],
    scorings=("official", "vlmevalkit"),
    max_new_tokens=128,
)

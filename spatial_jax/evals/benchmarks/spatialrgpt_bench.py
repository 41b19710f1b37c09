"""SpatialRGPT-Bench (Cheng et al., arXiv 2406.01584): qualitative and quantitative questions about marked regions.

Official: a GPT-4 judge answers in JSON: {"your_mark"} for qualitative items, {"answer_in_meters", "response_in_meters"}
for distances (success within 0.75 to 1.25 of the answer), {"answer_direction", "response_direction"} in clock hours
(success within one). Give it as the item's (or the responses line's) "judge". A judge that failed counts as wrong; the
published script instead repeats the previous qualitative item's mark, which a pure scorer cannot do. Scoring `rules`
reads lengths, hours and the group's two words without a judge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.evals.benchmarks.base import Benchmark, Derived, Item, ItemError, Metrics, Outcome, Scored, by_category
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.sources import picture, read_rows
from spatial_jax.reading import parse_json

GROUPS = (
    ("tall/short", ("short", "tall")),
    ("left/right", ("left", "right")),
    ("below/above", ("below", "above")),
    ("behind/front", ("behind", "front")),
    ("big/small", ("big", "small")),
    ("wide/thin", ("wide", "thin")),
)
DISTANCES = {
    "vertical_distance_data": "vertical_distance",
    "horizontal_distance_data": "horizontal_distance",
    "distance_data": "direct_distance",
    "width_data": "width",
    "height_data": "height",
}
_METRES = {
    "inch": 0.0254,
    "inches": 0.0254,
    "in": 0.0254,
    "foot": 0.3048,
    "feet": 0.3048,
    "ft": 0.3048,
    "cm": 0.01,
    "centimeter": 0.01,
    "centimeters": 0.01,
    "centimetres": 0.01,
    "m": 1.0,
    "meter": 1.0,
    "meters": 1.0,
    "metre": 1.0,
    "metres": 1.0,
    "mm": 0.001,
}
_LENGTH = re.compile(
    r"(?<![\d.])(\d+(?:\.\d+)?|\.\d+)\s*(" + "|".join(sorted(_METRES, key=len, reverse=True)) + r")\b", re.IGNORECASE
)
_CLOCK = re.compile(r"\b(1[0-2]|[1-9])\s*o'?\s*clock", re.IGNORECASE)


def load(root: Path) -> list[dict[str, Any]]:
    items = []
    for number, row in enumerate(read_rows(root, ("*SpatialRGPT*", "*val*", "*"))):
        info, qa = (
            parse_json(row[k]) if isinstance(row.get(k), str) else row.get(k) or {} for k in ("image_info", "qa_info")
        )
        talk = (
            parse_json(row["conversations"])
            if isinstance(row.get("conversations"), str)
            else row.get("conversations") or []
        )
        answer = row.get("gt") or next((turn["value"] for turn in talk if turn.get("from") == "gpt"), None)
        source = row.get("image") or info.get("file_path")
        items.append(
            {
                **row,
                "id": str(row.get("id", number)),
                "qa_info": qa,
                "image_info": info,
                "answer": answer,
                "question": row.get("question", row.get("text_q")),
                "images": [picture(source, row["_root"], "images")],
                "scene": str(info.get("file_path") or row.get("id", number)),
            }
        )
    return items


def prompt(item: Item, scoring: str) -> str:
    return str(item["question"])


def category(item: Item) -> str:
    """Quan_width, Qual_left/right, ...: the names of the published table."""
    qa = item["qa_info"]
    name = str(qa["category"])
    if qa["type"] == "quantitative":
        if name != "direction" and name not in DISTANCES:
            raise ItemError(f"spatialrgpt_bench: quantitative category {name!r} is not one of its own")
        return "Quan_direction" if name == "direction" else f"Quan_{DISTANCES[name]}"
    for group, words in GROUPS:
        if any(word in name for word in words):
            return f"Qual_{group}"
    raise ItemError(f"spatialrgpt_bench: qualitative category {name!r} is not one of its own")


def _judge(item: Item) -> dict[str, Any] | None:
    judged = item["judge"]
    if isinstance(judged, str):
        try:
            judged = parse_json(judged)
        except (json.JSONDecodeError, RecursionError):
            return None
    return judged if isinstance(judged, dict) else None


def _numbers(judged: Mapping[str, Any] | None, names: Sequence[str], kind: type) -> list[Any] | None:
    try:
        return [kind(judged[name]) for name in names] if judged else None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def metres(text: str) -> float | None:
    """The last length of a text, in metres."""
    found = _LENGTH.findall(text)
    return float(found[-1][0]) * _METRES[found[-1][1].lower()] if found else None


def score(response: str, item: Item, scoring: str) -> Scored:
    group = category(item)
    if scoring == "official" and "judge" not in item:
        raise ItemError(
            f"spatialrgpt_bench: item {item.get('id', '?')} has no 'judge' reply; add one to its responses line or use"
            " --scoring=rules"
        )
    judged = _judge(item) if scoring == "official" else None
    if group.startswith("Qual"):
        if scoring == "official":
            mark = _numbers(judged, ["your_mark"], float)
            if mark is None or _numbers(judged, ["your_mark"], int) is None:
                return 0.0, None
            return float(mark[0] > 0), mark[0]  # 0.5 is right: the mark itself is compared, not its whole part
        return _qualitative_rule(response, str(item["answer"]), group)
    if group == "Quan_direction":
        hours = (
            _numbers(judged, ["answer_direction", "response_direction"], int)
            if scoring == "official"
            else _rule_pair(_clock, response, item)
        )
        if hours is None:
            return 0.0, None
        apart = abs(hours[0] - hours[1])
        return float(min(apart, 12 - apart) <= 1), hours
    lengths = (
        _numbers(judged, ["answer_in_meters", "response_in_meters"], float)
        if scoring == "official"
        else _rule_pair(metres, response, item)
    )
    if lengths is None:
        return 0.0, None
    truth, said = lengths
    return float(0.75 * truth <= said <= 1.25 * truth), lengths


def _clock(text: str) -> int | None:
    found = _CLOCK.findall(text)
    return int(found[-1]) if found else None


def _rule_pair(read: Any, response: str, item: Item) -> list[Any] | None:
    pair = [read(str(item["answer"])), read(response)]
    return None if None in pair else pair


def _qualitative_rule(response: str, answer: str, group: str) -> Scored:
    """Yes or no where the answer begins so, else the same regions named in the same order with the same words of the
    group.
    """
    said, truth = response.lower(), answer.lower()
    if truth.startswith(("yes", "no")):
        word = next((w for w in ("yes", "no") if re.search(rf"\b{w}\b", said)), None)
        return float(word is not None and truth.startswith(word)), word
    found = re.search(r"region\s*\[(\d+)\]", said)
    gold = re.search(r"region\s*\[(\d+)\]", truth)
    return float(bool(found and gold and found.group(1) == gold.group(1))), found.group(1) if found else None


def derive(items: Sequence[Item], outcomes: Sequence[Outcome], scoring: str) -> dict[str, Derived]:
    """abs_rel of the distances that were read (and degrees of direction). As published: a running average in the items'
    order, rounded to three decimals by numpy (0.0125 becomes 0.013 or 0.012 as numpy scales, not as decimals do); an
    answer of 0 m makes it infinite.
    """
    averages: dict[str, tuple[np.float64, int]] = {}
    degrees: list[float] = []
    for item, (_, pair) in zip(items, outcomes):
        group = category(item)
        if not group.startswith("Quan") or not isinstance(pair, list):
            continue
        truth, said = pair
        if group == "Quan_direction":
            degrees.append(min(abs(truth - said), 12 - abs(truth - said)))
            continue
        mean, count = averages.get(group, (np.float64(0.0), 0))
        with np.errstate(all="ignore"):
            error = np.mean(np.abs(np.float64(truth) - said) / np.float64(truth))
            averages[group] = ((error + count * mean) / (count + 1), count + 1)
    out: dict[str, Derived] = {f"{group}_absrel": float(np.round(mean, 3)) for group, (mean, _) in averages.items()}
    if degrees:
        out["Quan_direction_err_degrees"] = float(np.sum(degrees) / len(degrees) * 100 / 100 * 360 / 12)
    return out


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    halves = by_category(cells, lambda name: f"{name.split('_')[0]}_overall")
    return {
        "overall": pool(list(cells.values())).mean,
        **{name: cell.mean for name, cell in {**halves, **cells}.items()},
    }


def oracle(item: Item, scoring: str) -> str:
    return str(item["answer"])


BENCHMARK = Benchmark(
    name="spatialrgpt_bench",
    title="SpatialRGPT-Bench",
    hub="a8cheng/SpatialRGPT-Bench",
    required=("qa_info", "answer"),
    load=load,
    prompt=prompt,
    score=score,
    category=category,
    oracle=oracle,
    aggregate=aggregate,
    derived=derive,
    scorings=("official", "rules"),
    max_new_tokens=128,
    guesses=lambda item: ["Yes", "No", "Region [0]", "Region [1]", "1 meter", "2 meters", "12 o'clock"],
    notes="official scoring needs the judge's JSON reply beside each response",
)

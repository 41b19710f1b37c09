"""SPAR-Bench (Zhang et al., arXiv 2503.22976): twenty tasks on one or several views.

Kept as published: an empty answer to a choice question is right (it is a substring of the gold letter),
`view_change_infer` divides by the prediction, and the "Middle" group leaves that task out (official and lmms-eval;
VLMEvalKit does neither). `vilasr` is ViLaSR's scoring (an item may name its "problem_type"), `spatialladder` and
`spatialladder_thinking` are SpatialLadder's, which reads as the official one but weighs all averages by items.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.evals import spatialladder, vilasr
from spatial_jax.evals.benchmarks.base import SCORINGS, Benchmark, Item, ItemError, Metrics, Scored
from spatial_jax.evals.intervals import Cell, macro, pool
from spatial_jax.evals.matching_spatial import match_number, option_score
from spatial_jax.evals.mra import FLOAT32, FLOAT64, finite, mra, to_float
from spatial_jax.evals.sources import pictures, read_rows
from spatial_jax.evals.vilasr import net_motion

LOW = tuple(
    f"{kind}_prediction_{which}{views}"
    for kind in ("depth", "distance")
    for which in ("oc", "oo")
    for views in ("", "_mv")
)
MIDDLE = ("view_change_infer", "position_matching", "camera_motion_infer")
HIGH = (
    "obj_spatial_relation_oo",
    "obj_spatial_relation_oc_mv",
    "obj_spatial_relation_oo_mv",
    "spatial_imagination_oc",
    "spatial_imagination_oo",
    "spatial_imagination_oc_mv",
    "spatial_imagination_oo_mv",
    "distance_infer_center_oo",
    "distance_infer_center_oo_mv",
)
CHOICE = (*HIGH, "position_matching", "camera_motion_infer")
BOXES = (
    "The values represent the bounding box coordinates normalized to a 0-1000 scale, with the top-left corner as the"
    " origin of the image."
)
_NUMBER = re.compile(r"(?<!\^)\d+\.\d+|(?<!\^)\d+")


def load(root: Path) -> list[dict[str, Any]]:
    return [
        {
            **row,
            "id": f"{row['task']}_{row.get('id', number)}",
            "images": pictures(row.get("image"), row["_root"], "images"),
            "scene": str(row.get("scene_id") or row.get("scene") or row.get("id", number)),
        }
        for number, row in enumerate(read_rows(root))
    ]


def _task(item: Item) -> str:
    task = str(item["task"])
    if task not in (*LOW, *MIDDLE, *HIGH):
        raise ItemError(f"spar_bench: task {task!r} is not one of its twenty")
    return task


def prompt(item: Item, scoring: str) -> str:
    task, question = _task(item), item["question"]
    if scoring in spatialladder.SCORINGS:
        kind = "number" if task in LOW else "letter" if task in CHOICE else "special"
        extra = f"{BOXES if task in MIDDLE else ''}\n" if task in CHOICE else ""
        return spatialladder.prompt(str(question), kind, scoring, extra=extra)
    if task in LOW:
        return f"\n{question}\nPlease answer the question using a single word or phrase."
    if task in CHOICE:
        extra = BOXES if task in MIDDLE else ""
        return f"\n{question}\n{extra}\nAnswer with the option's letter from the given choices directly."
    return f"\n{question}\n\n"


def net_motion_lenient(text: str) -> list[float]:
    """`net_motion` with malformed parts skipped (VLMEvalKit)."""
    kept = []
    for entry in text.split(","):
        key, _, value = entry.partition(":")
        if to_float(value) is not None:
            kept.append(f"{key.strip()}:{float(value)}")
    return net_motion(",".join(kept)) if kept else [0.0] * 5


def score(response: str, item: Item, scoring: str) -> Scored:
    task, gold = _task(item), str(item["answer"])
    if scoring == "vilasr":
        usual = "multiple choice" if task in CHOICE else "regression" if task in LOW else "vci"
        return vilasr.score(response, gold, vilasr.problem_type(item, usual))
    if scoring in spatialladder.SCORINGS:
        response = spatialladder.answer_text(response, scoring)
    if task == "view_change_infer":
        return _score_motion(response, gold, scoring)
    if task in CHOICE:
        if scoring == "vlmevalkit":
            return option_score(response, gold)
        predicted, truth = response.lower(), gold.lower()
        return float(predicted == truth or predicted in truth or predicted[:1] == truth), response.strip()[:80] or None
    truth_value = to_float(gold)
    if truth_value is None:
        raise ItemError(f"spar_bench: answer {gold!r} of a {task} item is not a number")
    if scoring == "vlmevalkit":
        number = match_number(response)
    else:
        found = _NUMBER.findall(response)
        number = float(found[-1 if task.endswith("_mv") else 0]) if found else (-1.0 if task.endswith("_mv") else None)
        if not found:
            return (mra(-1.0, truth_value) if number is not None else 0.0), None
    if number is None or not finite(number):
        return 0.0, number
    return mra(number, truth_value), number


def _score_motion(response: str, gold: str, scoring: str) -> Scored:
    truth = net_motion(gold)
    if scoring == "vlmevalkit":
        predicted = net_motion_lenient(response)
        return float(np.mean([mra(p, t) for p, t in zip(predicted, truth)])), predicted
    try:
        predicted = net_motion(response)
    except ValueError:
        return 0.0, None
    # The published call is mra(truth, prediction): it divides by the prediction.
    return float(np.mean([mra(t, p) for p, t in zip(predicted, truth)])), predicted


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    """overall = mean of the tasks (of the items in SpatialLadder); Low, Middle, High: of their tasks (of their items in
    SpatialLadder and ViLaSR).
    """
    out: Metrics = {task: cell.mean for task, cell in cells.items()}
    middle = MIDDLE[1:] if scoring in ("official", "lmms_eval") else MIDDLE
    by_items = scoring in spatialladder.SCORINGS
    groups = {
        name: pool([cells[t] for t in tasks if t in cells]).mean
        if by_items or scoring == "vilasr"
        else macro([out[t] for t in tasks if t in out])
        for name, tasks in (("Low", LOW), ("Middle", middle), ("High", HIGH))
        if any(t in out for t in tasks)
    }
    overall = pool(list(cells.values())).mean if by_items else macro(list(out.values()))
    return {"overall": overall, **groups, **out}


def _guesses(item: Item) -> list[str]:
    return ["A", "B", "C", "D"] if item["task"] in CHOICE else []


BENCHMARK = Benchmark(
    name="spar_bench",
    title="SPAR-Bench",
    hub="jasonzhango/SPAR-Bench",
    required=("task", "answer"),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item["task"]),
    oracle=lambda item, scoring: str(item["answer"]),
    aggregate=aggregate,
    arithmetic={**dict.fromkeys((*SCORINGS, *spatialladder.SCORINGS), FLOAT64), "vilasr": FLOAT32},
    scorings=(*SCORINGS, "vilasr", *spatialladder.SCORINGS),
    guesses=_guesses,
    max_new_tokens=100,
    notes="an empty answer to a choice question counts as right, as published",
)

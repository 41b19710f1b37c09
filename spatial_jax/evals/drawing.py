"""What a policy drew on a benchmark, as ViLaSR's ablation counts it (arXiv 2506.09965): reflection rate, turns, boxes,
lines, crops, and why conversations ended; and, where a question has a demonstration, how well its boxes lie.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spatial_jax.data import QuestionRecord
from spatial_jax.drawing.steps import Steps, figures, follow
from spatial_jax.evals.placement import constant_iou, placement, right_boxes
from spatial_jax.evals.results import align

if TYPE_CHECKING:
    from spatial_jax.evals.generation import Sampler

_COLUMNS = (("turns", "turns"), ("box", "boxes"), ("path", "lines"), ("crop", "crops"))


def figures_of(
    sampler: Sampler, rows: Sequence[Mapping[str, Any]], records: Sequence[QuestionRecord] = ()
) -> dict[str, Any] | None:
    """Means over all answers of the rows, see `drawing.steps.figures`; None of a policy that does not draw. `records`:
    of the rows; where they have demonstrations also "box_iou" and "boxed" (see `placement`), "box_iou_constant" (of the
    best box that never looks) and "items": question id -> {"reflective", "box_iou"}, means over its answers.
    """
    if sampler.answerer.drawing is None:
        return None
    found = [_steps(sampler, row) for row in rows]
    flat = [steps for answers in found for steps in answers]
    if not flat:
        return None
    return {"answers": len(flat), **figures(flat), **_placed(found, rows, records)}


def _steps(sampler: Sampler, row: Mapping[str, Any]) -> list[Steps]:
    """What each answer of a row drew."""
    drawing = sampler.answerer.drawing
    assert drawing is not None
    return [
        follow(
            text,
            _sizes(row),
            most=drawing.pictures,
            tools=drawing.tools,
            fit=lambda size: sampler.processor.model_size(*size),
            near=drawing.near,
            cut=finish != "stop",
        )
        for text, finish in zip(row["responses"], row.get("finish") or ())
    ]


def _sizes(row: Mapping[str, Any]) -> list[tuple[int, int]]:
    return [(int(width), int(height)) for width, height in row.get("model_sizes") or ()]


def _placed(
    found: Sequence[Sequence[Steps]], rows: Sequence[Mapping[str, Any]], records: Sequence[QuestionRecord]
) -> dict[str, Any]:
    """Where boxes lie, of the questions that have demonstrations; {} where none has."""
    items, boxes, sizes, placed = dict[str, Any](), list[Any](), list[tuple[int, int]](), list[dict[str, float]]()
    for record, row, answers in zip(records, rows, found):
        seen = _sizes(row)
        if not answers or not seen or not (right := right_boxes(record, seen)):
            continue
        own = [placement(steps, right, seen) for steps in answers]
        placed += own
        items[record.question_id] = {
            "reflective": float(np.mean([steps.reflective for steps in answers])),
            "box_iou": float(np.mean([one["box_iou"] for one in own])),
        }
        boxes += right.values()
        sizes += [seen[picture] for picture, _ in right]
    if not placed:
        return {}
    means = {key: float(np.mean([one[key] for one in placed])) for key in ("box_iou", "boxed")}
    return {**means, "box_iou_constant": constant_iou(boxes, sizes), "items": items}


def drawing_text(results: Sequence[Mapping[str, Any]]) -> str:
    """The table of all results that have such figures, one row each: its benchmark, and its policy where a benchmark
    comes more than once; "" where none has.
    """
    found = [result for result in results if result.get("drawing")]
    if not found:
        return ""
    often = collections.Counter(str(result["benchmark"]) for result in found)
    drawn = list[tuple[str, dict[str, Any]]]()
    for result in found:
        name = str(result["benchmark"])
        drawn.append((name if often[name] == 1 else f"{name}: {result.get('model', '?')}", result["drawing"]))
    reasons = sorted({name for _, row in drawn for name in row if name.startswith("ended_")})
    overlaps = (
        [("box_iou", "IoU"), ("box_iou_constant", "constant")] if any("box_iou" in row for _, row in drawn) else []
    )
    head = ["drawing", "answers", "reflective", *(title for _, title in _COLUMNS), *(title for _, title in overlaps)]
    rows = [[*head, *(name.removeprefix("ended_") for name in reasons)]]
    for name, row in drawn:
        counts = [f"{row[key]:.2f}" if key in row else "-" for key, _ in _COLUMNS]
        counts += [f"{row[key]:.3f}" if key in row else "-" for key, _ in overlaps]
        shares = [f"{100 * row.get(reason, 0.0):.1f}" for reason in reasons]
        rows.append([name, str(int(row["answers"])), f"{100 * row['reflective']:.1f}", *counts, *shares])
    told = ["reflective and reasons of ending in % of the answers, the rest a mean of an answer"]
    told += ["constant: of the best box that never looks"] if overlaps else []
    return f"{align(rows)}\n({'; '.join(told)})"

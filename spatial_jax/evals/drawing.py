"""What a policy drew on a benchmark, as ViLaSR's ablation counts it (arXiv 2506.09965): reflection rate, turns, boxes,
lines, crops, and why conversations ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spatial_jax.drawing.steps import figures, follow
from spatial_jax.evals.results import align

if TYPE_CHECKING:
    from spatial_jax.evals.generation import Sampler

_COLUMNS = (("turns", "turns"), ("box", "boxes"), ("path", "lines"), ("crop", "crops"))


def figures_of(sampler: Sampler, rows: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """Means over all answers of the rows, see `drawing.steps.figures`; None of a policy that does not draw."""
    drawing = sampler.answerer.drawing
    if drawing is None:
        return None
    found = [
        follow(
            text,
            [(int(width), int(height)) for width, height in row.get("model_sizes") or ()],
            most=drawing.pictures,
            tools=drawing.tools,
            fit=lambda size: sampler.processor.model_size(*size),
            near=drawing.near,
            cut=finish != "stop",
        )
        for row in rows
        for text, finish in zip(row["responses"], row.get("finish") or ())
    ]
    return {"answers": len(found), **figures(found)} if found else None


def drawing_text(results: Sequence[Mapping[str, Any]]) -> str:
    """The table of all results that have such figures, one row a benchmark; "" where none has."""
    drawn = [(result["benchmark"], result["drawing"]) for result in results if result.get("drawing")]
    if not drawn:
        return ""
    reasons = sorted({name for _, row in drawn for name in row if name.startswith("ended_")})
    head = ["drawing", "answers", "reflective", *(title for _, title in _COLUMNS)]
    rows = [[*head, *(name.removeprefix("ended_") for name in reasons)]]
    for name, row in drawn:
        counts = [f"{row[key]:.2f}" if key in row else "-" for key, _ in _COLUMNS]
        shares = [f"{100 * row.get(reason, 0.0):.1f}" for reason in reasons]
        rows.append([name, str(int(row["answers"])), f"{100 * row['reflective']:.1f}", *counts, *shares])
    return align(rows) + "\n(reflective and reasons of ending in % of the answers, the rest a mean of an answer)"

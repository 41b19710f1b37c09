"""What the proofs' tables share: a run's curves, and a figure over seeds with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from spatial_jax.reading import parse_object


def read_rows(workdir: Path) -> list[dict[str, Any]]:
    """The rows that a run logged."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [parse_object(line) for line in lines if line.strip()]


def curve(workdir: Path, names: Sequence[str], points: int = 0) -> dict[str, list[float | None]]:
    """What a run logged of these, step by step, numbers alone; thinned to about `points` steps, 0: all."""
    rows = [row for row in read_rows(workdir) if any(isinstance(row.get(name), int | float) for name in names)]
    rows = rows[:: max(1, len(rows) // points)] if points else rows
    found = {name: [row.get(name) for row in rows] for name in names}
    return {
        "step": [row.get("step") for row in rows],
        **{k: v for k, v in found.items() if any(x is not None for x in v)},
    }


def mean_over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Mean and 95 % interval (Student's t) of independent runs, None of fewer than two."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return {"mean": mean, "interval": None}
    half = float(stdtrit(count - 1, 0.975) * np.std(values, ddof=1)) / math.sqrt(count)
    return {"mean": mean, "interval": [mean - half, mean + half]}


def figure_line(name: str, figure: Mapping[str, Any]) -> str:
    """A figure of `mean_over_seeds` as a line of text."""
    bounds = figure["interval"]
    return f"{name}: {figure['mean']:+.3f}" + (f" [{bounds[0]:+.3f}, {bounds[1]:+.3f}]" if bounds else "")

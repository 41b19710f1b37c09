"""The pass-rate map of a run: for every question that was tried, how often its answers were correct."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spatial_jax.media import natural_key
from spatial_jax.metrics.rows import read_rows
from spatial_jax.metrics.writer import is_primary


def write_pass_rates(
    workdir: str | os.PathLike, step: int, rows: Iterable[Mapping[str, Any]], *, primary: bool | None = None
) -> Path | None:
    """Writes `workdir/pass_rates/step_XXXXXX.jsonl` (atomically; process 0 only) from rows {"id", "family", "hops",
    "rate", "n", "state"}: `rate` in [0, 1] over `n` answers, `state` e.g. "active", "solved", "too hard".
    """
    if not (is_primary() if primary is None else primary):
        return None
    path = Path(workdir) / "pass_rates" / f"step_{step:06d}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    keys = ("id", "family", "hops", "rate", "n", "state")
    temporary.write_text(
        "".join(json.dumps({key: row[key] for key in keys if key in row}, ensure_ascii=False) + "\n" for row in rows),
        encoding="utf-8",
    )
    os.replace(temporary, path)
    return path


def read_pass_rate_history(
    workdir: str | os.PathLike, problems: list[str] | None = None
) -> dict[int, list[dict[str, Any]]]:
    """step -> rows, steps ascending; lines that are no rows are left out and counted in `problems`."""
    out: dict[int, list[dict[str, Any]]] = {}
    for path in sorted((Path(workdir) / "pass_rates").glob("step_*.jsonl"), key=natural_key):
        found, damaged = read_rows(path)
        rows = []
        for row in found:
            try:
                rows.append({**row, "rate": float(row["rate"]), "family": str(row.get("family", ""))})
            except (ValueError, KeyError, TypeError):
                damaged += 1
        if damaged and problems is not None:
            problems.append(f"{path}: {damaged} lines are no pass rates; left out")
        number = path.stem.split("_")[1]
        if rows and number.isdigit():
            out[int(number)] = rows
    return out

"""Numbers out of rows of metrics, whichever of a metric's names a row has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from spatial_jax.metrics.names import NAMES, canonical, metric_name


def value_of(row: Mapping[str, Any], key: str) -> float:
    """The finite number that `row` holds under `key` or one of its aliases; NaN when there is none."""
    entry = metric_name(key)
    for name in (entry.key, *entry.aliases) if entry else (key,):
        value = row.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value) if math.isfinite(value) else math.nan
    return math.nan


def below(row: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """Numbers of `row` whose name hangs below `prefix`: below(row, "time") -> {"rollout": 1.2, ...}; logged names
    themselves left out.
    """
    start = prefix + "/"
    return {
        k[len(start) :]: float(v)
        for k, v in row.items()
        if k.startswith(start) and metric_name(k) is None and isinstance(v, (int, float)) and not isinstance(v, bool)
    }


def ordered_keys(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Canonical names that occur in `rows`: the logged set first in its own order, then the others sorted."""
    seen = {canonical(key) for row in rows for key in row if key not in ("step", "time", "phase")}
    known = [entry.key for entry in NAMES if entry.key in seen]
    return known + sorted(seen - set(known))

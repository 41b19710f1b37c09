"""What was not asked because of a margin: how often, for each family, and which value of the margin would have let it
in.
"""

from __future__ import annotations

import collections
from typing import Any

KEPT = 4096  # values a margin and family that are kept; beyond it every other one is dropped, again and again


class Refusals:
    """Counts of refused candidates by family and margin. `family`: whose candidates are being looked at."""

    def __init__(self) -> None:
        self.family = ""
        self.counts: collections.Counter[tuple[str, str]] = collections.Counter()
        self._limits: dict[str, float] = {}
        self._needed: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
        self._every: collections.Counter[tuple[str, str]] = collections.Counter()

    def add(self, margin: str, limit: float, needed: float) -> None:
        """One refusal: the setting `margin` is at `limit`, and at `needed` the candidate would have passed."""
        key = (self.family, margin)
        self.counts[key] += 1
        self._limits[margin] = limit
        if self.counts[key] % 2 ** self._every[key] == 0:
            self._needed[key].append(needed)
            if len(self._needed[key]) > KEPT:
                self._needed[key] = self._needed[key][::2]
                self._every[key] += 1

    def report(self) -> dict[str, dict[str, dict[str, float]]]:
        """family -> margin -> count, limit, and the values that would let half and nine tenths of them past it."""
        out: dict[str, dict[str, dict[str, float]]] = {}
        for (name, margin), count in sorted(self.counts.items(), key=lambda item: (item[0][0], -item[1])):
            limit = self._limits[margin]
            values = sorted(self._needed[name, margin], key=lambda v: abs(v - limit))
            row: dict[str, float] = {"count": count, "limit": limit}
            if values:
                row |= {"half": values[len(values) // 2], "most": values[int(0.9 * (len(values) - 1))]}
            out.setdefault(name, {})[margin] = {k: float(f"{v:.3g}") for k, v in row.items()}
        return out


def refusal_lines(report: dict[str, Any]) -> list[str]:
    """One line a family: what each margin refused, most first, and what would let half and most of it in."""
    lines = []
    for name, margins in report.items():
        parts = []
        for margin, row in sorted(margins.items(), key=lambda item: -item[1]["count"]):
            text = f"{row['count']:.0f} by margins.{margin}={row['limit']:g}"
            if "half" in row:
                text += f" (half pass at {row['half']:g}, nine tenths at {row['most']:g})"
            parts.append(text)
        lines.append(f"refused {name}: " + "; ".join(parts))
    return lines

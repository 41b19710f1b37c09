"""Tables, and values with their intervals drawn as bars."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from spatial_jax.pages.html import Child, Html, tag
from spatial_jax.pages.numbers import short


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval (NaN bounds when there is none)."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def text(self, digits: int = 2) -> str:
        if not math.isfinite(self.value):
            return "–"
        return f"{self.value:.{digits}f}"

    def interval(self, digits: int = 2) -> str:
        return (
            f"{self.low:.{digits}f} to {self.high:.{digits}f}"
            if math.isfinite(self.low) and math.isfinite(self.high)
            else ""
        )

    def overlaps(self, other: Estimate) -> bool:
        """True unless both intervals are known and apart."""
        return not (self.low > other.high or self.high < other.low)


def table(
    columns: Sequence[Child],
    rows: Sequence[Sequence[Child]],
    *,
    numeric: Sequence[int] = (),
    caption: str = "",
    class_: str = "",
    totals: int = 0,
    sort: bool = True,
) -> Html:
    """A table; columns in `numeric` are right-aligned. The first `totals` rows stand for all others and stay on top
    when the reader sorts by a column's head. On a narrow screen it scrolls under its first column.
    """

    def style(i: int) -> str | None:
        return "num" if i in numeric else None

    head = tag(
        "thead", tag("tr", [tag("th", column, class_=style(i), scope="col") for i, column in enumerate(columns)])
    )
    body = tag(
        "tbody",
        [
            tag(
                "tr",
                [tag("td", cell, class_=style(i)) for i, cell in enumerate(row)],
                class_=place < totals and "total",
            )
            for place, row in enumerate(rows)
        ],
    )
    named = f"{class_} sortable".strip() if sort and len(rows) - totals > 1 else class_
    return tag(
        "div",
        tag("table", tag("caption", caption) if caption else None, head, body, class_=named or None),
        class_="scroll",
    )


def interval_bar(
    estimates: Sequence[tuple[str, Estimate, int]],
    *,
    low: float = 0.0,
    high: float = 1.0,
    mark: float = math.nan,
    mark_title: str = "",
) -> Html:
    """A track from `low` to `high` with one row of dot and interval per (label, estimate, palette index), and a
    vertical mark (a baseline).
    """
    step, width = 9, 200.0

    def at(value: float) -> str:
        return f"{8 + (min(high, max(low, value)) - low) / (high - low) * (width - 16):.1f}"

    height = step * max(1, len(estimates)) + 6
    parts: list[Child] = [
        tag("line", x1=at(t), x2=at(t), y1=0, y2=height, class_="track")
        for t in [low + (high - low) * i / 4 for i in range(5)]
    ]
    if math.isfinite(mark):
        parts.append(
            tag(
                "line",
                tag("title", f"{mark_title} {short(mark)}"),
                x1=at(mark),
                x2=at(mark),
                y1=0,
                y2=height,
                class_="mark",
            )
        )
    for i, (label, estimate, color) in enumerate(estimates):
        if not math.isfinite(estimate.value):
            continue
        y = 3 + step * (i + 0.5)
        title = f"{label}: {estimate.text(3)}" + (f" ({estimate.interval(3)})" if estimate.interval() else "")
        span = (
            [tag("line", x1=at(estimate.low), x2=at(estimate.high), y1=y, y2=y, class_=f"span c{color % 8}")]
            if estimate.interval()
            else []
        )
        parts.append(
            tag(
                "g",
                tag("title", title),
                span,
                tag("circle", cx=at(estimate.value), cy=y, r=3.4, class_=f"c{color % 8}"),
            )
        )
    return tag(
        "svg",
        parts,
        viewBox=f"0 0 {width:.0f} {height}",
        class_="interval",
        role="img",
        aria_label="; ".join(f"{label} {estimate.text()}" for label, estimate, _ in estimates),
    )


def estimate_cell(estimate: Estimate, digits: int = 2) -> Html:
    """A value with its interval in small type below."""
    return tag(
        "span",
        tag("b", estimate.text(digits)),
        tag("small", estimate.interval(digits)) if estimate.interval() else None,
        class_="estimate",
    )


def change_cell(before: Estimate, after: Estimate) -> Html:
    """after - before, coloured only when the intervals are apart."""
    if not (math.isfinite(before.value) and math.isfinite(after.value)):
        return tag("span", "–", class_="quiet")
    change = after.value - before.value
    clear = bool(before.interval() and after.interval()) and not after.overlaps(before)
    kind = ("good" if change > 0 else "bad") if clear else "quiet"
    return tag(
        "span",
        f"{change:+.2f}",
        class_=f"change {kind}",
        title="intervals apart" if clear else "intervals overlap: no clear change",
    )

"""Line plots and bars as inline SVG and HTML; values appear on hover (a few lines of script) and as titles."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence

from spatial_jax.pages.html import Html, join, tag
from spatial_jax.pages.numbers import short

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 350, 40, 8, 8, 22
MAX_POINTS = 300


@dataclasses.dataclass(frozen=True)
class Series:
    """One line. `color` is an index into the page's palette. Non-finite values break the line. `low` and `high`, one
    value an x, shade an interval about it where both are finite.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: int = 0
    low: Sequence[float] = ()
    high: Sequence[float] = ()


FARTHEST = 1e300  # where an axis ends at most: beyond, its own arithmetic would overflow
FARTHEST_DECADE = 300.0  # the same of a logarithmic axis, in both directions
SMALLEST = 5e-324  # what a smoothed positive value may not fall below


@dataclasses.dataclass(frozen=True)
class Band:
    """A shaded span of x with a title, e.g. an alarm."""

    start: float
    stop: float
    title: str


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that cover most of [low, high]."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def smooth_values(values: Sequence[float], weight: float) -> list[float]:
    """Exponential moving average without the bias towards its start; non-finite values are passed through and
    skipped.
    """
    out, total, norm = [], 0.0, 0.0
    for value in values:
        if not math.isfinite(value):
            out.append(math.nan)
            continue
        total, norm = weight * total + (1 - weight) * value, weight * norm + (1 - weight)
        out.append(total / norm)
    return out


def thin(x: Sequence[float], y: Sequence[float], limit: int = MAX_POINTS) -> tuple[list[float], list[float]]:
    """At most `limit` points: means of neighbours (of the finite ones)."""
    if len(x) <= limit:
        return list(x), list(y)
    xs, ys = [], []
    for i in range(limit):
        a, b = i * len(x) // limit, (i + 1) * len(x) // limit
        finite = [v for v in y[a:b] if math.isfinite(v)]
        xs.append(sum(x[a:b]) / (b - a))
        ys.append(sum(finite) / len(finite) if finite else math.nan)
    return xs, ys


@dataclasses.dataclass(frozen=True)
class _Axes:
    """Maps data to the drawing."""

    x0: float
    x1: float
    y0: float
    y1: float
    height: int
    log: bool

    def px(self, x: float) -> float:
        return LEFT + (x - self.x0) / ((self.x1 - self.x0) or 1.0) * (WIDTH - LEFT - RIGHT)

    def py(self, y: float) -> float:
        y = math.log10(max(y, SMALLEST)) if self.log else y
        return self.height - BOTTOM - (y - self.y0) / ((self.y1 - self.y0) or 1.0) * (self.height - TOP - BOTTOM)


def line_plot(
    series: Sequence[Series],
    *,
    title: str = "",
    note: str = "",
    unit: str = "",
    x_label: str = "step",
    log: bool = False,
    smooth: float = 0.0,
    bands: Sequence[Band] = (),
    y_min: float | None = None,
    y_max: float | None = None,
    height: int = 160,
) -> Html:
    """A figure with one line a series: the raw values faint, their moving average (weight `smooth` in [0, 1)) strong.
    `y_min` and `y_max` widen the axis to that value at least; `log` is dropped where values are not positive.
    """
    drawn = [
        (s, *thin(s.x, smooth_values(s.y, smooth) if smooth else s.y), *thin(s.x, s.y)) for s in series if len(s.x)
    ]
    finite = [v for _, _, _, _, raw in drawn for v in raw if math.isfinite(v)]
    if not finite:
        return tag(
            "figure", tag("figcaption", tag("b", title)), tag("p", "no values yet", class_="quiet"), class_="plot"
        )
    log = log and min(finite) > 0
    low, high = _range(finite, log, y_min, y_max)
    xs = [v for _, x, *_ in drawn for v in x]
    axes = _Axes(min(xs), max(xs), low, high, height, log)
    shades = [
        tag(
            "rect",
            tag("title", band.title),
            x=f"{axes.px(max(band.start, axes.x0)):.1f}",
            y=TOP,
            height=height - TOP - BOTTOM,
            class_="band",
            width=f"{max(3.0, axes.px(min(band.stop, axes.x1)) - axes.px(max(band.start, axes.x0))):.1f}",
        )
        for band in bands
    ]
    lines: list[Html] = [_shade(s, axes) for s, *_ in drawn if s.low and s.high]
    for s, x, y, raw_x, raw in drawn:
        if smooth and len(raw) > 3:
            lines.append(_path(raw_x, raw, axes, f"raw c{s.color % 8}"))
        lines.append(_path(x, y, axes, f"line c{s.color % 8}"))
    points = {
        "x": [axes.x0, axes.x1],
        "p": [LEFT, WIDTH - RIGHT],
        "y": [low, high],
        "q": [height - BOTTOM, TOP],
        "log": log,
        "unit": unit,
        "xl": x_label,
        "s": [
            {"l": s.label, "c": s.color % 8, "x": [_round(v) for v in x], "y": [_round(v) for v in y]}
            for s, x, y, _, _ in drawn
        ],
    }
    drawing = tag(
        "svg",
        shades,
        _grid(axes, unit, x_label),
        lines,
        tag("g", class_="hover"),
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
        aria_label=title,
        tabindex=0,
        data_plot=json.dumps(points, separators=(",", ":")),
    )
    last = [f"{short(next((v for v in reversed(y) if math.isfinite(v)), math.nan), unit)}" for _, _, y, _, _ in drawn]
    head = tag(
        "figcaption",
        tag("b", title),
        tag("span", last[0], class_="last") if len(drawn) == 1 else None,
        tag("small", note) if note else None,
    )
    return tag("figure", head, drawing, class_="plot")


def legend(labels: Sequence[str]) -> Html:
    """Colour keys of a plot's series, in palette order."""
    return tag(
        "div", [tag("span", tag("i", class_=f"key c{i % 8}"), label) for i, label in enumerate(labels)], class_="legend"
    )


def stacked_bars(
    labels: Sequence[str], parts: Sequence[tuple[str, Sequence[float]]], *, title: str = "", unit: str = "s"
) -> Html:
    """Horizontal bars of parts, one a label; `parts` are (name, value a label). For seconds a phase."""
    totals = [sum(values[i] for _, values in parts) for i in range(len(labels))]
    widest = max(totals, default=0.0) or 1.0
    rows = [
        tag(
            "div",
            tag("span", label, class_="bar-label"),
            tag(
                "div",
                [
                    tag(
                        "i",
                        class_=f"c{k % 8}",
                        style=f"width:{100 * values[i] / widest:.2f}%",
                        title=f"{name}: {short(values[i])} {unit}",
                    )
                    for k, (name, values) in enumerate(parts)
                ],
                class_="bar",
            ),
            tag("span", f"{short(totals[i])} {unit}", class_="bar-value"),
            class_="bar-row",
        )
        for i, label in enumerate(labels)
    ]
    return tag(
        "figure",
        tag("figcaption", tag("b", title)) if title else None,
        tag("div", rows, class_="bars"),
        legend([n for n, _ in parts]),
    )


def bar_list(
    items: Sequence[tuple[str, float]], *, value: Callable[[float], str] = short, kind: str = "", full: float = 0.0
) -> Html:
    """Horizontal bars, the longest is the largest value (or `full` where that is larger). Items are (label, value)."""
    widest = max((abs(v) for _, v in items), default=0.0) or 1.0
    widest = max(widest, full)
    rows = [
        tag(
            "div",
            tag("span", label, class_="bar-label", title=label),
            tag("div", tag("i", style=f"width:{100 * abs(v) / widest:.2f}%"), class_="bar"),
            tag("span", value(v), class_="bar-value"),
            class_="bar-row",
        )
        for label, v in items
    ]
    return tag("div", rows, class_=f"bars {kind}".strip())


def histogram(
    values: Sequence[float],
    *,
    bins: int = 20,
    low: float | None = None,
    high: float | None = None,
    title: str = "",
    unit: str = "",
    height: int = 90,
) -> Html:
    """Counts of finite values in equal bins."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return Html("")
    a, b = min(finite) if low is None else low, max(finite) if high is None else high
    a, b = (min(max(v, -FARTHEST), FARTHEST) for v in (a, b))
    if (b - a) / bins < 1e-300:
        b = a + max(1.0, abs(a) * 1e-6)
    counts = [0] * bins
    for v in finite:
        counts[min(bins - 1, max(0, int((v - a) / (b - a) * bins)))] += 1
    step, unit_height = 240 / bins, (height - 18) / max(counts)
    bars = [
        tag(
            "rect",
            tag("title", f"{short(a + (b - a) * i / bins, unit)} to {short(a + (b - a) * (i + 1) / bins, unit)}: {n}"),
            x=f"{i * step + 0.5:.2f}",
            width=f"{step - 1:.2f}",
            y=f"{height - 16 - n * unit_height:.2f}",
            height=f"{n * unit_height:.2f}",
            class_="c0",
        )
        for i, n in enumerate(counts)
        if n
    ]
    axis = [
        tag("text", short(a, unit), x=0, y=height - 3),
        tag("text", short(b, unit), x=240, y=height - 3, text_anchor="end"),
    ]
    drawing = tag("svg", bars, axis, viewBox=f"0 0 240 {height}", class_="histogram")
    return tag("figure", tag("figcaption", tag("b", title)) if title else None, drawing, class_="plot small")


def heatmap(
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    values: Sequence[Sequence[float]],
    *,
    unit: str = "%%",
    caption: str = "",
) -> Html:
    """Rows by columns of values in [0, 1] as coloured cells; NaN cells stay empty."""
    rows = [
        tag(
            "tr",
            tag("th", label, scope="row"),
            [
                (
                    tag(
                        "td",
                        tag("span", short(v, unit)),
                        style=f"--v:{min(1.0, max(0.0, v)):.3f}",
                        class_="cell" + (" high" if v > 0.55 else ""),
                        title=f"{label}, {column_labels[j]}: {short(v, unit)}",
                    )
                    if math.isfinite(v)
                    else tag("td", class_="cell empty")
                )
                for j, v in enumerate(row)
            ],
        )
        for label, row in zip(row_labels, values, strict=True)
    ]
    head = tag("thead", tag("tr", tag("th"), [tag("th", label, scope="col") for label in column_labels]))
    return tag(
        "div",
        tag("table", tag("caption", caption) if caption else None, head, tag("tbody", rows), class_="heatmap"),
        class_="scroll",
    )


def _range(values: Sequence[float], log: bool, y_min: float | None, y_max: float | None) -> tuple[float, float]:
    ordered = sorted(values)
    # A single wild step must not flatten the rest: the axis covers 99 % of the points, the line is clipped.
    low, high = (
        (ordered[0], ordered[-1])
        if len(ordered) < 50
        else (ordered[len(ordered) // 200], ordered[-1 - len(ordered) // 200])
    )
    low, high = min(low, low if y_min is None else y_min), max(high, high if y_max is None else y_max)
    if log:
        low, high = math.log10(low), math.log10(high)
    end = FARTHEST_DECADE if log else FARTHEST
    low, high = (min(max(v, -end), end) for v in (low, high))
    pad = 0.06 * (high - low) or (0.5 if log else abs(high) * 0.1) or 0.5
    return (low if y_min is not None and low == y_min else low - pad), high + pad


def _grid(axes: _Axes, unit: str, x_label: str) -> Html:
    if axes.log:
        decades = range(max(-307, math.floor(axes.y0)), min(307, math.ceil(axes.y1)) + 1)
        factors = (1,) if axes.y1 - axes.y0 > 2 else (1, 2, 5)
        ticks = [t for k in decades for f in factors if axes.y0 <= math.log10(t := f * 10.0**k) <= axes.y1][:7]
        ticks = ticks or [10.0 ** min(FARTHEST_DECADE, max(-FARTHEST_DECADE, axes.y0))]
    else:
        ticks = nice_ticks(axes.y0, axes.y1)
    marks = [
        join(
            tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{axes.py(t):.1f}", y2=f"{axes.py(t):.1f}"),
            tag("text", short(t, unit), x=LEFT - 6, y=f"{axes.py(t) + 3.5:.1f}", text_anchor="end"),
        )
        for t in ticks
    ]
    steps = [t for t in nice_ticks(axes.x0, axes.x1, 5) if abs(t - round(t)) < 1e-9] or [axes.x0]
    marks += [
        tag("text", short(t), x=f"{axes.px(t):.1f}", y=axes.height - 8, text_anchor="middle")
        for t in steps
        if axes.px(t) < WIDTH - 44
    ]
    marks.append(tag("text", x_label, x=WIDTH - RIGHT, y=axes.height - 8, text_anchor="end", class_="axis-name"))
    return tag("g", marks, class_="grid")


def _path(x: Sequence[float], y: Sequence[float], axes: _Axes, class_: str) -> Html:
    """A broken line through the finite points; a lone point becomes a dot."""
    pieces: list[str] = []
    pen = False
    top, bottom = TOP - 1, axes.height - BOTTOM + 1
    for xi, yi in zip(x, y, strict=True):
        if not math.isfinite(yi):
            pen = False
            continue
        pieces.append(f"{'L' if pen else 'M'}{axes.px(xi):.1f} {min(bottom, max(top, axes.py(yi))):.1f}")
        pen = True
    return tag("path", d="".join(pieces) + ("h.01" if len(pieces) == 1 else ""), class_=class_)


def _shade(series: Series, axes: _Axes) -> Html:
    """The area between a series' bounds, as far as the axis shows it."""
    rows = [
        (x, a, b)
        for x, a, b in zip(series.x, series.low, series.high, strict=True)
        if math.isfinite(a) and math.isfinite(b)
    ]
    floor = 10.0 ** max(-FARTHEST_DECADE, axes.y0) if axes.log else axes.y0
    edge = [(x, high) for x, _, high in rows] + [(x, low) for x, low, _ in reversed(rows)]
    at = [f"{axes.px(x):.1f} {min(axes.height - BOTTOM, max(TOP, axes.py(max(y, floor)))):.1f}" for x, y in edge]
    return tag(
        "path",
        d="M" + "L".join(at) + "Z" if at else "M0 0",
        style=f"fill:var(--c{series.color % 8});stroke:none;opacity:.15",
    )


def _round(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None

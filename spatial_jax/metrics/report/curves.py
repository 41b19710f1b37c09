"""Curves, timings, pass-rate map and alarms of one phase, for one run or several laid over each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from spatial_jax.metrics.alarms import AlarmSpan, scan_alarms
from spatial_jax.metrics.facts import run_facts, steady_lines
from spatial_jax.metrics.logged import below, ordered_keys, value_of
from spatial_jax.metrics.names import GROUPS, canonical, metric_name
from spatial_jax.metrics.report.runs import Phase, flatten, shown_value, title_of
from spatial_jax.pages import (
    Band,
    Child,
    Html,
    Series,
    bar_list,
    callout,
    chip,
    details,
    heatmap,
    join,
    legend,
    line_plot,
    stacked_bars,
    table,
    tag,
)

Rows = Sequence[Mapping[str, Any]]
MAP_COLUMNS = 12
PREFIXES = ("time/", "pass_rate/", "reward/")
EXACT = (
    "learning_rate",
    "time/step",
    "length/max",
    "programs",
    "reference/age",
    "update_skipped",
)  # not noise: drawn as they are


def curves(phases: Sequence[tuple[str, Phase]]) -> Html:
    """All curves of a phase; `phases` are (run's label, phase), one colour a run."""
    named = [(label, phase.rows) for label, phase in phases]
    keys = ordered_keys([row for _, rows in named for row in rows])
    spans = phase_alarms(phases[0][1]) if len(phases) == 1 else []
    facts = [run_facts(phase.config, phase.rows).steady for _, phase in phases]
    steady = {key: reason for key, reason in facts[0].items() if all(key in other for other in facts)}
    parts: list[Child] = [legend([label for label, _ in named])] if len(named) > 1 else []
    grouped: dict[str, list[str]] = {}
    for key in keys:
        entry = metric_name(key)
        if entry is None and key.startswith(PREFIXES):
            continue
        grouped.setdefault(entry.group if entry else "other", []).append(key)
    for group, title in GROUPS.items():
        plots = [
            plot
            for key in grouped.get(group, [])
            if (plot := _plot(key, named, spans, steady.get(key, ""))) is not None
        ]
        if group == "learning" and len(named) == 1:
            plots += family_plots(named[0][1])
        if not plots:
            continue
        body = tag("div", plots, class_="plots")
        parts += [details(title, body, class_="more")] if group == "other" else [tag("h3", title), body]
    return tag("div", parts)


def phase_alarms(phase: Phase) -> list[AlarmSpan]:
    """The alarms of a phase, as its settings let them mean something."""
    return scan_alarms(phase.rows, facts=run_facts(phase.config, phase.rows))


def _plot(key: str, named: Sequence[tuple[str, Rows]], spans: Sequence[AlarmSpan], steady: str = "") -> Html | None:
    """`steady`: why the metric cannot move in these runs, which is said in place of what it means."""
    entry = metric_name(key)
    series = []
    for color, (label, rows) in enumerate(named):
        points = [(float(row["step"]), value_of(row, key)) for row in rows]
        points = [point for point in points if math.isfinite(point[1])]
        if points:
            series.append(Series(label, [x for x, _ in points], [y for _, y in points], color))
    if not series:
        return None
    count = max(len(s.x) for s in series)
    if count < 2 and not entry:
        return None
    unit = "%" if entry and entry.unit == "%" else ("s" if entry and entry.unit == "s" else "")
    bands = [
        Band(span.first, span.last, f"{span.name}: {span.worst.message}") for span in spans if _concerns(span.name, key)
    ]
    smooth = 0.0 if count < 12 or key in EXACT else 0.85
    return line_plot(
        series,
        title=(entry.label if entry else key) + (" (cannot move)" if steady else ""),
        note=f"Cannot move in this run: {steady}." if steady else entry.note if entry else "",
        unit=unit,
        smooth=smooth,
        log=bool(entry and entry.log_scale),
        bands=bands,
        y_min=0.0 if unit == "%" else None,
    )


def _concerns(alarm: str, key: str) -> bool:
    words = {
        "entropy collapse": "entropy",
        "format collapse": "format",
        "length explosion": "length",
        "no gradient": "no_gradient",
        "sampler gap out of band": "gap",
        "not finite": "loss",
    }
    return words.get(alarm, "?") in key


def family_plots(rows: Rows) -> list[Html]:
    """Plots of reward a family, six lines each, smoothed."""
    families = sorted({name for row in rows for name in below(row, "reward") if name not in ("std", "min", "max")})
    if not families:
        return []
    series = []
    for color, family in enumerate(families):
        points = [(float(row["step"]), below(row, "reward").get(family, math.nan)) for row in rows]
        points = [point for point in points if math.isfinite(point[1])]
        if points:
            series.append(Series(family, [x for x, _ in points], [y for _, y in points], color))
    # Several noisy lines are readable only smoothed; the faint raw ones are left out.
    chunks = [series[i : i + 6] for i in range(0, len(series), 6)]
    figures = []
    for chunk in chunks:
        title = "Reward by family" + (f": {chunk[0].label} to {chunk[-1].label}" if len(chunks) > 1 else "")
        lines = [Series(s.label, s.x, _moving(s.y), i) for i, s in enumerate(chunk)]
        figures.append(tag("div", line_plot(lines, title=title), legend([s.label for s in chunk])))
    return figures


def _moving(values: Sequence[float], width: int = 15) -> list[float]:
    return [
        sum(values[max(0, i + 1 - width) : i + 1]) / len(values[max(0, i + 1 - width) : i + 1])
        for i in range(len(values))
    ]


def timings(phases: Sequence[tuple[str, Phase]]) -> Html | None:
    """Mean seconds a step by part, one bar a phase or run. None when nothing was timed."""
    means = []
    for label, phase in phases:
        rows = phase.rows[1:] or phase.rows  # the first step compiles
        seconds: dict[str, float] = {}
        for row in rows:
            for name, value in below(row, "time").items():
                if math.isfinite(value):
                    seconds[name] = seconds.get(name, 0.0) + value / len(rows)
        if seconds:
            means.append((label, seconds))
    if not means:
        return None
    total: dict[str, float] = {}
    for _, seconds in means:
        for name, value in seconds.items():
            total[name] = total.get(name, 0.0) + value
    names = sorted(total, key=lambda name: -total[name])[:8]
    return stacked_bars(
        [label for label, _ in means],
        [(name, [seconds.get(name, 0.0) for _, seconds in means]) for name in names],
        title="Mean seconds a step (without the first, which compiles)",
    )


def pass_rate_map(phase: Phase) -> Html | None:
    """Pass rate by family over the course of training, and how the questions' pass rates are spread now. None when
    neither was logged.
    """
    parts: list[Child] = []
    rows = [row for row in phase.rows if below(row, "pass_rate")]
    families = sorted({name for row in rows for name in below(row, "pass_rate")})
    if families:
        count = min(MAP_COLUMNS, len(rows))
        chunks = [rows[i * len(rows) // count : (i + 1) * len(rows) // count] for i in range(count)]
        values = [
            [_mean([below(row, "pass_rate").get(family, math.nan) for row in chunk]) for chunk in chunks]
            for family in families
        ]
        parts.append(
            heatmap(
                families,
                [str(chunk[-1]["step"]) for chunk in chunks],
                values,
                caption="Share of correct answers, by family and step of training.",
            )
        )
    if phase.pass_rates:
        step, records = list(phase.pass_rates.items())[-1]
        parts.append(_histogram(step, records))
    return tag("div", parts) if parts else None


def _histogram(step: int, records: Sequence[Mapping[str, Any]]) -> Html:
    edges = (
        ("never", 0.0, 0.0),
        ("below ¼", 0.0, 0.25),
        ("¼ to ½", 0.25, 0.5),
        ("½ to ¾", 0.5, 0.75),
        ("above ¾", 0.75, 1.0),
        ("always", 1.0, 1.0),
    )

    def column(rate: float) -> int:
        if rate <= 0.0:
            return 0
        return 5 if rate >= 1.0 else 1 + next(i for i, (_, _, high) in enumerate(edges[1:5]) if rate <= high)

    families = sorted({str(record.get("family") or "all") for record in records})
    counts = {family: [0] * 6 for family in families}
    for record in records:
        counts[str(record.get("family") or "all")][column(record["rate"])] += 1
    useless = sum(c[0] + c[5] for c in counts.values())
    values = [[n / sum(counts[family]) for n in counts[family]] for family in families]
    states = [str(record["state"]) for record in records if record.get("state")]
    by_state = sorted(((state, float(states.count(state))) for state in set(states)), key=lambda item: -item[1])
    return tag(
        "div",
        heatmap(
            [f"{family} ({sum(counts[family])})" for family in families],
            [name for name, _, _ in edges],
            values,
            caption=f"How often each question was solved, as known at step {step}: share of a family's questions.",
        ),
        tag(
            "p",
            f"{useless} of {len(records)} questions are solved always or never; their groups give no gradient.",
            class_="quiet",
        ),
        details("By state of the curriculum", bar_list(by_state)) if by_state else None,
    )


def alarm_list(spans: Sequence[AlarmSpan], last_step: int) -> Html:
    """One callout a kind of alarm with all its spans, the ones that still hold first."""
    if not spans:
        return callout(
            "good",
            "No alarm",
            tag("p", "Entropy, format, length, gradient share and sampler gap stayed in their bands."),
        )
    kinds: dict[str, list[AlarmSpan]] = {}
    for span in spans:
        kinds.setdefault(span.name, []).append(span)
    boxes = []
    for name, found in sorted(kinds.items(), key=lambda item: (-item[1][-1].last, item[1][0].first)):
        worst = max((span.worst for span in found), key=lambda alarm: abs(alarm.value - alarm.limit))
        still = found[-1].last >= last_step
        chips = [chip(_when(span, last_step)) for span in found[:5]] + (
            [chip(f"{len(found) - 5} more")] if len(found) > 5 else []
        )
        boxes.append(
            callout(
                "bad" if still else "warn",
                name[:1].upper() + name[1:],
                tag("p", f"{worst.message[:1].upper()}{worst.message[1:]}. ", [join(c, " ") for c in chips]),
                tag("p", worst.advice),
            )
        )
    return tag("div", boxes)


def _when(span: AlarmSpan, last_step: int) -> str:
    where = f"step {span.first}" if span.first == span.last else f"steps {span.first} to {span.last}"
    return where + (" (still on)" if span.last >= last_step else "")


def explain(phase: Phase) -> list[str]:
    """Sentences that keep a reader from misreading the curves."""
    out = []
    rows = phase.rows
    shares = [value_of(row, "group/no_gradient") for row in rows[-50:]]
    share = _mean(shares)
    if math.isfinite(share):
        out.append(
            f"Over the last {len(shares)} steps {share:.0%} of the groups were rewarded all the same and taught"
            " nothing."
        )
    first = next((value_of(row, "loss") for row in rows if math.isfinite(value_of(row, "loss"))), math.nan)
    if any(canonical(key) == "reward/mean" for row in rows[:1] for key in row) and abs(first) < 1e-3:
        out.append(
            "The loss of GRPO is about 0 at the first step by construction: advantages sum to zero and the ratio is"
            " one."
        )
    out += [line + "." for line in steady_lines(run_facts(phase.config, rows), ordered_keys(rows[:50]))]
    skipped = sum(1 for row in rows if any(isinstance(v, float) and not math.isfinite(v) for v in row.values()))
    if skipped:
        out.append(f"{skipped} steps hold a value that is no number.")
    return out


def config_block(phase: Phase) -> Html | None:
    """The phase's whole configuration, folded."""
    if not phase.config:
        return None
    rows = [[tag("code", key), tag("code", shown_value(value))] for key, value in flatten(phase.config).items()]
    return details(f"Configuration of {title_of(phase.name)} ({len(rows)} keys)", table(["key", "value"], rows))


def _mean(values: Sequence[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return sum(finite) / len(finite) if finite else math.nan

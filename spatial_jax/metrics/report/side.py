"""Several runs beside one another: what each took, where its metrics stand at its end, what it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from spatial_jax.metrics.figures import duration, format_value
from spatial_jax.metrics.logged import value_of
from spatial_jax.metrics.names import metric_name
from spatial_jax.metrics.report.curves import phase_alarms
from spatial_jax.metrics.report.results import Compare, number, overall
from spatial_jax.metrics.report.runs import Evaluation, Phase, Run, title_of
from spatial_jax.pages import Child, Html, chip, estimate_cell, join, table, tag

AT_THE_END = ("reward/mean", "accuracy", "loss", "kl/reference", "entropy", "length/mean", "group/no_gradient")
LAST = 0.1  # share of a phase's rows that its end is the mean of


def side_by_side(runs: Sequence[Run], compare: Compare | None = None) -> Html:
    """Two tables, a row a run: its training, and its last evaluations with the paired difference to the first run's."""
    return tag("div", [part for part in (_training(runs), _evaluations(runs, compare)) if part])


def _training(runs: Sequence[Run]) -> Html | None:
    phases = [(run, phase) for run in runs for phase in run.phases if phase.rows]
    if not phases:
        return None
    several = any(len(run.phases) > 1 for run in runs)
    ends = [[_end(phase, key) for key in AT_THE_END] for _, phase in phases]
    shown = [i for i in range(len(AT_THE_END)) if any(math.isfinite(end[i]) for end in ends)]
    rows: list[list[Child]] = []
    for (run, phase), end in zip(phases, ends):
        names = [span.name for span in phase_alarms(phase)]
        alarms = [chip(name, "warn") for name in dict.fromkeys(names)]
        head: list[Child] = [run.label, title_of(phase.name)] if several else [run.label]
        figures = [format_value(end[i], _unit(AT_THE_END[i])) if math.isfinite(end[i]) else "–" for i in shown]
        took = tag("span", duration(phase.seconds)) if phase.seconds else "–"
        rows.append([*head, f"{phase.steps:,}", took, *figures, join(*alarms) if alarms else "none"])
    heads: list[Child] = ["run", "phase"] if several else ["run"]
    numeric = range(len(heads), len(heads) + 2 + len(shown))
    heads += ["steps", "time", *(_label(AT_THE_END[i]) for i in shown), "alarms"]
    note = f"Metrics are means of the last {LAST:.0%} of a phase's rows."
    return join(table(heads, rows, numeric=numeric), tag("p", tag("small", note)))


def _end(phase: Phase, key: str) -> float:
    values = [v for v in (value_of(row, key) for row in phase.rows) if math.isfinite(v)]
    tail = values[-max(1, int(len(values) * LAST)) :]
    return sum(tail) / len(tail) if tail else math.nan


def _label(key: str) -> str:
    entry = metric_name(key)
    return entry.label if entry else key


def _unit(key: str) -> str:
    entry = metric_name(key)
    return entry.unit if entry else ""


def _evaluations(runs: Sequence[Run], compare: Compare | None) -> Html | None:
    """The last evaluation of each run in each group that at least one of them has."""
    last = [{e.group: e for e in run.evaluations} for run in runs]
    groups = list(dict.fromkeys(group for found in last for group in found))
    if not groups:
        return None
    rows: list[list[Child]] = []
    for run, found in zip(runs, last):
        cells: list[Child] = [run.label]
        for group in groups:
            entry, first = found.get(group), last[0].get(group)
            cells.append(estimate_cell(overall(entry.result, "reward")) if entry else "–")
            cells.append(_against(first, entry, compare) if run is not runs[0] else "")
        rows.append(cells)
    several = len({benchmark for benchmark, _, _ in groups}) > 1
    heads: list[Child] = ["run"]
    for benchmark, _, kind in groups:
        heads += [f"{benchmark + ', ' if several else ''}{kind or 'mean reward'}", "against the first"]
    note = f"Mean reward of each run's last evaluation; against {runs[0].label} on the questions that both were asked."
    return join(table(heads, rows, numeric=range(1, len(heads))), tag("p", tag("small", note)))


def _against(first: Evaluation | None, entry: Evaluation | None, compare: Compare | None) -> Child:
    """The paired difference with its 95 % interval, coloured where that leaves 0 out."""
    paired: Mapping[str, object] = {}
    if first is not None and entry is not None and compare is not None:
        try:
            paired = compare(first.result, entry.result)["overall"].get("score", {})
        except (ValueError, KeyError, TypeError):
            paired = {}
    difference, low, high = (number(paired.get(key)) for key in ("difference", "low", "high"))
    if not math.isfinite(difference):
        return "–"
    kind = "good" if low > 0 else "bad" if high < 0 else "quiet"
    within = tag("small", f"{low:+.3f} to {high:+.3f}") if math.isfinite(low) and math.isfinite(high) else None
    return tag("span", tag("b", f"{difference:+.3f}", class_=f"change {kind}"), within, class_="estimate")

"""What came of a sweep: final values a setting with the interval over seeds, curves, one table on the console and one
page.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.special import stdtrit

from launch.steps import say
from spatial_jax.evals import build_table
from spatial_jax.evals.results import read_results
from spatial_jax.evals.tables import average_rows, table_text
from spatial_jax.metrics import read_metrics
from spatial_jax.pages import Estimate, Page, Series, change_cell, estimate_cell, legend, line_plot, table, tag
from spatial_jax.reading import parse_json

SEEDS = ("train.seed", "data.seed")
LAST = 0.1  # share of a run's rows that its final value averages
Run = tuple[Mapping[str, Any], Path]  # overrides, directory


@dataclasses.dataclass
class Setting:
    """Members that differ in their seeds only: curves [seed][metric] as {step: value}, final values {metric: one a
    seed}.
    """

    label: str
    curves: list[dict[str, dict[int, float]]]
    final: dict[str, list[float]]


def interval(values: Sequence[float]) -> Estimate:
    """Mean and 95 % t-interval over seeds; no interval for one seed, NaN for none."""
    values = [v for v in values if math.isfinite(v)]
    n = len(values)
    if n == 0:
        return Estimate(math.nan)
    mean = sum(values) / n
    if n == 1:
        return Estimate(mean)
    half = float(stdtrit(n - 1, 0.975)) * math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n)
    return Estimate(mean, mean - half, mean + half)


def read_curves(root: Path, metrics: Iterable[str]) -> dict[str, dict[int, float]]:
    """metric -> step -> value of a run's metrics.jsonl; a step logged twice (after a resume) counts once, as logged
    last.
    """
    curves: dict[str, dict[int, float]] = {name: {} for name in metrics}
    problems: list[str] = []
    for row in read_metrics(root, problems):
        for name, curve in curves.items():
            if isinstance(row.get(name), (int, float)):
                curve[row["step"]] = float(row[name])
    for problem in problems:
        say(problem)
    return curves


def evaluations(root: Path) -> dict[str, float]:
    """ "eval NAME: METRIC" -> value of a run's eval/NAME.json; a file that is none is named and left out."""
    out = {}
    for path in sorted((root / "eval").glob("*.json")):
        try:
            result = parse_json(path.read_text())
            found = {n: v for n, v in (result.get("metrics") or {}).items() if isinstance(v, (int, float))}
        except (OSError, ValueError, AttributeError) as error:
            say(f"{path}: no result of an evaluation, left out ({error})")
            continue
        out.update({f"eval {path.stem}: {name}": float(value) for name, value in found.items()})
    return out


def evaluation_results(root: Path) -> list[dict[str, Any]]:
    """The results of a run's evaluations; [] without any."""
    folder = root / "eval"
    try:
        return read_results([folder]) if folder.is_dir() else []
    except ValueError:
        return []


def setting_label(overrides: Mapping[str, Any]) -> str:
    """What a member is told beside its seeds."""
    return (
        ", ".join(
            f"{k.rsplit('.', 1)[-1]}"
            f" {'+'.join(v) if isinstance(v, (list, tuple)) and all(isinstance(i, str) for i in v) else v}"
            for k, v in overrides.items()
            if k not in SEEDS
        )
        or "base"
    )


def collect(runs: Sequence[Run], metrics: Sequence[str]) -> list[Setting]:
    """Settings in the sweep's order."""
    settings: dict[str, Setting] = {}
    for overrides, root in runs:
        label = setting_label(overrides)
        setting = settings.setdefault(label, Setting(label, [], {}))
        curves = read_curves(root, metrics)
        setting.curves.append(curves)
        final = {}
        for name, curve in curves.items():
            if curve:
                values = [curve[step] for step in sorted(curve)]
                tail = values[-max(1, int(len(values) * LAST)) :]
                final[name] = sum(tail) / len(tail)
        for name, value in (final | evaluations(root)).items():
            setting.final.setdefault(name, []).append(value)
    return list(settings.values())


def short_labels(labels: Sequence[str]) -> list[str]:
    """Labels to show: one that only adds to the label above it, as rows of an ablation do, is "+ what it adds"."""
    return [
        f"+ {label[len(above) + 1 :].replace('+', ', ')}" if above and label.startswith(f"{above}+") else label
        for above, label in zip(["", *labels], labels)
    ]


def mean_curve(setting: Setting, metric: str) -> tuple[list[int], list[float], list[float], list[float]]:
    """Steps, mean over seeds, and the ends of its interval (NaN where one seed reports)."""
    steps = sorted({step for curves in setting.curves for step in curves[metric]})
    at = [interval([curves[metric][step] for curves in setting.curves if step in curves[metric]]) for step in steps]
    return steps, [e.value for e in at], [e.low for e in at], [e.high for e in at]


def paper_table(name: str, runs: Sequence[Run]) -> str:
    """A paper's table with a row a setting: the mean over its seeds of what their evaluations say. Says so where there
    are none.
    """
    settings: dict[str, list[list[dict[str, Any]]]] = {}
    for overrides, root in runs:
        found = evaluation_results(root)
        if found:
            settings.setdefault(setting_label(overrides), []).append(found)
    if not settings:
        return f"table {name}: no member has evaluations; give --then='-m spatial_jax.evaluate ...'"
    try:
        tables = {
            label: [build_table(name, [{**result, "model": label} for result in results]) for results in seeds]
            for label, seeds in settings.items()
        }
    except ValueError as error:
        return str(error)
    shown = dict(zip(tables, short_labels(list(tables))))
    whole, rows = next(iter(tables.values()))[0], {}
    told: dict[str, dict[str, list[str]]] = {"missing": {}, "differs": {}}
    for label, seeds in tables.items():
        for row in seeds[0]["rows"]:
            same = [table for table in seeds if row in table["rows"]]
            name_of = row.replace(label, shown[label], 1) + (f" ({len(same)} seeds)" if len(same) > 1 else "")
            rows[name_of] = average_rows(same, row)
            for note, lines in told.items():
                lines[name_of] = list(seeds[0][note].get(row, []))
    scorings = sorted({scoring for seeds in tables.values() for table in seeds for scoring in table["scorings"]})
    return table_text({**whole, "rows": rows, "scorings": scorings, **told})


def write_results(workdir: Path, runs: Sequence[Run], metrics: Sequence[str], table_name: str = "") -> str:
    """Writes sweep.json and sweep.html; returns the console's table, and the paper's named `table_name` below it."""
    settings = collect(runs, metrics)
    names = list(dict.fromkeys(name for s in settings for name in s.final))
    estimates = {s.label: {name: interval(s.final.get(name, [])) for name in names} for s in settings}
    plain = [
        {
            "setting": s.label,
            "seeds": len(s.curves),
            "metrics": {
                n: {k: v if math.isfinite(v) else None for k, v in dataclasses.asdict(estimates[s.label][n]).items()}
                for n in names
            },
        }
        for s in settings
    ]
    temporary = workdir / "sweep.json.tmp"
    temporary.write_text(
        json.dumps({"settings": plain, "members": [{"overrides": dict(o), "run": r.name} for o, r in runs]}, indent=1)
    )
    os.replace(temporary, workdir / "sweep.json")
    _page(workdir, settings, estimates, names, metrics)
    shown = short_labels([s.label for s in settings])
    width = max(map(len, shown)) + 2
    lines = [f"{'setting':<{width}}{'seeds':>6}" + "".join(f"{name:>24}" for name in names)]
    for label, s in zip(shown, settings):
        cells = [
            f"{e.value:.4g}" + (f" ±{e.value - e.low:.2g}" if e.interval() else "") for e in estimates[s.label].values()
        ]
        lines.append(f"{label:<{width}}{len(s.curves):>6}" + "".join(f"{cell:>24}" for cell in cells))
    return (
        "\n"
        + "\n".join(lines)
        + f"\n(mean of the last {LAST:.0%} of rows, ± half of the 95 % interval over seeds)\npage:"
        f" {workdir / 'sweep.html'}" + (f"\n\n{paper_table(table_name, runs)}" if table_name else "")
    )


def _page(
    workdir: Path,
    settings: Sequence[Setting],
    estimates: Mapping[str, Mapping[str, Estimate]],
    names: Sequence[str],
    metrics: Sequence[str],
) -> None:
    page = Page(
        f"Sweep: {workdir.name}", f"{len(settings)} settings, {sum(len(s.curves) for s in settings)} finished runs"
    )
    first, shown = settings[0].label, short_labels([s.label for s in settings])
    evaluated = [name for name in names if name not in metrics]
    parts = (
        ("Evaluations", evaluated, "Mean over seeds, with its 95 % t-interval."),
        (
            "Training",
            [name for name in names if name in metrics],
            (
                f"Mean over seeds of each run's last {LAST:.0%} of rows, with its 95 % t-interval. Settings that train"
                " on different questions cannot be compared here."
            ),
        ),
    )
    for title, part, lead in parts:
        if part:
            columns = [
                "setting",
                "seeds",
                *(c for name in part for c in (name.removeprefix("eval "), "against the first")),
            ]
            rows = [
                [
                    label,
                    len(s.curves),
                    *(
                        e
                        for name in part
                        for e in (
                            estimate_cell(estimates[s.label][name], 3),
                            change_cell(estimates[first][name], estimates[s.label][name]),
                        )
                    ),
                ]
                for label, s in zip(shown, settings)
            ]
            page.section(title, table(columns, rows, numeric=range(1, len(columns))), lead=lead)
    plots = []
    for metric in metrics:
        series = []
        for color, setting in enumerate(settings):
            steps, mean, low, high = mean_curve(setting, metric)
            if steps:
                series.append(Series(shown[color], steps, mean, color, low, high))
        if series:
            plots.append(line_plot(series, title=metric))
    if plots:
        page.section(
            "Curves",
            legend(shown),
            tag("div", plots, class_="plots"),
            lead="Mean over seeds; the shade is its 95 % t-interval.",
        )
    page.write(workdir / "sweep.html")

"""A step as two readable lines and a table every N steps, or as one line that a log collector parses."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TextIO

from spatial_jax.metrics.figures import duration, format_value
from spatial_jax.metrics.logged import below, value_of
from spatial_jax.metrics.names import NAMES
from spatial_jax.metrics.rows import strict
from spatial_jax.metrics.timing import Progress
from spatial_jax.pages import say

FIRST_LINE = (
    "reward/mean",
    "eval/reward",
    "pass_rate",
    "loss",
    "dpo/accuracy",
    "align/named",
    "align/place_nll",
    "align/name_nll",
    "kl/reference",
    "entropy",
    "clip/fraction",
    "length/mean",
    "length/truncated",
    "group/no_gradient",
)
SECOND_LINE = ("tokens_per_second", "mfu", "gap/mean", "grad_norm", "learning_rate")
FORMATS = ("lines", "json", "logfmt")
_ENTRIES = {entry.key: entry for entry in NAMES}
_BARS = "▁▂▃▄▅▆▇█"


class Console:
    """Prints rows. The first line says whether it learns, the second where the time goes. `steady`: names of metrics
    that cannot move in this run, which are not shown. `format_` "json" or "logfmt" prints each row, whole, and each
    note as one line of that form instead.
    """

    def __init__(
        self,
        *,
        total_steps: int | None = None,
        table_every: int = 100,
        steady: Collection[str] = (),
        format_: str = "lines",
        stream: TextIO | None = None,
    ):
        if format_ not in FORMATS:
            raise ValueError(f"metrics: unknown console format {format_!r}; choose from {', '.join(FORMATS)}")
        self._format = format_
        self._steady = frozenset(steady)
        self._stream = stream or sys.stdout
        self._total, self._every = total_steps, table_every
        self._progress: Progress | None = None
        self._rows: list[dict[str, Any]] = []

    def row(self, row: Mapping[str, Any]) -> None:
        step = int(row["step"])
        if self._format != "lines":
            self._print(machine_line({"event": "step", **row}, self._format))
            return
        if self._progress is None:
            self._progress = Progress(self._total or 0, done=step)
        else:
            self._progress.update(step)
        row = {key: value for key, value in row.items() if key not in self._steady}
        self._rows = [*self._rows, row][-2 * max(self._every, 1) :]
        seconds_left = self._progress.seconds_left if self._total else math.inf
        self._print("\n".join(step_lines(row, self._total, seconds_left)))
        if self._every and step and step % self._every == 0 and len(self._rows) > 1:
            self._print(table(self._rows, self._every))

    def note(self, text: str) -> None:
        plain = self._format == "lines"
        self._print(f"  ! {text}" if plain else machine_line({"event": "alarm", "text": text}, self._format))

    def _print(self, text: str) -> None:
        say(text, stream=self._stream)


def machine_line(row: Mapping[str, Any], format_: str) -> str:
    """A row as one line of strict JSON, or as key=value pairs (logfmt: text quoted where it holds blanks, quotes or an
    equals sign, lists and dicts as JSON text). Non-finite numbers are the words NaN, Infinity and -Infinity.
    """
    if format_ == "json":
        return json.dumps(strict(dict(row)), ensure_ascii=False, allow_nan=False)
    return " ".join(f"{key}={_logfmt(strict(value))}" for key, value in row.items())


def _logfmt(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    bare = text and not any(c.isspace() or c in '"=\\' for c in text)
    return text if bare else json.dumps(text, ensure_ascii=False)


def step_lines(row: Mapping[str, Any], total_steps: int | None = None, seconds_left: float = math.inf) -> list[str]:
    """Two lines: what was learned; seconds a phase, speed and time left."""
    head = f"{row.get('phase', 'step')} {row['step']}" + (f"/{total_steps}" if total_steps else "")
    first = [
        f"{_ENTRIES[key].short} {_value_text(row, key)}" for key in FIRST_LINE if not math.isnan(value_of(row, key))
    ]
    first += [
        f"{key} NOT FINITE" for key in FIRST_LINE if isinstance(row.get(key), float) and not math.isfinite(row[key])
    ]
    phases = sorted(below(row, "time").items(), key=lambda item: -item[1])
    step_seconds = value_of(row, "time/step")
    times = ", ".join(f"{name} {duration(seconds)}" for name, seconds in phases[:5] if seconds >= 0.005)
    second = (
        []
        if math.isnan(step_seconds) and not times
        else ["" if math.isnan(step_seconds) else duration(step_seconds), f"({times})" if times else ""]
    )
    speeds = [
        f"{_ENTRIES[key].short} {_value_text(row, key)}" for key in SECOND_LINE if not math.isnan(value_of(row, key))
    ]
    left = [f"{duration(seconds_left)} left"] if math.isfinite(seconds_left) and seconds_left > 0 else []
    pad = " " * max(len(head), 14)
    return [
        f"{head:<14}  {'  '.join(first)}",
        f"{pad}  {'  '.join([' '.join(filter(None, second))] * bool(second) + speeds + left)}",
    ]


def table(rows: Sequence[Mapping[str, Any]], window: int) -> str:
    """The last `window` rows against those before: metric, now, mean, change, course."""
    recent, before = rows[-window:], rows[:-window]
    lines = [f"  {'last ' + str(len(recent)) + ' steps':<26}{'now':>10}{'mean':>10}{'change':>10}   course"]
    for entry in NAMES:
        values = [value_of(row, entry.key) for row in recent]
        finite = [v for v in values if not math.isnan(v)]
        if not finite:
            continue
        mean = sum(finite) / len(finite)
        old = [v for v in (value_of(row, entry.key) for row in before) if not math.isnan(v)]
        change = mean - sum(old) / len(old) if old else math.nan
        shown = "" if math.isnan(change) else ("+" if change >= 0 else "-") + format_value(abs(change), entry.unit)
        lines.append(
            f"  {entry.label:<26}{format_value(finite[-1], entry.unit):>10}{format_value(mean, entry.unit):>10}"
            f"{shown:>10}   {sparkline(values)}"
        )
    rule = "  " + "-" * (max(len(line) for line in lines) - 2)
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Values as a row of small bars, the mean of neighbours where there are more than `width`."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    count = min(width, len(finite))
    chunks = [finite[i * len(finite) // count : (i + 1) * len(finite) // count] for i in range(count)]
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((sum(chunk) / len(chunk) - low) * scale)] for chunk in chunks)


def _value_text(row: Mapping[str, Any], key: str) -> str:
    return format_value(value_of(row, key), _ENTRIES[key].unit)

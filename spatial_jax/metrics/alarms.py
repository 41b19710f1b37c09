"""Alarms that name themselves and say what to do: pure functions over recent rows of metrics.

Each takes rows (oldest first, the last one is now) and limits, and returns an Alarm or None. A metric that is not
logged raises none.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from spatial_jax.metrics.facts import RunFacts, run_facts
from spatial_jax.metrics.figures import format_value
from spatial_jax.metrics.logged import value_of

Rows = Sequence[Mapping[str, Any]]
_UNKNOWN = RunFacts()


@dataclasses.dataclass(frozen=True)
class AlarmLimits:
    """Where each alarm starts. The gap band is the usual one for bf16: mean below 0.02, mean ratio within 2 % of 1."""

    window: int = 200  # rows that count as recent
    smooth: int = 5  # rows averaged for "now" and for "then"
    entropy_floor: float = 0.02  # nats
    entropy_share: float = 0.33  # of the window's start
    format_share: float = 0.5  # readable answers
    format_drop: float = 0.3  # below the window's best
    length_factor: float = 2.0  # times the window's start
    length_minimum: float = 24.0  # tokens; shorter answers never explode
    truncated_share: float = 0.25
    no_gradient_share: float = 0.7
    gap_mean: float = 0.02
    gap_ratio: float = 0.02  # |mean ratio - 1|


@dataclasses.dataclass(frozen=True)
class Alarm:
    name: str
    step: int
    value: float
    limit: float
    message: str
    advice: str

    def line(self) -> str:
        """One line for the console."""
        return f"ALARM {self.name} at step {self.step}: {self.message}. {self.advice}"


@dataclasses.dataclass(frozen=True)
class AlarmSpan:
    """An alarm that held from step `first` to step `last`; `worst` is the row's alarm farthest from its limit."""

    name: str
    first: int
    last: int
    worst: Alarm


def entropy_collapse(rows: Rows, limits: AlarmLimits = AlarmLimits(), facts: RunFacts = _UNKNOWN) -> Alarm | None:
    """Entropy under its floor, or at less than a third of what it was at the window's start."""
    now, then = _now_and_then(rows, "entropy", limits)
    if math.isnan(now):
        return None
    limit = max(limits.entropy_floor, limits.entropy_share * then if then > 0 else 0.0)
    if now >= limit:
        return None
    clip = (
        "" if facts.one_update else "raise the upper clip (clip-higher), "
    )  # which never acts on one update a rollout
    return _alarm(
        "entropy collapse",
        rows,
        now,
        limit,
        f"entropy is {format_value(now)} nats, was {format_value(then)}",
        f"Answers no longer differ, so groups teach little: lower the learning rate, {clip}raise the sampling"
        " temperature, or add an entropy bonus.",
    )


def format_collapse(rows: Rows, limits: AlarmLimits = AlarmLimits(), facts: RunFacts = _UNKNOWN) -> Alarm | None:
    """Fewer than half of the answers can be read, or far fewer than before."""
    now, _ = _now_and_then(rows, "format/share", limits)
    if math.isnan(now) or _few(rows, "format/share", limits):
        return None
    best = max(_means(rows, "format/share", limits.smooth))
    limit = max(limits.format_share, best - limits.format_drop)
    if now >= limit:
        return None
    return _alarm(
        "format collapse",
        rows,
        now,
        limit,
        f"only {format_value(now, '%')} of the answers can be read, best was {format_value(best, '%')}",
        "Look at the gallery's unreadable answers; restart from a checkpoint before the fall with a lower learning"
        " rate, or weigh the format in the reward.",
    )


def length_explosion(rows: Rows, limits: AlarmLimits = AlarmLimits(), facts: RunFacts = _UNKNOWN) -> Alarm | None:
    """Answers twice as long as at the window's start, or a quarter of them cut."""
    now, then = _now_and_then(rows, "length/mean", limits)
    cut, _ = _now_and_then(rows, "length/truncated", limits)
    if (
        not math.isnan(now)
        and not _few(rows, "length/mean", limits)
        and now > max(limits.length_minimum, limits.length_factor * then)
    ):
        return _alarm(
            "length explosion",
            rows,
            now,
            max(limits.length_minimum, limits.length_factor * then),
            f"answers have {format_value(now, 'tokens')} tokens, had {format_value(then, 'tokens')}",
            "Check that length does not pay (aggregate by token, penalise overlong answers) and look for repetition in"
            " the gallery.",
        )
    if not math.isnan(cut) and not _few(rows, "length/truncated", limits) and cut > limits.truncated_share:
        return _alarm(
            "length explosion",
            rows,
            cut,
            limits.truncated_share,
            f"{format_value(cut, '%')} of the answers are cut at the limit",
            "Raise the answer limit, or penalise overlong answers softly before it.",
        )
    return None


def no_gradient(rows: Rows, limits: AlarmLimits = AlarmLimits(), facts: RunFacts = _UNKNOWN) -> Alarm | None:
    """Most groups got the same reward for every answer."""
    now, _ = _now_and_then(rows, "group/no_gradient", limits)
    if math.isnan(now) or now <= limits.no_gradient_share or _few(rows, "group/no_gradient", limits):
        return None
    if facts.greedy:  # whatever the questions are
        return _alarm(
            "no gradient",
            rows,
            now,
            limits.no_gradient_share,
            f"{format_value(now, '%')} of the groups were rewarded all the same: {facts.greedy}, so their answers are"
            " all alike",
            "Sample at temperature 1 (config.rollout.temperature, top_k and top_p).",
        )
    passed, _ = _now_and_then(rows, "pass_rate", limits)
    hint = (
        ""
        if math.isnan(passed)
        else (
            "Questions are too easy: filter solved ones or add hops. "
            if passed > 0.5
            else "Questions are too hard: longer cold start or easier families first. "
        )
    )
    return _alarm(
        "no gradient",
        rows,
        now,
        limits.no_gradient_share,
        f"{format_value(now, '%')} of the groups were rewarded all the same and taught nothing",
        hint + "Turn on the online filter (refill zero-variance groups) or raise the group size.",
    )


def gap_out_of_band(rows: Rows, limits: AlarmLimits = AlarmLimits(), facts: RunFacts = _UNKNOWN) -> Alarm | None:
    """Sampler and trainer disagree on the log-probability of the same tokens."""
    gap, _ = _now_and_then(rows, "gap/mean", limits)
    ratio, _ = _now_and_then(rows, "gap/ratio_mean", limits)
    advice = (
        "Sampler and trainer must see the same weights, positions and masks: replay one rollout through both; meanwhile"
        " use the importance cap."
    )
    if not math.isnan(gap) and abs(gap) > limits.gap_mean:
        return _alarm(
            "sampler gap out of band",
            rows,
            gap,
            limits.gap_mean,
            f"mean |log-prob gap| is {format_value(gap)}, the band ends at {format_value(limits.gap_mean)}",
            advice,
        )
    if not math.isnan(ratio) and abs(ratio - 1) > limits.gap_ratio:
        return _alarm(
            "sampler gap out of band",
            rows,
            abs(ratio - 1),
            limits.gap_ratio,
            f"mean ratio is {ratio:.4f} instead of 1",
            advice,
        )
    return None


def not_finite(rows: Rows, limits: AlarmLimits = AlarmLimits(), facts: RunFacts = _UNKNOWN) -> Alarm | None:
    """A loss, reward or gradient that is no number."""
    bad = [
        key
        for key in ("loss", "grad_norm", "reward/mean", "kl/reference")
        if isinstance(rows[-1].get(key), float) and not math.isfinite(rows[-1][key])
    ]
    if not bad:
        return None
    return _alarm(
        "not finite",
        rows,
        math.inf,
        0.0,
        f"{', '.join(bad)} is not finite",
        "The step should have been skipped; find the batch in the gallery, lower the learning rate, check rewards for"
        " NaN.",
    )


RULES: tuple[Callable[[Rows, AlarmLimits, RunFacts], Alarm | None], ...] = (
    entropy_collapse,
    format_collapse,
    length_explosion,
    no_gradient,
    gap_out_of_band,
    not_finite,
)


SUPERVISED = (not_finite,)  # entropy and answers are meant to settle there


def check_alarms(rows: Rows, limits: AlarmLimits = AlarmLimits(), facts: RunFacts | None = None) -> list[Alarm]:
    """Alarms that hold at the last of `rows`, in a run of which `facts` are true (None: what the rows tell)."""
    recent = rows[-limits.window :]
    facts = run_facts({}, recent) if facts is None else facts
    rules = SUPERVISED if facts.supervised else RULES
    return [alarm for rule in rules if recent and (alarm := rule(recent, limits, facts)) is not None]


def scan_alarms(rows: Rows, limits: AlarmLimits = AlarmLimits(), facts: RunFacts | None = None) -> list[AlarmSpan]:
    """Every alarm of a run's history as spans of steps, in order of their beginning; `facts` as `check_alarms` takes
    them.
    """
    open_spans: dict[str, AlarmSpan] = {}
    done: list[AlarmSpan] = []
    for end in range(1, len(rows) + 1):
        now = {alarm.name: alarm for alarm in check_alarms(rows[max(0, end - limits.window) : end], limits, facts)}
        for name in [name for name in open_spans if name not in now]:
            done.append(open_spans.pop(name))
        for name, alarm in now.items():
            span = open_spans.get(name)
            worst = alarm if span is None or _excess(alarm) > _excess(span.worst) else span.worst
            open_spans[name] = AlarmSpan(name, alarm.step if span is None else span.first, alarm.step, worst)
    return sorted([*done, *open_spans.values()], key=lambda span: (span.first, span.name))


class AlarmWatch:
    """Keeps recent rows of a running run; `update` returns the alarms to tell now: new ones, and old ones again every
    `repeat` steps.
    """

    def __init__(self, limits: AlarmLimits = AlarmLimits(), repeat: int = 50, facts: RunFacts | None = None):
        self._limits, self._repeat, self._facts = limits, repeat, facts
        self._rows: deque[Mapping[str, Any]] = deque(maxlen=limits.window)
        self._told: dict[str, int] = {}

    def update(self, row: Mapping[str, Any]) -> list[Alarm]:
        """`row` is {"step": int, name: value}."""
        step = int(row["step"])
        self._rows.append(row)
        alarms = check_alarms(list(self._rows), self._limits, self._facts)
        names = {alarm.name for alarm in alarms}
        self._told = {name: told for name, told in self._told.items() if name in names}
        fresh = [alarm for alarm in alarms if step - self._told.get(alarm.name, -self._repeat) >= self._repeat]
        self._told.update({alarm.name: step for alarm in fresh})
        return fresh


def _alarm(name: str, rows: Rows, value: float, limit: float, message: str, advice: str) -> Alarm:
    return Alarm(name, int(rows[-1].get("step", len(rows) - 1)), value, limit, message, advice)


def _excess(alarm: Alarm) -> float:
    """How far beyond its limit, either way."""
    return abs(alarm.value - alarm.limit)


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _few(rows: Rows, key: str, limits: AlarmLimits) -> bool:
    """Whether there are too few values to mean anything, as in three steps of a fresh policy."""
    return len(_finite(value_of(row, key) for row in rows)) < limits.smooth


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _means(rows: Rows, key: str, width: int) -> list[float]:
    """Running means over `width` logged values (fewer at the start)."""
    values = _finite(value_of(row, key) for row in rows)
    return [_mean(values[max(0, i + 1 - width) : i + 1]) for i in range(len(values))]


def _now_and_then(rows: Rows, key: str, limits: AlarmLimits) -> tuple[float, float]:
    """Means of the last and of the first `smooth` values in the window; NaN when the metric is missing."""
    values = _finite(value_of(row, key) for row in rows)
    return _mean(values[-limits.smooth :]), _mean(values[: limits.smooth])

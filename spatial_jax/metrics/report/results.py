"""Evaluation results: the table before and after, with intervals, priors and pass@k, and the headline sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from spatial_jax.metrics.report.runs import Evaluation, title_of
from spatial_jax.pages import (
    Child,
    Estimate,
    Html,
    callout,
    change_cell,
    estimate_cell,
    interval_bar,
    legend,
    table,
    tabs,
    tag,
)

Compare = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]


def number(value: Any) -> float:
    """A finite float or NaN."""
    return (
        float(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        else math.nan
    )


def estimate(row: Mapping[str, Any], key: str) -> Estimate:
    """row[key] with the interval row[key + "_ci"]."""
    bounds = row.get(f"{key}_ci")
    low, high = (
        (number(b) for b in bounds) if isinstance(bounds, (list, tuple)) and len(bounds) == 2 else (math.nan, math.nan)
    )
    return Estimate(number(row.get(key)), low, high)


def overall(result: Mapping[str, Any], key: str) -> Estimate:
    """All items alike: from metrics ("overall" is the mean reward), else the mean of families weighted by n."""
    metrics, intervals = result.get("metrics") or {}, result.get("intervals") or {}
    name = "overall" if key == "reward" and "overall" in metrics else key
    bounds = intervals.get(name)
    low, high = (
        (number(b) for b in bounds) if isinstance(bounds, (list, tuple)) and len(bounds) == 2 else (math.nan, math.nan)
    )
    value = number(metrics.get(name))
    if math.isnan(value):
        pairs = [
            (number(row.get(key)), number(row.get("n")))
            for row in result["families"].values()
            if isinstance(row, Mapping)
        ]
        pairs = [(v, n) for v, n in pairs if math.isfinite(v) and n > 0]
        value = sum(v * n for v, n in pairs) / sum(n for _, n in pairs) if pairs else math.nan
    return Estimate(value, low, high)


def prior_of(row: Mapping[str, Any], key: str) -> float:
    """The best blind answerer's value: the largest of the row's entries prior_KIND (rewards) or prior_accuracy_KIND."""
    own = [number(v) for k, v in row.items() if k.startswith("prior") and ("accuracy" in k) == (key == "accuracy")]
    own = [v for v in own if math.isfinite(v)]
    return max(own, default=math.nan)


def below_blind(families: Mapping[str, Any], key: str = "reward") -> list[tuple[str, Estimate, float]]:
    """(family, value, best blind guess) of those that a guesser without pictures beats, the farthest below first."""
    found = []
    for name, row in families.items():
        if isinstance(row, Mapping):
            value, blind = estimate(row, key), prior_of(row, key)
            if value.value < blind:
                found.append((name, value, blind))
    return sorted(found, key=lambda entry: entry[1].value - entry[2])


def blind_remark(families: Mapping[str, Any], scale: float = 1.0, digits: int = 2) -> Html | None:
    """Which families are below what a guesser scores who never sees a picture; None where no blind guess is known."""
    if not any(isinstance(row, Mapping) and math.isfinite(prior_of(row, "reward")) for row in families.values()):
        return None
    found = below_blind(families)
    if not found:
        return callout("good", "Every family is above its best blind guess.")
    told = [f"{name} {scale * v.value:.{digits}f} (blind {scale * b:.{digits}f})" for name, v, b in found]
    sure = [name for name, v, b in found if math.isfinite(v.high) and v.high < b]
    words = f" Clearly so, beyond their 95 % intervals: {', '.join(sure)}." if sure else " None beyond its interval."
    title = f"{len(found)} of {len(families)} families {'is' if len(found) == 1 else 'are'} below a blind guess"
    text = f"{', '.join(told)}: one who never looks at a picture scores more there.{words}"
    return callout("bad" if sure else "warn", title, tag("p", text))


def results_section(evaluations: Sequence[Evaluation], labels: Sequence[str]) -> Html:
    """One tab a group of comparable evaluations and measure. `labels` are the columns' names, one an evaluation."""
    panes: list[tuple[object, Child]] = []
    groups = dict.fromkeys(e.group for e in evaluations)
    for group in groups:
        columns = [(label, e) for label, e in zip(labels, evaluations, strict=True) if e.group == group]
        benchmark, _, kind = group
        place = " · ".join(p for p in (benchmark if len({g[0] for g in groups}) > 1 else "", kind) if p)
        for key, name in (("reward", "mean reward"), ("accuracy", "accuracy")):
            if any(math.isfinite(estimate(row, key).value) for _, e in columns for row in _families(e).values()):
                remark = blind_remark(columns[-1][1].result["families"]) if key == "reward" else None
                panes.append((f"{name}, {place}" if place else name, [result_table(columns, key), remark]))
        if any(
            k.startswith("pass@") and k != "pass@1" for _, e in columns for row in _families(e).values() for k in row
        ):
            panes.append((f"pass@k, {place}" if place else "pass@k", pass_table(columns)))
    return tabs(panes)


def result_table(columns: Sequence[tuple[str, Evaluation]], key: str) -> Html:
    """Families down, evaluations across: value with interval, the blind baseline, the change over the last step, and
    all as bars.
    """
    families = list(dict.fromkeys(name for _, e in columns for name in _families(e)))
    rows: list[list[Child]] = []
    for family in [None, *families]:
        values = [
            overall(e.result, key) if family is None else estimate(_families(e).get(family, {}), key)
            for _, e in columns
        ]
        sources = [e.result.get("prior") or {} if family is None else _families(e).get(family, {}) for _, e in columns]
        blind = max(
            (p for p in (_prior(source, key, family is None) for source in sources) if math.isfinite(p)),
            default=math.nan,
        )
        count = next(
            (
                c
                for c in (
                    (e.result.get("n") if family is None else _families(e).get(family, {}).get("n")) for _, e in columns
                )
                if c
            ),
            "",
        )
        bar = interval_bar(
            [(label, value, i) for i, ((label, _), value) in enumerate(zip(columns, values, strict=True))],
            mark=blind,
            mark_title="blind answer prior",
        )
        row: list[Child] = [
            "all questions" if family is None else family,
            count,
            f"{blind:.2f}" if math.isfinite(blind) else "–",
        ]
        row += [estimate_cell(value) for value in values]
        if len(columns) > 1:
            row.append(change_cell(values[-2], values[-1]))
        rows.append([*row, bar])
    heads: list[Child] = ["family", "n", tag("span", "blind", title="best answer without looking at the picture")]
    heads += [label for label, _ in columns]
    if len(columns) > 1:
        heads.append(tag("span", "change", title=f"{columns[-1][0]} minus {columns[-2][0]}"))
    note = (
        "Values with 95 % bootstrap intervals; the dashed mark is the blind answer prior. A change is coloured where"
        " the intervals are apart."
    )
    return tag(
        "div",
        legend([label for label, _ in columns]),
        table([*heads, ""], rows, numeric=range(1, len(heads)), class_="results", totals=1),
        tag("p", tag("small", note)),
    )


def pass_table(columns: Sequence[tuple[str, Evaluation]]) -> Html:
    """pass@1 against pass@k: where RL has something to sharpen."""
    families = list(dict.fromkeys(name for _, e in columns for name in _families(e)))
    ks = sorted(
        {
            int(k[5:])
            for _, e in columns
            for row in _families(e).values()
            for k in row
            if k.startswith("pass@") and k[5:].isdigit()
        }
    )
    ks = [ks[0], ks[-1]] if len(ks) > 2 else ks
    rows: list[list[Child]] = []
    for family in [None, *families]:
        cells: list[Child] = ["all questions" if family is None else family]
        points = []
        for i, (label, e) in enumerate(columns):
            source = (e.result.get("metrics") or {}) if family is None else _families(e).get(family, {})
            found = [number(source.get(f"pass@{k}")) for k in ks]
            cells += [f"{v:.2f}" if math.isfinite(v) else "–" for v in found]
            points.append((label, Estimate(found[0], found[0], found[-1]), i))
        rows.append([*cells, interval_bar(points)])
    heads = ["family"] + [f"{label} pass@{k}" for label, _ in columns for k in ks] + [""]
    note = (
        f"The dot is pass@{ks[0]}, the bar reaches to pass@{ks[-1]}: its length is what sampling more often would still"
        " find."
    )
    return tag(
        "div",
        legend([label for label, _ in columns]),
        table(heads, rows, numeric=range(1, len(heads) - 1), class_="results", totals=1),
        tag("p", tag("small", note)),
    )


def headline(
    evaluations: Sequence[Evaluation], labels: Sequence[str], compare: Compare | None = None, every: bool = False
) -> tuple[list[tuple[str, str, str]], list[Html]]:
    """Number cards and sentences: the last evaluation of each group against the one before it, paired where the items
    are known.

    `every`: a card for each evaluation (several runs side by side, where "before" has no meaning) and no sentences."""
    cards: list[tuple[str, str, str]] = []
    sentences: list[Html] = []
    for group in dict.fromkeys(e.group for e in evaluations):
        columns = [(label, e) for label, e in zip(labels, evaluations, strict=True) if e.group == group]
        kind = group[2] or "held-out"
        for label, entry in columns if every else columns[-1:]:
            now = overall(entry.result, "reward")
            if math.isfinite(now.value):
                cards.append(
                    (now.text(), f"{kind} mean reward", label + (f", 95 % {now.interval()}" if now.interval() else ""))
                )
        if len(columns) > 1 and not every:
            sentences.append(_change(columns[-2], columns[-1], kind, compare))
    return cards, [s for s in sentences if s]


def _change(before: tuple[str, Evaluation], after: tuple[str, Evaluation], kind: str, compare: Compare | None) -> Html:
    a, b = overall(before[1].result, "reward"), overall(after[1].result, "reward")
    if not (math.isfinite(a.value) and math.isfinite(b.value)):
        return Html("")
    paired: Mapping[str, Any] = {}
    if compare is not None:
        try:
            paired = compare(before[1].result, after[1].result)["overall"].get("score", {})
        except (ValueError, KeyError, TypeError):
            paired = {}
    low, high = number(paired.get("low")), number(paired.get("high"))
    base = f"From “{before[0]}” to “{after[0]}” the {kind} mean reward went from {a.text(3)} to {b.text(3)}"
    if math.isfinite(low) and math.isfinite(high):
        verdict = "good" if low > 0 else ("bad" if high < 0 else "note")
        words = {
            "good": "a gain: the paired 95 % interval lies above 0",
            "bad": "a loss: the paired 95 % interval lies below 0",
            "note": "no clear change: the paired 95 % interval holds 0",
        }[verdict]
        return callout(
            verdict, f"{b.value - a.value:+.3f} ({low:+.3f} to {high:+.3f}), {kind}", tag("p", f"{base}; {words}.")
        )
    clear = bool(a.interval() and b.interval()) and not a.overlaps(b)
    verdict = ("good" if b.value > a.value else "bad") if clear else "note"
    words = (
        "the 95 % intervals are apart" if clear else "the 95 % intervals overlap, so this alone shows no clear change"
    )
    return callout(verdict, f"{b.value - a.value:+.3f}, {kind}", tag("p", f"{base}; {words}."))


def column_labels(evaluations: Sequence[Evaluation], runs: Sequence[str]) -> list[str]:
    """Column names: the stage, with the run's label in front when there are several runs. "before" names what it was
    before.
    """
    stages = {e.stage for e in evaluations}
    first = next((stage[len("after_") :] for stage in ("after_sft", "after_dpo", "after_grpo") if stage in stages), "")
    names = [title_of(f"before_{first}" if e.stage == "before" and first else e.stage) for e in evaluations]
    return [f"{run}: {name}" for run, name in zip(runs, names, strict=True)] if len(set(runs)) > 1 else names


def _prior(source: Mapping[str, Any], key: str, whole: bool) -> float:
    if not whole:
        return prior_of(source, key)
    values = [number(v) for k, v in source.items() if ("accuracy" in k) == (key == "accuracy")]
    return max((v for v in values if math.isfinite(v)), default=math.nan)


def _families(entry: Evaluation) -> dict[str, dict[str, Any]]:
    return {str(name): row for name, row in entry.result["families"].items() if isinstance(row, dict)}

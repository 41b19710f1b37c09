"""A result: what one model scored on one benchmark, with intervals, as a JSON file, a console table, and compared with
another.

Schema of eval/NAME.json: benchmark, scoring, model, sampling, n, samples, metrics {name: value}, intervals {name: [low,
high]}, families {family: {n, scenes, reward, reward_ci, accuracy, accuracy_ci, unparsed, pass@k, prior_...}}, prior
{metric: value}, items [{id, family, scene, score, correct}], responses (path of the responses), plus whatever the
benchmark adds under "notes".
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.evals.intervals import (
    Cell,
    aggregate_interval,
    best_at_k,
    mean_interval,
    powers_of_two,
)
from spatial_jax.evals.settings import JUDGED_BEYOND
from spatial_jax.reading import parse_json

log = logging.getLogger(__name__)

Aggregate = Callable[[Mapping[str, Cell]], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class ScoredItem:
    """One item with the scores of its samples. nan = excluded (a judge that did not answer)."""

    id: str
    family: str
    scene: str
    scores: tuple[float, ...]
    correct: tuple[float, ...]  # 1.0, 0.0 or nan
    parsed: tuple[Any, ...] = ()  # what the parser took from each response; None = nothing
    cell: str = ""  # finer key that the benchmark's aggregation needs; "" = the family


def _nanmean(values: Sequence[float]) -> float:
    kept = [v for v in values if not math.isnan(v)]
    return float(np.mean(kept)) if kept else float("nan")


def _unparsed_share(items: Sequence[ScoredItem]) -> float:
    parsed = [value for item in items for value in item.parsed]
    return sum(value is None for value in parsed) / len(parsed) if parsed else float("nan")


def best_of(items: Sequence[ScoredItem], k: int, field: str) -> float:
    """Mean over items of the expected best of k samples ("correct": pass@k, "scores": best@k); excluded samples are
    left out.
    """
    values = []
    for item in items:
        kept = [v for v in getattr(item, field) if not math.isnan(v)]
        if len(kept) >= k:
            values.append(best_at_k(kept, k))
    return _nanmean(values) if values else float("nan")


def family_row(items: Sequence[ScoredItem]) -> dict[str, Any]:
    """n, scenes, mean reward and accuracy with intervals over scenes, unparsed rate, pass@k and best@k of some
    items.
    """
    scenes = [item.scene for item in items]
    rewards = np.array([_nanmean(item.scores) for item in items])
    correct = np.array([_nanmean(item.correct) for item in items])
    row: dict[str, Any] = {
        "n": len(items),
        "scenes": len(set(scenes)),
        "reward": _nanmean(list(rewards)),
        "reward_ci": mean_interval(rewards, scenes),
        "accuracy": _nanmean(list(correct)),
        "accuracy_ci": mean_interval(correct, scenes),
        "unparsed": _unparsed_share(items),
    }
    samples = max((len(item.scores) for item in items), default=0)
    if samples > 1:
        for k in powers_of_two(samples):
            row[f"pass@{k}"] = best_of(items, k, "correct")
            row[f"best@{k}"] = best_of(items, k, "scores")
        row["pass_gap"] = row[f"pass@{samples}"] - row["pass@1"]
    return row


def default_aggregate(cells: Mapping[str, Cell]) -> dict[str, Any]:
    """overall = all items alike; macro = unweighted mean of families."""
    from spatial_jax.evals.intervals import macro, pool

    return {"overall": pool(list(cells.values())).mean, "macro": macro([c.mean for c in cells.values()])}


def summarise(
    benchmark: str,
    items: Sequence[ScoredItem],
    *,
    scoring: str,
    aggregate: Aggregate = default_aggregate,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The result dict of scored items; `aggregate` makes the metrics out of the cells, once for the value and once for
    its interval.
    """
    if not items:
        raise ValueError(f"{benchmark}: no scored items; are the responses' ids those of the data's items?")
    values = np.array([_nanmean(item.scores) for item in items])
    metrics, intervals = aggregate_interval(
        values, [i.cell or i.family for i in items], [i.scene for i in items], aggregate
    )
    if aggregate is default_aggregate:  # summed as validation sums, so that the two agree in their last digit
        metrics["overall"] = _nanmean(list(values))
    metrics["accuracy"] = _nanmean([_nanmean(item.correct) for item in items])
    metrics["unparsed"] = _unparsed_share(items)
    samples = max(len(item.scores) for item in items)
    if samples > 1:
        for k in powers_of_two(samples):
            metrics[f"pass@{k}"] = best_of(items, k, "correct")
    families = {
        name: family_row([i for i in items if i.family == name]) for name in dict.fromkeys(i.family for i in items)
    }
    return {
        "benchmark": benchmark,
        "scoring": scoring,
        "n": len(items),
        "samples": samples,
        "metrics": metrics,
        "intervals": intervals,
        "families": families,
        "items": [
            {
                "id": i.id,
                "family": i.family,
                "scene": i.scene,
                "score": _nanmean(i.scores),
                "correct": _nanmean(i.correct),
                "answers": sum(not math.isnan(c) for c in i.correct),
            }
            for i in items
        ],
        **(extra or {}),
    }


def _finite(value: Any) -> Any:
    """JSON has no nan: it becomes null."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def write_result(path: str | os.PathLike, result: Mapping[str, Any]) -> None:
    """Writes the JSON whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(_finite(dict(result)), indent=1, ensure_ascii=False) + "\n")
    os.replace(part, path)


def read_result(path: str | os.PathLike) -> dict[str, Any]:
    """A result written by write_result; one clear error when it is none."""
    try:
        result = parse_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); give an eval/NAME.json") from error
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); give an eval/NAME.json") from error
    if not isinstance(result, dict):
        raise ValueError(f"{path}: a {type(result).__name__} where an object should be; give an eval/NAME.json")
    missing = [key for key in ("benchmark", "families", "items") if key not in result]
    if missing:
        raise ValueError(f"{path}: not an evaluation result, lacks {missing[0]!r}; give an eval/NAME.json")
    for key, kind in (("families", dict), ("metrics", dict), ("items", list), ("n", int)):
        if not isinstance(result.get(key), kind):
            raise ValueError(f"{path}: damaged: its {key!r} is no {kind.__name__}; evaluate again")
    return result


def read_results(paths: Sequence[str | os.PathLike]) -> list[dict[str, Any]]:
    """Results of files, and of every file below a folder that is one; what else lies in a folder is passed over, a
    broken file is named. ValueError where none is found.
    """
    results = []
    for path in map(Path, paths):
        for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
            try:
                results.append(read_result(file))
            except ValueError as error:
                if not path.is_dir() and path.name != "easi_results.json":
                    raise
                if ": not JSON" in str(error) or ": damaged" in str(error):  # not merely another kind of file
                    log.warning("left out %s", error)
    if not results:
        raise ValueError(f"{', '.join(map(str, paths))}: holds no evaluation result (eval/NAME.json)")
    return results


def passed_over(first: Mapping[str, Any], second: Mapping[str, Any], shown: Mapping[str, Any]) -> str:
    """What is not shown of two results that would stand in one cell; "" where they are the same."""
    other = second if shown is first else first
    if other.get("benchmark") != shown.get("benchmark"):
        return f"of {other.get('benchmark')} and {shown.get('benchmark')} the last is shown"
    if other.get("scoring") != shown.get("scoring"):
        return f"scored by {other.get('scoring')}, too; by {shown.get('scoring')} is shown"
    if other.get("metrics") == shown.get("metrics") and other.get("n") == shown.get("n"):
        return ""
    weights = ", of other weights" if other.get("weights") != shown.get("weights") else ""
    return (
        f"two results under one model's name{weights} ({other.get('n')} and {shown.get('n')} items): the last is shown;"
        " evaluate them under names of their own"
    )


def percent(value: Any) -> str:
    return "-" if value is None or (isinstance(value, float) and math.isnan(value)) else f"{100 * value:.1f}"


def bounds_text(bounds: Any) -> str:
    return (
        ""
        if not bounds or bounds[0] is None or math.isnan(bounds[0])
        else f"[{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"
    )


def align(rows: Sequence[Sequence[str]]) -> str:
    """Text table: first column left, the rest right aligned, a rule under the head."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(w) if c == 0 else cell.rjust(w) for c, (cell, w) in enumerate(zip(row, widths))).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0])] + lines[1:])


def result_table(result: Mapping[str, Any]) -> str:
    """Console table of a result: scores x100 with 95 % intervals, the blind prior beside each."""
    ks = [key for key in next(iter(result["families"].values()), {}) if key.startswith("pass@") and key != "pass@1"]
    priors = [
        key
        for key in next(iter(result["families"].values()), {})
        if key.startswith("prior_") and "answer" not in key and "accuracy" not in key
    ]
    rows = [
        ["family", "n", "score", "95 %", "accuracy", "95 %"] + ks + [p.replace("_", " ") for p in priors] + ["unparsed"]
    ]
    for name, row in result["families"].items():
        rows.append(
            [
                name,
                str(row["n"]),
                percent(row["reward"]),
                bounds_text(row["reward_ci"]),
                percent(row["accuracy"]),
                bounds_text(row["accuracy_ci"]),
            ]
            + [percent(row.get(k)) for k in ks + priors]
            + [percent(row["unparsed"])]
        )
    head = (
        f"{result['benchmark']}: {result['n']} items, {result['samples']} sample(s) each, scoring {result['scoring']}"
    )
    intervals = result.get("intervals", {})
    shown = {name: value for name, value in result["metrics"].items() if name not in result["families"]}
    tail = "  ".join(
        f"{name} {percent(value)} {bounds_text(intervals.get(name))}".rstrip() for name, value in shown.items()
    )
    prior = result.get("prior") or {}
    blind = "blind prior: " + "  ".join(f"{name} {percent(value)}" for name, value in prior.items()) if prior else ""
    asked = f"protocol: {result['protocol']}" if result.get("protocol") else ""
    return "\n".join(line for line in (head, asked, align(rows), tail, blind, *_unread(result)) if line)


def share_not_read(result: Mapping[str, Any]) -> float:
    """The share of a result's responses that nothing was read of."""
    rows = [row for row in result["families"].values() if row.get("unparsed") is not None]
    count = sum(row["n"] for row in rows)
    return sum(row["n"] * row["unparsed"] for row in rows) / count if count else 0.0


def judged_text(result: Mapping[str, Any]) -> str:
    """What a judge made of a benchmark's unread answers, or that a judge is due and how to have one; else ""."""
    judge = result.get("judge") or {}
    if "graded" in judge:
        right = f"{judge['graded']} of them graded by the judge {judge['model']}, {judge['right']} right"
        left = f"; {judge['excluded']} without a verdict, left out" if judge["excluded"] else ""
        return f"{100 * judge['unread']:.1f} % of the answers were not read by rules; {right}{left}"
    unread = share_not_read(result)
    if result.get("scoring") == "reward" or not unread > JUDGED_BEYOND:
        return ""
    return (
        f"{100 * unread:.1f} % is not read; beyond {100 * JUDGED_BEYOND:g} % the EASI leaderboard scores again with a"
        " judge, here rules alone have read: --judge_endpoint=URL --judge_model=NAME asks one"
    )


def _unread(result: Mapping[str, Any]) -> list[str]:
    """A line a kind of what could not be read, with an example, one of what was cut off, those of the judge."""
    lines = []
    for kind, entry in (result.get("unparsed") or {}).items():
        example = entry["examples"][0] if entry.get("examples") else {"id": "", "text": ""}
        shown = " ".join(str(example["text"]).split())[:100]
        lines.append(f"not read: {entry['count']} {kind}" + (f", such as {example['id']}: {shown!r}" if shown else ""))
    if result.get("cut_off"):
        lines.append(f"cut off: {result['cut_off']} answers at their limit of tokens (--max_new_tokens)")
    return [*lines, *judge_lines(result)]


def judge_lines(result: Mapping[str, Any]) -> list[str]:
    """What a judge did or would do for a result, how far it agrees with people, and what has no score."""
    lines, judge = [], result.get("judge") or {}
    if judge and "graded" not in judge:
        lines.append(f"judge {judge['model']}: {judge['asked']} verdicts, {judge['cached']} from the cache")
    if agreed := judge.get("agreement"):
        counted = agreed["cases"] - agreed["no_verdict"]
        lines.append(f"judge {judge['model']}: agrees on {agreed['agree']} of {counted} hand-checked cases")
    if result.get("excluded"):
        lines.append(f"left out: {result['excluded']} answers without a score, such as for: {result['excluded_why']}")
    judged = judged_text(result)
    return [*lines, judged] if judged else lines

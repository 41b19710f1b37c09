"""Responses of a whole benchmark to a result: scoring, aggregation with intervals, group metrics, blind prior,
robustness to option order.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spatial_jax.evals.benchmarks.base import Benchmark, Derived, ItemError
from spatial_jax.evals.intervals import Cell, aggregate_interval, mean_interval
from spatial_jax.evals.judging import Grader, grade_unread
from spatial_jax.evals.protocol import unparsed_kinds
from spatial_jax.evals.registry import check_item, check_scoring, get_benchmark, score_response
from spatial_jax.evals.results import ScoredItem, summarise
from spatial_jax.evals.settings import PUBLISHED

log = logging.getLogger(__name__)

MAX_SHOWN = 5
LETTERS = ("A", "B", "C", "D")


def evaluate_responses(
    name: str,
    items: Sequence[Mapping[str, Any]],
    rows: Mapping[str, Mapping[str, Any]],
    *,
    scoring: str = "official",
    form: str | None = None,
    extra: Mapping[str, Any] | None = None,
    grader: Grader | None = None,
) -> dict[str, Any]:
    """The result (results.py) of responses to a benchmark's items.

    `form`: the response form that the answers are written in, None as published; `grader`: scores what rules cannot
    read, where that is much (judging.py). rows: id -> {"responses": [text,
    ...]} (responses.py). Items without a row are left out and counted; items that
    could not be asked ("error") score 0; items that cannot be scored are left out with one line each (the first few)
    and a count.
    """
    benchmark = get_benchmark(name)
    check_scoring(benchmark, scoring)
    scored, used, problems, unasked = [], [], 0, []
    seen: set[str] = set()
    for item in items:
        row = rows.get(str(item["id"]))
        if row is None:
            unasked.append(item)
            continue
        try:
            if str(item["id"]) in seen:
                raise ItemError(f"item {item['id']}: another item has the same id, and there is one response")
            seen.add(str(item["id"]))
            check_item(benchmark, item)
            scored.append(_score_item(benchmark, item, row, scoring, form))
            used.append(item)
        except ItemError as error:
            problems += 1
            if problems <= MAX_SHOWN:
                log.warning("left out: %s", error)
    unanswered = len(unasked)
    _warn_of_more_lines(name, scored)
    if problems or unanswered:
        log.warning("%s: %d items left out, %d without a response, %d scored", name, problems, unanswered, len(scored))
    if not scored:
        raise ValueError(
            f"{name}: nothing to score; none of the {len(rows)} responses' ids is one of the {len(items)} items' ids"
        )
    first = [s for s in scored if "@r" not in s.id]

    def aggregate(cells: Mapping[str, Cell]) -> Mapping[str, Any]:
        return benchmark.aggregate(cells, scoring)

    notes = {
        "title": benchmark.title,
        "left_out": problems,
        "unanswered": unanswered,
        "note": _note(benchmark, scoring),
    }
    notes |= {"form": form or PUBLISHED, "unparsed": _list_unparsed(scored, rows, form)}
    if grader is not None:
        scored, graded = grade_unread(benchmark, used, scored, rows, scoring, grader)
        first = [s for s in scored if "@r" not in s.id]
        notes["judge"] = grader.entry() | graded
    result = summarise(benchmark.name, first, scoring=scoring, aggregate=aggregate, extra={**notes, **(extra or {})})
    plain = [(i, s) for i, s in zip(used, scored) if "@r" not in s.id]
    if benchmark.derived:
        # a group with a member that has no answer is not whole
        lacking = [i for i in unasked if "@r" not in str(i["id"])] if benchmark.grouped else []
        outcomes = [(_mean(s.scores), s.parsed[0] if s.parsed else None) for _, s in plain]
        outcomes += [(float("nan"), None)] * len(lacking)
        _add_derived(result, benchmark.derived([*(i for i, _ in plain), *lacking], outcomes, scoring))
    if len(first) < len(scored):
        result["rotation"] = rotation_robustness(scored)
    result["prior"] = _add_blind_prior(result, benchmark, [i for i, _ in plain], scoring)
    return result


def _warn_of_more_lines(name: str, scored: Sequence[ScoredItem]) -> None:
    """Says that some items have more responses than others: lines with one id count as its samples."""
    least = min((len(item.scores) for item in scored), default=0)
    more = [item.id for item in scored if len(item.scores) > least]
    if more:
        log.warning(
            "%s: %d items have more than %d responses, such as %s; each is their mean", name, len(more), least, more[0]
        )


def _note(benchmark: Benchmark, scoring: str) -> str:
    """The benchmark's note and how the scoring computes, where that moves numbers."""
    return "; ".join(text for text in (benchmark.notes, benchmark.arithmetic.get(scoring, "")) if text)


def _list_unparsed(
    scored: Sequence[ScoredItem], rows: Mapping[str, Mapping[str, Any]], form: str | None
) -> dict[str, dict[str, Any]]:
    """What could not be read of items that were asked, by kind with examples."""
    responses = []
    for item in scored:
        row = rows[item.id]
        texts = ["" if t is None else str(t) for t in row.get("responses") or [""]]
        ends = list(row.get("finish") or ())
        if not row.get("error"):
            responses += [
                (item.id, text, i < len(ends) and ends[i] == "length", parsed is not None)
                for i, (text, parsed) in enumerate(zip(texts, item.parsed))
            ]
    return unparsed_kinds(responses, form)


def _mean(values: Sequence[float]) -> float:
    kept = [v for v in values if not math.isnan(v)]
    return sum(kept) / len(kept) if kept else float("nan")


def _score_item(
    benchmark: Benchmark, item: Mapping[str, Any], row: Mapping[str, Any], scoring: str, form: str | None
) -> ScoredItem:
    if row.get("judge") is not None:
        item = {**item, "judge": row["judge"]}
    if row.get("error"):
        values, parsed = [0.0], [None]
    else:
        verdicts = [score_response(benchmark.name, text, item, scoring, form) for text in row["responses"] or [""]]
        values, parsed = [v["score"] for v in verdicts], [v["parsed"] for v in verdicts]
    return ScoredItem(
        id=str(item["id"]),
        family=benchmark.category(item),
        scene=str(benchmark.scene(item)),
        scores=tuple(values),
        correct=tuple(v if math.isnan(v) else float(v >= 1.0) for v in values),
        parsed=tuple(parsed),
        cell=benchmark.cell(item) if benchmark.cell else "",
    )


def _add_derived(result: dict[str, Any], derived: Mapping[str, Derived]) -> None:
    for name, pairs in derived.items():
        if isinstance(pairs, float):
            result["metrics"][name] = pairs
        elif pairs:
            values = np.array([v for v, _ in pairs])
            result["metrics"][name] = float(values.mean())
            result["intervals"][name] = mean_interval(values, [scene for _, scene in pairs])


def rotated_items(name: str, items: Sequence[Mapping[str, Any]], rotations: int) -> list[dict[str, Any]]:
    """Every item with its options rotated by 0 ... rotations - 1 places; ids get "@r1" and so on."""
    rotate = get_benchmark(name).rotate
    if rotations > 1 and rotate is None:
        raise ValueError(f"{name}: its options cannot be rotated; leave --rotations out")
    out = []
    for item in items:
        for n in range(max(rotations, 1)):
            turned = dict(item) if n == 0 or rotate is None else rotate(item, n)
            out.append({**turned, "id": str(item["id"]) if n == 0 else f"{item['id']}@r{n}"})
    return out


def rotation_robustness(scored: Sequence[ScoredItem]) -> dict[str, Any]:
    """Of items asked with their options rotated: accuracy a rotation, how many items are right under all (circular) and
    under any, and how many change between them.
    """
    groups: dict[str, dict[int, float]] = {}
    scenes = {}
    for item in scored:
        base, _, turn = item.id.partition("@r")
        groups.setdefault(base, {})[int(turn or 0)] = _mean(item.scores)
        scenes[base] = item.scene
    full = {base: turns for base, turns in groups.items() if len(turns) > 1}
    rotations = sorted({turn for turns in full.values() for turn in turns})
    all_right = np.array([float(min(t.values()) >= 1.0) for t in full.values()])
    return {
        "items": len(full),
        "accuracy": {str(r): _mean([t[r] for t in full.values() if r in t]) for r in rotations},
        "circular": float(all_right.mean()),
        "circular_ci": mean_interval(all_right, [scenes[b] for b in full]),
        "any": float(np.mean([max(t.values()) >= 1.0 for t in full.values()])),
        "changed": float(np.mean([max(t.values()) != min(t.values()) for t in full.values()])),
    }


def blind_candidates(benchmark: Benchmark, items: Sequence[Mapping[str, Any]], scoring: str) -> list[str]:
    """Constant answers that a guesser without pictures may try in one category: the letters (or the benchmark's own),
    the commonest gold answers, quantiles of numeric ones.
    """
    texts = [str(t) for item in items[:50] for t in (benchmark.guesses(item) if benchmark.guesses else LETTERS)]
    golds = []
    for item in items:
        try:
            golds.append(benchmark.oracle(item, scoring))
        except (KeyError, ValueError, IndexError, TypeError):
            continue
    numbers = []
    for gold in golds:
        try:
            numbers.append(float(gold))
        except ValueError:
            break
    if numbers and len(numbers) == len(golds):
        texts += [f"{v:.4g}" for v in np.quantile(numbers, np.linspace(0.05, 0.95, 19))]
    common = sorted(set(golds), key=lambda g: (-golds.count(g), g))[:12] if len(golds) < 4000 else []
    return list(dict.fromkeys(texts + common))[:40]


def _add_blind_prior(
    result: dict[str, Any], benchmark: Benchmark, items: Sequence[Mapping[str, Any]], scoring: str
) -> dict[str, float]:
    """The best constant answer a category, chosen on the benchmark itself (an upper bound for a guesser that knows the
    answers' counts).
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        groups.setdefault(benchmark.category(item), []).append(item)
    values: dict[str, float] = {}
    for category, members in groups.items():
        probes = members[:: max(len(members) // 400, 1)]
        best, best_mean = "", -1.0
        for candidate in blind_candidates(benchmark, probes, scoring):
            mean = float(np.mean([_blind_score(benchmark, candidate, item, scoring) for item in probes]))
            if mean > best_mean:
                best, best_mean = candidate, mean
        for item in members:
            values[str(item["id"])] = _blind_score(benchmark, best, item, scoring)
        row = result["families"].get(category)
        if row is not None:
            row["prior_constant"] = float(np.mean([values[str(i["id"])] for i in members]))
            row["prior_answer"] = best
    cells = [benchmark.cell(i) if benchmark.cell else benchmark.category(i) for i in items]
    point, _ = aggregate_interval(
        np.array([values[str(i["id"])] for i in items]),
        cells,
        [str(i["id"]) for i in items],
        lambda c: benchmark.aggregate(c, scoring),
        replicates=2,
    )
    return {name: value for name, value in point.items() if name in ("overall", "macro", "2D", "3D")} or point


def _blind_score(benchmark: Benchmark, answer: str, item: Mapping[str, Any], scoring: str) -> float:
    plain = {k: v for k, v in item.items() if k != "judge"}
    try:
        value = benchmark.score(answer, plain, scoring)[0]
    except (ValueError, KeyError, IndexError, TypeError):
        return 0.0
    return 0.0 if math.isnan(value) else float(value)

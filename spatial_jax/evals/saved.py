"""Scores of saved responses: any model's answers to a benchmark, or to questions of one's own."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from spatial_jax.evals.judging import Grader
from spatial_jax.evals.loading import completeness, load_benchmark
from spatial_jax.evals.registry import benchmark_names, get_benchmark
from spatial_jax.evals.responses import read_responses, responses_benchmark
from spatial_jax.evals.scoring import evaluate_responses

log = logging.getLogger(__name__)
_WORD = re.compile(r"\w+")


def score_benchmark_file(
    path: str,
    benchmark: str,
    *,
    data: Sequence[str] = (),
    limit: int = 0,
    scoring: str = "official",
    form: str | None = None,
    grader: Grader | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(result, items) of a responses file to a benchmark, whose items come with the file or out of `data`. ValueError
    for a file without responses or of another benchmark.
    """
    rows = read_responses(path)
    if not rows:
        raise ValueError(f"{path}: holds no response")
    items, files = carried_items(rows), None
    if not items:
        loaded = load_benchmark(benchmark, data, limit)
        items, files = loaded.items, loaded.files
    check_same_benchmark(path, benchmark, items, rows)
    extra = {"model": path, "responses": path, "unknown": 0 if limit else _unknown(items, rows)}
    result = evaluate_responses(benchmark, items, rows, scoring=scoring, form=form, extra=extra, grader=grader)
    return (completeness(result, files) if files else result), items


def check_same_benchmark(
    path: str, benchmark: str, items: Sequence[Mapping[str, Any]], rows: Mapping[str, Mapping[str, Any]]
) -> None:
    """ValueError where a responses file says that it is of another benchmark, or where the questions that its lines
    carry are not those of the items with their ids: ids are often just numbers.
    """
    told, name = responses_benchmark(path), get_benchmark(benchmark).name
    if told and told != name and told in benchmark_names():
        raise ValueError(f"{path}: holds responses to {told}, as its first line says, not to {name}")
    checked, other = 0, ""
    differing = 0
    for item in items:
        row = rows.get(str(item["id"]), {})
        said, asked = row.get("question"), item.get("question")
        if isinstance(said, str) and isinstance(asked, str) and said.strip() and asked.strip():
            checked += 1
            first, second = (set(_WORD.findall(text.lower())) for text in (said, asked))
            if len(first & second) < min(len(first), len(second)) / 2:
                differing += 1
                other = other or f"{item['id']}: {said.strip()[:60]!r} there, {asked.strip()[:60]!r} in {name}"
    if differing > checked / 2:
        raise ValueError(
            f"{path}: {differing} of {checked} questions in it are not those of {name} with the same ids, such as"
            f" {other}; give the responses to {name}"
        )


def _unknown(items: Sequence[Mapping[str, Any]], rows: Mapping[str, Any]) -> int:
    """How many responses are to no item, which is said."""
    known = {str(item["id"]) for item in items}
    unknown = [name for name in rows if name not in known and name.partition("@r")[0] not in known]
    if unknown and len(unknown) < len(rows):
        log.warning("%d of %d responses are to no item, such as %s; left out", len(unknown), len(rows), unknown[0])
    return len(unknown)


def carried_items(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Items that a responses file brings itself, without what they name on this machine: such a file comes from anyone,
    and the page would show the files.
    """
    items = []
    for name, row in rows.items():
        if isinstance(row.get("item"), dict):
            shown = row["item"].get("images")
            embedded = [i for i in shown if isinstance(i, bytes)] if isinstance(shown, list) else []
            items.append({**row["item"], "id": name, "images": embedded, "video": None})
    return items

"""Gallery entries of held-out questions out of an evaluation's saved responses: the same questions before and after,
drawn at random.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spatial_jax.data import QuestionRecord
from spatial_jax.metrics.report.runs import Evaluation, Run
from spatial_jax.metrics.report.scenes import dataset_kind, read_records
from spatial_jax.reading import parse_json

# (record, responses, model sizes) -> (record in the model's pixels as a dict, rewards, correct as 1.0, 0.0 or nan)
# (record, row of the responses file, result of its evaluation) -> (resolved record, rewards, correct)
Scorer = Callable[
    [QuestionRecord, dict[str, Any], dict[str, Any]], tuple[dict[str, Any], Sequence[float], Sequence[float]]
]


def heldout_entries(run: Run, scorer: Scorer, limit: int) -> list[dict[str, Any]]:
    """Entries as write_gallery takes them, one a question and evaluation (sampled ones where there are any), for
    `limit` questions drawn at random (by the hash of their id), the families in turn. Empty when the responses or the
    datasets are not there.
    """
    evaluations = [e for e in run.evaluations if e.kind == "sampled"] or run.evaluations
    answered = [(e, rows) for e in evaluations if (rows := _responses(e))]
    if not answered or limit <= 0:
        return []
    ids = set.intersection(*(set(rows) for _, rows in answered))
    families = {
        str(item.get("id")): str(item.get("family")) for e, _ in answered for item in e.result.get("items") or ()
    }
    chosen = _draw_questions(ids, families, limit)
    records = _records(run, set(chosen))
    entries = []
    for question in chosen:
        record = records.get(question)
        if record is None:
            continue
        for step, (e, rows) in enumerate(answered):
            row = rows[question]
            texts = [str(text) for text in row["responses"]]
            try:
                resolved, rewards, correct = scorer(record, row, e.result)
            except (ValueError, KeyError, TypeError):
                continue
            finish, lengths = row.get("finish") or [], row.get("lengths") or []
            advantages = _advantages(rewards)
            answers = [
                {
                    "text": text,
                    "reward": reward,
                    "advantage": advantages[i],
                    "correct": None if math.isnan(right) else bool(right),
                    "finish_reason": finish[i] if i < len(finish) else "",
                    "length": lengths[i] if i < len(lengths) else None,
                }
                for i, (text, reward, right) in enumerate(zip(texts, rewards, correct, strict=True))
            ]
            entries.append(
                {
                    "record": {**resolved, "images": []},
                    "images": list(record.images),
                    "answers": answers,
                    "phase": e.stage,
                    "step": step,
                    "model_sizes": row.get("model_sizes"),
                }
            )
    return entries


def _advantages(rewards: Sequence[float]) -> list[float]:
    """What training would have given these answers: (reward - mean) / (std + 1e-6), 0 where all are alike; NaN for a
    lone answer.
    """
    known = [r for r in rewards if math.isfinite(r)]
    if len(known) < 2:
        return [math.nan] * len(rewards)
    mean, deviation = statistics.fmean(known), statistics.stdev(known)
    return [0.0 if max(known) == min(known) else (r - mean) / (deviation + 1e-6) for r in rewards]


def _draw_questions(ids: set[str], families: dict[str, str], limit: int) -> list[str]:
    queues: dict[str, list[str]] = {}
    for question in sorted(ids, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        queues.setdefault(families.get(question, ""), []).append(question)
    order = [queue[i] for i in range(limit) for _, queue in sorted(queues.items()) if i < len(queue)]
    return order[:limit]


def _responses(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """id -> row of the responses beside the result (or where it says they are); {} when they cannot be read."""
    beside = evaluation.path.with_name(evaluation.path.stem + ".responses.jsonl")
    path = beside if beside.is_file() else Path(str(evaluation.result.get("responses") or ""))
    rows: dict[str, dict[str, Any]] = {}
    if not path.is_file():
        return rows
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = parse_json(line)
                if isinstance(row["responses"], list) and row["responses"]:
                    rows[str(row["id"])] = row
            except (ValueError, KeyError, TypeError):
                continue
    return rows


def _records(run: Run, wanted: set[str]) -> dict[str, QuestionRecord]:
    found: dict[str, QuestionRecord] = {}
    for folder, manifest in run.datasets:
        if dataset_kind(manifest) == "questions" and len(found) < len(wanted):
            for record in read_records(folder, "questions"):
                if record.question_id in wanted:
                    found[record.question_id] = record
                    if len(found) == len(wanted):
                        break
    return found

"""Nineteen published models' saved BLINK outputs, scored here, beside the numbers that BLINK's authors print.

    python -m benchmarks.blink_published --folder=BLINK_Benchmark/eval

`--folder`: the authors' eval folder with val_answers.json, saved_val_predictions/MODEL.json (their judge's readings of
all fourteen subtasks) and, where there are any, saved_outputs/MODEL/SUBTASK.json (the models' texts). Prints and
writes, a model: our total of the judge's readings, the published one and their difference, and for the texts the
accuracy under every scoring and how often the official scoring without a judge reads what the judge read.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.evals import evaluate_responses, get_benchmark, score_response
from spatial_jax.evals.benchmarks.blink import SUBTASKS

# Validation column of the authors' README; the two of their later table are not in it.
PUBLISHED = {
    "GPT4o": 60.04,
    "GPT4Turbo": 54.61,
    "GPT4V": 51.1,
    "GeminiProVision": 45.2,
    "OPUS": 44.1,
    "QwenVLMax": 40.3,
    "Yi_VL_6B": 38.7,
    "Yi_VL_34B": 41.7,
    "llava_v1.5_7b": 37.1,
    "llava_v1.5_13b": 42.7,
    "llava-v1.6-34b": 46.8,
    "cogvlm-chat": 41.5,
    "llava-v1.5-7b-xtuner": 39.4,
    "llava-v1.5-13b-xtuner": 42.0,
    "llava-internlm2-7b": 37.7,
    "instructblip_7b": 39.7,
    "instructblip_13b": 42.2,
    "MiniGPT-4-v2": 34.2,
    "flamingov2": 39.2,
}


def items_of(folder: Path) -> list[dict[str, Any]]:
    """The labelled items: only ids and answers are published without pictures."""
    answers = json.loads((folder / "val_answers.json").read_text())
    return [{"id": name, "idx": name, "answer": answer} for name, answer in answers.items()]


def total(items: list[dict[str, Any]], readings: dict[str, str | None]) -> dict[str, float]:
    """Our official metrics (x100) of a judge's readings; an item without one counts as (Z)."""
    rows = {i["id"]: {"responses": [""], "judge": readings.get(i["id"]) or "(Z)"} for i in items}
    metrics = evaluate_responses("blink", items, rows)["metrics"]
    return {name: round(100 * float(value), 2) for name, value in metrics.items()}


def texts_of(folder: Path) -> list[dict[str, Any]]:
    """Every saved text of a model that its judge read."""
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.json")):
        rows += [row for row in json.loads(path.read_text())["val"] if isinstance(row["full_prediction"], str)]
    return rows


def read_texts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy (x100, mean over the subtasks there are) of the texts under every scoring, and the agreement."""
    values: dict[str, dict[str, list[float]]] = {}
    same = []
    for row in rows:
        item = {"id": row["idx"], "idx": row["idx"], "answer": row["answer"]}
        for scoring in get_benchmark("blink").scorings:
            verdict = score_response("blink", row["full_prediction"], item, scoring)
            subtask = get_benchmark("blink").category(item)
            values.setdefault(scoring, {}).setdefault(subtask, []).append(verdict["score"])
            if scoring == "official":
                same.append(f"({verdict['parsed'] or 'Z'})" == str(row["prediction"]))
    means = {s: round(100 * float(np.mean([np.mean(v) for v in by.values()])), 2) for s, by in values.items()}
    return {
        "texts": len(rows),
        "subtasks": sorted(values["official"]),
        "accuracy": means,
        "as_judge": float(np.mean(same)),
    }


def measure(folder: Path, subtasks: Sequence[str] = tuple(SUBTASKS)) -> dict[str, Any]:
    """{model: {"ours", "published", "difference", "subtasks", "texts"}} of a folder."""
    items = items_of(folder)
    out: dict[str, Any] = {}
    for path in sorted((folder / "saved_val_predictions").glob("*.json")):
        metrics = total(items, json.loads(path.read_text()))
        published = PUBLISHED.get(path.stem)
        texts = texts_of(folder / "saved_outputs" / path.stem)
        out[path.stem] = {
            "ours": metrics["overall"],
            "published": published,
            "difference": None if published is None else round(metrics["overall"] - published, 2),
            "subtasks": {name: metrics[name] for name in subtasks},
            "texts": read_texts(texts) if texts else None,
        }
    if not out:
        raise SystemExit(f"{folder}: no saved_val_predictions/*.json; give the authors' eval folder")
    return out


def main() -> None:
    """Prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.blink_published",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", required=True)
    parser.add_argument("--out", default="benchmarks/results/blink_published.json")
    options = parser.parse_args()
    models = measure(Path(options.folder))
    print(f"{'model':24}{'ours':>8}{'published':>11}{'diff':>7}   texts as the judge read them")
    for name, row in sorted(models.items(), key=lambda pair: -pair[1]["ours"]):
        read = f"{row['texts']['as_judge']:.3f} of {row['texts']['texts']}" if row["texts"] else ""
        published, difference = row["published"] or float("nan"), row["difference"] or 0.0
        print(f"{name:24}{row['ours']:8.2f}{published:11.2f}{difference:+7.2f}   {read}")
    Path(options.out).write_text(json.dumps({"models": models}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""POPE (Li et al., arXiv 2305.10355): is an object in the picture? Random, popular and adversarial questions.

The official reading takes everything for yes that does not say no. overall = F1: the mean over the three kinds, in
VLMEvalKit and lmms-eval pooled; rows that belong to several kinds count in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spatial_jax.evals import yes_no
from spatial_jax.evals.benchmarks.base import Benchmark, Derived, Item, Outcome, Scored, correct
from spatial_jax.evals.benchmarks.docvqa import ASK
from spatial_jax.evals.general_files import general_rows, unique_ids

READERS = {"official": yes_no.first_sentence, "lmms_eval": yes_no.exact, "vlmevalkit": yes_no.yes_or_no_word}


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the authors' JSON lines (text, label), the parquet or VLMEvalKit's TSV."""
    patterns = ("*Full*", "*test*", "*[Pp][Oo][Pp][Ee]*", "*")
    try:
        rows = general_rows(root, patterns)
    except ValueError:
        rows = general_rows(root, patterns, answer="label", folders=("images", "val2014"))
    for row in rows:
        row["question"] = row.get("question") or row.get("text")
        row["answer"] = str(row.get("answer", row.get("label"))).strip()
        known = next((k for k in ("random", "popular", "adversarial") if k in str(row["_file"]).lower()), "all")
        row["category"] = str(row.get("category") or known)
        row["id"] = f"{row['category']}_{row['id']}"
    return unique_ids(rows)


def prompt(item: Item, scoring: str) -> str:
    return str(item["question"]) + (ASK if scoring == "lmms_eval" else "")


def score(response: str, item: Item, scoring: str) -> Scored:
    said = READERS[scoring](response)
    return correct(said == str(item["answer"]).strip().lower(), said)


def f1_numbers(pairs: Sequence[tuple[str, str | None]], *, strict: bool) -> dict[str, float]:
    """accuracy, precision, recall, f1 and the share of yes, of (gold, said) pairs; a zero denominator gives 0.
    `strict` (lmms-eval): what is neither yes nor no is no false negative either.
    """
    hits = sum(gold == said for gold, said in pairs)
    true_yes = sum(gold == said == "yes" for gold, said in pairs)
    false_yes = sum(gold == "no" and said == "yes" for gold, said in pairs)
    missed = sum(gold == "yes" and (said == "no" or (said is None and not strict)) for gold, said in pairs)
    precision = true_yes / (true_yes + false_yes) if true_yes + false_yes else 0.0
    recall = true_yes / (true_yes + missed) if true_yes + missed else 0.0
    both = precision + recall
    return {
        "accuracy": hits / len(pairs),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / both if both else 0.0,
        "yes": sum(said == "yes" for _, said in pairs) / len(pairs),
    }


def derive(items: Sequence[Item], outcomes: Sequence[Outcome], scoring: str) -> dict[str, Derived]:
    """The five numbers over all rows (those of several kinds once a kind) and for each kind."""
    kinds: dict[str, list[tuple[str, str | None]]] = {}
    for item, (_, said) in zip(items, outcomes):
        for kind in str(item.get("category", "all")).split(","):
            kinds.setdefault(kind.strip(), []).append((str(item["answer"]).strip().lower(), said))
    strict = scoring == "lmms_eval"
    pooled = f1_numbers([pair for pairs in kinds.values() for pair in pairs], strict=strict)
    by_kind = {kind: f1_numbers(pairs, strict=strict) for kind, pairs in kinds.items()}
    out: dict[str, Derived] = {**pooled, **{f"{k} {n}": v for k, own in by_kind.items() for n, v in own.items()}}
    out["overall"] = (
        sum(own["f1"] for own in by_kind.values()) / len(by_kind) if scoring == "official" else pooled["f1"]
    )
    return out


BENCHMARK = Benchmark(
    name="pope",
    title="POPE",
    hub="lmms-lab/POPE",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("category", "all")),
    scene=lambda item: str(item.get("image_source") or item.get("image_path") or item["id"]),
    oracle=lambda item, scoring: str(item["answer"]).strip().capitalize(),
    derived=derive,
    guesses=lambda item: ["Yes", "No"],
    max_new_tokens=16,
    notes="overall is F1; the official reading takes every text without a no for yes",
)

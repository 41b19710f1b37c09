"""HallusionBench (Guan et al., arXiv 2310.14566): yes-or-no questions on figures and their edited twins.

aAcc = mean over questions, fAcc = figures whose questions are all right, qAcc = questions right on all their figures;
overall = mean of the three. Official: a judge's 0, 1 or 2 under "judge" where there is one, else the worded yes or no.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spatial_jax.evals import yes_no
from spatial_jax.evals.benchmarks.base import Benchmark, Derived, Item, Outcome, Scored, correct, is_whole
from spatial_jax.evals.general_files import general_rows, unique_ids


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the authors' JSON, the hub's parquet (both splits) or VLMEvalKit's TSV, whose index holds the ids."""
    patterns = ("HallusionBench*", "*image*", "*")
    try:
        rows = general_rows(root, patterns, answer="gt_answer", folders=("hallusion_bench", "images"))
    except ValueError:
        rows = general_rows(root, patterns, folders=("images",))
    items = []
    for row in rows:
        parts = str(row.get("index", "")).split("_")
        if "set_id" not in row and len(parts) >= 6:
            row |= dict(zip(("set_id", "figure_id", "question_id"), parts[3:6]))
        named = str(row.get("l2-category") or row.get("l2_category") or row.get("subcategory"))
        row["subcategory"] = named.removeprefix(f"{row.get('category')}_")
        row["answer"] = answer_of(row)
        row["id"] = "_".join(str(row.get(k)) for k in ("category", "subcategory", "set_id", "figure_id", "question_id"))
        items.append(row)
    return unique_ids(items)


def answer_of(item: Item) -> str:
    """yes or no, out of gt_answer ("1", "0") or answer (Yes, No)."""
    value = str(item.get("gt_answer", item.get("answer"))).strip().lower()
    return {"1": "yes", "0": "no", "1.0": "yes", "0.0": "no"}.get(value, value)


def prompt(item: Item, scoring: str) -> str:
    return str(item["question"])


def _imageless(item: Item) -> bool:
    return item.get("category") == "VS" and str(item.get("figure_id")) == "0"


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = answer_of(item)
    if scoring == "official" and item.get("judge") is not None:
        verdict = str(item["judge"]).strip()
        return correct(verdict == "1" or (verdict == "2" and _imageless(item)), verdict)
    if scoring == "lmms_eval":  # its rule without a judge
        said: str | None = "yes" if "yes" in response.lower() else "no"
    else:
        said = yes_no.yes_or_no_word(response)
    return correct(said == gold, said)


def derive(items: Sequence[Item], outcomes: Sequence[Outcome], scoring: str) -> dict[str, Derived]:
    """aAcc, fAcc, qAcc and their mean as "overall"; groups never cross a category's subcategory."""
    figures: dict[str, list[float]] = {}
    questions: dict[str, list[float]] = {}
    for item, (value, _) in zip(items, outcomes):
        head = f"{item.get('category')}_{item.get('subcategory')}_{item.get('set_id')}"
        if not (_imageless(item) and scoring == "official"):
            figures.setdefault(f"{head}_{item.get('figure_id')}", []).append(value)
        questions.setdefault(f"{head}_{item.get('question_id')}", []).append(value)

    def pairs(groups: dict[str, list[float]]) -> list[tuple[float, str]]:
        return [
            (float(min(values) >= 1), "_".join(name.split("_")[:3]))
            for name, values in groups.items()
            if is_whole(values)
        ]

    every = [
        (value, f"{i.get('category')}_{i.get('subcategory')}_{i.get('set_id')}")
        for i, (value, _) in zip(items, outcomes)
        if is_whole([value])
    ]
    out: dict[str, Derived] = {"aAcc": every, "fAcc": pairs(figures), "qAcc": pairs(questions)}
    means = [sum(v for v, _ in group) / len(group) for group in (every, pairs(figures), pairs(questions)) if group]
    out["overall"] = sum(means) / len(means)
    return out


BENCHMARK = Benchmark(
    name="hallusionbench",
    title="HallusionBench",
    hub="lmms-lab/HallusionBench",
    required=("question",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: f"{item.get('category', 'all')}_{item.get('subcategory', '')}".rstrip("_"),
    scene=lambda item: f"{item.get('category')}_{item.get('subcategory')}_{item.get('set_id')}",
    oracle=lambda item, scoring: "Yes" if answer_of(item) == "yes" else "No",
    derived=derive,
    grouped=True,
    guesses=lambda item: ["Yes", "No"],
    max_new_tokens=128,
    notes="overall = mean of aAcc, fAcc and qAcc",
)

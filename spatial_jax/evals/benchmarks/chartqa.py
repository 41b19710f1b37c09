"""ChartQA (Masry et al., arXiv 2203.10244): relaxed accuracy, within 5 % of a number, else the same text.

`spatial_ssrl` calls the rule with its arguments the other way round and unwraps \\boxed{}, percent signs and ratios, as
that paper's evaluation does.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import Benchmark, Item, Scored
from spatial_jax.evals.benchmarks.docvqa import ASK
from spatial_jax.evals.general_files import general_rows, golds
from spatial_jax.evals.matching import closed_braces
from spatial_jax.evals.short_answers import relaxed_match

_BOXED = re.compile(r"boxed\{([^}]*)\}")
_RATIO = re.compile(r"([^:]*):([^:]*)")


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the test parquet (answer, or label as a list) or of VLMEvalKit's TSV."""
    patterns = ("*test*", "*[Cc]hart*", "*")
    try:
        rows = general_rows(root, patterns)
    except ValueError:
        rows = general_rows(root, patterns, answer="label")
    return [
        {
            **row,
            "question": row.get("question") or row.get("query"),
            "answer": golds(row.get("answer", row.get("label"))),
        }
        for row in rows
    ]


def prompt(item: Item, scoring: str) -> str:
    return str(item["question"]) + ("\nAnswer the question with a single word." if scoring == "lmms_eval" else ASK)


def ssrl_text(response: str) -> str:
    """The last box where there is one, without escapes and commas in numbers; "1:4" as 0.25000000."""
    found = _BOXED.findall(closed_braces(response))
    text = (found[-1] if found else response).replace("\\%", "").replace("\\text{", "")
    text = re.sub(r"(?<=\d),(?=\d)", "", text).replace("\\", "")
    match = _RATIO.fullmatch(text)
    if match and match[2].strip() != "0":
        try:
            return f"{float(match[1]) / float(match[2]):.8f}"
        except (ValueError, ZeroDivisionError):
            return text
    return text


def score(response: str, item: Item, scoring: str) -> Scored:
    said = response if scoring == "lmms_eval" else response.strip()
    if scoring == "spatial_ssrl":
        said = ssrl_text(response).strip()
    swapped = scoring == "spatial_ssrl"
    return max(relaxed_match(said, gold, swapped=swapped) for gold in golds(item["answer"])), said.strip()[:80] or None


def split(item: Item) -> str:
    """human or augmented questions."""
    named = str(item.get("type", item.get("split", item.get("human_or_machine", "all")))).lower()
    return {"0": "human", "1": "augmented"}.get(named) or next((k for k in ("human", "augmented") if k in named), named)


BENCHMARK = Benchmark(
    name="chartqa",
    title="ChartQA",
    hub="lmms-lab/ChartQA",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=split,
    oracle=lambda item, scoring: golds(item["answer"])[0],
    guesses=lambda item: ["Yes", "No", "0", "1", "2", "3"],
    scorings=("official", "lmms_eval", "vlmevalkit", "spatial_ssrl"),
    max_new_tokens=32,
)

"""ERQA (Gemini Robotics, arXiv 2503.20020): 400 choices on embodied reasoning, one to sixteen pictures set into the
question's text.

The original harness compares the whole response, without dots and case, with the letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import Benchmark, Item, Metrics, Scored, correct, letter_of
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.matching import ranked_letter
from spatial_jax.evals.matching_spatial import option_score
from spatial_jax.evals.sources import as_list, pictures, read_rows


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the parquet (images, visual_indices) or of VLMEvalKit's TSV (base64 pictures)."""
    items = []
    for number, row in enumerate(read_rows(root, ("*test*", "*[Ee][Rr][Qq][Aa]*", "*"))):
        items.append(
            {
                **row,
                "id": str(row.get("question_id", row.get("index", number))),
                "images": pictures(row.get("images") or row.get("image"), row["_root"], "images"),
                "visual_indices": [int(i) for i in as_list(row.get("visual_indices"))],
            }
        )
    return items


def insert_marks(question: str, offsets: Sequence[int], count: int) -> str:
    """The question with an <image> at every offset in characters; all in front where the offsets are all 0 or are not
    as many as the pictures.
    """
    if len(offsets) != count or not any(offsets):
        return "<image>" * count + question
    out, last = "", 0
    for offset in sorted(min(max(o, 0), len(question)) for o in offsets):
        out += question[last:offset] + "<image>"
        last = offset
    return out + question[last:]


def prompt(item: Item, scoring: str) -> str:
    """lmms-eval shows all pictures first; the others set them into the text."""
    question, count = str(item["question"]), len(item.get("images") or [])
    return question if scoring == "lmms_eval" else insert_marks(question, item.get("visual_indices") or [], count)


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = letter_of(item["answer"])
    if scoring == "vlmevalkit":
        return option_score(response, gold)
    if scoring == "lmms_eval":
        letter = ranked_letter(response, "ABCD")
        return correct(letter == gold, letter)
    said = response.replace(".", "").strip().lower()
    return correct(said == str(item["answer"]).strip().lower(), said.upper() if len(said) == 1 else None)


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    return {"overall": pool(list(cells.values())).mean, **{name: cell.mean for name, cell in cells.items()}}


BENCHMARK = Benchmark(
    name="erqa",
    title="ERQA",
    hub="FlagEval/ERQA",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("question_type") or item.get("category") or "all"),
    oracle=lambda item, scoring: letter_of(item["answer"]),
    aggregate=aggregate,
    max_new_tokens=256,
)

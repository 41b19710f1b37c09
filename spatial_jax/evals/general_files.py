"""Rows of general-ability benchmarks: the hub's parquet files, the authors' JSON, or VLMEvalKit's TSV, whose picture
column may name another row's picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import missing
from spatial_jax.evals.sources import SourceError, as_list, pictures, read_rows

SHARED = 64  # a picture text this short is the index of the row that has the picture


def general_rows(
    root: Path, patterns: Sequence[str], *, answer: str = "answer", folders: Sequence[str] = ("images", "image")
) -> list[dict[str, Any]]:
    """Rows with "id" and "images". SourceError where no row has an answer (a test split keeps them back)."""
    rows = read_rows(root, patterns)
    if all(missing(row.get(answer)) if not isinstance(row.get(answer), list) else not row[answer] for row in rows):
        raise SourceError(
            f"{root}: no row has {answer!r}; the answers of a test split are not public, give the dev split"
        )
    by_index = {str(row["index"]): row for row in rows if "index" in row}
    for number, row in enumerate(rows):
        shown = next((row[key] for key in ("image", "images", "image_path", "filename") if row.get(key)), None)
        if isinstance(shown, str) and len(shown) <= SHARED and shown in by_index:
            shown = by_index[shown].get("image")
        row["images"] = pictures(shown, row["_root"], *folders)
        name = next((row[k] for k in ("index", "questionId", "question_id", "id") if not missing(row.get(k))), number)
        row["id"] = str(name)
    return unique_ids(rows)


def unique_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows whose ids repeat get their number as well."""
    if len({row["id"] for row in rows}) < len(rows):
        for number, row in enumerate(rows):
            row["id"] = f"{row['id']}_{number}"
    return rows


def golds(value: Any) -> list[str]:
    """The accepted answers, out of one text, a list, or a text that holds a list."""
    return [str(v) for v in as_list(value)] if not isinstance(value, (int, float)) else [str(value)]

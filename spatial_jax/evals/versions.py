"""How many rows the published files of each benchmark hold, so that another version of a folder is named and a result
that lacks rows says so.

Counts are of the published files and cards, or where it is said of papers; a benchmark without an entry is not checked.
"""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from spatial_jax.evals.benchmarks.base import Benchmark, missing
from spatial_jax.evals.benchmarks.blink import SUBTASKS

MOST_TOLD = 3  # categories that a line names


@dataclasses.dataclass(frozen=True)
class Version:
    """A published version: its name, its rows, and rows by category (those that are known; {}: none are)."""

    name: str
    rows: int
    categories: Mapping[str, int] = dataclasses.field(default_factory=dict)


_VSI = {
    "object_size_estimation": 953,
    "object_abs_distance": 834,
    "object_rel_distance": 710,
    "obj_appearance_order": 618,
    "object_counting": 565,
    "object_rel_direction_easy": 217,
    "object_rel_direction_medium": 378,
    "object_rel_direction_hard": 373,
    "room_size_estimation": 288,
    "route_planning": 194,
}
_VIEW = {
    "Camera perspective - Relative Direction": 1773,
    "Person perspective - Scene Simulation Relative Direction": 1105,
    "Camera perspective - Object View Orientation": 996,
    "Person perspective - Object View Orientation": 996,
    "Person perspective - Relative Direction": 842,
}
_OCR = {
    **dict.fromkeys((f"{k} Recognition" for k in ("Regular Text", "Irregular Text", "Artistic Text")), 50),
    **dict.fromkeys(("Handwriting Recognition", "Digit String Recognition", "Non-Semantic Text Recognition"), 50),
    **dict.fromkeys(("Scene Text-centric VQA", "Doc-oriented VQA", "Key Information Extraction"), 200),
    "Handwritten Mathematical Expression Recognition": 100,
}
_STAR = (
    "coarse perception",
    "fine-grained perception",
    "instance reasoning",
    "logical reasoning",
    "math",
    "science & technology",
)
VERSIONS: dict[str, tuple[Version, ...]] = {
    "cv_bench": (Version("test", 2638),),
    "vsi_bench": (Version("full", 5130, _VSI),),
    "vsi_debiased": (Version("debiased (the paper's count)", 2363),),
    "spar_bench": (Version("full", 7207), Version("tiny", 1000)),
    "mmsi_bench": (Version("test", 1000),),
    "viewspatial": (Version("test", 5712, _VIEW),),
    "blink": (Version("val", 1901, {name: rows for name, (rows, _) in SUBTASKS.items()}),),
    "embspatial": (Version("test (the paper's count)", 3640),),
    "realworldqa": (Version("test (the paper's count)", 765),),
    "mindcube": (Version("tiny", 1050), Version("full", 21154)),
    "omnispatial": (Version("test", 1533),),
    "site_bench": (Version("image and video", 8068),),
    "mmsi_video": (Version("test", 1106),),
    "erqa": (Version("test", 400),),
    "refspatial": (
        Version("with unseen", 277, {"location": 100, "placement": 100, "unseen": 77}),
        Version("without unseen", 200, {"location": 100, "placement": 100}),
    ),
    "where2place": (Version("test (the paper's count)", 100),),
    "spatialviz": (Version("test (the paper's count)", 1180),),
    "osi_bench": (Version("test", 8766),),
    "robospatial_home": (Version("home", 350, {"configuration": 123, "compatibility": 105, "context": 122}),),
    "mmbench": (Version("dev (v1.0)", 4329),),
    "mmstar": (Version("val", 1500, dict.fromkeys(_STAR, 250)),),
    "hallusionbench": (Version("with pictures", 951), Version("all", 1129)),
    "ocrbench": (Version("test", 1000, _OCR),),
    "docvqa": (Version("validation", 5349), Version("InfographicVQA validation", 2801)),
    "textvqa": (Version("validation", 5000),),
    "chartqa": (Version("test", 2500, {"human": 1250, "augmented": 1250}),),
    "mme": (Version("test", 2374),),
    "ai2d": (Version("test", 3088),),
    "pope": (Version("three kinds", 9000), Version("unique pairs", 5127)),
}


def check_version(benchmark: Benchmark, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """{"version": name or "", "rows": n, "why": [lines]}: which published version the items are, and what differs from
    the nearest one. No lines: nothing differs, or the counts are not known ("version" is then "unchecked").
    """
    lacking = collections.Counter(
        field for item in items for field in benchmark.required if _absent(item.get(field, None))
    )
    why = [f"{count} of {len(items)} rows lack {field!r}" for field, count in lacking.items()]
    known = VERSIONS.get(benchmark.name, ())
    if not known:
        return {"version": "unchecked", "rows": len(items), "why": why}
    nearest = min(known, key=lambda version: abs(version.rows - len(items)))
    differing = _differences(nearest, benchmark, items)
    if nearest.rows != len(items):
        others = "".join(f", {v.name} {v.rows:,}" for v in known if v is not nearest)
        parts = f" ({'; '.join(differing[:MOST_TOLD])})" if differing else ""
        why.insert(0, f"{len(items):,} rows where {nearest.name} has {nearest.rows:,}{others}{parts}")
    elif differing:
        why.insert(0, f"other counts than {nearest.name}: {'; '.join(differing[:MOST_TOLD])}")
    matches = nearest.rows == len(items) and not differing
    return {"version": nearest.name if matches else "", "rows": len(items), "why": why}


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, (str, float)) and missing(value))


def _differences(version: Version, benchmark: Benchmark, items: Sequence[Mapping[str, Any]]) -> list[str]:
    """ "Counting 119 of 120" for the categories that this benchmark names as the version does."""
    counts = collections.Counter(benchmark.category(item) for item in items)
    if not set(counts) <= set(version.categories):  # named otherwise: nothing to compare
        return []
    return [f"{name} {counts[name]} of {rows}" for name, rows in version.categories.items() if counts[name] != rows]


def missing_media(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Paths of videos and pictures that are not there, one an item."""
    lost = []
    for item in items:
        paths = [p for p in (*(item.get("images") or ()), item.get("video")) if isinstance(p, str)]
        first = next((p for p in paths if not os.path.exists(p)), None)
        if first:
            lost.append(first)
    return lost

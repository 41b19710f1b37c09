"""The papers' tables out of evaluation results: Li 2025's four columns, vsGRPO's VSI-Bench row, Spatial-SSRL's seven,
ViLaSR's.

Li publishes no list of subcategories; the mapping here is written into every table (specs of each column), scores are
compared as deltas. A column is the unweighted mean of the subcategories that are there ("macro"), the mean over their
items stands beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spatial_jax.evals.results import align
from spatial_jax.evals.settings import PUBLISHED


@dataclasses.dataclass(frozen=True)
class Part:
    """One subcategory of a column: families of a benchmark (all when empty), or one of its metrics."""

    benchmark: str
    families: tuple[str, ...] = ()
    metric: str = ""

    def label(self) -> str:
        return f"{self.benchmark}: {self.metric or ', '.join(self.families) or 'all'}"


@dataclasses.dataclass(frozen=True)
class Table:
    """A paper's table: columns of parts; `average` also gives the mean of the columns; `note` is printed under it."""

    title: str
    columns: Mapping[str, tuple[Part, ...]]
    published: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    average: bool = False
    note: str = ""


_DIRECTIONS = ("object_rel_direction_easy", "object_rel_direction_medium", "object_rel_direction_hard")
_RELATIONS_3D = (
    "height_higher",
    "location_above",
    "location_next_to",
    "orientation_in_front_of",
    "orientation_on_the_left",
    "orientation_viewpoint",
)


def _vsi(*columns: tuple[str, str]) -> dict[str, tuple[Part, ...]]:
    return {name: (Part("vsi_bench", metric=metric),) for name, metric in columns}


TABLES: dict[str, Table] = {
    "li2025": Table(
        "Li 2025, Tables 1 and 2: four columns",
        {
            "Relation": (
                Part("cv_bench", ("Relation",)),
                Part("vsi_bench", _DIRECTIONS),
                Part("blink", ("Spatial_Relation",)),
                Part("srbench_3d", _RELATIONS_3D),
                Part("whatsup"),
                Part("heldout", ("relation", "direction", "bearing")),
            ),
            "Rel. depth": (
                Part("cv_bench", ("Depth",)),
                Part("blink", ("Relative_Depth",)),
                Part("spar_bench", ("depth_prediction_oo", "depth_prediction_oo_mv")),
                Part("heldout", ("depth_order2", "depth_order")),
            ),
            "Abs. depth": (
                Part("spar_bench", ("depth_prediction_oc", "depth_prediction_oc_mv")),
                Part("q_spatial"),
                Part("heldout", ("abs_depth",)),
            ),
            "Distance": (
                Part("cv_bench", ("Distance",)),
                Part("vsi_bench", ("object_abs_distance",)),
                Part("vsi_bench", ("object_rel_distance",)),
                Part("spar_bench", tuple(f"distance_prediction_{w}{v}" for w in ("oo", "oc") for v in ("", "_mv"))),
                Part("heldout", ("distance",)),
            ),
        },
        {
            "Qwen2.5-VL-7B": (34.5, 40.8, 48.2, 32.5),
            "SpaceR-7B": (61.9, 38.6, 40.5, 31.4),
            "SAT-7B": (64.2, 41.1, 45.1, 40.6),
            "Li 2025": (67.8, 58.3, 53.7, 55.8),
        },
        note=(
            "The paper lists no subcategories: this mapping is ours, so compare differences between models, not the"
            " published numbers."
        ),
    ),
    "vsgrpo": Table(
        "vsGRPO (arXiv 2504.00883): VSI-Bench",
        _vsi(
            ("Avg", "overall"),
            ("Count", "object_counting"),
            ("AbsDist", "object_abs_distance"),
            ("ObjSize", "object_size_estimation"),
            ("RoomSize", "room_size_estimation"),
            ("RelDist", "object_rel_distance"),
            ("RelDir", "object_rel_direction"),
            ("Route", "route_planning"),
            ("Appear.", "obj_appearance_order"),
        ),
        {
            "Qwen2-VL-2B": (23.3, 21.4, 3.4, 32.3, 31.1, 26.7, 27.7, 24.7, 18.9),
            "2B + SFT": (29.6, 29.6, 23.5, 47.4, 33.5, 26.9, 28.3, 28.8, 18.6),
            "vsGRPO-2B": (35.4, 53.6, 29.0, 52.7, 43.4, 28.1, 30.9, 26.8, 18.9),
            "Qwen2-VL-7B": (32.2, 39.4, 25.0, 25.8, 43.2, 32.6, 30.9, 27.8, 32.6),
            "vsGRPO-7B": (40.7, 59.9, 29.6, 50.8, 48.3, 35.4, 35.6, 34.0, 31.5),
        },
    ),
    "spatial_ssrl": Table(
        "Spatial-SSRL (arXiv 2510.27606): seven benchmarks",
        {
            "Spatial457": (Part("spatial457", metric="overall"),),
            "3DSR": (Part("srbench_3d", metric="overall"),),
            "SpatialEval": (Part("spatial_eval", metric="overall"),),
            "QSp+": (Part("q_spatial", metric="overall"),),
            "What'sUp": (Part("whatsup", metric="overall"),),
            "ViewSp": (Part("viewspatial", metric="overall"),),
            "VSI": (Part("vsi_bench", metric="overall"),),
        },
        {
            "Qwen2.5-VL-3B": (33.70, 50.30, 54.65, 33.66, 85.85, 35.38, 27.84),
            "Spatial-SSRL-3B": (46.07, 51.72, 59.59, 39.60, 86.71, 36.62, 33.49),
            "Qwen2.5-VL-7B": (44.67, 53.39, 62.37, 46.53, 86.95, 36.83, 38.08),
            "Spatial-SSRL-7B": (53.34, 56.53, 64.03, 54.46, 90.61, 37.81, 39.29),
        },
        average=True,
        note=(
            "The paper scores What'sUp and VSI-Bench with its own scripts (--scoring=spatial_ssrl), the others with"
            " VLMEvalKit."
        ),
    ),
    "vilasr": Table(
        "ViLaSR (arXiv 2506.09965)",
        {
            "SpatialEval-Real": (Part("spatial_eval", ("spatialreal",)),),
            "Maze": (Part("spatial_eval", ("mazenav",)),),
            "VSI": (Part("vsi_bench", metric="overall"),),
            "SPAR": (Part("spar_bench", metric="overall"),),
            "MMSI": (Part("mmsi_bench", metric="overall"),),
        },
        {"ViLaSR-7B": (float("nan"), 98.2, 45.4, 37.6, 30.2)},
        note=(
            "The paper's maze set is its own (2,000 items); here the column is SpatialEval's maze task. VSI with"
            " --scoring=vilasr."
        ),
    ),
}


def _part_value(part: Part, results: Mapping[str, Mapping[str, Any]]) -> tuple[float, float, int] | None:
    """(macro value, micro value, items) of a part, None when its result or families are not there."""
    result = results.get(part.benchmark)
    if result is None:
        return None
    if part.metric:
        value = result["metrics"].get(part.metric)
        return None if value is None else (float(value), float(value), int(result["n"]))
    rows = [
        row
        for name, row in result["families"].items()
        if (not part.families or name in part.families) and row["reward"] is not None
    ]
    if not rows:
        return None
    rewards, counts = np.array([r["reward"] for r in rows], float), np.array([r["n"] for r in rows], float)
    return float(rewards.mean()), float((rewards * counts).sum() / counts.sum()), int(counts.sum())


def _row_name(result: Mapping[str, Any]) -> str:
    """The model, and the response form it was asked in where that is not the published way."""
    model, form = str(result.get("model", "model")), result.get("form")
    return model if form in (None, PUBLISHED) else f"{model} [{form}]"


def build_table(name: str, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row a model: {"name", "title", "scorings", "columns": [...], "rows": {model: {column: {"macro", "micro", "n",
    "parts": {...}}}}, "missing": {model: [part labels]}, "mapping", "published", "note"}. Values x100. ValueError for
    an unknown table or no usable result.
    """
    if name not in TABLES:
        raise ValueError(f"no table {name!r}; there are {', '.join(TABLES)}")
    table = TABLES[name]
    models: dict[str, dict[str, Mapping[str, Any]]] = {}
    scorings = set()
    for result in results:
        benchmark = "heldout" if result.get("scoring") == "reward" else str(result["benchmark"])
        models.setdefault(_row_name(result), {})[benchmark] = result
        scorings.add(f"{benchmark}: {result.get('scoring')}")
    rows: dict[str, Any] = {}
    missing: dict[str, list[str]] = {}
    for model, own in models.items():
        cells = {}
        for column, parts in table.columns.items():
            values = {part.label(): _part_value(part, own) for part in parts}
            found = {label: v for label, v in values.items() if v is not None}
            missing.setdefault(model, []).extend(label for label, v in values.items() if v is None)
            items = sum(v[2] for v in found.values())
            cells[column] = {
                "macro": 100 * float(np.mean([v[0] for v in found.values()])) if found else None,
                "micro": 100 * sum(v[1] * v[2] for v in found.values()) / items if items else None,
                "n": items,
                "parts": {label: 100 * v[0] for label, v in found.items()},
            }
        if any(cell["n"] for cell in cells.values()):
            rows[model] = cells
    if not rows:
        raise ValueError(
            f"table {name}: none of the results is of its benchmarks"
            f" ({', '.join(sorted({p.benchmark for c in table.columns.values() for p in c}))})"
        )
    return {
        "name": name,
        "title": table.title,
        "scorings": sorted(scorings),
        "columns": list(table.columns),
        "rows": rows,
        "missing": missing,
        "mapping": {column: [part.label() for part in parts] for column, parts in table.columns.items()},
        "published": {model: list(values) for model, values in table.published.items()},
        "average": table.average,
        "note": table.note,
    }


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.1f}"


def _with_average(values: list[float | None], average: bool) -> list[float | None]:
    if not average:
        return values
    return [*values, None if any(v is None for v in values) else float(np.mean([v for v in values if v is not None]))]


def table_text(table: Mapping[str, Any]) -> str:
    """The table for a console: macro (micro) a column, the published rows below, the mapping, what is missing, and the
    scoring of every number.
    """
    average = bool(table["average"])
    rows = [["model", *table["columns"], *(["Avg"] if average else [])]]
    for model, cells in table["rows"].items():
        macro = _with_average([cells[c]["macro"] for c in table["columns"]], average)
        micro = [cells[c]["micro"] for c in table["columns"]]
        texts = [
            _number(v)
            + (f" ({_number(micro[i])})" if i < len(micro) and len(cells[table["columns"][i]]["parts"]) > 1 else "")
            for i, v in enumerate(macro)
        ]
        rows.append([model, *texts])
    for model, values in table["published"].items():
        rows.append([f"{model} (published)", *map(_number, _with_average(list(values), average))])
    lines = [
        table["title"],
        align(rows),
        "column = unweighted mean of its parts (in brackets: mean over items); scoring " + "; ".join(table["scorings"]),
    ]
    lines += [f"  {column}: {'; '.join(parts)}" for column, parts in table["mapping"].items()]
    lines += [
        f"  not there for {model}: {'; '.join(labels)}"
        for model, labels in table["missing"].items()
        if labels and model in table["rows"]
    ]
    return "\n".join(lines + ([table["note"]] if table["note"] else []))

"""What the papers' tables hold: their columns as parts of benchmarks, the rows they published, and how they asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

NAN = float("nan")


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
    """A paper's table: columns of parts. `average`: the columns whose mean is shown, too. `forms`: the response forms
    that it compares, with the paper's words for them; results in another form are named by it. `scorings`: those that
    ask otherwise, too, with the word for their rows. `own`: (benchmark, what families of self-built questions are named
    with before its metrics): their results stand in the benchmark's columns, in rows of their own. `protocol`:
    benchmark -> what the paper says of how it asked and scored. `note` is printed under it.
    """

    title: str
    columns: Mapping[str, tuple[Part, ...]]
    published: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    average: tuple[str, ...] = ()
    forms: Mapping[str, str] = dataclasses.field(default_factory=dict)
    scorings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    own: tuple[str, str] = ("", "")
    protocol: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
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


_LI_COLUMNS = {
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
}
_LI_NOTE = (
    "The paper lists no subcategories: this mapping is ours, so compare differences between models, not the published"
    " numbers."
)
TABLES: dict[str, Table] = {
    "li2025": Table(
        "Li 2025, Table 1: four columns",
        _LI_COLUMNS,
        {
            "Qwen2.5-VL-7B": (34.5, 40.8, 48.2, 32.5),
            "LLaVA-OneVision-7B": (32.7, 37.3, 37.6, 39.4),
            "SpaceR-7B": (61.9, 38.6, 40.5, 31.4),
            "InternVL-8B": (63.5, 34.4, 43.6, 38.3),
            "SAT-7B": (64.2, 41.1, 45.1, 40.6),
            "Li 2025": (67.8, 58.3, 53.7, 55.8),
        },
        note=_LI_NOTE,
    ),
    "li2025_ablation": Table(
        "Li 2025, Table 2: data types added one after another",
        _LI_COLUMNS,
        {
            "base": (34.5, 40.8, 48.2, 32.5),
            "+ object localisation": (38.7, 42.6, 49.3, 38.7),
            "+ spatial relation": (56.7, 45.8, 50.2, 38.9),
            "+ relative depth": (57.8, 53.6, 51.1, 41.6),
            "+ absolute depth": (58.1, 56.7, 53.6, 49.3),
            "+ camera intrinsics": (62.2, 58.2, 53.6, 54.1),
            "+ multi-hop": (67.8, 58.3, 53.7, 55.8),
        },
        note=_LI_NOTE,
    ),
    "vsgrpo": Table(
        "vsGRPO (arXiv 2504.00883): VSI-Bench, vanilla, think and observe",
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
            "Qwen2-VL-2B [vanilla]": (23.3, 21.4, 3.4, 32.3, 31.1, 26.7, 27.7, 24.7, 18.9),
            "Qwen2-VL-2B [think]": (22.9, 18.4, 4.3, 31.5, 17.3, 28.3, 22.9, 26.2, 16.8),
            "Qwen2-VL-2B [observe]": (21.8, 16.8, 1.7, 32.7, 22.7, 28.8, 27.6, 26.2, 18.1),
            "2B + SFT": (29.6, 29.6, 23.5, 47.4, 33.5, 26.9, 28.3, 28.8, 18.6),
            "2B + DPO": (23.9, 21.7, 3.7, 34.8, 32.4, 27.1, 28.5, 24.2, 18.6),
            "vsGRPO-2B trained think [vanilla]": (26.1, 24.7, 10.7, 37.4, 36.2, 27.3, 29.5, 25.7, 17.9),
            "vsGRPO-2B trained observe [vanilla]": (28.0, 26.2, 16.4, 44.8, 38.2, 27.0, 29.3, 24.2, 18.2),
            "vsGRPO-2B [think]": (29.6, 35.0, 28.2, 34.7, 25.2, 28.0, 38.5, 28.5, 18.7),
            "vsGRPO-2B [observe]": (31.2, 34.6, 22.5, 44.8, 33.7, 29.4, 41.8, 26.8, 15.8),
            "vsGRPO-2B [vanilla]": (35.4, 53.6, 29.0, 52.7, 43.4, 28.1, 30.9, 26.8, 18.9),
            "Qwen2-VL-7B [vanilla]": (32.2, 39.4, 25.0, 25.8, 43.2, 32.6, 30.9, 27.8, 32.6),
            "Qwen2-VL-7B [think]": (31.3, 44.8, 26.1, 25.3, 23.4, 34.7, 30.9, 32.9, 31.5),
            "Qwen2-VL-7B [observe]": (32.0, 29.9, 19.0, 39.6, 32.0, 34.6, 40.0, 36.0, 24.4),
            "7B + SFT": (38.1, 44.7, 27.6, 46.1, 50.4, 34.0, 35.7, 33.0, 33.4),
            "7B + DPO": (32.6, 39.1, 25.2, 26.5, 44.2, 32.6, 30.9, 29.3, 33.3),
            "vsGRPO-7B [vanilla]": (40.7, 59.9, 29.6, 50.8, 48.3, 35.4, 35.6, 34.0, 31.5),
        },
        forms={"vanilla": "vanilla", "published": "vanilla", "think_answer": "think", "observe_answer": "observe"},
        own=("vsi_bench", "vsi_"),
        protocol={"vsi_bench": {"scoring": "official"}},
        note=(
            "The paper states neither frames nor pixels. Its vanilla prompt asks for one or two words or a number; the"
            " published prompt of VSI-Bench counts as vanilla here. Rows of own rooms are of other questions: compare"
            " them with one another."
        ),
    ),
    "spatial_ssrl": Table(
        "Spatial-SSRL (arXiv 2510.27606): seven spatial benchmarks, their mean, and general ability",
        {
            "Spatial457": (Part("spatial457", metric="overall"),),
            "3DSR": (Part("srbench_3d", metric="overall"),),
            "SpatialEval": (Part("spatial_eval", metric="overall"),),
            "QSp+": (Part("q_spatial", metric="overall"),),
            "What'sUp": (Part("whatsup", metric="overall"),),
            "ViewSp": (Part("viewspatial", metric="overall"),),
            "VSI": (Part("vsi_bench", metric="overall"),),
            "VQA": tuple(Part(n, metric="overall") for n in ("mmbench", "blink", "hallusionbench", "realworldqa")),
            "OCR/chart": tuple(Part(n, metric="overall") for n in ("ocrbench", "chartqa", "seed_bench")),
        },
        {
            "Qwen2.5-VL-3B": (33.70, 50.30, 54.65, 33.66, 85.85, 35.38, 27.84, 59.37, 78.46),
            "Spatial-SSRL-3B": (46.07, 51.72, 59.59, 39.60, 86.71, 36.62, 33.49, 61.39, 78.58),
            "Qwen2.5-VL-7B": (44.67, 53.39, 62.37, 46.53, 86.95, 36.83, 38.08, 64.75, 81.96),
            "Spatial-SSRL-7B": (53.34, 56.53, 64.03, 54.46, 90.61, 37.81, 39.29, 65.32, 83.18),
        },
        average=("Spatial457", "3DSR", "SpatialEval", "QSp+", "What'sUp", "ViewSp", "VSI"),
        forms={"think_boxed": "with thought"},
        scorings={"spatial_ssrl_cot": "with thought"},
        protocol={
            **{n: {"scoring": "vlmevalkit"} for n in ("spatial457", "srbench_3d", "spatial_eval", "q_spatial")},
            **{n: {"scoring": "vlmevalkit"} for n in ("blink", "hallusionbench", "realworldqa", "ocrbench")},
            **{n: {"scoring": "spatial_ssrl"} for n in ("whatsup", "viewspatial")},
            "vsi_bench": {"scoring": "spatial_ssrl", "frames": 128, "max_new_tokens": 4096, "temperature": 0.0},
            "chartqa": {"scoring": "spatial_ssrl"},
        },
        note=(
            "The paper scores What'sUp, ViewSpatial and VSI-Bench with its own scripts (--scoring=spatial_ssrl, or"
            " spatial_ssrl_cot where they ask for a thought and a box), the others with VLMEvalKit. Which sets its"
            " general means hold is not stated; the two groups fit its repository (MMBench there is the test split of"
            " v1.1)."
        ),
    ),
    "vilasr": Table(
        "ViLaSR (arXiv 2506.09965): with and without drawing",
        {
            "Maze": (Part("spatial_eval", ("mazenav",)),),
            "SpatialEval-Real": (Part("spatial_eval", ("spatialreal",)),),
            "VSI": (Part("vsi_bench", metric="overall"),),
            "SPAR": (Part("spar_bench", metric="overall"),),
            "MMSI": (Part("mmsi_bench", metric="overall"),),
        },
        {"ViLaSR-7B [with drawing]": (98.2, NAN, 45.4, 37.6, 30.2)},
        forms={"drawing": "with drawing", "published": "without drawing"},
        protocol={
            "vsi_bench": {"scoring": "vilasr", "frames": 16, "temperature": 0.75, "top_p": 0.9, "max_pixels": 351232},
            "spar_bench": {"scoring": "vilasr", "temperature": 0.75, "top_p": 0.9, "max_pixels": 351232},
            **{n: {"temperature": 0.75, "top_p": 0.9, "max_pixels": 351232} for n in ("spatial_eval", "mmsi_bench")},
        },
        note="The paper's maze set is its own (2,000 items); here the column is SpatialEval's maze task.",
    ),
}

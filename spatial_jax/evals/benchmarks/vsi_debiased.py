"""VSI-Bench-Debiased (Brown et al., arXiv 2511.04655): the rows of VSI-Bench that a guesser without the video cannot
answer.

Questions, videos, prompts, parsing and aggregation are VSI-Bench's own. The published folder holds every version
side by side, so only files named `debiased` are read.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks import vsi_bench
from spatial_jax.evals.sources import below, data_files


def load(root: Path) -> list[dict[str, Any]]:
    """Items of test_debiased.parquet (or of the TSV or JSON named so); videos as VSI-Bench's."""
    base = root if root.is_dir() else root.parent
    items = [i for path in data_files(root, ("*[Dd]ebiased*",)) for i in vsi_bench.load(path)]
    for item in items:
        if "scene_name" in item and item["_root"] != str(base):
            item["video"] = below(str(base), f"{item['dataset']}/{item['scene_name']}.mp4")
    return items


BENCHMARK = dataclasses.replace(
    vsi_bench.BENCHMARK, name="vsi_debiased", title="VSI-Bench-Debiased", load=load, notes="rows of config `debiased`"
)

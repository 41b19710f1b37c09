"""From a spec (plain, JSON-ready dict of the command line's options) to a pipeline; the same in every worker process."""
from __future__ import annotations

from typing import Any

from data_prep.geometry.measure import Level, Measure
from data_prep.pipeline import Pipeline, Stage
from data_prep.sources import open_source


def build_pipeline(spec: dict[str, Any]) -> Pipeline:
    """Source and stages of `spec`; raises SourceError when they cannot be made."""
    stages: list[Stage] = [Level(), Measure(spec.get("cloud_points", 128))]
    return Pipeline(open_source(spec), stages, spec.get("heldout_percent", 10))

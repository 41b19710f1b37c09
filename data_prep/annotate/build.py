"""From a spec (plain, JSON-ready dict of the command line's options) to a pipeline; the same in every worker
process.
"""

from __future__ import annotations

from typing import Any

from data_prep import filters
from data_prep.annotate.models import build_model_stages, running
from data_prep.annotate.points import Points
from data_prep.annotate.settings import parse_overrides
from data_prep.geometry.anchors import Anchors
from data_prep.geometry.measure import Level, Measure
from data_prep.geometry.trust import Trust
from data_prep.pipeline import Pipeline, Stage
from data_prep.selection import Chosen, Selector, Signatures
from data_prep.sources import open_source


def _filters(spec: dict[str, Any]) -> list[Stage]:
    return filters.build_filters(
        filters.choose_filters(spec.get("filters", "")), parse_overrides(spec.get("set") or ()), running(spec)
    )


def build_selectors(spec: dict[str, Any]) -> list[Selector]:
    """The selectors of `spec`: choices that need all pictures at once."""
    return filters.build_selectors(
        filters.choose_filters(spec.get("filters", "")), parse_overrides(spec.get("set") or ()), running(spec)
    )


def build_signatures(spec: dict[str, Any]) -> Signatures:
    """What the workers of the first pass need."""
    return Signatures(open_source(spec), build_selectors(spec), _filters(spec))


def build_pipeline(spec: dict[str, Any], reasons: dict[str, str] | None = None) -> Pipeline:
    """Source and stages of `spec`; `reasons`: what the selectors left out (data_prep.selection). Raises SourceError."""
    stages: list[Stage] = [
        *_filters(spec),
        *build_model_stages(spec, parse_overrides(spec.get("set") or ())),
        Level(),
        Measure(spec.get("cloud_points", 128)),
        Trust(),
        *([Points(spec["points"])] if spec.get("points") else []),
        Anchors(),
    ]
    selectors = build_selectors(spec)
    if selectors:
        stages.insert(0, Chosen(reasons or {}, [s.config() for s in selectors]))
    return Pipeline(open_source(spec), stages, spec.get("heldout_percent", 10))

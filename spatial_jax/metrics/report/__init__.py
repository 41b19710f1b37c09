"""The report page: what a run's directory holds, for people to read."""

from spatial_jax.metrics.report.build import build_report
from spatial_jax.metrics.report.runs import Run, load_run
from spatial_jax.metrics.report.story import read_story

__all__ = ["Run", "build_report", "load_run", "read_story"]

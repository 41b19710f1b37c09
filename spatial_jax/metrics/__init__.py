"""Metrics: one writer with many sinks, timers, alarms, FLOPs, and the gallery of rollouts. Imports neither JAX nor
TensorBoard by itself.
"""

from spatial_jax.metrics.alarms import Alarm, AlarmLimits, AlarmSpan, AlarmWatch, check_alarms, scan_alarms
from spatial_jax.metrics.console import Console
from spatial_jax.metrics.facts import RunFacts, run_facts, steady_lines
from spatial_jax.metrics.figures import duration, format_value
from spatial_jax.metrics.flops import (
    PEAK_FLOPS,
    GroupTokens,
    ModelShape,
    forward_flops,
    mfu,
    model_shape,
    peak_flops,
    training_flops,
    vision_flops,
)
from spatial_jax.metrics.gallery import read_gallery, write_gallery
from spatial_jax.metrics.names import NAMES, MetricName
from spatial_jax.metrics.pass_rates import read_pass_rate_history, write_pass_rates
from spatial_jax.metrics.timing import PhaseTimer, Progress
from spatial_jax.metrics.trackers import Tracked, check_trackers
from spatial_jax.metrics.writer import MetricsWriter, is_primary, read_metrics

__all__ = [
    "NAMES",
    "PEAK_FLOPS",
    "Alarm",
    "AlarmLimits",
    "AlarmSpan",
    "AlarmWatch",
    "Console",
    "GroupTokens",
    "MetricName",
    "MetricsWriter",
    "ModelShape",
    "PhaseTimer",
    "Progress",
    "RunFacts",
    "Tracked",
    "check_alarms",
    "check_trackers",
    "duration",
    "format_value",
    "forward_flops",
    "is_primary",
    "mfu",
    "model_shape",
    "peak_flops",
    "read_gallery",
    "read_metrics",
    "read_pass_rate_history",
    "run_facts",
    "scan_alarms",
    "steady_lines",
    "training_flops",
    "vision_flops",
    "write_gallery",
    "write_pass_rates",
]

"""Counts and clock directions: 1 for the exact number, or within a tolerance; a range is no answer."""

from __future__ import annotations

from fractions import Fraction

from spatial_jax.rewards.base import Context, Kind, Record, Spec, answer_kind
from spatial_jax.rewards.kinds.mra import truth_number
from spatial_jax.rewards.parsing.numbers import parse_number


def _check(record: Record, spec: Spec) -> None:
    truth_number(record, spec)
    if float(spec["tolerance"]) < 0 or float(spec["absolute"]) < 0 or float(spec["cyclic"]) < 0:
        raise ValueError("reward number: tolerance, absolute and cyclic must not be negative")


def accuracy(answer: str, record: Record, spec: Spec, context: Context) -> float:
    """1 where |p - g| <= max(absolute, tolerance |g|), exactly. `cyclic` (12 for a clock) measures the error around
    that circle: {"absolute": 1, "cyclic": 12} is SpatialRGPT-Bench's clock rule.
    """
    predicted, truth = parse_number(answer, str(record.get("unit", "")), ranges=False), truth_number(record, spec)
    if predicted is None:
        return 0.0
    error, period = abs(predicted - truth), Fraction(str(spec["cyclic"]))
    if period:
        error = min(error % period, period - error % period)
    return float(error <= max(Fraction(str(spec["absolute"])), Fraction(str(spec["tolerance"])) * abs(truth)))


KIND: Kind = answer_kind("number", {"tolerance": 0, "absolute": 0, "cyclic": 0}, accuracy, _check)

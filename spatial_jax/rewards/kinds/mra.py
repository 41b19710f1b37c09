"""Mean relative accuracy (VSI-Bench): the share of thresholds 0.50, 0.55, ..., 0.95 with |p - g| / |g| < 1 -
threshold.
"""

from __future__ import annotations

from fractions import Fraction

from spatial_jax.rewards.base import Context, Kind, Record, Spec, answer_kind, check_choice
from spatial_jax.rewards.parsing.numbers import parse_number
from spatial_jax.rewards.parsing.units import unit_of


def mean_relative_accuracy(
    predicted: Fraction | int | str,
    truth: Fraction | int | str,
    comparison: str = "<",
    tolerance: Fraction | int | str = 0,
) -> float:
    """MRA in exact arithmetic: 1 - threshold is k/20 for k = 10..1, so the test is 20 |p - g| < k |g| in rationals. 9
    against 10 gives 0.8 ("<=": 0.9), where float32 gives 0.9. A truth of zero scores 1 only for zero. With a
    `tolerance` (the label's own, 0 to 0.5) only the widths from it on count: finer ones would measure the label.
    """
    p, g = Fraction(predicted), Fraction(truth)
    if g == 0:
        return float(p == 0)
    error, size = 20 * abs(p - g), abs(g)
    widths = [k for k in range(1, 11) if k >= 20 * Fraction(tolerance)]
    passed = sum(error < k * size or (comparison == "<=" and error == k * size) for k in widths)
    return passed / len(widths)


def truth_number(record: Record, spec: Spec) -> Fraction:
    """The record's answer as an exact number in its unit. ValueError when it is none."""
    unit = unit_of(str(record.get("unit", "")))
    truth = parse_number(str(record["answer"]), unit)
    if truth is None:
        raise ValueError(f"answer {record['answer']!r} is not a number in unit {record.get('unit', '')!r}")
    return truth


def _check(record: Record, spec: Spec) -> None:
    check_choice(spec, "comparison", ("<", "<="))
    if not 0 <= float(spec["tolerance"]) <= 0.5:
        raise ValueError(f"reward mra: tolerance = {spec['tolerance']!r} must be from 0 to 0.5")
    truth_number(record, spec)


def accuracy(answer: str, record: Record, spec: Spec, context: Context) -> float:
    """MRA of the answer, converted to the record's unit; 0 for no number and for a range."""
    predicted = parse_number(answer, str(record.get("unit", "")), ranges=False)
    if predicted is None:
        return 0.0
    return mean_relative_accuracy(
        predicted, truth_number(record, spec), spec["comparison"], Fraction(str(spec["tolerance"]))
    )


KIND: Kind = answer_kind("mra", {"comparison": "<", "tolerance": 0}, accuracy, _check)

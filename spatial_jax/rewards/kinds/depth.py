"""Absolute depth and distance: a reward that falls with the size of the error (Li 2025 names it "approximate" and gives
no formula).
"""

from __future__ import annotations

import math
from fractions import Fraction

from spatial_jax.rewards.base import Context, Kind, Record, Spec, answer_kind, check_choice
from spatial_jax.rewards.kinds.mra import truth_number
from spatial_jax.rewards.parsing.numbers import parse_number


def smooth_depth(predicted: float, truth: float, scale: float = 1.25) -> float:
    """exp(-|ln(p / g)| / ln(scale)): 1 at the truth, 1/e at a factor `scale` either way; 0 unless both are positive."""
    if not (predicted > 0 and truth > 0):
        return 0.0
    return math.exp(-abs(math.log(predicted / truth)) / math.log(scale))


def _check(record: Record, spec: Spec) -> None:
    check_choice(spec, "form", ("smooth", "tolerance"))
    if not float(spec["scale"]) > 1 or not float(spec["tolerance"]) > 0:
        raise ValueError(
            f"reward depth: scale = {spec['scale']!r} must exceed 1 and tolerance = {spec['tolerance']!r} must exceed 0"
        )
    if truth_number(record, spec) <= 0:
        raise ValueError(f"answer {record['answer']!r} is not a positive depth")


def accuracy(answer: str, record: Record, spec: Spec, context: Context) -> float:
    """`form` smooth: see `smooth_depth`. `form` tolerance: 1 within a relative error of `tolerance` (0.25, as
    SpatialRGPT-Bench), both ends included, in exact arithmetic.
    """
    predicted, truth = parse_number(answer, str(record.get("unit", "")), ranges=False), truth_number(record, spec)
    if predicted is None or predicted <= 0:
        return 0.0
    if spec["form"] == "tolerance":
        return float(abs(predicted - truth) <= Fraction(str(spec["tolerance"])) * truth)
    return smooth_depth(float(predicted), float(truth), float(spec["scale"]))


KIND: Kind = answer_kind("depth", {"form": "smooth", "tolerance": 0.25, "scale": 1.25}, accuracy, _check)

"""Mean relative accuracy (Yang et al., Thinking in Space, arXiv 2412.14171) in float64 with the published expression,
and its variants.

The thresholds are numpy.linspace(.5, .95, int((.95 - .5) / .05 + 2)): ten values whose last bits decide boundary cases
(1.35 against 1 scores .3, not .4), so they are never rewritten as decimals and never computed in float32.
"""

from __future__ import annotations

import math

import numpy as np

from spatial_jax.rewards.released import mra_float32

# What a result says of the scorings that compute so (Benchmark.arithmetic).
FLOAT64 = "relative accuracy in float64, as published: 1.35 against 1 scores .3 (exact numbers: .4)"
FLOAT32 = "relative accuracy in float32, as ViLaSR's script: 1.2 against 1 scores .6 (exact numbers: .7)"
TWENTY = "relative accuracy over twenty thresholds from .5, strict, divided by ten, as Spatial-SSRL's script"

THRESHOLDS = np.linspace(0.5, 0.95, int((0.95 - 0.5) / 0.05 + 2))
_LIMITS = [float(v) for v in 1 - THRESHOLDS]  # sorted from .5 down to .05


def _share(error: float, strict: bool = False) -> float:
    """Share of the ten limits that `error` keeps; nan keeps none."""
    passed = sum(error < limit for limit in _LIMITS) if strict else sum(error <= limit for limit in _LIMITS)
    return passed / len(_LIMITS)


def mra_signed(prediction: float, truth: float) -> float:
    """|p - t| / t <= 1 - theta, as thinking-in-space and lmms-eval divide: a negative truth always scores 1.0.

    Raises ZeroDivisionError when truth is 0, as the published script does.
    """
    return _share(abs(prediction - truth) / truth)


def mra(prediction: float, truth: float) -> float:
    """|p - t| / |t| <= 1 - theta; for truth 0 the plain difference is used (SPAR-Bench, VLMEvalKit)."""
    return _share(abs(prediction - truth) if truth == 0 else abs((prediction - truth) / truth))


def mra_vilasr(prediction: float, truth: float, *, strict: bool = False) -> float:
    """ViLaSR's torch float32 rule: |p - t| / (|t| + 1e-8), `<=` in its evaluation and `<` in its reward."""
    return mra_float32(prediction, truth, strict=strict)


def mra_spatial_ssrl(prediction: float, truth: float) -> float:
    """Spatial-SSRL's check_accuracy: twenty thetas from .5, strict, over ten; a negative truth can exceed 1. Any error
    scores 0.
    """
    try:
        error = abs(prediction - truth) / truth
    except (ZeroDivisionError, OverflowError):
        return 0.0
    return sum(error < 1 - (0.5 + i * 0.05) for i in range(20)) / 10


def to_float(text: object) -> float | None:
    """Python's float(), None where it fails: takes "1e3", "1_000", "inf", "nan" and unicode digits, as the official
    scripts do.
    """
    try:
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def finite(value: float | None) -> bool:
    """True for a real number."""
    return value is not None and math.isfinite(value)

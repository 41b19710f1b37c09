"""Figures as people read them: values with their units, and durations."""

from __future__ import annotations

import math


def format_value(value: float, unit: str = "") -> str:
    """`value` for people: three significant figures with its unit; "%" takes a fraction."""
    if value is None or not math.isfinite(value):
        return "–" if value is None or math.isnan(value) else ("∞" if value > 0 else "-∞")
    if unit == "%":
        return f"{100 * value:.0f}%" if abs(value) >= 0.0995 else f"{100 * value:.2g}%"
    if unit == "s":
        return duration(value)
    size = abs(value)
    if unit in ("tokens", "tokens/s") and size >= 1000:
        scale, mark = (1e6, "M") if size >= 1e6 else (1e3, "k")
        return f"{value / scale:.3g}{mark}"
    if size and (size < 1e-3 or size >= 1e5):
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.3g}" if size < 100 else f"{value:.0f}"


def duration(seconds: float) -> str:
    """Seconds for people: "0.25 s", "48 s", "12 min", "3 h 05 min", "2 d 04 h"."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 59.5:
        return f"{seconds:.2f} s" if seconds < 0.995 else (f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s")
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02d} h"

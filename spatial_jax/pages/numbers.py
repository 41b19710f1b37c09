"""Numbers as people read them: short, and no finer than they are known."""

from __future__ import annotations

import math


def short(value: float, unit: str = "") -> str:
    """A number for an axis or a label; unit "%" takes a fraction, "%%" rounds it to whole percents."""
    if not math.isfinite(value):
        return "–"
    if unit == "%":
        return f"{100 * value:.3g}%"
    if unit == "%%":
        return f"{100 * value:.0f}%"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e4:
        return f"{value / 1e3:.3g}k"
    if size and size < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.3g}" if size < 1000 else f"{value:.0f}"


def with_deviation(value: float, deviation: float) -> str:
    """ "0.06 ± 0.04": the deviation to one digit (two where it begins with a 1), the value to the same place. Without a
    finite, positive deviation the value alone; "–" where the value is not finite.
    """
    if not math.isfinite(value):
        return "–"
    if not (math.isfinite(deviation) and deviation > 0):
        return short(value)
    place = math.floor(math.log10(deviation))
    if round(deviation / 10.0**place) >= 10:
        place += 1
    digits = -place + (deviation / 10.0**place < 1.95)
    if abs(value) < 1e6 and -3 <= digits <= 4:
        shown = max(0, digits)
        return f"{round(value, digits):.{shown}f} ± {round(deviation, digits):.{shown}f}"
    return f"{value:.4f} ± {short(deviation)}" if digits > 4 else f"{short(value)} ± {short(deviation)}"


def plus_minus(deviation: float) -> str:
    """ "± 0.04": a deviation to one digit."""
    return f"± {short(float(f'{deviation:.1g}'))}"

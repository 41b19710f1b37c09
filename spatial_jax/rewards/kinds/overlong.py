"""DAPO's soft over-long penalty: 0 up to max_length - buffer tokens, then linear down to -1 at max_length and
beyond.
"""

from __future__ import annotations

from spatial_jax.rewards.base import Context, Kind, Record, Score, Spec


def overlong_penalty(length: int, max_length: int, buffer: int) -> float:
    """In [-1, 0]. `length` in tokens."""
    return -min(1.0, max(0.0, (length - (max_length - buffer)) / buffer))


def check_limits(limits: Spec) -> None:
    """ValueError unless 0 < buffer <= max_length."""
    if set(limits) - {"kind"} - {"max_length", "buffer"} or not {"max_length", "buffer"} <= set(limits):
        raise ValueError(f"overlong takes max_length and buffer (tokens), not {sorted(limits)}")
    if not 0 < int(limits["buffer"]) <= int(limits["max_length"]):
        raise ValueError(
            f"overlong: buffer = {limits['buffer']!r} must lie in 1..max_length = {limits['max_length']!r}"
        )


def response_tokens(record: Record) -> int:
    """The response's length in tokens, which the caller puts into the record it scores as "response_tokens"."""
    if "response_tokens" not in record:
        raise ValueError(
            "overlong needs the response's length: put response_tokens (int) into the record that is scored"
        )
    return int(record["response_tokens"])


def score(response: str, record: Record, spec: Spec, context: Context) -> Score:
    penalty = overlong_penalty(response_tokens(record), int(spec["max_length"]), int(spec["buffer"]))
    return Score(penalty, 1.0 + penalty)


def _check(record: Record, spec: Spec) -> None:
    check_limits({key: spec[key] for key in ("max_length", "buffer")})


KIND = Kind("overlong", {"max_length": 8192, "buffer": 1024}, score, _check, own_format=lambda spec: "none")

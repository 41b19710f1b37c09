"""Format alone: 1 where the response is exactly the blocks asked for."""

from __future__ import annotations

from spatial_jax.forms import matches_format
from spatial_jax.rewards.base import Context, Kind, Record, Score, Spec


def score(response: str, record: Record, spec: Spec, context: Context) -> Score:
    form = float(matches_format(response, spec["format"]))
    return Score(form, form, form)


def _check(record: Record, spec: Spec) -> None:
    if spec["format"] == "none":
        raise ValueError("reward format: format = 'none' pays for any text; name a format")


KIND = Kind("format", {}, score, _check, own_format=lambda spec: str(spec.get("format", "none")))

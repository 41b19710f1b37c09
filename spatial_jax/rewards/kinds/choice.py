"""Multiple choice: 1 when the response picks the true option and no other."""

from __future__ import annotations

from spatial_jax.rewards.base import Context, Kind, Record, Spec, answer_kind
from spatial_jax.rewards.parsing.choices import parse_choice, truth_index


def _check(record: Record, spec: Spec) -> int:
    if len(record.get("options", ())) < 2:
        raise ValueError("a choice needs at least two options")
    return truth_index(str(record["answer"]), record["options"])


def accuracy(answer: str, record: Record, spec: Spec, context: Context) -> float:
    return float(parse_choice(answer, record["options"]) == truth_index(str(record["answer"]), record["options"]))


KIND: Kind = answer_kind("choice", {}, accuracy, _check)

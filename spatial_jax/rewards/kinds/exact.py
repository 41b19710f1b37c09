"""vsGRPO's two rules of accuracy by themselves: exact match of characters, and one less the relative error by the
smaller of two numbers (arXiv 2504.00883). Unlike `vsgrpo` they leave the form of a response to the run.
"""

from __future__ import annotations

from spatial_jax.blocks import has_content
from spatial_jax.rewards.base import Context, Kind, Record, Spec, answer_kind
from spatial_jax.rewards.kinds.mra import truth_number
from spatial_jax.rewards.kinds.vsgrpo import min_relative
from spatial_jax.rewards.parsing.numbers import parse_number


def _same(answer: str, record: Record, spec: Spec, context: Context) -> float:
    return float(answer.strip() == str(record["answer"]).strip())


def _check_text(record: Record, spec: Spec) -> None:
    if not has_content(str(record["answer"])):
        raise ValueError("the answer is empty")


def _relative(answer: str, record: Record, spec: Spec, context: Context) -> float:
    predicted = parse_number(answer, str(record.get("unit", "")), ranges=False)
    return 0.0 if predicted is None else min_relative(predicted, truth_number(record, spec))


def _check_number(record: Record, spec: Spec) -> None:
    truth_number(record, spec)


EXACT: Kind = answer_kind("exact", {}, _same, _check_text)
MIN_RELATIVE: Kind = answer_kind("min_relative", {}, _relative, _check_number)

"""Orderings (depth order, shuffled pieces): 1 for the exact sequence; optionally the share of right places or of right
pairs.
"""

from __future__ import annotations

from spatial_jax.rewards.base import Context, Kind, Record, Spec, answer_kind, check_choice
from spatial_jax.rewards.parsing.orders import parse_order, truth_order


def _check(record: Record, spec: Spec) -> None:
    check_choice(spec, "partial", ("none", "slots", "pairs"))
    truth_order(str(record["answer"]))


def accuracy(answer: str, record: Record, spec: Spec, context: Context) -> float:
    """`partial`: none (exact sequence), slots (share of items at their place), pairs (share of pairs in the right
    order, which is (Kendall's tau + 1) / 2). A response that is not a permutation of the items scores 0.
    """
    truth = truth_order(str(record["answer"]))
    order = parse_order(answer, truth)
    if order is None or set(order) != set(truth):
        return 0.0
    if spec["partial"] == "slots":
        return sum(a == b for a, b in zip(order, truth)) / len(truth)
    if spec["partial"] == "pairs":
        place = [truth.index(item) for item in order]
        pairs = [(i, j) for i in range(len(place)) for j in range(i + 1, len(place))]
        return sum(place[i] < place[j] for i, j in pairs) / len(pairs)
    return float(order == truth)


KIND: Kind = answer_kind("order", {"partial": "none"}, accuracy, _check)

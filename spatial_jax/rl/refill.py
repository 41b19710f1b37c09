"""Which groups teach something, and filling a batch with them: groups without variance are dropped and replaced, all of
it counted.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Generic, TypeVar

Group = TypeVar("Group")
REASONS = ("all_right", "all_wrong", "constant", "unscored")


def drop_reason(accuracies: Sequence[float | None], correct: Sequence[bool | None]) -> str | None:
    """Why a group gives no gradient worth having, None when it does. Judged on accuracy, the unshaped part of the
    reward: a solved group whose answers differ only in length or format would train the policy on that alone. Equality
    is exact (max == min); a tolerance on a standard deviation lets rounding through. Samples without a score are left
    out; fewer than two of the rest is "unscored".
    """
    known = [a for a in accuracies if a is not None]
    if len(known) < 2:
        return "unscored"
    if max(known) != min(known):
        return None
    right = [c for c in correct if c is not None]
    return "all_right" if right and all(right) else "constant" if any(right) or known[0] > 0 else "all_wrong"


@dataclasses.dataclass
class RefillCounts:
    """What one batch took. drawn = kept + sum(dropped)."""

    drawn: int = 0
    kept: int = 0
    rounds: int = 0
    dropped: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    def metrics(self) -> dict[str, float]:
        """For the log: share of groups without gradient, and counts by reason."""
        values = {
            "groups/drawn": float(self.drawn),
            "groups/kept": float(self.kept),
            "groups/rounds": float(self.rounds),
            "groups/no_gradient_share": sum(self.dropped.values()) / self.drawn if self.drawn else 0.0,
        }
        return values | {f"groups/dropped_{reason}": float(self.dropped[reason]) for reason in REASONS}


class Refill(Generic[Group]):
    """Fills a batch of `target` groups over at most `max_rounds` rounds of rollouts. Kept groups beyond the target are
    dropped: in the next batch they would be an older policy's. When the rounds are used up the batch is as large as it
    is, down to nothing: `take` returns what there is and the caller skips the step if that is empty. Between batches it
    holds nothing, so a checkpoint need not keep it.
    """

    def __init__(self, target: int, max_rounds: int = 4):
        if target < 1 or max_rounds < 1:
            raise ValueError(f"refill needs target >= 1 and max_rounds >= 1, has {target} and {max_rounds}")
        self.target, self.max_rounds = target, max_rounds
        self.pending: list[Group] = []
        self.counts = RefillCounts()

    def need(self) -> int:
        """Prompts to roll out next: what is missing, scaled by the share kept so far in this batch (at most doubled); 0
        when the batch is full or the rounds are used up.
        """
        missing = self.target - len(self.pending)
        if missing <= 0 or self.counts.rounds >= self.max_rounds:
            return 0
        share = self.counts.kept / self.counts.drawn if self.counts.drawn else 1.0
        return min(2 * missing, round(missing / max(share, 0.5)))

    def add(self, groups: Sequence[Group], reasons: Sequence[str | None]) -> list[Group]:
        """Takes a round's groups with their `drop_reason`; returns the kept ones."""
        if len(groups) != len(reasons):
            raise ValueError(f"{len(groups)} groups came with {len(reasons)} reasons")
        kept = [group for group, reason in zip(groups, reasons) if reason is None]
        self.pending += kept
        self.counts.rounds += 1
        self.counts.drawn += len(groups)
        self.counts.kept += len(kept)
        self.counts.dropped.update(reason for reason in reasons if reason is not None)
        return kept

    def take(self) -> tuple[list[Group], RefillCounts]:
        """The batch (at most `target` groups, oldest first) and its counts; starts the next batch."""
        batch, self.pending = self.pending[: self.target], []
        counts, self.counts = self.counts, RefillCounts()
        return batch, counts

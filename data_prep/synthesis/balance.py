"""Keeps answers balanced while questions are chosen: no option, side, slot, number or named object is right more often
than its share.

Without it a question is answered from its words alone: tables are closer than pictures, small things stand in front.
Each draft brings facts (key, value, number of values); a draft whose value is already ahead of its share by more than a
slack is refused.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from data_prep.synthesis.draft import Draft, Fact


class Balance:
    """Counts of what was right so far, a split at a time. A value may be ahead of its share by `slack` + `tube` *
    sqrt(total) answers: inside the tube the choice is free, so that balance does not become a pattern of its own (an
    exactly balanced word is a hint: what was right too often so far would be wrong next).
    """

    def __init__(self, slack: float = 1.0, tube: float = 0.3):
        self.slack, self.tube = slack, tube
        self._counts: dict[tuple, dict[Any, int]] = collections.defaultdict(lambda: collections.defaultdict(int))
        self._totals: dict[tuple, int] = collections.defaultdict(int)

    def fits(self, split: str, facts: Iterable[Fact]) -> bool:
        """Whether no fact's value is ahead of its share by more than the tube."""
        for key, value, values in facts:
            whole = (split, *key)
            total = self._totals.get(whole, 0)
            if total and self._counts[whole][value] - total / values > self.slack + self.tube * math.sqrt(total):
                return False
        return True

    def pick(self, split: str, drafts: Iterator[Draft]) -> Draft | None:
        """The first draft that fits, counted; None when the drafts run out. Families give them in random order, so the
        first is a fair one.
        """
        return next((draft for draft in drafts if self.take(split, draft.facts)), None)

    def take(self, split: str, facts: Sequence[Fact]) -> bool:
        """Counts the facts if they fit; False, and nothing counted, if they do not."""
        if not self.fits(split, facts):
            return False
        for key, value, _ in facts:
            self._counts[(split, *key)][value] += 1
            self._totals[(split, *key)] += 1
        return True

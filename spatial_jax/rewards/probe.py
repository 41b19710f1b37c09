"""Does a reward work at all? Asked once before a run, on real questions: a reward that fails on every answer trains on
nothing.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

from spatial_jax.rewards.attacks import well_formed
from spatial_jax.rewards.base import Context, Record, RewardUnavailable, Spec
from spatial_jax.rewards.scoring import evaluate

# A user's file may load a model of its own at its first call; later calls have the time that their spec says.
LOAD_SECONDS = 120.0
_OTHER = "something that no rule can settle"
log = logging.getLogger(__name__)


def probe_reward(spec: Spec, records: Sequence[Record], context: Context) -> None:
    """Scores the true answer and another one to each record, for kinds that wait for something (user, judge). Raises
    ValueError, one line with the first failure, where every answer fails; where some do, they are logged.
    """
    failures, asked, patient = [], 0, spec.get("kind") == "user"
    for record in records:
        for answer in (str(record["answer"]), _OTHER):
            asked += 1
            tried = {**spec, "timeout": LOAD_SECONDS} if patient else spec
            try:
                evaluate(tried, well_formed(spec, answer), record, dataclasses.replace(context, until=None))
                patient = False
            except RewardUnavailable as error:
                failures.append(str(error).removesuffix("; the sample is excluded"))
                if patient and "was stopped" in failures[-1]:  # it hangs: the other answers would only take as long
                    raise ValueError(f"the reward does not work: {failures[-1]}") from None
    judged = spec.get("kind") == "judge"  # the rule settles the true answer without asking
    if failures and len(failures) >= (asked // 2 if judged else asked):
        raise ValueError(f"the reward does not work: {failures[0]}")
    for failure in failures[:3]:
        log.warning("the reward failed on %d of %d answers tried: %s", len(failures), asked, failure)

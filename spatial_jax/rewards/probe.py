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
    if spec.get("kind") == "user":
        spec = {**spec, "timeout": max(float(spec.get("timeout", 10.0)), LOAD_SECONDS)}
    failures, asked = [], 0
    for record in records:
        for answer in (str(record["answer"]), _OTHER):
            asked += 1
            try:
                evaluate(spec, well_formed(spec, answer), record, dataclasses.replace(context, until=None))
            except RewardUnavailable as error:
                failures.append(str(error).removesuffix("; the sample is excluded"))
                if spec.get("kind") == "user" and "was stopped" in str(error):
                    break  # a hanging function: the other answers would only take as long
    judged = spec.get("kind") == "judge"  # the rule settles the true answer without asking
    if failures and len(failures) >= (asked // 2 if judged else asked):
        raise ValueError(f"the reward does not work: {failures[0]}")
    for failure in failures[:3]:
        log.warning("the reward failed on %d of %d answers tried: %s", len(failures), asked, failure)

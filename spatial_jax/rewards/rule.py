"""What an answer earns: a record's own reward under the rule of the run that asks. Training, validation, held-out
evaluation and offline pass rates score through this one file, so that their numbers mean the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from spatial_jax.data.records import CODE_REWARDS
from spatial_jax.forms import NO_FORMAT, format_names, get_format
from spatial_jax.rewards.base import Judgement
from spatial_jax.rewards.by_family import reward_of_family, with_mode
from spatial_jax.rewards.kinds import has_own_format, response_format
from spatial_jax.rewards.scoring import Outcome, outcome_many, record_spec


@dataclasses.dataclass(frozen=True)
class RewardRule:
    """What a run lays over the rewards of its records. `format`: the response form's (forms.py); `format_weight`: of
    the form in the reward, None: the record's own; `truncated_reward`: of an answer that the token limit cut off, None:
    what its text earns; `gate`: the accuracy that an answer of a policy that draws must exceed to be paid at all, None:
    the record's own; `by_family`: rewards in the records' place, as `rewards.by_family` reads them; `user`: the spec of
    the run's own function in every record's place.
    """

    format: str = NO_FORMAT
    format_weight: float | None = None
    truncated_reward: float | None = None
    gate: float | None = None
    by_family: tuple[str, ...] = ()
    user: Mapping[str, Any] | None = None


OWN_REWARD = RewardRule()  # nothing is laid over a record's own reward


@dataclasses.dataclass(frozen=True)
class Answer:
    """One response as it is scored: its text, its length in tokens (None: not known), whether a limit cut it off."""

    text: str
    tokens: int | None = None
    cut: bool = False


def stated_rule(stated: Any) -> RewardRule:
    """The rule that a result's JSON states; nothing is laid over where it states none that can be read."""
    names = ("format", "format_weight", "truncated_reward", "gate", "by_family")
    known = {name: stated[name] for name in names if name in stated} if isinstance(stated, dict) else {}
    known["by_family"] = tuple(map(str, known.get("by_family") or ()))
    return RewardRule(**known) if known.get("format") in format_names() else OWN_REWARD


def reward_spec(record: Mapping[str, Any], rule: RewardRule) -> dict[str, Any]:
    """The record's reward with the rule laid over it, or that of its family in its place. Kinds that define their own
    form keep it. ValueError for a record that names code (see `record_spec`) under a rule that names none.
    """
    if rule.user is not None:
        spec = dict(rule.user)
    else:
        spec = record_spec(record)
        if (given := reward_of_family(str(record.get("family", "")), rule.by_family)) is not None:
            spec = with_mode(given, rule.format, spec)
    if rule.format != NO_FORMAT and not has_own_format(spec):
        spec["format"] = rule.format
        if rule.format_weight is not None:
            spec["format_weight"] = rule.format_weight
    if rule.gate is not None and get_format(response_format(spec)).several_turns:
        spec["gate"] = rule.gate
    return spec


def own_record(record: dict[str, Any]) -> dict[str, Any]:
    """The record for a run's own user function: a record that names code itself comes without its reward, which is not
    run and must not stop the run's own.
    """
    own = record["reward"]
    return record | {"reward": {}} if isinstance(own, dict) and own.get("kind") in CODE_REWARDS else record


def score_answers(
    record: dict[str, Any],
    answers: Sequence[Answer],
    rule: RewardRule,
    *,
    model_sizes: Sequence[Any] | None = None,
    threads: int = 8,
    deadline: float | None = None,
    judge: Judgement | None = None,
) -> list[Outcome]:
    """What each answer to a record (resolved into pixels of the pictures as the model saw them, whose (width, height)
    `model_sizes` are) earns. A record that cannot be scored gives every answer an outcome without a reward.
    """
    try:
        spec = reward_spec(record, rule)
    except ValueError as error:
        return [Outcome(None, None, error=str(error))] * len(answers)
    known = own_record(record) | ({} if model_sizes is None else {"model_sizes": model_sizes})
    items = [
        (spec, answer.text, known if answer.tokens is None else {**known, "response_tokens": answer.tokens})
        for answer in answers
    ]
    outcomes = outcome_many(items, threads=threads, deadline=deadline, judge=judge)
    return [_cut_off(o, rule) if answer.cut else o for o, answer in zip(outcomes, answers)]


def _cut_off(outcome: Outcome, rule: RewardRule) -> Outcome:
    """A cut answer earns what its text says, unless the rule gives such answers a reward of their own."""
    earns = rule.truncated_reward
    if earns is None or outcome.reward is None:
        return outcome
    return dataclasses.replace(outcome, reward=earns, correct=False, accuracy=0.0)

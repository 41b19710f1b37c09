"""What a run's settings say of its metrics: which alarms have a meaning, and which metrics cannot move at all.

Read from the settings as config.json holds them, so that a running run and its report judge alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

GREEDY = 0.05  # temperatures below sample the same answer again and again
_SAMPLED = ("reward/mean", "reward", "pass_rate", "group/no_gradient", "format/share", "length/truncated", "gap/mean")


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """`supervised`: nothing is sampled, so answers and entropy are meant to settle; `one_update`: each rollout is used
    for one optimizer step, so the ratio of new to old probability is 1; `greedy`: sampling that cannot vary, as the
    setting that says so; `steady`: metrics that cannot move, each with the reason.
    """

    supervised: bool = False
    one_update: bool = False
    greedy: str = ""
    steady: Mapping[str, str] = dataclasses.field(default_factory=dict)


def run_facts(
    config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] = (), *, samples: bool | None = None
) -> RunFacts:
    """The facts of a run's settings. `samples`: whether its method samples answers; None: what its rows tell."""
    train, rollout, entropy = (_section(config, name) for name in ("train", "rollout", "entropy"))
    if samples is None:
        names = {name for row in rows[:50] for name in row}
        samples = "loss" not in names or bool(names & {*_SAMPLED})
    if not samples or not train:
        return RunFacts(supervised=not samples)
    one_update = train.get("prompts") == train.get("update_prompts")
    steady: dict[str, str] = {}
    if one_update:
        reason = (
            "each rollout is used for one optimizer step, so the ratio of new to old probability is 1 and neither"
            " clip_low nor clip_high can act (for several steps a rollout set config.train.update_prompts below"
            " config.train.prompts)"
        )
        steady = dict.fromkeys(("clip/fraction", "clip/low", "clip/high", "ratio/mean", "ratio/max", "kl/old"), reason)
    if entropy.get("adaptive") is False:
        steady["entropy/coef"] = "config.entropy.adaptive is off, so the coefficient stays at config.entropy.start"
    greedy = ""
    temperature = rollout.get("temperature")
    if isinstance(temperature, (int, float)) and temperature < GREEDY:
        greedy = f"config.rollout.temperature = {temperature:g}"
    elif rollout.get("top_k") == 1:
        greedy = "config.rollout.top_k = 1"
    return RunFacts(False, one_update, greedy, steady)


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of settings that somebody may have edited by hand."""
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def steady_lines(facts: RunFacts, names: Sequence[str]) -> list[str]:
    """A sentence a reason, with those of `names` that cannot move for it."""
    reasons: dict[str, list[str]] = {}
    for name in names:
        if name in facts.steady:
            reasons.setdefault(facts.steady[name], []).append(name)
    return [f"{', '.join(found)} cannot move in this run: {reason}" for reason, found in reasons.items()]

"""Which answers are kept: rules over a question's scored answers, counted by why the rest was not (rejection sampling;
ViLaSR's cold start and reflective stage, arXiv 2506.09965).
"""

from __future__ import annotations

import collections
import dataclasses
import difflib
import math
from collections.abc import Callable, Sequence

from spatial_jax.blocks import first_block
from spatial_jax.drawing import Steps
from spatial_jax.rewards.scoring import Outcome


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One answer to a question. `number`: of the sample; `turns`: the policy's, the last one the answer; `steps`: what
    it drew, None of a form that draws nothing; `tokens`: ids of each turn as they were sampled, () from an endpoint;
    `cut`: whether a limit ended it.
    """

    number: int
    turns: tuple[str, ...]
    outcome: Outcome
    steps: Steps | None = None
    tokens: tuple[tuple[int, ...], ...] = ()
    cut: bool = False

    @property
    def reward(self) -> float:
        return float(self.outcome.reward or 0.0)

    @property
    def signature(self) -> tuple[object, ...]:
        """What makes an answer another one: what it says in the end, and what it looked at."""
        looked = tuple((o.kind, o.label) for step in (self.steps.drawn if self.steps else ()) for o in step)
        last = first_block(self.turns[-1])
        return (self.turns[-1].strip() if last is None else last, looked)


@dataclasses.dataclass(frozen=True)
class Condition:
    """One part of a rule: `holds(candidate, value)`, and the reason to count where it does not. What values it takes
    is in RANGES; one that is not there takes none.
    """

    holds: Callable[[Candidate, float], bool]
    reason: str


CONDITIONS: dict[str, Condition] = {
    "correct": Condition(lambda c, _: c.outcome.correct is True, "wrong"),
    "form": Condition(lambda c, _: bool(c.outcome.format), "not of the asked form"),
    "score": Condition(lambda c, v: c.reward > v, "reward not above {value:g}"),
    "accuracy": Condition(lambda c, v: (c.outcome.accuracy or 0.0) > v, "accuracy not above {value:g}"),
    "steps": Condition(lambda c, v: len(c.turns) >= v, "fewer than {value:g} steps"),
    "reflective": Condition(lambda c, _: c.steps is not None and c.steps.reflective, "not reflective"),
}
GROUP = {
    "most": "at most so many of a question, the most different of the best",
    "pairs": "the best against the worst where their rewards differ by more than the value (0)",
    "rate_min": "only questions with at least this share of right answers",
    "rate_max": "only questions with at most this share of right answers",
}
PRESETS = {
    "cold_start": "correct,form,steps=3",  # ViLaSR's first stage
    "reflective": "correct,form,reflective",  # its second
    "best": "correct,form,most=1",
    "pairs": "pairs",
    "pass_rates": "pass_rates",
}
# What a rule's value must be, and how that is said.
RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "score": (lambda v: True, "an ordinary number"),
    "accuracy": (lambda v: 0 <= v < 1, "at least 0 and below 1: an accuracy above it is asked for"),
    "steps": (lambda v: v >= 1 and v == int(v), "a whole number of 1 or more"),
    "most": (lambda v: v >= 1 and v == int(v), "a whole number of 1 or more"),
    "pairs": (lambda v: v >= 0, "a number of 0 or more"),
    "rate_min": (lambda v: 0 <= v <= 1, "a share from 0 to 1"),
    "rate_max": (lambda v: 0 <= v <= 1, "a share from 0 to 1"),
}


@dataclasses.dataclass(frozen=True)
class Rule:
    """`conditions`: (name, value) that every kept answer fulfils; `group`: name -> value of what is decided over a
    question's answers. `only_rates`: nothing is kept, pass rates alone are written.
    """

    conditions: tuple[tuple[str, float], ...] = ()
    group: tuple[tuple[str, float], ...] = ()
    only_rates: bool = False

    @property
    def pairs(self) -> bool:
        return "pairs" in dict(self.group)


def read_rule(text: str) -> Rule:
    """The rule that a text like "correct,form,steps=3,most=2" names; a preset may stand for its parts. ValueError, one
    line, for what is no rule.
    """
    parts = [p.strip() for p in text.split(",") if p.strip()]
    parts = [q for p in parts for q in (PRESETS[p].split(",") if p in PRESETS else [p])]
    if not parts:
        raise ValueError("--keep: no rule; e.g. --keep=correct,form or --keep=reflective")
    known = {*CONDITIONS, *GROUP, *PRESETS}
    conditions, group = list[tuple[str, float]](), dict[str, float]()
    for part in parts:
        name, sign, stated = part.partition("=")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(sorted(known))}"
            raise ValueError(f"--keep: {name!r} is no rule; {hint}")
        value = _value(name, part, sign, stated)
        if name in group:
            raise ValueError(f"--keep: {name} is asked for twice; give it once")
        if name in CONDITIONS:
            conditions += [(name, value)] if (name, value) not in conditions else []
        else:
            group[name] = value
    only = "pass_rates" in parts
    if only and len(parts) > 1:
        raise ValueError("--keep: pass_rates keeps no answer, so no other rule goes with it")
    if "pairs" in group and (conditions or "most" in group):
        raise ValueError("--keep: pairs takes the best and the worst answer; no other rule but rate_min, rate_max")
    if group.get("rate_min", 0.0) > group.get("rate_max", 1.0):
        raise ValueError("--keep: no pass rate is both at least rate_min and at most rate_max")
    return Rule(tuple(conditions), tuple(sorted(group.items())), only)


def _value(name: str, part: str, sign: str, stated: str) -> float:
    """The value of a part of a rule, 0 where it takes none. ValueError where it is none that the rule can have."""
    needs = name in RANGES and name != "pairs"
    if needs != bool(sign) and name != "pairs":
        raise ValueError(f"--keep: {name} " + ("needs a value, e.g. " + name + "=1" if needs else "takes no value"))
    if not sign:
        return 0.0
    try:
        value = float(stated)
    except ValueError:
        raise ValueError(f"--keep: {part!r}: {stated!r} is no number") from None
    holds, says = RANGES[name]
    if not (math.isfinite(value) and holds(value)):
        raise ValueError(f"--keep: {part}: {says}")
    return value


def check_possible(rule: Rule, samples: int, draws: bool, turns: int) -> None:
    """ValueError, one line, where no answer can be kept whatever is said: asked before any is paid for. `draws`:
    whether the form has several turns, `turns` at most.
    """
    conditions = dict(rule.conditions)
    steps = int(conditions.get("steps", 1))
    if rule.pairs and draws:
        raise ValueError("--keep=pairs: DPO learns answers of one turn; ask in a form that does not draw")
    if rule.pairs and samples < 2:
        raise ValueError("--keep=pairs: a pair is made of two answers of a question; give --samples=2 or more")
    if "reflective" in conditions and not draws:
        raise ValueError("--keep: reflective is of answers that draw; ask with --prompt_mode=drawing")
    if steps > (turns if draws else 1):
        has = f"at most {turns} turns" if draws else "one turn in this form; ask with --prompt_mode=drawing"
        raise ValueError(f"--keep: steps={steps}: an answer has {has}")


def keep(candidates: Sequence[Candidate], rule: Rule) -> tuple[list[Candidate], collections.Counter[str]]:
    """(the answers of one question that are kept, why each other is not). Of a rule of pairs: none, or the best and
    the worst.
    """
    reasons: collections.Counter[str] = collections.Counter()
    group, scored = dict(rule.group), [c for c in candidates if c.outcome.reward is not None]
    reasons["no score"] += len(candidates) - len(scored)
    rate = pass_rate(candidates)
    if rate is not None and not group.get("rate_min", 0.0) <= rate <= group.get("rate_max", 1.0):
        reasons["the question's pass rate is out of range"] += len(scored)
        return [], +reasons
    if rule.pairs:
        chosen = _pair(scored, group["pairs"])
        reasons["neither the best nor the worst, or all alike"] += len(scored) - len(chosen)
        return chosen, +reasons
    fit, seen = list[Candidate](), set[tuple[str, ...]]()
    for candidate in scored:
        reason = "cut off at the token limit" if candidate.cut else first_failure(candidate, rule)
        if not reason and candidate.turns in seen:
            reason = "the same as another answer"
        if reason:
            reasons[reason] += 1
            continue
        seen.add(candidate.turns)
        fit.append(candidate)
    kept = diverse(fit, int(group.get("most", len(fit) or 1)))
    reasons["enough of its question are kept"] += len(fit) - len(kept)
    return kept, +reasons


def first_failure(candidate: Candidate, rule: Rule) -> str:
    """Why an answer does not fulfil a rule's conditions; "" where it does."""
    for name, value in rule.conditions:
        condition = CONDITIONS[name]
        if not condition.holds(candidate, value):
            return condition.reason.format(value=value)
    return ""


def diverse(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """At most `most`: the best of each kind first (another answer, or other things looked at), then the next best; in
    the order of sampling.
    """
    ranked = sorted(candidates, key=lambda c: (-c.reward, c.number))
    first: dict[tuple[object, ...], Candidate] = {}
    for candidate in ranked:
        first.setdefault(candidate.signature, candidate)
    kinds = {c.number for c in first.values()}
    chosen = [*first.values(), *(c for c in ranked if c.number not in kinds)][:most]
    return sorted(chosen, key=lambda c: c.number)


def _pair(scored: Sequence[Candidate], gap: float) -> list[Candidate]:
    """The best (of equals one that was not cut off) and the worst; [] where they do not differ enough."""
    if len(scored) < 2:
        return []
    best = max(scored, key=lambda c: (c.reward, not c.cut, -c.number))
    worst = min(scored, key=lambda c: (c.reward, c.cut, c.number))
    return [best, worst] if best.reward - worst.reward > gap and not best.cut else []


def pass_rate(candidates: Sequence[Candidate]) -> float | None:
    """Share of right answers among those with a score."""
    known = [c.outcome.correct for c in candidates if c.outcome.correct is not None]
    return sum(map(bool, known)) / len(known) if known else None

"""Which questions to ask now (Li 2025, 3.2.3): a window of useful difficulty over moving pass rates, retirement with
re-tests, easy to hard.

Acts on correctness only. Pure host code; the whole state is JSON and part of the checkpoint. Thresholds are not in the
paper: the defaults follow Skywork-OR1 (drop what all or none of 16 answers get right) and the stages are ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spatial_jax.data import QuestionRecord
from spatial_jax.ranges import AtLeast1, Count, NotNegative, Share, ShareBelow1, Whole
from spatial_jax.rl.pass_rates import Entry, PassRateStore


@dataclasses.dataclass(frozen=True)
class Stage:
    """Admits questions of at most `max_hops` hops whose pass rate, where it is known, is at least `min_pass_rate`. The
    next stage begins at step `until_step`, or earlier once the moving pass rate of this stage's groups reaches
    `advance_at`; whichever is set.
    """

    max_hops: Count = 1_000
    min_pass_rate: Share = 0.0
    until_step: Whole | None = None
    advance_at: Share | None = None


@dataclasses.dataclass(frozen=True)
class CurriculumConfig:
    """low, high: pass rates at or below `low` are too hard, at or above `high` solved. Such questions rest, the hard
    after `hard_trials` and the solved after `min_trials` (decayed) answers; 24 are two groups of 16. retest_after:
    steps until a resting question is asked again; each further rest is `retest_growth` times longer, at most
    `retest_limit` steps. offline_low, offline_high: offline pass rates outside [low, high] are never asked (Skywork:
    1/16 to 15/16). mixture_strength: 0 leaves the mixture alone, 1 weighs a dataset by its share of groups with a
    gradient.
    """

    enabled: bool = True
    decay: ShareBelow1 = 0.5
    low: Share = 0.03
    high: Share = 0.95
    min_trials: NotNegative = 8.0
    hard_trials: NotNegative = 24.0
    retest_after: Count = 200
    retest_growth: AtLeast1 = 2.0
    retest_limit: Count = 2_000
    offline_low: Share = 0.0
    offline_high: Share = 1.0
    stages: tuple[Stage, ...] = (Stage(),)
    stage_window: Count = 64
    mixture_strength: Share = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.low < self.high <= 1.0 or not 0.0 <= self.offline_low <= self.offline_high <= 1.0:
            raise ValueError(
                f"curriculum windows must be ordered in [0, 1]: online {self.low}..{self.high}, "
                f"offline {self.offline_low}..{self.offline_high}"
            )
        if not self.stages or self.retest_after < 1 or self.retest_growth < 1 or self.stage_window < 1:
            raise ValueError(
                "the curriculum needs a stage, retest_after >= 1, retest_growth >= 1 and stage_window >= 1"
            )
        if any(stage.until_step is None and stage.advance_at is None for stage in self.stages[:-1]):
            raise ValueError(
                "every curriculum stage but the last needs until_step or advance_at, or the next one never begins"
            )
        if not 0.0 <= self.mixture_strength <= 1.0:
            raise ValueError(f"mixture_strength = {self.mixture_strength}; it must lie in [0, 1]")


class Curriculum:
    """Call `accept(record)` for every drawn question (it is the data pipeline's hook), `observe(...)` for every scored
    group, and `advance(step)` once a step.
    """

    def __init__(self, config: CurriculumConfig | None = None):
        self.config = config or CurriculumConfig()
        self.store = PassRateStore(self.config.decay)
        self.step = 0
        self.stage = 0
        self.stage_began = 0
        self._stage_rate, self._stage_groups = 0.0, 0
        self._sources: dict[str, list[float]] = {}
        self.refused: dict[str, int] = {}
        self._refused_since: set[str] = set()
        self.starved = 0
        self.no_gradient = 0
        self.groups = 0

    # ---- admission

    def accept(self, record: QuestionRecord) -> bool:
        """Whether to ask the question now; a refusal is counted by its reason in `refused`. A question that comes round
        again while nothing was accepted in between shows that the whole dataset rests: it is asked (counted in
        `starved`) instead of stalling the run, unless the offline filter refuses it.
        """
        reason = self.refusal(record)
        if reason is not None and reason != "offline" and record.question_id in self._refused_since:
            self.starved += 1
            reason = None
        if reason is None:
            self._refused_since.clear()
            return True
        self.refused[reason] = self.refused.get(reason, 0) + 1
        self._refused_since.add(record.question_id)
        return False

    def refusal(self, record: QuestionRecord) -> str | None:
        """Why the question is not asked now ("offline", "solved", "hard", "stage"), None when it is. A pure function of
        the state.
        """
        if not self.config.enabled:
            return None
        entry = self.store.entries.get(record.question_id)
        offline = _offline_rate(record, entry)
        if offline is not None and not self.config.offline_low <= offline <= self.config.offline_high:
            return "offline"
        if entry is not None and entry.state != "active" and self.step < entry.until:
            return entry.state
        stage = self.config.stages[self.stage]
        rate = entry.pass_rate if entry is not None and entry.pass_rate is not None else offline
        if record.hops > stage.max_hops or (rate is not None and rate < stage.min_pass_rate):
            return "stage"
        return None

    # ---- what came of it

    def observe(
        self, record: QuestionRecord, correct: Sequence[bool | None], *, dropped: str | None = None, source: str = ""
    ) -> Entry:
        """A group's answers (None: no score) and why it was dropped, if it was (`refill.drop_reason`). `source`: the
        dataset's name, for the mixture. Returns the question's entry.
        """
        entry = self.store.observe(record.question_id, correct, self.step, record.family, record.hops)
        known = [bool(c) for c in correct if c is not None]
        self.groups += 1
        self.no_gradient += dropped is not None
        counts = self._sources.setdefault(source, [0.0, 0.0])
        counts[0], counts[1] = 0.99 * counts[0] + (dropped is None), 0.99 * counts[1] + 1.0
        if known:
            self._stage_groups += 1
            weight = 1.0 / min(self._stage_groups, self.config.stage_window)
            self._stage_rate += weight * (sum(known) / len(known) - self._stage_rate)
            self._judge(entry)
        return entry

    def _judge(self, entry: Entry) -> None:
        """Puts a question aside or back. A re-test judges it by what it shows then: its old answers have decayed."""
        rate = entry.pass_rate
        if rate is None or entry.trials < (
            self.config.hard_trials if rate <= self.config.low else self.config.min_trials
        ):
            return
        state = "solved" if rate >= self.config.high else "hard" if rate <= self.config.low else "active"
        if state == "active":
            entry.state, entry.until, entry.rests = "active", -1, 0
            return
        entry.rests = entry.rests + 1 if entry.state == state else 1
        pause = min(
            float(self.config.retest_limit),
            self.config.retest_after * self.config.retest_growth ** min(entry.rests - 1, 64),
        )
        entry.state, entry.until = state, self.step + max(1, int(pause))

    def advance(self, step: int) -> bool:
        """Sets the step; returns True when a new stage begins."""
        self.step = step
        stage = self.config.stages[self.stage]
        if self.stage + 1 >= len(self.config.stages):
            return False
        by_step = stage.until_step is not None and step >= stage.until_step
        by_rate = (
            stage.advance_at is not None
            and self._stage_groups >= self.config.stage_window
            and self._stage_rate >= stage.advance_at
        )
        if by_step or by_rate:
            self.stage, self.stage_began, self._stage_rate, self._stage_groups = self.stage + 1, step, 0.0, 0
        return by_step or by_rate

    def import_offline(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Takes offline pass rates (`pass_rates.read_pass_rates`)."""
        return self.store.import_offline(rows)

    def mixture_weights(self, names: Sequence[str], base: Sequence[float]) -> list[float]:
        """Weights for the data pipeline's datasets: base * (1 - s + s * share of groups with a gradient), where a
        dataset that has hardly been seen counts as all useful. They need not sum to 1.
        """
        strength = self.config.mixture_strength
        weights = []
        for name, share in zip(names, base, strict=True):
            useful, seen = self._sources.get(name, (0.0, 0.0))
            weights.append(share * (1.0 - strength + strength * (useful + 4.0) / (seen + 4.0)))
        return weights

    # ---- shown and saved

    def metrics(self) -> dict[str, float]:
        """For the log."""
        states = [entry.state for entry in self.store.entries.values()]
        rates = [
            entry.pass_rate for entry in self.store.entries.values() if entry.trials > 0 and entry.pass_rate is not None
        ]
        return {
            "curriculum/stage": float(self.stage),
            "curriculum/seen": float(len(rates)),
            "curriculum/pass_rate": sum(rates) / len(rates) if rates else 0.0,
            "curriculum/solved": float(states.count("solved")),
            "curriculum/hard": float(states.count("hard")),
            "curriculum/starved": float(self.starved),
            "curriculum/no_gradient_share": self.no_gradient / self.groups if self.groups else 0.0,
            **{f"curriculum/refused_{reason}": float(count) for reason, count in sorted(self.refused.items())},
        }

    def pass_rate_rows(self) -> list[dict[str, Any]]:
        """What is known of every question, as `metrics.write_pass_rates` takes it."""
        known = [(name, entry, entry.pass_rate) for name, entry in self.store.entries.items()]
        return [
            {
                "id": name,
                "family": entry.family,
                "hops": entry.hops,
                "rate": rate,
                "n": entry.trials,
                "state": entry.state,
            }
            for name, entry, rate in known
            if rate is not None
        ]

    def state_dict(self) -> dict[str, Any]:
        """JSON-ready state: everything that later decisions depend on."""
        return {
            "version": 1,
            "store": self.store.state_dict(),
            "step": self.step,
            "stage": self.stage,
            "stage_began": self.stage_began,
            "stage_rate": self._stage_rate,
            "stage_groups": self._stage_groups,
            "sources": {k: list(v) for k, v in self._sources.items()},
            "refused": dict(self.refused),
            "refused_since": sorted(self._refused_since),
            "starved": self.starved,
            "no_gradient": self.no_gradient,
            "groups": self.groups,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues exactly where `state_dict` was taken. ValueError when the config has fewer stages."""
        if state.get("version") != 1:
            raise ValueError(f"curriculum state of version {state.get('version')}; this code reads 1")
        if state["stage"] >= len(self.config.stages):
            raise ValueError(
                f"the checkpoint is in curriculum stage {state['stage']}, the config has {len(self.config.stages)}; "
                "resume with its config"
            )
        self.store.load_state_dict(state["store"])
        self.step, self.stage, self.stage_began = state["step"], state["stage"], state["stage_began"]
        self._stage_rate, self._stage_groups = state["stage_rate"], state["stage_groups"]
        self._sources = {name: list(counts) for name, counts in state["sources"].items()}
        self._refused_since, self.starved = set(state["refused_since"]), state["starved"]
        self.refused, self.no_gradient, self.groups = dict(state["refused"]), state["no_gradient"], state["groups"]


def _offline_rate(record: QuestionRecord, entry: Entry | None) -> float | None:
    """Imported offline pass rate, else the one that the record itself carries."""
    if entry is not None and entry.offline is not None:
        return entry.offline
    if len(record.difficulty) <= 2:
        return None
    difficulty = record.json_field("difficulty")
    n = difficulty.get("n") or 0
    return difficulty["pass_k"] / n if n and difficulty.get("pass_k") is not None else None

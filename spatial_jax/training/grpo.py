"""GRPO: what differs from supervised training. A step samples a group of answers a question, scores them, and
reinforces the better ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from spatial_jax.data.encode import EncodedQuestion
from spatial_jax.metrics.timing import PhaseTimer
from spatial_jax.models.group import group_logprobs
from spatial_jax.rewards.scoring import Outcome
from spatial_jax.rl.advantages import constant_groups, group_advantages
from spatial_jax.rl.kl import penalised_rewards
from spatial_jax.rl.objectives import MAXIMA, ObjectiveConfig, metrics_from_sums, normaliser, objective
from spatial_jax.rl.refill import drop_reason
from spatial_jax.rollout.environment import drawn_pictures, replies
from spatial_jax.rollout.types import Trajectory
from spatial_jax.training.answers import (
    AnswerScorer,
    Sampled,
    drawing_environment,
    make_engine,
    sample_groups,
    sampling_params,
)
from spatial_jax.training.batches import GroupBatch, rollout_batch, split_answers
from spatial_jax.training.scoring import LogProbs
from spatial_jax.training.settings import AlgorithmSettings, RunConfig
from spatial_jax.training.setup import Setup
from spatial_jax.training.state import Coefficients

DEAD_ROUNDS = 3


def objective_config(settings: AlgorithmSettings, max_tokens: int) -> ObjectiveConfig:
    """The static part of the loss."""
    return ObjectiveConfig(
        kind=settings.kind,
        clip_low=settings.clip_low,
        clip_high=settings.clip_high,
        dual_clip=settings.dual_clip,
        aggregate=settings.aggregate,
        kl_coef=settings.kl_coef if settings.kl_in == "loss" else 0.0,
        kl=settings.kl,
        is_cap=settings.is_cap,
        max_tokens=max_tokens,
    )


def answer_parts(run: RunConfig) -> list[slice]:
    """Answers of a group that are collated together. Those with pictures of later turns cannot be cut afterwards, so
    they are before, unless their advantages need the whole group's log-probabilities.
    """
    size, count = run.train.micro_answers, run.rollout.group_size
    if not size or run.rollout.turns == 1 or run.algorithm.kl_in == "reward":
        return [slice(None)]
    return [slice(start, start + size) for start in range(0, count, size)]


@dataclasses.dataclass
class Rollout:
    """b sampled groups with everything that was found out about them; arrays [b, g]."""

    questions: list[EncodedQuestion]
    groups: list[list[Trajectory]]
    texts: list[list[str]]
    outcomes: list[list[Outcome]]
    rewards: np.ndarray  # NaN where there is no score
    correct: np.ndarray  # NaN likewise
    advantages: np.ndarray
    reasons: list[str | None]  # why a group gives no gradient worth having; None where it does
    stale: bool = False  # sampled by the policy before the last update

    @property
    def constant(self) -> np.ndarray:
        """[b] groups whose scored answers all earn exactly the same."""
        return constant_groups(self.rewards)

    @classmethod
    def chosen(cls, rows: Sequence[tuple[Rollout, int]]) -> Rollout:
        """These rows of these rollouts as one."""
        lists: dict[str, Any] = {
            f.name: [getattr(rollout, f.name)[i] for rollout, i in rows]
            for f in dataclasses.fields(cls)
            if f.name != "stale"
        }
        joined: dict[str, Any] = {
            name: np.stack(values) if isinstance(values[0], np.ndarray) else values for name, values in lists.items()
        }
        return cls(**joined, stale=any(rollout.stale for rollout, _ in rows))

    @classmethod
    def joined(cls, rollouts: Sequence[Rollout]) -> Rollout:
        """All rows of several rollouts."""
        return (
            rollouts[0]
            if len(rollouts) == 1
            else cls.chosen([(r, i) for r in rollouts for i in range(len(r.questions))])
        )

    def gallery(self, count: int, setup: Setup) -> list[dict[str, Any]]:
        """The first `count` groups for the gallery, with what was drawn for them."""
        entries = []
        for i in range(min(count, len(self.questions))):
            question = self.questions[i]
            answers = [
                {
                    "text": text,
                    "reward": float(self.rewards[i, j]),
                    "advantage": float(self.advantages[i, j]),
                    "correct": bool(self.correct[i, j] == 1),
                    "finish_reason": self.groups[i][j].finish_reason,
                    "length": len(self.groups[i][j]),
                }
                for j, text in enumerate(self.texts[i])
            ]
            if setup.run.rollout.turns > 1:
                environment = drawing_environment(setup, [question])
                answers = [
                    {**answer, "drawn": environment.shown(dataclasses.replace(t, prompt_index=0))}
                    for answer, t in zip(answers, self.groups[i])
                ]
            size = list(question.prompt.model_sizes[0]) if question.prompt.model_sizes else None
            entries.append(
                {"record": question.record.as_dict(), "model_size": size, "answers": answers, "phase": "train"}
            )
        return entries


class Grpo:
    """Holds the sampler; `sample` answers questions, `collect` makes a rollout of the answers, `minibatches` cuts it
    into optimizer steps.
    """

    def __init__(self, setup: Setup):
        run = setup.run
        self.setup, self.run = setup, run
        self.engine, self.sampling, self.answers = make_engine(setup), sampling_params(setup), AnswerScorer(setup)
        self.dead_rounds = 0  # in a row without a single reward
        self.config = objective_config(run.algorithm, run.rollout.total_tokens)
        self.scorer = LogProbs(setup, temperature=self.sampling.logit_temperature, banned_ids=self.sampling.banned_ids)

    def loss(self, model: Any, batch: GroupBatch, coefficients: Coefficients) -> dict[str, jax.Array]:
        """Sums of the objective over a micro-batch."""
        assert batch.policy is not None
        logp, entropy = group_logprobs(
            model,
            batch.prompts,
            batch.answers,
            temperature=self.sampling.logit_temperature,
            banned_ids=self.sampling.banned_ids,
            remat=self.run.model.remat,
        )
        return objective(logp, entropy, batch.policy, self.config, entropy_coef=coefficients["entropy"])

    def sample(
        self, questions: Sequence[EncodedQuestion], params: Any, step: int, first: int, timer: PhaseTimer
    ) -> Sampled:
        """A group of answers to each question; scoring has begun when it returns. `first`: how many prompts this step
        has sampled already, for the random keys.
        """
        scoring: list[Any] = [None] * len(questions)

        def finished(index: int, group: Sequence[Trajectory]) -> None:
            scoring[index] = self.answers.start(questions[index], group)

        with timer("rollout"):
            groups = sample_groups(
                self.setup,
                self.engine,
                params,
                questions,
                self.run.rollout.group_size,
                self.sampling,
                step=step,
                prompt_ids=range(first, first + len(questions)),
                on_finish=finished,
            )
        return Sampled(list(questions), groups, scoring)

    def collect(self, sampled: Sampled, timer: PhaseTimer, *, stale: bool = False) -> Rollout:
        """Waits for the scores; rewards of records whose scoring fails are NaN and take no part. `stale`: an update has
        passed since.
        """
        questions, groups = sampled.questions, sampled.groups
        with timer("reward"):  # only what decoding did not hide
            scored = [future.result() for future in sampled.scoring]
        texts, outcomes = [s.texts for s in scored], [s.outcomes for s in scored]
        number = lambda value: float("nan") if value is None else float(value)  # noqa: E731
        rewards = np.array([[number(o.reward) for o in group] for group in outcomes], np.float64)
        correct = np.array([[number(o.correct) for o in group] for group in outcomes], np.float64)
        advantages = group_advantages(rewards, kind=self.config.kind)
        self._check_alive(rewards)
        reasons = [drop_reason([o.accuracy for o in row], [o.correct for o in row]) for row in outcomes]
        return Rollout(list(questions), groups, texts, outcomes, rewards, correct, advantages, reasons, stale)

    def _check_alive(self, rewards: np.ndarray) -> None:
        """ValueError where no answer of DEAD_ROUNDS rounds in a row has a reward: every further step trains on
        nothing.
        """
        self.dead_rounds = self.dead_rounds + 1 if rewards.size and np.isnan(rewards).all() else 0
        if self.dead_rounds >= DEAD_ROUNDS:
            raise ValueError(
                f"no answer of the last {DEAD_ROUNDS} rounds has a reward ({self.answers.failures.most_common()}); mend"
                " the reward, the same command goes on from the last save"
            )

    def minibatches(
        self, rollout: Rollout, params: Any, reference: Any, timer: PhaseTimer
    ) -> list[tuple[list[GroupBatch], float]]:
        """(micro-batches, normaliser) of each optimizer step. Groups without a gradient are left out, so a step may
        have fewer micro-batches; a step without any is left out. `params` are the present ones (those that sampled,
        unless the rollout is stale: then ratios are to them, and the importance weights lead back to the sampler),
        `reference` may be None. All are scored before the first is returned: an optimizer step gives the memory of
        `params` away.
        """
        settings, micro, size = self.run.algorithm, self.run.train.micro_prompts, self.run.train.update_prompts
        on_policy, constant = self.run.train.prompts == size, rollout.constant
        steps = []
        for start in range(0, len(rollout.questions), size):
            rows = [
                i
                for i in range(start, min(start + size, len(rollout.questions)))
                if not (settings.drop_zero_variance and constant[i])
            ]
            # Groups of like length share a micro-batch, so short answers are not padded to the longest of the step.
            rows.sort(key=lambda i: max(map(len, rollout.groups[i])))
            with timer("batch"):
                batches = [
                    self._micro(rollout, rows[at : at + micro], micro, part)
                    for at in range(0, len(rows), micro)
                    for part in answer_parts(self.run)
                ]
            if reference is not None:
                with timer("reference"):
                    batches = [self.scorer.with_logps(batch, "ref_logp", reference) for batch in batches]
                if settings.kl_in == "reward":
                    batches = [
                        self._penalised(rollout, rows[at : at + micro], batch)
                        for at, batch in zip(range(0, len(rows), micro), batches)
                    ]
            if not on_policy:
                with timer("old_logp"):
                    batches = [self.scorer.with_logps(batch, "old_logp", params) for batch in batches]
            masks = [batch.policy.mask for batch in batches if batch.policy is not None]
            count = sum(float(normaliser(mask, self.config.aggregate, self.config.max_tokens)) for mask in masks)
            if batches and count:
                steps.append(
                    ([part for batch in batches for part in split_answers(batch, self.run.train.micro_answers)], count)
                )
        return steps

    def _micro(self, rollout: Rollout, rows: list[int], size: int, part: slice) -> GroupBatch:
        """`part` of the answers of `rows` of the rollout as one micro-batch of `size` groups, filled up with copies
        that do not train.
        """
        filled = _filled(rows, size)
        real = np.arange(size) < len(rows)
        keep = ~np.isnan(rollout.rewards[filled]) & real[:, None]
        if self.run.algorithm.mask_truncated:
            keep &= np.array([[t.finish_reason == "stop" for t in rollout.groups[i]] for i in filled])
        return rollout_batch(
            [rollout.questions[i].prompt for i in filled],
            [rollout.groups[i][part] for i in filled],
            rollout.advantages[filled][:, part],
            keep[:, part],
            self.setup.buckets,
        )

    def _penalised(self, rollout: Rollout, rows: list[int], batch: GroupBatch) -> GroupBatch:
        """The micro-batch of `rows` with advantages of the rewards less the answers' KL to the reference."""
        policy, settings = batch.policy, self.run.algorithm
        assert policy is not None
        rewards = penalised_rewards(
            rollout.rewards[_filled(rows, len(policy.mask))],
            policy.rollout_logp,
            policy.ref_logp,
            policy.mask,
            settings.kl_coef,
            settings.kl,
        )
        advantages: Any = group_advantages(rewards, kind=self.config.kind)
        return dataclasses.replace(batch, policy=dataclasses.replace(policy, advantages=advantages))

    def metrics(self, rollout: Rollout, sums: dict[str, Any] | None) -> dict[str, float]:
        """Everything that is logged of a step; `sums` of its optimizer steps together, None when no group had a
        gradient.
        """
        lengths = np.array([[len(t) for t in group] for group in rollout.groups])
        stopped = np.array([[t.finish_reason == "stop" for t in group] for group in rollout.groups])
        families = np.array([q.record.family or q.record.question_type for q in rollout.questions])
        out = {
            "reward/mean": float(np.nanmean(rollout.rewards)),
            "pass_rate": float(np.nanmean(rollout.correct)),
            "group/std": float(np.nanmean(np.nanstd(rollout.rewards, axis=1, ddof=1))),
            "group/no_gradient": float(rollout.constant.mean()),
            "group/all_correct": float((np.nanmin(rollout.correct, axis=1) == 1).mean()),
            "group/none_correct": float((np.nanmax(rollout.correct, axis=1) == 0).mean()),
            "length/mean": float(lengths.mean()),
            "length/max": float(lengths.max()),
            "length/truncated": float(1 - stopped.mean()),
            "reward/excluded": float(np.isnan(rollout.rewards).mean()),
        }
        if self.run.rollout.turns > 1:
            answers = [t for group in rollout.groups for t in group]
            out |= {
                "turns/mean": float(np.mean([replies(t) for t in answers])),
                "turns/drawn": float(np.mean([drawn_pictures(t) for t in answers])),
            }
        formats = [o.format for group in rollout.outcomes for o in group if o.format is not None]
        if formats:
            out["format/share"] = float(np.mean(formats))
        for family in sorted(set(families)):
            out[f"reward/{family}"] = float(np.nanmean(rollout.rewards[families == family]))
        if sums is not None:
            means = {
                k: float(v)
                for k, v in metrics_from_sums(
                    {k: v for k, v in sums.items() if k not in ("grad_norm", "update_skipped")}
                ).items()
            }
            out |= {
                "loss": means["loss"],
                "entropy": means["entropy"],
                "ratio/mean": means["ratio"],
                "ratio/max": means["ratio_max"],
                "clip/low": means["clip_low"],
                "clip/high": means["clip_high"],
                "clip/fraction": means["clip_low"] + means["clip_high"],
                "kl/old": means["kl_old"],
                "answer_tokens": means["tokens"],
            }
            # Of a stale rollout the difference holds an update's change, too: it is not the gap that the alarm is
            # about.
            name = "stale" if rollout.stale else "gap"
            out |= {f"{name}/mean": means["sampler_gap"], f"{name}/max": means["sampler_gap_max"]}
            if "is_weight" in means:
                out["importance/weight"] = means["is_weight"]
            if "kl_ref" in means:
                out["kl/reference"] = means["kl_ref"]
        return out


def _filled(rows: list[int], size: int) -> list[int]:
    """The rows of a micro-batch of `size` groups: the first again where there are too few."""
    return rows + [rows[0]] * (size - len(rows))


assert set(MAXIMA) == {"ratio_max", "sampler_gap_max"}  # Updater keeps maxima by the ending of their names

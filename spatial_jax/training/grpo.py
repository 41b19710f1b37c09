"""GRPO: what differs from supervised training. A step samples a group of answers a question, scores them, and
reinforces the better ones.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from spatial_jax.data import EncodedQuestion, QuestionSource
from spatial_jax.metrics import write_pass_rates
from spatial_jax.metrics.timing import PhaseTimer
from spatial_jax.models.group import group_logprobs
from spatial_jax.rl import (
    EntropyController,
    ObjectiveConfig,
    Refill,
    drop_reason,
    group_advantages,
    metrics_from_sums,
    normaliser,
    objective,
    penalised_rewards,
)
from spatial_jax.rl.curriculum import Curriculum
from spatial_jax.rl.objectives import MAXIMA
from spatial_jax.rl.pass_rates import read_pass_rates
from spatial_jax.rollout import Trajectory
from spatial_jax.rollout.types import Work
from spatial_jax.training.answers import (
    AnswerScorer,
    Draws,
    Sampled,
    make_answerer,
    sampling_params,
)
from spatial_jax.training.batches import GroupBatch, answer_parts, rollout_batch, split_answers
from spatial_jax.training.grpo_step import take_step
from spatial_jax.training.method import Example, Method, Stream, Taken, Typical
from spatial_jax.training.preflight import check_rewards, lint_sources, use_check
from spatial_jax.training.questions import question_stream
from spatial_jax.training.rollouts import Rollout
from spatial_jax.training.scoring import LogProbs
from spatial_jax.training.settings import AlgorithmSettings, RunConfig
from spatial_jax.training.setup import Setup
from spatial_jax.training.state import Coefficients
from spatial_jax.training.together import sample_together, together_batches
from spatial_jax.training.update import Updater

if TYPE_CHECKING:
    from spatial_jax.training.trainer import Trainer

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


class Grpo(Method):
    """Holds the sampler; `sample` answers questions, `collect` makes a rollout of the answers, `minibatches` cuts it
    into optimizer steps.
    """

    samples = True
    turns = True

    def __init__(self, setup: Setup):
        run = setup.run
        self.setup, self.run = setup, run
        self.answerer, self.sampling, self.answers = make_answerer(setup), sampling_params(setup), AnswerScorer(setup)
        self.curriculum, self.entropy = Curriculum(run.curriculum), EntropyController(run.entropy)
        self.refill: Refill = Refill(run.train.prompts, max(run.algorithm.refill_rounds, 1))
        self.work: list[Work] = []  # of this step's rollouts
        self.ahead: Sampled | None = None  # the next step's answers, where rollouts overlap
        self.dead_rounds = 0  # in a row without a single reward
        self.config = objective_config(run.algorithm, run.rollout.total_tokens)
        self.scorer = LogProbs(setup, temperature=self.sampling.logit_temperature, banned_ids=self.sampling.banned_ids)

    @classmethod
    def check(cls, run: RunConfig) -> None:
        """A group needs answers that can differ."""
        rollout = run.rollout
        if rollout.group_size < 2:
            raise ValueError("config.rollout.group_size must be at least 2: a lone answer has no advantage")
        if rollout.temperature == 0 or rollout.top_k == 1:
            raise ValueError(
                f"config.rollout: temperature {rollout.temperature:g} with top_k {rollout.top_k} gives every question"
                " the same answer group_size times, so no group would have a gradient; set temperature to 1 and top_k"
                " to 0"
            )

    @classmethod
    def needs_reference(cls, run: RunConfig) -> bool:
        """Without a KL term there is nothing to compare with."""
        return run.algorithm.kl_coef > 0

    def stream(self) -> Stream:
        """Questions that pay their own answer, as the curriculum admits them; the written answers are not used."""
        run, seen = self.run, dict[str, list[dict[str, Any]]]()
        if run.offline_pass_rates:
            self.curriculum.import_offline(read_pass_rates(run.offline_pass_rates))

        def try_rewards(sources: Sequence[QuestionSource]) -> None:
            check_rewards(sources, self.answers, seen)
            if run.data.check:
                lint_sources(sources, self.answers)

        pipeline = question_stream(
            self.setup,
            prompt_tokens=max(run.data.prompt_buckets),
            check=lambda encoder: use_check(self.answers, encoder, seen),
            after=try_rewards,
            together=run.rollout.together,
        )
        pipeline.accept = self.curriculum.accept
        return pipeline

    @functools.cached_property
    def initial(self) -> Any:
        """The parameters that the run began with, copied before the first update gives their memory away; None where
        the KL to them is not logged.
        """
        return jax.tree.map(jnp.copy, self.setup.start.params) if self.run.log.initial_kl_every else None

    def state_dict(self) -> dict[str, Any]:
        return {
            "curriculum": self.curriculum.state_dict(),
            "entropy": self.entropy.state_dict(),
            "ahead": None if self.ahead is None else self.ahead.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], pipeline: Any, *, changed: bool) -> None:
        self.curriculum.load_state_dict(state["curriculum"])
        self.entropy.load_state_dict(state["entropy"])
        # Answers that were asked for under other settings are asked for again.
        ahead = None if changed else state.get("ahead")
        if ahead is not None and self.run.rollout.overlap:
            self.ahead = Sampled.restore(ahead, pipeline, self.answers)

    def on_save(self, trainer: Trainer) -> None:
        """Pass rates go beside a checkpoint."""
        if rates := self.curriculum.pass_rate_rows():
            write_pass_rates(self.setup.workdir, trainer.step, rates)

    def step(self, trainer: Trainer, updater: Updater, timer: PhaseTimer) -> Taken:
        return take_step(self, trainer, updater, timer)

    def example(self, typical: Typical) -> Example:
        """Groups of answers alike, collated in as many parts as those with pictures of later turns need."""
        run, train = self.run, self.run.train
        parts = answer_parts(run)
        size, count = run.rollout.group_size // len(parts), train.micro_prompts
        if run.rollout.together > 1:  # the words of the questions themselves are not planned
            size, count = size * run.rollout.together, count // run.rollout.together
        answer = typical.conversation or Trajectory.written(typical.answer)
        batch = rollout_batch(
            [typical.prompt] * count,
            [[answer] * size] * count,
            np.zeros((count, size)),
            np.ones((count, size), bool),
            self.setup.buckets,
        )
        assert batch.policy is not None
        logp: Any = np.zeros(np.shape(batch.answers.tokens), np.float32)
        reference, several = self.needs_reference(run), train.prompts != train.update_prompts
        policy = dataclasses.replace(
            batch.policy, ref_logp=logp if reference else None, old_logp=logp if several else None
        )
        batch = dataclasses.replace(batch, policy=policy)
        cut = split_answers(batch, train.micro_answers)
        return Example(batch, cut, len(parts), reference + several, ("entropy",))

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
        if self.setup.features is not None:
            with timer("features"):
                questions = self.setup.encode(questions, params)
        scoring: list[Any] = [None] * len(questions)

        def start_scoring(index: int, group: Sequence[Trajectory]) -> None:
            scoring[index] = self.answers.start(questions[index], group)

        with timer("rollout"):
            groups = sample_together(
                self.setup,
                self.answerer,
                params,
                questions,
                Draws(self.run.rollout.group_size, self.sampling, step),
                first=first,
                on_finish=start_scoring,
            )
        self.work.append(self.answerer.engine.work)
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
            rows = order_groups(rows, rollout)
            with timer("batch"):
                if self.run.rollout.together > 1:
                    batches = together_batches(self.setup, rollout, sorted(rows), self._trains(rollout, sorted(rows)))
                else:
                    cuts = range(0, len(rows), micro)
                    batches = [part for at in cuts for part in self._micro(rollout, rows[at : at + micro], micro)]
            if reference is not None:
                with timer("reference"):
                    batches = [self.scorer.with_logps(batch, "ref_logp", reference) for batch in batches]
                if settings.kl_in == "reward":
                    batches = [
                        self._penalise(rollout, rows[at : at + micro], batch)
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

    def _micro(self, rollout: Rollout, rows: list[int], size: int) -> list[GroupBatch]:
        """The answers of `rows` of the rollout as a micro-batch of `size` groups, filled up with copies that do not
        train; in parts on the same prompts where answers have pictures of later turns.
        """
        filled = _fill(rows, size)
        real = np.arange(size) < len(rows)
        keep = self._trains(rollout, filled) & real[:, None]
        prompts = [rollout.questions[i].prompt for i in filled]
        collated = self.setup.buckets.prompts(prompts)
        return [
            rollout_batch(
                prompts,
                [rollout.groups[i][part] for i in filled],
                rollout.advantages[filled][:, part],
                keep[:, part],
                self.setup.buckets,
                collated,
            )
            for part in answer_parts(self.run)
        ]

    def _trains(self, rollout: Rollout, rows: Sequence[int]) -> np.ndarray:
        """[rows, g]: which answers train."""
        keep = ~np.isnan(rollout.rewards[list(rows)])
        if self.run.algorithm.mask_truncated and rows:
            keep &= np.array([[t.finish_reason == "stop" for t in rollout.groups[i]] for i in rows])
        return keep

    def _penalise(self, rollout: Rollout, rows: list[int], batch: GroupBatch) -> GroupBatch:
        """The micro-batch of `rows` with advantages of the rewards less the answers' KL to the reference."""
        policy, settings = batch.policy, self.run.algorithm
        assert policy is not None
        rewards = penalised_rewards(
            rollout.rewards[_fill(rows, len(policy.mask))],
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
        out = rollout.metrics(self.setup)
        work, self.work = self.work, []
        if self.run.rollout.turns > 1:
            out["turns/passed"] = sum(w.tokens for w in work) / max(sum(w.distinct for w in work), 1)
        if sums is not None:
            of_losses = {k: v for k, v in sums.items() if k not in ("grad_norm", "update_skipped")}
            means = {k: float(v) for k, v in metrics_from_sums(of_losses).items()}
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


def order_groups(rows: Sequence[int], rollout: Rollout) -> list[int]:
    """The rows so that those that share pictures are neighbours, which pass them once, and otherwise groups of like
    length: short answers are not padded to the longest of the step.
    """
    pictures = {i: rollout.questions[i].prompt.keys or (b"", bytes(str(i), "ascii")) for i in rows}
    lengths = {i: max(map(len, rollout.groups[i])) for i in rows}
    longest: dict[tuple[bytes, ...], int] = {}
    for i in rows:
        longest[pictures[i]] = max(longest.get(pictures[i], 0), lengths[i])
    return sorted(rows, key=lambda i: (longest[pictures[i]], pictures[i], lengths[i]))


def _fill(rows: list[int], size: int) -> list[int]:
    """The rows of a micro-batch of `size` groups: the first again where there are too few."""
    return rows + [rows[0]] * (size - len(rows))


assert set(MAXIMA) == {"ratio_max", "sampler_gap_max"}  # Updater keeps maxima by the ending of their names

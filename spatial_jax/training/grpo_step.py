"""One step of GRPO: rounds of answers until the batch is full, then the updates on it, and what is told of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from spatial_jax.metrics.timing import PhaseTimer
from spatial_jax.training.answers import Sampled
from spatial_jax.training.flops import add_work, feature_metrics, update_work
from spatial_jax.training.method import Taken
from spatial_jax.training.rollouts import Rollout, gallery_groups
from spatial_jax.training.skipped import keep_skipped
from spatial_jax.training.update import Updater, add_sums, step_sums

if TYPE_CHECKING:
    from spatial_jax.training.grpo import Grpo
    from spatial_jax.training.trainer import Trainer


def take_step(method: Grpo, trainer: Trainer, updater: Updater, timer: PhaseTimer) -> Taken:
    """Rolls out until the batch is full of groups with a gradient (one round unless refill is on), then updates on it.
    With overlap the first round was sampled a step ago, and the next step's is sampled before this one's scores are
    waited for: the device works while judges and rules do. One thread gives out all device work, so processes cannot
    get out of order.
    """
    setup, run = trainer.setup, trainer.setup.run
    params = setup.params(trainer.state.params)
    method.curriculum.advance(trainer.step)
    rounds = _roll_out(method, trainer, params, timer)
    kept, counts = method.refill.take()
    if run.curriculum.mixture_strength:
        names = [source.name for source in trainer.pipeline.sources]
        base = run.data.weights or [float(len(source)) for source in trainer.pipeline.sources]
        pipeline: Any = trainer.pipeline
        pipeline.weights = method.curriculum.mixture_weights(names, base)
    # Without refill a group that has no gradient stays: it is part of what is logged, and of the step's size. Where no
    # round gave any with one, the last resort is the same.
    rollout = Rollout.concatenate(rounds) if run.algorithm.refill_rounds <= 1 or not kept else Rollout.select(kept)
    if run.rollout.turns > 1 and setup.features is not None:
        # Drawn pictures are new with every answer: the sampler encoded them as it went, the update needs them again.
        with timer("features"):
            rollout.encode_turns(setup.features, params)
    reference = None if trainer.reference.params is None else setup.params(trainer.reference.params)
    taken: list[dict[str, Any]] = []
    extra: dict[str, float] = {}
    work: list[dict[str, float]] = []
    for batches, count in method.minibatches(rollout, params, reference, timer):
        if method.initial is not None and (trainer.step + 1) % run.log.initial_kl_every == 0 and not extra:
            with timer("initial_kl"):
                extra = {"kl/initial": method.scorer.kl_of_rollout(batches, setup.params(method.initial))}
        work.append(update_work(setup, batches))
        with timer("update"):
            trainer.state, sums = updater(
                trainer.state, setup.frozen, batches, count, {"entropy": np.float32(method.entropy.active)}
            )
            # Waiting here is what makes the timer's "update" the device's time, not that of giving out the work.
            taken.append(jax.device_get(sums))
            keep_skipped(setup.workdir, trainer.step + 1, batches, taken[-1], [q.record_id for q in rollout.questions])
    metrics = extra | method.metrics(rollout, functools.reduce(add_sums, taken) if taken else None)
    metrics |= add_work(work) | feature_metrics(setup)
    metrics |= counts.metrics() | (method.curriculum.metrics() if run.curriculum.enabled else {})
    if "entropy" in metrics:
        metrics["entropy/coef"] = method.entropy.update(metrics["entropy"])
    return (
        rollout.questions,
        metrics | step_sums(taken),
        rollout.gallery(gallery_groups(run.log, trainer.step + 1), setup),
    )


def _roll_out(method: Grpo, trainer: Trainer, params: Any, timer: PhaseTimer) -> list[Rollout]:
    """The rounds of answers of a step, scored; the curriculum has seen them, and the refill holds their groups."""
    run = trainer.setup.run

    def sample(count: int, step: int, first: int) -> Sampled:
        with timer("data"):
            questions = trainer.pipeline.take(count)
        return method.sample(questions, params, step, first, timer)

    sampled, method.ahead = method.ahead, None
    stale = sampled is not None
    rounds: list[Rollout] = []
    while (need := method.refill.need()) and (not rounds or run.algorithm.refill_rounds > 1):
        sampled = sampled or sample(need, trainer.step, sum(len(r.questions) for r in rounds))
        # The next step's answers are given to the device before this one's scores are waited for; once a step, however
        # many rounds it takes.
        if run.rollout.overlap and not rounds and trainer.step + 1 < run.train.steps:
            method.ahead = sample(run.train.prompts, trainer.step + 1, 0)
        rounds.append(method.collect(sampled, timer, stale=stale and not rounds))
        method.refill.add([(rounds[-1], i) for i in range(len(rounds[-1].questions))], rounds[-1].reasons)
        # All questions are observed, those that are dropped too: a question without a gradient is one to ask less.
        for asked, row, reason in zip(rounds[-1].questions, rounds[-1].outcomes, rounds[-1].reasons):
            method.curriculum.observe(asked.record, [o.correct for o in row], dropped=reason, source=asked.dataset)
        sampled = None
    return rounds

"""The step of methods that learn from written answers: a batch of the stream, cut, and updated on."""

from __future__ import annotations

import abc
import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import jax

from spatial_jax.metrics.timing import PhaseTimer
from spatial_jax.training.flops import add_work, feature_metrics, update_work
from spatial_jax.training.method import Method, Taken
from spatial_jax.training.skipped import keep_skipped
from spatial_jax.training.update import Updater, add_sums, step_sums


class Supervised(Method):
    """What such a method adds: how a batch is cut, and what is logged of it. `encodes`: pictures go through a frozen
    tower before the batch is cut.
    """

    encodes: ClassVar[bool] = True

    @abc.abstractmethod
    def minibatches(self, questions: Sequence[Any]) -> list[tuple[list[Any], float]]:
        """(micro-batches, what their summed loss is divided by) of each optimizer step."""

    @abc.abstractmethod
    def metrics(self, questions: Sequence[Any], sums: dict[str, Any]) -> dict[str, float]:
        """What is logged of a step, from the sums of its optimizer steps."""

    def step(self, trainer: Any, updater: Updater, timer: PhaseTimer) -> Taken:
        """One batch."""
        setup = trainer.setup
        with timer("data"):
            questions = trainer.pipeline.take(setup.run.train.prompts)
        if self.encodes and setup.features is not None:
            with timer("features"):
                questions = setup.encode(questions, setup.params(trainer.state.params))
        with timer("batch"):
            minibatches = self.minibatches(questions)
        taken: list[dict[str, Any]] = []
        work = [update_work(setup, batches) for batches, _ in minibatches]
        ids = [question.record_id for question in questions]
        for batches, count in minibatches:
            with timer("update"):
                trainer.state, sums = updater(trainer.state, setup.frozen, batches, count)
                taken.append(jax.device_get(sums))
            keep_skipped(setup.workdir, trainer.step + 1, batches, taken[-1], ids)
        metrics = self.metrics(questions, functools.reduce(add_sums, taken)) | step_sums(taken)
        return questions, metrics | add_work(work) | feature_metrics(setup), []

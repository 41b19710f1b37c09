"""The step of methods that learn from written answers: a batch of the stream, cut, and updated on."""

from __future__ import annotations

import abc
import functools
from collections.abc import Sequence
from typing import Any

import jax

from spatial_jax.metrics.timing import PhaseTimer
from spatial_jax.training.method import Method, Taken
from spatial_jax.training.skipped import keep_skipped
from spatial_jax.training.update import Updater, add_sums, step_sums


class Supervised(Method):
    """What such a method adds: how a batch is cut, and what is logged of it."""

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
        with timer("batch"):
            minibatches = self.minibatches(questions)
        taken: list[dict[str, Any]] = []
        ids = [question.record_id for question in questions]
        for batches, count in minibatches:
            with timer("update"):
                trainer.state, sums = updater(trainer.state, setup.frozen, batches, count)
                taken.append(jax.device_get(sums))
            keep_skipped(setup.workdir, trainer.step + 1, batches, taken[-1], ids)
        return questions, self.metrics(questions, functools.reduce(add_sums, taken)) | step_sums(taken), []

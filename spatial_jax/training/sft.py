"""Supervised fine-tuning: answer tokens only, questions on the same pictures packed into one group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from spatial_jax.data import EncodedQuestion, QuestionEncoder
from spatial_jax.models.group import group_logprobs
from spatial_jax.training.batches import GroupBatch, Target, target_batch, turns_batch
from spatial_jax.training.demonstrations import demonstration, demonstration_check
from spatial_jax.training.method import Example, Stream, Typical
from spatial_jax.training.questions import Check, question_stream
from spatial_jax.training.setup import Setup
from spatial_jax.training.state import Coefficients
from spatial_jax.training.supervised import Supervised
from spatial_jax.training.together import by_picture, power_of_two


class Sft(Supervised):
    """Batches and loss of supervised fine-tuning."""

    turns = True

    def __init__(self, setup: Setup):
        self.setup, self.run = setup, setup.run

    def stream(self) -> Stream:
        """Questions whose written answer fits, and whose demonstrated turns can be played."""
        data, rollout = self.run.data, self.run.rollout
        longest = max(rollout.answer_buckets) - 1  # a prompt's last token goes with the answer

        def check(encoder: QuestionEncoder) -> Check | None:
            return demonstration_check(encoder, rollout, longest) if rollout.turns > 1 else None

        return question_stream(
            self.setup,
            prompt_tokens=max(data.prompt_buckets) + 1,
            target_tokens=longest,
            check=check,
            together=data.together,
        )

    def loss(self, model: Any, batch: GroupBatch, coefficients: Coefficients) -> dict[str, jax.Array]:
        """Summed negative log-likelihood of the answer tokens, their number, and the summed entropy there."""
        logp, entropy = group_logprobs(model, batch.prompts, batch.answers, remat=self.run.model.remat)
        mask = batch.answers.loss_mask
        nll = -jnp.sum(jnp.where(mask, logp, 0.0))
        return {
            "loss": nll,
            "tokens": jnp.sum(mask.astype(jnp.float32)),
            "entropy": jnp.sum(jnp.where(mask, entropy, 0.0)),
        }

    def minibatches(self, questions: Sequence[EncodedQuestion]) -> list[tuple[list[GroupBatch], float]]:
        """(micro-batches, answer tokens) of each optimizer step; `prompts` of the settings counts questions."""
        size, cut = self.run.train.update_prompts, self._of_turns if self.run.rollout.turns > 1 else self._by_picture
        steps = [cut(questions[start : start + size]) for start in range(0, len(questions), size)]
        return [(batches, float(sum(np.sum(b.answers.loss_mask) for b in batches))) for batches in steps]

    def _by_picture(self, questions: Sequence[EncodedQuestion]) -> list[GroupBatch]:
        """Micro-batches of groups of like size, of about `micro_prompts` questions: a lone question costs no empty
        places beside it.
        """
        groups, batches = by_picture(questions, self.run.data.together, self.setup.buckets), []
        for size in sorted({power_of_two(len(group)) for group in groups}):
            alike = [
                [Target(s.prompt, s.target_ids) for s in group] for group in groups if power_of_two(len(group)) == size
            ]
            per_micro = max(self.run.train.micro_prompts // size, 1)
            for at in range(0, len(alike), per_micro):
                chosen = alike[at : at + per_micro]
                empty = [Target(chosen[0][0].prompt, np.zeros(0, np.int32))]
                batches.append(target_batch(chosen + [empty] * (per_micro - len(chosen)), self.setup.buckets, size))
        return batches

    def _of_turns(self, questions: Sequence[EncodedQuestion]) -> list[GroupBatch]:
        """Micro-batches of answers of several turns, each alone behind its pictures."""
        size, batches = self.run.train.micro_prompts, []
        for at in range(0, len(questions), size):
            chosen = questions[at : at + size]
            empty = size - len(chosen)
            answers = [demonstration(question, self.setup) for question in chosen]
            batches.append(
                turns_batch(
                    [s.prompt for s in chosen] + [chosen[0].prompt] * empty,
                    [*answers, *[None] * empty],
                    self.setup.buckets,
                )
            )
        return batches

    def example(self, typical: Typical) -> Example:
        """Questions alone on their picture, or answers of turns."""
        count, buckets = self.run.train.micro_prompts, self.setup.buckets
        if typical.conversation is not None:
            batch = turns_batch([typical.prompt] * count, [typical.conversation] * count, buckets)
        else:
            answer = typical.answer[: max(buckets.answer) - 1]  # the prompt's last token stands before it
            batch = target_batch([[Target(typical.prompt, answer)]] * count, buckets, 1)
        return Example(batch, [batch])

    def metrics(self, questions: Sequence[EncodedQuestion], sums: dict[str, Any]) -> dict[str, float]:
        """Loss and entropy a token."""
        tokens = max(float(sums["tokens"]), 1.0)
        return {
            "loss": float(sums["loss"]) / tokens,
            "entropy": float(sums["entropy"]) / tokens,
            "answer_tokens": tokens,
            "length/mean": tokens / len(questions),
        }

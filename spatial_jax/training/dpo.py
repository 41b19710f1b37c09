"""DPO against corrupted answers, as vsGRPO's baseline builds its pairs: the right answer is chosen, a wrong one of its
form rejected (training/pairs.py).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from spatial_jax.data import EncodedQuestion
from spatial_jax.data.sampled import rejected_ids
from spatial_jax.models.group import group_logprobs
from spatial_jax.rewards.base import Context
from spatial_jax.training.answers import AnswerScorer
from spatial_jax.training.batches import GroupBatch
from spatial_jax.training.method import Example, Stream, Typical
from spatial_jax.training.pairs import Pairs
from spatial_jax.training.questions import question_stream
from spatial_jax.training.scoring import LogProbs
from spatial_jax.training.setup import Setup
from spatial_jax.training.state import Coefficients
from spatial_jax.training.supervised import Supervised


class Dpo(Supervised):
    """Chosen and rejected answers are a group of two that shares its prompt; the reference is the starting policy."""

    keeps_reference = True

    def __init__(self, setup: Setup):
        self.setup, self.run = setup, setup.run
        self.scorer, answers = LogProbs(setup), AnswerScorer(setup)
        self.pairs = Pairs(answers.spec, setup.run.data.prompt_mode, Context(judge=answers.judge))
        self._made: dict[tuple[str, int], tuple[np.ndarray, np.ndarray] | None] = {}  # by dataset and place
        self._cached: dict[tuple[str, int, bytes], np.ndarray] = {}  # by pair

    def stream(self) -> Stream:
        """Questions whose right and wrong answers both fit."""
        longest = max(self.run.rollout.answer_buckets)
        return question_stream(
            self.setup,
            prompt_tokens=max(self.run.data.prompt_buckets),
            target_tokens=longest,
            before=self.pairs.learn,
            check=lambda encoder: self.pairs.check(encoder, longest),
        )

    @functools.cached_property
    def reference(self) -> Any:
        """The starting parameters, copied before the first update gives their memory away."""
        return self.setup.params(jax.tree.map(jnp.copy, self.setup.start.params))

    def loss(self, model: Any, batch: GroupBatch, coefficients: Coefficients) -> dict[str, jax.Array]:
        """Sigmoid loss (Rafailov et al. 2023, eq. 7) summed over pairs, with the accuracy and margin of the implied
        reward.
        """
        logp, _ = group_logprobs(model, batch.prompts, batch.answers, remat=self.run.model.remat)
        mask = batch.answers.loss_mask
        reward = self.run.dpo.beta * jnp.sum(jnp.where(mask, logp - batch.ref_logp, 0.0), axis=-1)  # [b, 2]
        margin = reward[:, 0] - reward[:, 1]
        real = jnp.any(mask, axis=(1, 2))
        total = lambda x: jnp.sum(jnp.where(real, x, 0.0))  # noqa: E731
        return {
            "loss": total(-jax.nn.log_sigmoid(margin)),
            "pairs": total(1.0),
            "margin": total(margin),
            "right": total((margin > 0) * 1.0),
        }

    def minibatches(self, questions: Sequence[EncodedQuestion]) -> list[tuple[list[GroupBatch], float]]:
        """(micro-batches, pairs) of each optimizer step; reference log-probabilities are computed once a pair and
        kept. A question without a wrong answer takes no part. ValueError where that leaves a step without a pair.
        """
        train, out = self.run.train, []
        for start in range(0, len(questions), train.update_prompts):
            part = questions[start : start + train.update_prompts]
            made = [self._pair(question) for question in part]
            if not any(made):
                raise ValueError(
                    f"none of {len(part)} questions of a step has a wrong answer to reject; set config.data.check to"
                    " have such questions named and left out before the run"
                )
            cuts = range(0, len(part), train.micro_prompts)
            batches = [
                self._micro(part[at : at + train.micro_prompts], made[at : at + train.micro_prompts]) for at in cuts
            ]
            out.append((batches, float(sum(pair is not None for pair in made))))
        return out

    def _pair(self, question: EncodedQuestion) -> tuple[np.ndarray, np.ndarray] | None:
        """Tokens of the chosen and of the rejected response, ended; None where there is nothing to reject."""
        key = question.dataset, question.index  # ids of records may repeat
        if key not in self._made:
            self._made[key] = self._new_pair(question)
        return self._made[key]

    def _new_pair(self, question: EncodedQuestion) -> tuple[np.ndarray, np.ndarray] | None:
        processor, sizes = self.setup.processor, question.prompt.model_sizes
        try:
            text = self.pairs.rejection(question.record, sizes[0] if len(sizes) else None)
        except ValueError:
            return None
        ids = rejected_ids(question.record, text, processor)
        return (question.target_ids, ids) if len(ids) <= max(self.setup.buckets.answer) else None

    def _micro(
        self, questions: Sequence[EncodedQuestion], made: Sequence[tuple[np.ndarray, np.ndarray] | None]
    ) -> GroupBatch:
        buckets, empty = self.setup.buckets, np.zeros(0, np.int32)
        batch = GroupBatch(
            buckets.prompts([q.prompt for q in questions]),
            buckets.answers([pair or (empty, empty) for pair in made], [q.prompt.next_position for q in questions]),
        )
        keys = [(q.dataset, q.index, pair[1].tobytes() if pair else b"") for q, pair in zip(questions, made)]
        return dataclasses.replace(batch, ref_logp=self._reference(keys, batch))

    def _reference(self, pairs: Sequence[tuple[str, int, bytes]], batch: GroupBatch) -> np.ndarray:
        shape = np.shape(batch.answers.tokens)
        if not all(pair in self._cached for pair in pairs):
            self._cached.update(zip(pairs, self.scorer(self.reference, batch)))
        out = np.zeros(shape, np.float32)
        for i, pair in enumerate(pairs):
            row = self._cached[pair]
            out[i, :, : row.shape[1]] = row[:, : shape[2]]
        return out

    def example(self, typical: Typical) -> Example:
        """Pairs of answers of one length. A pair's reference pass is made when it comes for the first time."""
        count, buckets = self.run.train.micro_prompts, self.setup.buckets
        batch = GroupBatch(
            buckets.prompts([typical.prompt] * count),
            buckets.answers([[typical.answer, typical.answer]] * count, [typical.prompt.next_position] * count),
        )
        batch = dataclasses.replace(batch, ref_logp=np.zeros(np.shape(batch.answers.tokens), np.float32))
        return Example(batch, [batch], passes=1)

    def metrics(self, questions: Sequence[EncodedQuestion], sums: dict[str, Any]) -> dict[str, float]:
        """Loss, margin and accuracy a pair."""
        pairs = max(float(sums["pairs"]), 1.0)
        return {
            "loss": float(sums["loss"]) / pairs,
            "dpo/margin": float(sums["margin"]) / pairs,
            "dpo/accuracy": float(sums["right"]) / pairs,
            "dpo/left_out": len(questions) - float(sums["pairs"]),
        }

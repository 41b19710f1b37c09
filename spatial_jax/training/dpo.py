"""DPO against corrupted answers, as vsGRPO's baseline builds its pairs: the right answer is chosen, a damaged copy of
it rejected.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import random
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from spatial_jax.data.encode import Sample
from spatial_jax.models.group import group_logprobs
from spatial_jax.training.batches import GroupBatch
from spatial_jax.training.scoring import LogProbs
from spatial_jax.training.setup import Setup
from spatial_jax.training.state import Coefficients

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def corrupt(sample: Sample, others: Sequence[str]) -> str:
    """A wrong response of the same form as sample.target: another option or word where there is one, counts off by one,
    other numbers scaled by a factor in [0.5, 2] that is not near 1. Depends on the record's id only. `others`: words
    that may replace an answer.
    """
    rng = random.Random(hashlib.sha256(sample.record_id.encode()).digest())
    answer = sample.record.answer
    choices = [o for o in sample.record.options if o != answer] or [o for o in others if o != answer]
    if not _NUMBER.search(answer) and choices:
        wrong = rng.choice(choices)
    elif sample.record.question_type == "order":
        parts = re.split(r"(, |-)", answer)
        items = parts[::2]
        while items == parts[::2] and len(set(items)) > 1:
            rng.shuffle(items)
        wrong = "".join(x for pair in zip(items, [*parts[1::2], ""]) for x in pair)
    else:
        wrong = _NUMBER.sub(lambda match: _other_number(match.group(), rng), answer)
    return sample.target.replace(answer, wrong) if answer in sample.target else wrong


def _other_number(text: str, rng: random.Random) -> str:
    if "." not in text and int(text) < 20:
        return str(max(int(text) + rng.choice((-1, 1)), 0) if int(text) else 1)
    factor = rng.choice((rng.uniform(0.5, 0.8), rng.uniform(1.25, 2.0)))
    decimals = len(text.split(".")[1]) if "." in text else 0
    return f"{float(text) * factor:.{decimals}f}"


class Dpo:
    """Chosen and rejected answers are a group of two that shares its prompt; the reference is the starting policy."""

    def __init__(self, setup: Setup):
        self.setup, self.run = setup, setup.run
        self.scorer = LogProbs(setup)
        self._cached: dict[
            tuple[str, str], np.ndarray
        ] = {}  # by record and rejected answer: the words at hand differ from batch to batch

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

    def minibatches(self, samples: Sequence[Sample]) -> list[tuple[list[GroupBatch], float]]:
        """(micro-batches, pairs) of each optimizer step; reference log-probabilities are computed once a pair and
        kept.
        """
        run = self.run.run
        words = sorted({s.record.answer for s in samples if not _NUMBER.search(s.record.answer)})
        out = []
        for start in range(0, len(samples), run.update_prompts):
            part = samples[start : start + run.update_prompts]
            batches = [
                self._micro(part[at : at + run.micro_prompts], words) for at in range(0, len(part), run.micro_prompts)
            ]
            out.append((batches, float(len(part))))
        return out

    def _micro(self, samples: Sequence[Sample], words: Sequence[str]) -> GroupBatch:
        processor, buckets = self.setup.processor, self.setup.buckets
        encode = lambda text: np.asarray([*processor.tokenizer.encode(text), processor.eos_ids[0]], np.int32)  # noqa: E731
        rejected = [corrupt(s, words) for s in samples]
        # The chosen answers were measured before the run; a rejected one that is longer than all buckets is as wrong
        # without its end.
        pairs = [[s.target_ids, encode(text)[: max(buckets.answer)]] for s, text in zip(samples, rejected)]
        batch = GroupBatch(
            buckets.prompts([s.prompt for s in samples]),
            buckets.answers(pairs, [s.prompt.next_position for s in samples]),
        )
        return dataclasses.replace(
            batch, ref_logp=self._reference([(s.record_id, text) for s, text in zip(samples, rejected)], batch)
        )

    def _reference(self, pairs: Sequence[tuple[str, str]], batch: GroupBatch) -> np.ndarray:
        shape = np.shape(batch.answers.tokens)
        if not all(pair in self._cached for pair in pairs):
            self._cached.update(zip(pairs, self.scorer(self.reference, batch)))
        out = np.zeros(shape, np.float32)
        for i, pair in enumerate(pairs):
            row = self._cached[pair]
            out[i, :, : row.shape[1]] = row[:, : shape[2]]
        return out

    def metrics(self, samples: Sequence[Sample], sums: dict[str, Any]) -> dict[str, float]:
        """Loss, margin and accuracy a pair."""
        pairs = max(float(sums["pairs"]), 1.0)
        return {
            "loss": float(sums["loss"]) / pairs,
            "dpo/margin": float(sums["margin"]) / pairs,
            "accuracy": float(sums["right"]) / pairs,
        }

"""Encoded questions to the micro-batches of an update: groups of answers that share a prompt, whatever the method."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import struct

from spatial_jax.models import AnswerBatch, PromptBatch, VisionConfig
from spatial_jax.processing import EncodedPrompt, choose_bucket, collate_answers, collate_prompts
from spatial_jax.processing.collate import choose_pack
from spatial_jax.processing.prompt import prefix, shared_length
from spatial_jax.rl import PolicyBatch
from spatial_jax.rollout import Trajectory, trajectory_batch
from spatial_jax.rollout.turns import join_trajectories
from spatial_jax.training.settings import RunConfig


@struct.dataclass
class GroupBatch:
    """b groups of g answers with whatever their loss needs: policy for GRPO, ref_logp [b, g, t] alone for DPO."""

    prompts: PromptBatch
    answers: AnswerBatch
    policy: PolicyBatch | None = None
    ref_logp: Any = None


@dataclasses.dataclass(frozen=True)
class Buckets:
    """Static sizes that batches are padded to, and what padding is made of."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    patch: tuple[int, ...]
    pad_id: int
    vision: VisionConfig
    parts: int = 1  # that devices cut a batch into

    def prompts(self, prompts: Sequence[EncodedPrompt]) -> PromptBatch:
        """Collated into the smallest buckets that hold them."""
        bucket, parts = choose_pack(prompts, self.patch, self.parts, "patches of a micro-batch")
        return collate_prompts(
            prompts,
            self.vision,
            prompt_bucket=choose_bucket(max(map(len, prompts)), self.prompt),
            patch_bucket=bucket,
            pad_id=self.pad_id,
            parts=parts,
        )

    def answers(
        self, answers: Sequence[Sequence[np.ndarray]], next_positions: Sequence[int], masks=None
    ) -> AnswerBatch:
        """Plain answers, likewise."""
        longest = max((len(a) for group in answers for a in group), default=1)
        return collate_answers(
            answers,
            next_positions,
            answer_bucket=choose_bucket(max(longest, 1), self.answer),
            pad_id=self.pad_id,
            loss_masks=masks,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """A prompt with the answer it should get: token ids, end-of-turn included."""

    prompt: EncodedPrompt
    answer: np.ndarray


def shown_tokens(ids: np.ndarray) -> Trajectory:
    """Text that nobody sampled, to stand before an answer: no token of it trains."""
    shown = Trajectory.written(ids)
    shown.loss_mask[:] = False
    return shown


def turns_batch(prompts: Sequence[EncodedPrompt], answers: Sequence[Trajectory | None], buckets: Buckets) -> GroupBatch:
    """Prompts with one supervised answer each, of turns with what was shown between them. As in `target_batch`, a
    prompt's last token goes with its answer. The loss counts the policy's turns; None fills a place.
    """
    shared, rows = [prefix(prompt, len(prompt) - 1) for prompt in prompts], []
    for prompt, answer in zip(prompts, answers):
        lead = prompt.input_ids[-1:] if answer is not None else np.zeros(0, np.int32)
        first = shown_tokens(lead)
        rows.append([first if answer is None else join_trajectories(first, answer)])
    batch = trajectory_batch(
        rows,
        [p.next_position for p in shared],
        buckets.vision,
        answer_buckets=buckets.answer,
        patch_buckets=buckets.patch,
        pad_id=buckets.pad_id,
    )
    return GroupBatch(buckets.prompts(shared), batch.answers)


def target_batch(groups: Sequence[Sequence[Target]], buckets: Buckets, size: int) -> GroupBatch:
    """Questions on the same pictures as one group: the pictures and what else the prompts begin with pass once, each
    question with its answer follows as a suffix that sees the shared part and itself only. The loss counts answer
    tokens. Groups shorter than `size` are filled up with empty suffixes.
    """
    shared, suffixes, masks = [], [], []
    for group in groups:
        cut = shared_length([t.prompt for t in group]) if len(group) > 1 else len(group[0].prompt) - 1
        if cut < 1:
            raise ValueError("questions of one group must show the same pictures, at the start of their prompts")
        shared.append(prefix(group[0].prompt, cut))
        rows = [np.concatenate([t.prompt.input_ids[cut:], t.answer]).astype(np.int32) for t in group]
        marks = [np.arange(len(row)) >= len(t.prompt) - cut for row, t in zip(rows, group)]
        fill = size - len(group)
        suffixes.append(rows + [np.zeros(0, np.int32)] * fill)
        masks.append(marks + [np.zeros(0, bool)] * fill)
    return GroupBatch(buckets.prompts(shared), buckets.answers(suffixes, [p.next_position for p in shared], masks))


def rollout_batch(
    prompts: Sequence[EncodedPrompt],
    groups: Sequence[Sequence[Trajectory]],
    advantages: np.ndarray,
    keep: np.ndarray,
    buckets: Buckets,
    collated: PromptBatch | None = None,
) -> GroupBatch:
    """Groups of sampled answers with advantages [b, g] and keep [b, g] (False: the answer does not train). The
    sampler's full-softmax log-probabilities go along. collated: the prompts as they were collated for other answers.
    """
    sampled = trajectory_batch(
        groups,
        [p.next_position for p in prompts],
        buckets.vision,
        answer_buckets=buckets.answer,
        patch_buckets=buckets.patch,
        pad_id=buckets.pad_id,
    )
    mask = np.asarray(sampled.answers.loss_mask) & keep[..., None]
    host: Any = PolicyBatch  # NumPy arrays stand where device arrays will
    policy = host(np.asarray(advantages, np.float32), mask, rollout_logp=sampled.full_logp)
    return GroupBatch(collated or buckets.prompts(prompts), sampled.answers, policy)


def answer_parts(run: RunConfig) -> list[slice]:
    """Answers of a group that are collated together. Those with pictures of later turns cannot be cut afterwards, so
    they are before, unless their advantages need the whole group's log-probabilities.
    """
    size, count = run.train.micro_answers, run.rollout.group_size
    if not size or run.rollout.turns == 1 or run.algorithm.kl_in == "reward":
        return [slice(None)]
    return [slice(start, start + size) for start in range(0, count, size)]


def split_answers(batch: GroupBatch, size: int) -> list[GroupBatch]:
    """The batch in parts of at most `size` answers a group, each with its prompts; 0, or answers with pictures of later
    turns: as it is.

    Losses are sums over answers, so the gradient is the same; the prompts pass once a part, and a row is so much
    shorter.
    """
    count = np.shape(batch.answers.tokens)[1]
    if not size or size >= count or batch.answers.vision is not None:
        return [batch]

    def part(path, leaf, start):
        last = getattr(path[-1], "name", "")
        return leaf[:, :, start : start + size] if last == "positions" else leaf[:, start : start + size]

    return [
        dataclasses.replace(
            batch,
            **{
                name: jax.tree_util.tree_map_with_path(
                    lambda path, leaf, start=start: part(path, leaf, start), getattr(batch, name)
                )
                for name in ("answers", "policy", "ref_logp")
            },
        )
        for start in range(0, count, size)
    ]

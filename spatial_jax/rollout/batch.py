"""Trajectories to the arrays the update takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from spatial_jax.models import AnswerBatch, VisionConfig
from spatial_jax.processing import choose_bucket, collate_turns
from spatial_jax.rollout.earlier import answer_turns
from spatial_jax.rollout.types import Trajectory


@dataclasses.dataclass(frozen=True)
class TrajectoryBatch:
    """answers: AnswerBatch with NumPy leaves; sampler_logp and full_logp float32 [b, g, t], 0 outside the loss mask."""

    answers: AnswerBatch
    sampler_logp: np.ndarray
    full_logp: np.ndarray


def trajectory_batch(
    groups: Sequence[Sequence[Trajectory]],
    next_positions: Sequence[int],
    vision_config: VisionConfig,
    *,
    answer_buckets: Sequence[int],
    patch_buckets: Sequence[int],
    pad_id: int,
) -> TrajectoryBatch:
    """b groups of g trajectories, padded on the right to the smallest answer bucket that holds the longest.

    next_positions [b]: M-RoPE id of each prompt's first answer token. Raises ValueError when an answer exceeds the
    largest bucket.
    """
    length = choose_bucket(max(len(sample) for group in groups for sample in group), answer_buckets, "answer length")
    patches = sum(
        turn.observation.patches
        for group in groups
        for sample in group
        for turn in sample.turns
        if turn.observation is not None
    )
    bucket = choose_bucket(patches, patch_buckets, "patches of later turns") if patches else None
    answers = collate_turns(
        [[answer_turns(sample.turns) for sample in group] for group in groups],
        next_positions,
        vision_config,
        answer_bucket=length,
        patch_bucket=bucket,
        pad_id=pad_id,
    )
    shape = np.shape(answers.tokens)
    logps = np.zeros((2, *shape), np.float32)
    mask: Any = np.zeros(shape, bool)
    for i, group in enumerate(groups):
        for j, sample in enumerate(group):
            n = len(sample)
            logps[0, i, j, :n], logps[1, i, j, :n], mask[i, j, :n] = (
                sample.sampler_logp,
                sample.full_logp,
                sample.loss_mask,
            )
    return TrajectoryBatch(replace(answers, loss_mask=mask), logps[0], logps[1])

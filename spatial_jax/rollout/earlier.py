"""Earlier turns of samples as the arrays of the next turn: their tokens and pictures, and the positions after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from spatial_jax.models import AnswerBatch, VisionConfig
from spatial_jax.processing import AnswerTurn, choose_bucket, collate_turns
from spatial_jax.rollout.types import Turn


def earlier_length(turns: Sequence[Turn]) -> int:
    """Number of tokens of the turns."""
    return sum(len(turn.tokens) for turn in turns)


def answer_turns(turns: Sequence[Turn]) -> list[AnswerTurn]:
    """The turns as processing's collate takes them."""
    return [
        AnswerTurn(observation=turn.observation) if turn.observation is not None else AnswerTurn(turn.tokens)
        for turn in turns
    ]


def following_position(turns: Sequence[Turn], start: int) -> int:
    """M-RoPE id of the token after the turns, when their first token has `start`."""
    position = start
    for turn in turns:
        if turn.observation is None:
            position += len(turn.tokens)
        else:
            position += turn.observation.next_position - int(turn.observation.positions[0, 0])
    return position


def collate_earlier(
    samples: Sequence[Sequence[Sequence[Turn]]],
    next_positions: Any,
    vision_config: VisionConfig,
    *,
    length: int,
    patch_buckets: Sequence[int],
    pad_id: int,
) -> tuple[AnswerBatch, np.ndarray]:
    """Earlier turns of b groups of g samples, padded on the LEFT to `length`, and the next position [b, g] of each."""
    patches = sum(
        turn.observation.patches
        for group in samples
        for turns in group
        for turn in turns
        if turn.observation is not None
    )
    bucket = choose_bucket(patches, patch_buckets, "patches of later turns") if patches else None
    batch = collate_turns(
        [[answer_turns(turns) for turns in group] for group in samples],
        next_positions,
        vision_config,
        answer_bucket=length,
        patch_bucket=bucket,
        pad_id=pad_id,
    )
    # Collated from the left, then turned to the right: the last token of every sample must stand in one column, where
    # the decode loop goes on.
    shift = length - np.asarray(batch.valid).sum(axis=-1)
    source = (np.arange(length) - shift[..., None]) % length

    def right(x):
        return np.take_along_axis(np.asarray(x), np.broadcast_to(source, np.shape(x)), axis=-1)

    moved = {
        name: right(getattr(batch, name)) for name in ("tokens", "valid", "positions", "feature_index", "loss_mask")
    }
    positions = [
        [following_position(turns, int(start)) for turns in group] for group, start in zip(samples, next_positions)
    ]
    return replace(batch, **moved), np.asarray(positions, np.int32)

"""Encoded prompts and sampled answers to device batches of static shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from spatial_jax.models import AnswerBatch, PromptBatch, VisionArrays, VisionConfig, VisionFeatures, plan_vision
from spatial_jax.processing.buckets import choose_bucket
from spatial_jax.processing.prompt import EncodedPrompt

# Rows of a part are a multiple of this: the patches that a token merges in every family.
SHARE = 4


def collate_prompts(
    prompts: Sequence[EncodedPrompt],
    vision_config: VisionConfig,
    *,
    prompt_bucket: int,
    patch_bucket: int | None,
    pad_id: int,
    parts: int = 1,
) -> PromptBatch:
    """b prompts as one PromptBatch (NumPy leaves): tokens padded on the left to `prompt_bucket`, all pictures packed
    into `patch_bucket` rows (None: exactly as many as there are), `parts` equal parts with the pictures of b / parts
    prompts each (`choose_pack` tells both). Prompts of a part that show the same pictures, by their keys, share rows.
    Raises ValueError naming the prompt that is too long, or the patches that do not fit.
    """
    b = len(prompts)
    features_a_part = (patch_bucket or 0) // vision_config.merge_unit // parts if parts > 1 else 0
    tokens: Any = np.full((b, prompt_bucket), pad_id, np.int32)  # NumPy arrays stand where device arrays will
    valid: Any = np.zeros((b, prompt_bucket), bool)
    positions: Any = np.zeros((3, b, prompt_bucket), np.int32)
    features: Any = np.full((b, prompt_bucket), -1, np.int32)
    used, begins, sources = 0, [0] * b, _sources(prompts, parts)
    for row, prompt in enumerate(prompts):
        if len(prompt) > prompt_bucket:
            raise ValueError(
                f"prompt {row} has {len(prompt)} tokens, the bucket {prompt_bucket}; raise the bucket or lower"
                " max_pixels"
            )
        where = slice(prompt_bucket - len(prompt), prompt_bucket)
        tokens[row, where], valid[row, where], positions[:, row, where] = prompt.input_ids, True, prompt.positions
        if parts > 1 and row % (b // parts) == 0:
            used = row // (b // parts) * features_a_part
        begins[row] = used if sources[row] == row else begins[sources[row]]
        features[row, where], end = _feature_rows(prompt.type_ids, begins[row])
        used = max(used, end)
    following: Any = np.asarray([prompt.next_position for prompt in prompts], np.int32)
    shown = [prompt if source == row else None for row, (prompt, source) in enumerate(zip(prompts, sources))]
    return PromptBatch(tokens, valid, positions, features, following, _pack(shown, vision_config, patch_bucket, parts))


def _sources(prompts: Sequence[EncodedPrompt], parts: int) -> list[int]:
    """Of each prompt the first of its part that shows the same pictures; itself, where their keys are not known."""
    first: dict[tuple[int, tuple[bytes, ...]], int] = {}
    share = max(len(prompts) // parts, 1)
    return [
        first.setdefault((row // share, prompt.keys), row) if prompt.keys else row for row, prompt in enumerate(prompts)
    ]


def choose_pack(
    prompts: Sequence[EncodedPrompt], buckets: Sequence[int], parts: int, what: str
) -> tuple[int | None, int]:
    """(rows, parts) of the pack of the prompts' pictures: in `parts` equal parts when the prompts divide and the
    fullest part leaves the pack within the largest bucket, else in one. Rows are None without pictures. Raises
    ValueError naming `what` when no bucket holds them.
    """
    if not any(prompt.patches for prompt in prompts):
        return None, 1

    if parts > 1 and len(prompts) % parts == 0:
        shares = [bucket // parts // SHARE * SHARE for bucket in buckets]
        fullest = _fullest(prompts, parts, max(shares))
        if fitting := [share for share in shares if share >= fullest]:
            return min(fitting) * parts, parts
    return choose_bucket(_fullest(prompts, 1, max(buckets)), buckets, what), 1


def _fullest(prompts: Sequence[EncodedPrompt], parts: int, room: int) -> int:
    """Rows that the fullest part takes. Where a few prompts happen to show the same pictures, as many as if none did:
    each size of pack is a program to compile. Fewer where that saves half, or where all would not fit `room`.
    """
    patches = np.array([prompt.patches for prompt in prompts])
    first = np.array(_sources(prompts, parts)) == np.arange(len(prompts))
    whole, distinct = (int(np.reshape(rows, (parts, -1)).sum(1).max()) for rows in (patches, patches * first))
    return distinct if 2 * distinct <= whole or whole > room else whole


def collate_answers(
    answers: Sequence[Sequence[np.ndarray]],
    next_positions: Sequence[int],
    *,
    answer_bucket: int,
    pad_id: int,
    loss_masks: Sequence[Sequence[np.ndarray]] | None = None,
) -> AnswerBatch:
    """b groups of g plain answers (token ids) as one AnswerBatch, padded on the right to `answer_bucket`.

    next_positions [b]: M-RoPE id of each prompt's first answer token; loss_masks: which tokens count (default: all of
    an answer). Raises ValueError for groups of different size or an answer that is too long.
    """
    turns = [
        [
            [
                AnswerTurn(
                    np.asarray(answer, np.int32), None if loss_masks is None else np.asarray(loss_masks[i][j], bool)
                )
            ]
            for j, answer in enumerate(group)
        ]
        for i, group in enumerate(answers)
    ]
    return collate_turns(turns, next_positions, None, answer_bucket=answer_bucket, patch_bucket=None, pad_id=pad_id)


@dataclasses.dataclass(frozen=True, eq=False)
class AnswerTurn:
    """A piece of an answer: sampled `tokens` int32 [n] with an optional `loss_mask` bool [n]; or, with `observation`,
    what the environment showed next (its own tokens and pictures; never part of the loss; its positions are encoded
    from the turn's start).
    """

    tokens: np.ndarray | None = None
    loss_mask: np.ndarray | None = None
    observation: EncodedPrompt | None = None


def collate_turns(
    answers: Sequence[Sequence[Sequence[AnswerTurn]]],
    next_positions: Sequence[int],
    vision_config: VisionConfig | None,
    *,
    answer_bucket: int,
    patch_bucket: int | None,
    pad_id: int,
) -> AnswerBatch:
    """b groups of g answers of several turns (drawing on the picture) as one AnswerBatch; pictures of later turns are
    packed together.
    """
    b, g = len(answers), len(answers[0])
    tokens: Any = np.full((b, g, answer_bucket), pad_id, np.int32)
    valid: Any = np.zeros(tokens.shape, bool)
    loss: Any = np.zeros(tokens.shape, bool)
    positions: Any = np.zeros((3, *tokens.shape), np.int32)
    features: Any = np.full(tokens.shape, -1, np.int32)
    observations: list[EncodedPrompt] = []
    used = 0
    for i, group in enumerate(answers):
        if len(group) != g:
            raise ValueError(
                f"group {i} has {len(group)} answers, the first has {g}; all groups of a batch have one size"
            )
        for j, turns in enumerate(group):
            at, position = 0, int(next_positions[i])
            for turn in turns:
                size = (
                    len(turn.observation) if turn.observation is not None else len(_answer_lengths(turn.tokens, i, j))
                )
                if at + size > answer_bucket:
                    raise ValueError(
                        f"answer {j} of group {i} has more than {answer_bucket} tokens; raise the answer bucket or"
                        " shorten answers"
                    )
                where = (i, j, slice(at, at + size))
                valid[where] = True
                if turn.observation is not None:
                    # An observation was encoded from the position that its sample had then; only the offset is taken
                    # anew, so a picture's own ids keep their shape.
                    shift = position - int(turn.observation.positions[0, 0])
                    tokens[where] = turn.observation.input_ids
                    positions[(slice(None), *where)] = turn.observation.positions + shift
                    # All pictures of the batch are one pack: `used` says where this one's features begin in it.
                    features[where], used = _feature_rows(turn.observation.type_ids, used)
                    observations.append(turn.observation)
                    position = turn.observation.next_position + shift
                else:
                    tokens[where] = turn.tokens
                    positions[(slice(None), *where)] = np.arange(position, position + size)
                    loss[where] = True if turn.loss_mask is None else turn.loss_mask
                    position += size
                at += size
    vision = None if vision_config is None else _pack(observations, vision_config, patch_bucket)
    return AnswerBatch(tokens, valid, positions, features, loss, vision)


def _answer_lengths(tokens: np.ndarray | None, group: int, answer: int) -> np.ndarray:
    if tokens is None:
        raise ValueError(f"answer {answer} of group {group}: a turn has neither tokens nor an observation")
    return tokens


def _feature_rows(type_ids: np.ndarray, used: int) -> tuple[np.ndarray, int]:
    """(int32 like type_ids: row of the packed features at vision tokens, -1 at text; number of rows used so far)."""
    vision = type_ids > 0
    rows = np.where(vision, used + np.cumsum(vision) - 1, -1).astype(np.int32)
    return rows, used + int(vision.sum())


def _pack(
    prompts: Sequence[EncodedPrompt | None],
    vision_config: VisionConfig,
    patch_bucket: int | None,
    parts: int = 1,
) -> VisionArrays | VisionFeatures | None:
    """All pictures of the prompts as one pack (of their features, where they have them), None without pictures. A
    prompt is None where it shows what one before it does.
    """
    if any(prompt is not None and prompt.features is not None for prompt in prompts):
        return _pack_features(prompts, vision_config.merge_unit, patch_bucket, parts)
    pictured = [p if p is not None and p.pixel_values is not None else None for p in prompts]
    pixels: list[Any] = [prompt.pixel_values for prompt in pictured if prompt is not None]
    if not pixels:
        return None
    if any(array.dtype == np.uint8 for array in pixels):
        raise ValueError("pixel values are not normalised yet; pass the prompts through processor.normalise first")
    grids = np.concatenate([prompt.grid_thw for prompt in pictured if prompt is not None])
    count = [0 if prompt is None else len(prompt.grid_thw) for prompt in pictured]
    return plan_vision(
        pixels[0] if len(pixels) == 1 else np.concatenate(pixels),
        grids,
        vision_config,
        bucket=patch_bucket,
        pictures=np.sum(np.reshape(count, (parts, -1)), axis=1).tolist(),
    )


def _pack_features(
    prompts: Sequence[EncodedPrompt | None], unit: int, patch_bucket: int | None, parts: int
) -> VisionFeatures:
    """The prompts' features in the rows that their pictures' tokens would have. ValueError where one has pixels."""
    if any(prompt is not None and prompt.pixel_values is not None for prompt in prompts):
        raise ValueError("some pictures of a batch are features and some are pixels; encode all of them, or none")
    given = [None if prompt is None else prompt.features for prompt in prompts]
    count = [0 if features is None else len(features.features) for features in given]
    one = next(features for features in given if features is not None)
    total = patch_bucket // unit if patch_bucket else sum(count)
    rows: Any = np.zeros((total, one.features.shape[1]), one.features.dtype)
    deepstack: Any = None
    if one.deepstack is not None:
        deepstack = np.zeros((len(one.deepstack), total, one.deepstack.shape[2]), one.deepstack.dtype)
    used = 0
    for place, (features, size) in enumerate(zip(given, count)):
        if parts > 1 and place % (len(prompts) // parts) == 0:
            # Each part of the pack begins at its own share, which is a device's: see plan_vision.
            used = place // (len(prompts) // parts) * (total // parts)
        if features is not None:
            rows[used : used + size] = features.features
            if deepstack is not None:
                deepstack[:, used : used + size] = features.deepstack
        used += size
    return VisionFeatures(rows, deepstack, parts)

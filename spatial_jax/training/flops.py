"""Useful FLOPs and throughput of a step, for the log: of what the update passed, not of what was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from spatial_jax.metrics.flops import GroupTokens, mfu, model_shape, peak_flops, training_flops
from spatial_jax.models import VisionArrays, config_to_hf
from spatial_jax.training.batches import GroupBatch
from spatial_jax.training.setup import Setup

FLOPS, TOKENS = "update_flops", "update_tokens"  # what a step tells of its update; not logged themselves


def update_work(setup: Setup, batches: Sequence[Any]) -> dict[str, float]:
    """{FLOPS, TOKENS} of micro-batches that were passed forward and backward: each group's prompt once, its answers,
    the pictures that the tower saw in it, which micro-batches on one pack pass once. Padding, and groups that only
    fill a batch up, count nothing.
    """
    shape, groups, last = model_shape(config_to_hf(setup.policy.config)), [], None
    for batch in batches:
        if not isinstance(batch, GroupBatch):  # alignment: prompts alone
            prompts = np.asarray(batch.prompts.valid).sum(axis=1)
            groups += [GroupTokens(int(p), ()) for p in prompts] + _pictures(setup, batch, prompts > 0)
            continue
        mask = np.asarray(batch.answers.loss_mask if batch.policy is None else batch.policy.mask)
        prompts = np.asarray(batch.prompts.valid).sum(axis=1)
        answers = np.asarray(batch.answers.valid).sum(axis=2)
        real = np.asarray(mask.any(axis=(1, 2)))
        groups += [GroupTokens(int(p), tuple(int(a) for a in row)) for p, row in zip(prompts[real], answers[real])]
        groups += _pictures(setup, batch, real, passed=batch.prompts.vision is last)
        last = batch.prompts.vision
    frozen = setup.tower_is_frozen
    tokens = sum(group.prompt + sum(group.answers) for group in groups)
    return {FLOPS: training_flops(shape, groups, freeze_vision=frozen), TOKENS: float(tokens)}


def _pictures(setup: Setup, batch: Any, real: np.ndarray, passed: bool = False) -> list[GroupTokens]:
    """The tower's work in a micro-batch, as groups without text; none where features were given, or the prompts'
    pictures have `passed` for the micro-batch before.
    """
    vision, out = setup.policy.config.vision, []
    rows = np.asarray(batch.prompts.feature_index)
    # Prompts may share pictures, and those that fill a batch up do.
    share = len(np.unique(rows[real][rows[real] >= 0])) / max(len(np.unique(rows[rows >= 0])), 1)
    later = batch.answers.vision if isinstance(batch, GroupBatch) else None
    for pack, part in ((batch.prompts.vision, share), (later, 1.0)):
        if isinstance(pack, VisionArrays) and not (passed and pack is batch.prompts.vision):
            frames = np.bincount(np.asarray(pack.segment_ids))[1:]
            patches, squares = int(frames.sum() * part), int((frames.astype(np.int64) ** 2).sum() * part)
            out.append(GroupTokens(0, (), patches, squares, patches * vision.window_tokens**2 * vision.merge_unit))
    return out


def add_work(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The work of several optimizer steps together."""
    return {name: sum(part[name] for part in parts) for name in (FLOPS, TOKENS)} if parts else {}


def feature_metrics(setup: Setup) -> dict[str, float]:
    """Patches that a frozen tower saw since the last step, and those whose features were there; {} of one that
    trains.
    """
    if setup.features is None:
        return {}
    counts = setup.features.take_counts()
    return {"vision/encoded": float(counts.encoded), "vision/reused": float(counts.reused)}


def step_flops(metrics: dict[str, Any]) -> dict[str, float]:
    """tokens_per_second (prompts once a group, and answers) and, on a device whose peak is known, mfu of the update
    phase. What the step told of its work is taken out of `metrics`.
    """
    flops, tokens = metrics.pop(FLOPS, 0.0), metrics.pop(TOKENS, 0.0)
    update = metrics.get("time/update", 0.0)
    if update <= 0 or not tokens:
        return {}
    out = {"tokens_per_second": tokens / update}
    peak = peak_flops(jax.devices()[0].device_kind)
    if peak:
        out["mfu"] = mfu(flops, update, peak, len(jax.devices()))
    return out

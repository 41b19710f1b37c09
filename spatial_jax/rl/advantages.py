"""Rewards of a group to advantages. NumPy, on the host; formulas from DeepSeekMath (GRPO), Dr. GRPO and RLOO."""

from __future__ import annotations

import numpy as np

from spatial_jax.rl.surrogates import OBJECTIVES


def constant_groups(rewards: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """True where all scored answers of a group have exactly the same reward (or at most one is scored), [b].

    The comparison is max == min on the rewards as given, before any arithmetic: in float32 eight times 0.1 minus their
    mean is not 0.
    """
    rewards, scored = _scores(rewards, valid)
    high = np.max(np.where(scored, rewards, -np.inf), axis=-1)
    low = np.min(np.where(scored, rewards, np.inf), axis=-1)
    return (scored.sum(axis=-1) < 2) | (high == low)


def group_advantages(rewards, *, kind: str = "grpo", valid: np.ndarray | None = None) -> np.ndarray:
    """Advantages [b, g] float32 of rewards [b, g].

    kind: an objective's name, which brings its advantage (see surrogates.py): of "grpo" (r - mean) / (std + 1e-6) with
    the sample standard deviation (ddof 1), of "dr_grpo" r - mean, of "rloo" r - mean of the others.
    valid: [b, g], False for an answer without a score (a judge that timed out); NaN means the same. Such answers take
    no part in the group's statistics and get 0. A group of constant reward, or with fewer than two scored answers, is
    exactly 0.
    """
    if kind not in OBJECTIVES:
        raise ValueError(f"group_advantages: unknown kind {kind!r}; use one of {', '.join(OBJECTIVES)}")
    rewards, scored = _scores(rewards, valid)
    values = np.where(scored, rewards, 0.0)
    count = scored.sum(axis=-1, keepdims=True)
    mean = values.sum(axis=-1, keepdims=True) / np.maximum(count, 1)
    centred = np.where(scored, values - mean, 0.0)
    advantages = OBJECTIVES[kind].advantage(centred, count)
    advantages = np.where(constant_groups(rewards, scored)[:, None], 0.0, advantages)
    return advantages.astype(np.float32)


def _scores(rewards, valid) -> tuple[np.ndarray, np.ndarray]:
    rewards = np.asarray(rewards, np.float64)
    if rewards.ndim != 2:
        raise ValueError(f"group_advantages: rewards must be [prompts, group], got shape {rewards.shape}")
    scored = ~np.isnan(rewards)
    return rewards, scored if valid is None else scored & np.asarray(valid, bool)

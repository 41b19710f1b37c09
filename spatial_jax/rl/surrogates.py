"""The objectives by the name that config.algorithm.kind gives them: the one table. A new one is a file with an
`Objective`, and a line of OBJECTIVES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

AGGREGATES = ("token", "sequence", "constant")


class Clip(Protocol):
    """What of an objective's configuration its loss reads."""

    @property
    def clip_low(self) -> float: ...

    @property
    def clip_high(self) -> float: ...

    @property
    def dual_clip(self) -> float | None: ...


@dataclass(frozen=True)
class Objective:
    """What sets one apart.

    advantage: (rewards less their group's mean [b, g], 0 for an answer without a score; scored answers [b, 1]) -> [b,
    g], on the host; log_ratio: (log ratios of tokens [..., t], 0 outside the mask; mask) -> those that the loss takes;
    loss: (ratio, new log-probabilities, advantages [..., 1], clip) -> a token's loss [..., t]; aggregates: how its loss
    may be averaged, its own way first.
    """

    advantage: Callable[[np.ndarray, np.ndarray], np.ndarray]
    log_ratio: Callable[[Array, Array], Array]
    loss: Callable[[Array, Array, Array, Clip], Array]
    aggregates: tuple[str, ...] = AGGREGATES


def standardise(centred: np.ndarray, count: np.ndarray, eps: float = 1e-6) -> np.ndarray:
    """(r - mean) / (std + eps) with the sample standard deviation (DeepSeekMath)."""
    return centred / (np.sqrt((centred**2).sum(axis=-1, keepdims=True) / np.maximum(count - 1, 1)) + eps)


def centre(centred: np.ndarray, count: np.ndarray) -> np.ndarray:
    """r - mean (Dr. GRPO)."""
    return centred


def leave_one_out(centred: np.ndarray, count: np.ndarray) -> np.ndarray:
    """r - mean of the others (RLOO)."""
    return centred * (count / np.maximum(count - 1, 1))


def own_ratio(log_ratio: Array, mask: Array) -> Array:
    """A token's own."""
    return log_ratio


def answer_ratio(log_ratio: Array, mask: Array) -> Array:
    """The whole answer's, at each of its tokens."""
    return jnp.broadcast_to(jnp.sum(log_ratio, axis=-1, keepdims=True), log_ratio.shape)


def mean_ratio(log_ratio: Array, mask: Array) -> Array:
    """The geometric mean of an answer's, at each of its tokens."""
    total = jnp.sum(log_ratio, axis=-1, keepdims=True)
    return jnp.broadcast_to(total / jnp.maximum(jnp.sum(mask, axis=-1, keepdims=True), 1), log_ratio.shape)


def clip_ratio(ratio: Array, clip: Clip) -> Array:
    return jnp.clip(ratio, 1.0 - clip.clip_low, 1.0 + clip.clip_high)


def clipped_loss(ratio: Array, new_logp: Array, advantage: Array, clip: Clip) -> Array:
    """The pessimistic one of the ratio and the clipped ratio (PPO)."""
    return jnp.maximum(-advantage * ratio, -advantage * clip_ratio(ratio, clip))


def dual_clipped_loss(ratio: Array, new_logp: Array, advantage: Array, clip: Clip) -> Array:
    """The same, bounded for negative advantages where `dual_clip` is set."""
    loss = clipped_loss(ratio, new_logp, advantage, clip)
    if clip.dual_clip is None:
        return loss
    return jnp.where(advantage < 0, jnp.minimum(loss, -advantage * clip.dual_clip), loss)


def weighted_loss(ratio: Array, new_logp: Array, advantage: Array, clip: Clip) -> Array:
    """Log-probabilities weighed by the clipped ratio, which has no gradient (CISPO)."""
    return -jax.lax.stop_gradient(clip_ratio(ratio, clip)) * advantage * new_logp


OBJECTIVES: dict[str, Objective] = {
    "grpo": Objective(standardise, own_ratio, dual_clipped_loss),
    "dr_grpo": Objective(centre, own_ratio, dual_clipped_loss),
    "dapo": Objective(standardise, own_ratio, dual_clipped_loss),
    "gspo": Objective(standardise, mean_ratio, clipped_loss, ("sequence",)),
    "cispo": Objective(standardise, own_ratio, weighted_loss),
    "rloo": Objective(leave_one_out, answer_ratio, clipped_loss, ("sequence",)),
}

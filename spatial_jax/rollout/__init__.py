"""Rollouts: weights and prompts in, trajectories out. Prefill once a prompt, decode a group over one prompt cache,
refill free slots.
"""

from typing import TYPE_CHECKING

from spatial_jax.lazy import lazy_names

if TYPE_CHECKING:
    from spatial_jax.rollout.batch import trajectory_batch
    from spatial_jax.rollout.engine import Engine
    from spatial_jax.rollout.turns import extend, run_turns
    from spatial_jax.rollout.types import SamplingParams, Trajectory, Turn
    from spatial_jax.rollout.weights import weight_mover

__getattr__, __all__ = lazy_names(__name__, __file__)

"""Reinforcement learning on groups: advantages, objectives, KL, entropy control, reference policy, curriculum,
refill.
"""

from typing import TYPE_CHECKING

from spatial_jax.lazy import lazy_names

if TYPE_CHECKING:
    from spatial_jax.rl.advantages import constant_groups, group_advantages
    from spatial_jax.rl.entropy import EntropyConfig, EntropyController
    from spatial_jax.rl.kl import kl_estimate, penalised_rewards
    from spatial_jax.rl.objectives import (
        ObjectiveConfig,
        PolicyBatch,
        importance_weights,
        metrics_from_sums,
        normaliser,
        objective,
        policy_loss,
    )
    from spatial_jax.rl.reference import ReferenceConfig, ReferenceController, update_reference
    from spatial_jax.rl.refill import Refill, drop_reason

__getattr__, __all__ = lazy_names(__name__, __file__)

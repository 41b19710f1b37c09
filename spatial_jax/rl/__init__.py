"""Reinforcement learning on groups: advantages, objectives, KL, entropy control, reference policy, dynamic sampling."""
from spatial_jax.rl.advantages import constant_groups, group_advantages, overlong_penalty
from spatial_jax.rl.kl import kl_estimate
from spatial_jax.rl.objectives import ObjectiveConfig, PolicyBatch, metrics_from_sums, normaliser, objective, policy_loss

__all__ = [
    "ObjectiveConfig", "PolicyBatch", "constant_groups", "group_advantages", "kl_estimate", "metrics_from_sums", "normaliser", "objective",
    "overlong_penalty", "policy_loss",
]

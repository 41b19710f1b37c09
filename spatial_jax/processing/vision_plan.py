"""Packed patches for the vision tower. The planner lives beside the tower that reads its arrays; this is its name on
the host side.
"""

from spatial_jax.models.vision_plan import plan_vision, round_size

__all__ = ["plan_vision", "round_size"]

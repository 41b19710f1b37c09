"""Checkpoints: everything a resume needs, in one place; checksums; preemption."""

from typing import TYPE_CHECKING, Any

from spatial_jax.checkpoints.preemption import EXIT_PREEMPTED, PreemptionGuard

if TYPE_CHECKING:
    from spatial_jax.checkpoints.manager import CheckpointManager, restore_or_start
    from spatial_jax.checkpoints.manifest import CheckpointDamaged

__all__ = ["EXIT_PREEMPTED", "CheckpointDamaged", "CheckpointManager", "PreemptionGuard", "restore_or_start"]


def __getattr__(name: str) -> Any:
    """Orbax is imported when a manager is first asked for."""
    if name in ("CheckpointManager", "restore_or_start"):
        from spatial_jax.checkpoints import manager

        return getattr(manager, name)
    if name == "CheckpointDamaged":
        from spatial_jax.checkpoints.manifest import CheckpointDamaged

        return CheckpointDamaged
    raise AttributeError(f"module {__name__} has no attribute {name}")

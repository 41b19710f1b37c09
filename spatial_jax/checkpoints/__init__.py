"""Checkpoints: everything a resume needs, in one place; checksums; preemption; one run a folder."""

from typing import TYPE_CHECKING, Any

from spatial_jax.checkpoints.preemption import EXIT_PREEMPTED, Preempted, PreemptionGuard, leave_at_once
from spatial_jax.checkpoints.run_lock import FolderTaken, RunLock

if TYPE_CHECKING:
    from spatial_jax.checkpoints.manager import CheckpointManager, restore_or_start
    from spatial_jax.checkpoints.manifest import CheckpointDamaged, CheckpointNotWritten

__all__ = [
    "EXIT_PREEMPTED",
    "CheckpointDamaged",
    "CheckpointManager",
    "CheckpointNotWritten",
    "FolderTaken",
    "Preempted",
    "PreemptionGuard",
    "RunLock",
    "leave_at_once",
    "restore_or_start",
]


def __getattr__(name: str) -> Any:
    """Orbax is imported when a manager is first asked for."""
    if name in ("CheckpointManager", "restore_or_start"):
        from spatial_jax.checkpoints import manager

        return getattr(manager, name)
    if name in ("CheckpointDamaged", "CheckpointNotWritten"):
        from spatial_jax.checkpoints import manifest

        return getattr(manifest, name)
    raise AttributeError(f"module {__name__} has no attribute {name}")

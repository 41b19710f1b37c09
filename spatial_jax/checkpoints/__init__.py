"""Checkpoints: everything a resume needs, in one place; checksums; preemption; one run a folder."""

from typing import TYPE_CHECKING

from spatial_jax.lazy import lazy_names

if TYPE_CHECKING:
    from spatial_jax.checkpoints.manager import CheckpointManager, restore_or_start
    from spatial_jax.checkpoints.manifest import CheckpointDamaged, CheckpointNotWritten
    from spatial_jax.checkpoints.preemption import EXIT_PREEMPTED, Preempted, PreemptionGuard, leave_at_once
    from spatial_jax.checkpoints.run_lock import FolderTaken, RunLock

__getattr__, __all__ = lazy_names(__name__, __file__)

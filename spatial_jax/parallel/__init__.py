"""Meshes, logical-axis rules and sharded parameters."""

from spatial_jax.parallel.mesh import make_mesh, sampler_mesh
from spatial_jax.parallel.rules import (
    DEFAULT_RULES,
    active_mesh,
    batch_parts,
    constrain,
    param_shardings,
    partition_spec,
    shard_params,
    use_mesh,
)

__all__ = [
    "DEFAULT_RULES",
    "active_mesh",
    "batch_parts",
    "constrain",
    "make_mesh",
    "param_shardings",
    "partition_spec",
    "sampler_mesh",
    "shard_params",
    "use_mesh",
]

"""Meshes, logical-axis rules and sharded parameters."""

from spatial_jax.parallel.mesh import make_mesh, sampler_mesh
from spatial_jax.parallel.rules import (
    DEFAULT_RULES,
    MESH_AXES,
    active_mesh,
    batch_parts,
    changed_rules,
    constrain,
    param_shardings,
    partition_spec,
    shard_params,
    use_mesh,
    use_rules,
)

__all__ = [
    "DEFAULT_RULES",
    "MESH_AXES",
    "active_mesh",
    "batch_parts",
    "changed_rules",
    "constrain",
    "make_mesh",
    "param_shardings",
    "partition_spec",
    "sampler_mesh",
    "shard_params",
    "use_mesh",
    "use_rules",
]

"""What an update changes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx, struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from spatial_jax.models import leaf_paths
from spatial_jax.models.trainable import group_of
from spatial_jax.parallel.rules import shapes_with_shardings

Params = nnx.State
Coefficients = dict[str, Any]


@struct.dataclass
class TrainState:
    """step: optimizer steps taken, int32 []; params: the trainable parameters; opt_state: the optimizer's."""

    step: jax.Array
    params: Params
    opt_state: Any


def is_abstract(tree: Any) -> bool:
    """Whether a tree holds shapes where a run holds arrays."""
    return any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(tree))


def init_state(trainable: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """Step 0; of shapes with shardings, the shapes of it."""
    mesh = _mesh_of(trainable)
    where = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    if not is_abstract(trainable):
        return TrainState(jnp.zeros((), jnp.int32, device=where), trainable, init_optimizer(trainable, optimizer))
    moments = jax.eval_shape(optimizer.init, trainable)
    if mesh is not None:
        moments = shapes_with_shardings(moments, optimizer_shardings(trainable, moments))
    step: Any = jax.ShapeDtypeStruct((), jnp.int32, sharding=where)
    return TrainState(step, trainable, moments)


def init_optimizer(trainable: Params, optimizer: optax.GradientTransformation) -> Any:
    """The optimizer's state, sharded like the parameters it belongs to. (Its zeros depend on no input, so the compiler
    by itself would put all of them on one device.)
    """
    shapes = jax.eval_shape(optimizer.init, trainable)
    return jax.jit(optimizer.init, out_shardings=optimizer_shardings(trainable, shapes))(trainable)


def optimizer_shardings(trainable: Params, shapes: Any) -> Any:
    """Shardings of an optimizer state with these shapes; None where the parameters are not on a mesh. A leaf below a
    parameter's path has that parameter's sharding, without the last axis where it has only one value a row; counts are
    replicated.
    """
    mesh = _mesh_of(trainable)
    if mesh is None:
        return None
    owners = {_names(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(trainable)}

    def one(path, leaf):
        names = _names(path)
        parts = (names[i:j] for i in range(len(names)) for j in range(i + 1, len(names) + 1))
        owner = next((owners[part] for part in parts if part in owners), None)
        if owner is None or leaf.ndim != owner.ndim:
            return NamedSharding(mesh, PartitionSpec())
        spec = tuple(owner.sharding.spec) + (None,) * (leaf.ndim - len(owner.sharding.spec))
        return NamedSharding(
            mesh,
            PartitionSpec(
                *(axis if size == whole else None for axis, size, whole in zip(spec, leaf.shape, owner.shape))
            ),
        )

    return jax.tree_util.tree_map_with_path(one, shapes)


def _mesh_of(params: Params) -> Mesh | None:
    meshes = (leaf.sharding.mesh for leaf in jax.tree.leaves(params) if isinstance(leaf.sharding, NamedSharding))
    return next((mesh for mesh in meshes if isinstance(mesh, Mesh)), None)


def _names(path: Any) -> tuple[str, ...]:
    return tuple(jax.tree_util.keystr(path, simple=True, separator="/").split("/"))


def parameter_table(trainable: Params, frozen: Params) -> list[tuple[str, int, int]]:
    """(group, trainable parameters, all parameters) of each group, for the start of a run."""
    rows: dict[str, list[int]] = {}
    for trains, tree in ((True, trainable), (False, frozen)):
        for path, leaf in leaf_paths(tree):
            row = rows.setdefault(group_of(path), [0, 0])
            row[0] += leaf.size if trains else 0
            row[1] += leaf.size
    return [(group, *counts) for group, counts in rows.items()]  # type: ignore[misc]

"""What an update changes."""
from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx, struct

from spatial_jax.models.trainable import group_of
from spatial_jax.models.trees import leaf_paths

Params = nnx.State
Coefficients = dict[str, Any]


@struct.dataclass
class TrainState:
    """step: optimizer steps taken, int32 []; params: the trainable parameters; opt_state: the optimizer's."""

    step: jax.Array
    params: Params
    opt_state: Any


def init_state(trainable: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """Step 0."""
    return TrainState(jnp.zeros((), jnp.int32), trainable, jax.jit(optimizer.init)(trainable))


def parameter_table(trainable: Params, frozen: Params) -> list[tuple[str, int, int]]:
    """(group, trainable parameters, all parameters) of each group, for the start of a run."""
    rows: dict[str, list[int]] = {}
    for trains, tree in ((True, trainable), (False, frozen)):
        for path, leaf in leaf_paths(tree):
            row = rows.setdefault(group_of(path), [0, 0])
            row[0] += leaf.size if trains else 0
            row[1] += leaf.size
    return [(group, *counts) for group, counts in rows.items()]     # type: ignore[misc]

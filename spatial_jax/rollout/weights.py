"""Weights from the trainer's layout and type to the sampler's, on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

# What every forward pass casts to the activations' type before it is used. Norms are read in float32.
CAST = ("kernel", "embedding", "lora_a", "lora_b")


def weight_mover(
    shardings: Any = None,
    dtype: Any = None,
    through: Sequence[Any] = (),
    convert: Callable[[Any], Any] | None = None,
) -> jax.stages.Wrapped:
    """A jitted identity params -> params that lays the leaves out by `shardings` (a matching tree) and casts matrices
    to `dtype`, the type that a forward pass would cast them to anyway: no answer changes. (Only a head with adapters
    keeps its type: its product is added before the cast.)

    through: shardings to pass through, in this order, the first those that the parameters come in. The cast is made
    there, so that what travels is of `dtype`; and between two layouts that differ in more than one way the compiler
    gathers a whole array on every device, unless it is led over one from which a single exchange goes on. One program,
    no host copy. None keeps type or layout.

    convert: what becomes of the parameters before they are cast and travel, e.g. `quantize_layers`; the shardings are
    of its results.
    """

    def move(params):
        params = params if convert is None else convert(params)
        leaves, tree = jax.tree_util.tree_flatten_with_path(params)
        names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
        wide = {name.rpartition("/")[0] for name in names if name.endswith("head/lora_a")}

        def cast_one(name, x):
            place, _, kind = name.rpartition("/")
            narrow = kind in CAST and place not in wide and jnp.issubdtype(x.dtype, jnp.floating)
            return x.astype(dtype) if dtype is not None and narrow else x

        cast = [cast_one(name, x) for name, (_, x) in zip(names, leaves)]
        moved = jax.tree.unflatten(tree, cast)
        for layout in through:
            moved = jax.lax.with_sharding_constraint(moved, layout)
        return moved

    return jax.jit(move, out_shardings=shardings)

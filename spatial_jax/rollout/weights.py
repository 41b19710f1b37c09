"""Weights from the trainer's layout and type to the sampler's, on the device."""
from __future__ import annotations

from typing import Any

import jax

# What every forward pass casts to the activations' type before it is used. Norms are read in float32.
CAST = ("kernel", "embedding", "lora_a", "lora_b")


def weight_mover(shardings: Any = None, dtype: Any = None) -> jax.stages.Wrapped:
    """A jitted identity params -> params that lays the leaves out by `shardings` (a matching tree) and casts matrices to `dtype`, the type that
    a forward pass would cast them to anyway: no answer changes. (Only a head with adapters keeps its type: its product is added before the cast.)

    One program, no host copy: XLA moves the shards between devices. None keeps type or layout.
    """
    def move(params):
        leaves, tree = jax.tree_util.tree_flatten_with_path(params)
        names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
        whole = {name.rpartition("/")[0] for name in names if name.endswith("head/lora_a")}
        return jax.tree.unflatten(tree, [_cast(name, x, dtype) if name.rpartition("/")[0] not in whole else x for name, (_, x) in zip(names, leaves)])

    return jax.jit(move, out_shardings=shardings)


def _cast(name: str, x: jax.Array, dtype: Any) -> jax.Array:
    return x.astype(dtype) if dtype is not None and name.rpartition("/")[2] in CAST else x

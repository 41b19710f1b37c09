"""Weights from the trainer's layout and type to the sampler's, on the device."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def weight_mover(shardings: Any = None, dtype: Any = None) -> Callable[[Any], Any]:
    """A jitted identity params -> params that casts floating leaves to `dtype` and lays them out by `shardings` (a matching tree).

    One program, no host copy: XLA moves the shards between devices. None keeps type or layout.
    """
    def cast(x):
        return x.astype(dtype) if dtype is not None and jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.jit(lambda params: jax.tree.map(cast, params), out_shardings=shardings)

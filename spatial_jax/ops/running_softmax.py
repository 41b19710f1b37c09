"""One block of keys folded into a running softmax, in kernels for GPUs (Dao 2023, FlashAttention-2, section 3.1)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.experimental.pallas import triton

from spatial_jax.ops.attention import MASKED

# (sums of weighted values [rows, d], largest score [rows], sum of weights [rows]), float32
Carry = tuple[jax.Array, jax.Array, jax.Array]


def precision_of(x: jax.Array) -> jax.lax.Precision | None:
    """Of products of x: full for float32, which tensor cores would round."""
    return None if x.dtype == jnp.bfloat16 else jax.lax.Precision.HIGHEST


def empty_carry(rows: int, width: int) -> Carry:
    """Before the first block."""
    return (
        jnp.zeros((rows, width), jnp.float32),
        jnp.full((rows,), MASKED, jnp.float32),
        jnp.zeros((rows,), jnp.float32),
    )


def fold(q: jax.Array, k: jax.Array, v: jax.Array, seen: jax.Array, scale: float, carry: Carry) -> Carry:
    """q [rows, d] over k, v [keys, d]; seen: bool, broadcastable to [rows, keys]."""
    out, top, total = carry
    precision = precision_of(q)
    scores = jnp.where(seen, triton.dot(q, k.T, precision=precision) * scale, MASKED)
    higher = jnp.maximum(top, scores.max(axis=-1))
    shrink, weights = jnp.exp(top - higher), jnp.where(seen, jnp.exp(scores - higher[:, None]), 0.0)
    out = shrink[:, None] * out + triton.dot(weights.astype(v.dtype), v, precision=precision)
    return out, higher, shrink * total + weights.sum(axis=-1)

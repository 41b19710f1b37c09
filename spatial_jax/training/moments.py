"""Adam whose moments are stored in eight bits: a quarter of the memory of float32 ones.

Each row (last axis) of a moment has one float32 scale. The first moment is int8; the second is kept as its square root
in uint8, never below 1, so that a tiny second moment shortens a step and never blows it up. Rounding is stochastic,
seeded by the step: a change smaller than one level is kept in expectation, where rounding to nearest would lose it at
every step (beta2 = 0.999 moves 0.1 % a step, a level is 0.4 %). After the idea of Dettmers et al. 2022, "8-bit
Optimizers via Block-wise Quantization", with rows for blocks.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct


@struct.dataclass
class Packed:
    """values int8 or uint8 of the parameter's shape; scale float32 with a last axis of 1."""

    values: jax.Array
    scale: jax.Array


@struct.dataclass
class EightBitState:
    """count: steps taken, int32 []; mu, nu: trees of Packed."""

    count: jax.Array
    mu: Any
    nu: Any


def pack(x: jax.Array, key: jax.Array, levels: int, least: int) -> Packed:
    """x in [-max, max] of each row to integers in [-levels, levels], rounded stochastically; magnitudes of unsigned
    ones are at least `least`.
    """
    row = x if x.ndim else x[None]
    scale = jnp.max(jnp.abs(row), axis=-1, keepdims=True) / levels
    scaled = row / jnp.maximum(scale, 1e-30)
    rounded = jnp.floor(scaled + jax.random.uniform(key, row.shape))
    kind = jnp.uint8 if least else jnp.int8
    return Packed(
        jnp.clip(rounded, least or -levels, levels).astype(kind).reshape(x.shape),
        scale.reshape(x.shape[:-1] + (1,) if x.ndim else (1,)),
    )


def unpack(packed: Packed) -> jax.Array:
    """float32 of the parameter's shape."""
    return (packed.values.astype(jnp.float32).reshape(packed.scale.shape[:-1] + (-1,)) * packed.scale).reshape(
        packed.values.shape
    )


def scale_by_eight_bit_adam(beta1: float, beta2: float, epsilon: float) -> optax.GradientTransformation:
    """Like optax.scale_by_adam, with packed moments."""

    def init(params: Any) -> EightBitState:
        def empty(kind):
            return jax.tree.map(
                lambda p: Packed(
                    jnp.zeros(p.shape, kind), jnp.zeros(p.shape[:-1] + (1,) if p.ndim else (1,), jnp.float32)
                ),
                params,
            )

        return EightBitState(jnp.zeros((), jnp.int32), empty(jnp.int8), empty(jnp.uint8))

    def update(updates: Any, state: EightBitState, params: Any = None) -> tuple[Any, EightBitState]:
        del params
        count = state.count + 1
        leaves, tree = jax.tree.flatten(updates)
        packed = zip(
            leaves,
            *(jax.tree.leaves(moment, is_leaf=lambda x: isinstance(x, Packed)) for moment in (state.mu, state.nu)),
        )
        steps, mus, nus = [], [], []
        for number, (gradient, old_mu, old_nu) in enumerate(packed):
            gradient = gradient.astype(jnp.float32)
            mu = beta1 * unpack(old_mu) + (1 - beta1) * gradient
            # nu is kept as its root: eight bits of a root span twice the decades that eight bits of a square would.
            nu = beta2 * jnp.square(unpack(old_nu)) + (1 - beta2) * jnp.square(gradient)
            steps.append(mu / (1 - beta1**count) / (jnp.sqrt(nu / (1 - beta2**count)) + epsilon))
            # Rounding is random: to the nearest, a change below half a step of the scale would be lost at every update.
            # The key is the parameter's number and the step's, so a run that resumes rounds as it would have.
            first, second = jax.random.split(jax.random.fold_in(jax.random.key(number), count))
            mus.append(pack(mu, first, 127, 0))
            nus.append(pack(jnp.sqrt(nu), second, 255, 1))
        return jax.tree.unflatten(tree, steps), EightBitState(
            count, jax.tree.unflatten(tree, mus), jax.tree.unflatten(tree, nus)
        )

    return optax.GradientTransformation(init, update)

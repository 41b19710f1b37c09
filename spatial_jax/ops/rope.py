"""Rotary embeddings: angles from positions, and the rotate-half rotation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def wide_dtype(dtype) -> jnp.dtype:
    """The type that norms, angles and softmax are computed in: float32, or float64 in a float64 model."""
    return jnp.promote_types(dtype, jnp.float32)


def inverse_frequencies(half: int, theta: float, dtype) -> np.ndarray:
    """theta^(-i / half) for i < half, [half], computed in `dtype` (float32 or float64)."""
    exponent = (np.arange(half) * 2).astype(dtype) / np.asarray(2 * half, dtype)
    return (1.0 / np.asarray(theta, dtype) ** exponent).astype(dtype)


def mrope_axes(section: tuple[int, int, int], interleaved: bool) -> np.ndarray:
    """int32 [head_dim / 2]: which of (time, height, width) drives each frequency. Sections follow each other (Qwen2-VL,
    2.5) or interleave (3).
    """
    half = sum(section)
    axes = np.zeros(half, np.int32)
    if interleaved:
        for axis in (1, 2):
            axes[axis : 3 * section[axis] : 3] = axis
    else:
        axes[section[0] : section[0] + section[1]] = 1
        axes[section[0] + section[1] :] = 2
    return axes


def mrope_cos_sin(
    positions: jax.Array, section: tuple[int, int, int], interleaved: bool, theta: float, dtype
) -> tuple[jax.Array, jax.Array]:
    """positions [3, b, n] -> cos, sin [b, n, 1, head_dim / 2] in `dtype`; angles in float32 (float64 in a float64
    model).
    """
    wide = wide_dtype(dtype)
    frequencies = inverse_frequencies(sum(section), theta, wide)
    axes = mrope_axes(section, interleaved)
    chosen = jnp.where(
        axes == 0, positions[0][..., None], jnp.where(axes == 1, positions[1][..., None], positions[2][..., None])
    )
    angles = chosen.astype(wide) * frequencies
    return jnp.cos(angles)[..., None, :].astype(dtype), jnp.sin(angles)[..., None, :].astype(dtype)


def grid_cos_sin(rows: jax.Array, cols: jax.Array, head_dim: int, dtype) -> tuple[jax.Array, jax.Array]:
    """Axial angles of patches: rows, cols [n] -> cos, sin [n, 1, head_dim / 2] in float32 (float64 in a float64 model),
    theta 10000.
    """
    wide = wide_dtype(dtype)
    frequencies = inverse_frequencies(head_dim // 4, 10000.0, wide)
    angles = jnp.concatenate(
        [rows[:, None].astype(wide) * frequencies, cols[:, None].astype(wide) * frequencies], axis=-1
    )
    return jnp.cos(angles)[:, None, :], jnp.sin(angles)[:, None, :]


def rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Rotates x [..., heads, d]: its first half pairs with its second; cos, sin [..., 1, d / 2]; computed in their
    type, returned in x's.
    """
    first, second = jnp.split(x.astype(cos.dtype), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


@jax.custom_vjp
def rotate_pairs(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """`rotate` to the bit, without a concatenation: a GPU's compiler then rotates keys in the kernel that takes values
    out of their product. No gradient of the angles.
    """
    pairs = x.astype(cos.dtype).reshape(*x.shape[:-1], 2, -1)
    signed = sin[..., None, :] * jnp.asarray([[-1], [1]], sin.dtype)
    turned = pairs * cos[..., None, :] + jnp.flip(pairs, axis=-2) * signed
    return turned.reshape(x.shape).astype(x.dtype)


def _rotate_forward(x, cos, sin):
    return rotate_pairs(x, cos, sin), (cos, sin)


def _rotate_backward(angles, cotangent):
    cos, sin = angles
    # Concatenated, since three gradients become one array here.
    return rotate(cotangent, cos, -sin), None, None


rotate_pairs.defvjp(_rotate_forward, _rotate_backward)

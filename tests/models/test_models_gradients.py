"""Gradients that are written out, against those that JAX derives of the plain formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spatial_jax.models.layers import rms_norm
from spatial_jax.ops.rope import rotate, rotate_pairs

RNG = np.random.default_rng(0)


def pulled(function, *arguments):
    """Its value, and its arguments' gradients along one random cotangent."""
    value, pull = jax.vjp(function, *arguments)
    along = np.random.default_rng(1).normal(size=value.shape)
    return [value, *pull(jnp.asarray(along, value.dtype))]


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 2e-6), (jnp.bfloat16, 2e-2)])
def test_the_norms_gradient(dtype, tolerance):
    """In bfloat16 against the float32 of the same numbers, to bfloat16's own error; a row of nearly nothing, too."""
    x, scale = jnp.asarray(RNG.normal(size=(3, 5, 48)), dtype).at[0, 0].multiply(1e-4), jnp.ones(48, dtype) * 1.5

    def plain(x, scale):
        return x / jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6) * scale

    ours = pulled(lambda x, scale: rms_norm({"scale": scale}, x, 1e-6), x, scale)
    theirs = pulled(plain, x.astype(jnp.float32), scale.astype(jnp.float32))
    for one, other in zip(ours, theirs):
        assert one.dtype == dtype
        np.testing.assert_allclose(one.astype(jnp.float32), other, atol=tolerance * float(jnp.abs(other).max()))


def test_a_rotation_without_concatenation_is_the_rotation():
    x, angles = jnp.asarray(RNG.normal(size=(2, 7, 4, 16)), jnp.float32), jnp.asarray(RNG.normal(size=(2, 7, 1, 8)))
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    for one, other in zip(*(pulled(lambda x, f=f: f(x, cos, sin), x) for f in (rotate_pairs, rotate))):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)

"""The kernels of windows for GPUs, interpreted, against the plain form: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spatial_jax.ops.attention import attention, fits_block_kernel, power_parts, target_platform
from spatial_jax.ops.block_kernel import block_attention


@pytest.mark.parametrize("width", [16, 48])
def test_windows_are_the_plain_form(width):
    """Windows with empty slots and one without any patch, a width that is no power of two; the gradient of what reads
    patches alone.
    """
    rng = np.random.default_rng(width)
    q, k, v, weigh = (jnp.asarray(rng.normal(size=(3, 16, 2, width)), jnp.float32) for _ in range(4))
    valid = jnp.asarray(np.arange(16) < np.array([[16], [5], [0]]))
    weigh = weigh * valid[:, :, None, None]

    def results(attend):
        return jax.value_and_grad(lambda *qkv: jnp.sum(weigh * attend(*qkv)), (0, 1, 2))(q, k, v)

    ours = results(lambda *qkv: block_attention(*qkv, valid, interpret=True))
    plain = results(lambda *qkv: attention(*qkv, kv_valid=valid, backend="xla"))
    np.testing.assert_allclose(ours[0], plain[0], rtol=1e-5)
    for one, other in zip(ours[1], plain[1]):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_which_blocks_the_kernel_takes():
    assert power_parts(80) == [(0, 64), (64, 16)] and power_parts(128) == [(0, 128)]
    q = jax.ShapeDtypeStruct((4, 64, 16, 80), jnp.bfloat16)
    assert not fits_block_kernel(q)
    with target_platform("gpu"):
        assert fits_block_kernel(q) and not fits_block_kernel(jax.ShapeDtypeStruct((4, 64, 16, 72), jnp.bfloat16))
        assert not fits_block_kernel(jax.ShapeDtypeStruct((4, 576, 16, 80), jnp.bfloat16))

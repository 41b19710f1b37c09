"""The group kernels for GPUs, interpreted, against the plain form: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spatial_jax.ops import group_kernel
from spatial_jax.ops.shared_prefix import two_part_attention


@pytest.mark.parametrize(
    ("p", "g", "t", "heads", "kv", "d", "block"),
    [
        (20, 2, 21, 2, 1, 16, 16),  # answers across the borders of blocks, a prompt that fills none
        pytest.param(48, 3, 21, 4, 2, 32, 16, marks=pytest.mark.proof),
        pytest.param(70, 5, 7, 2, 2, 16, 16, marks=pytest.mark.proof),  # several answers in a block
    ],
)
def test_the_kernels_are_the_plain_form(monkeypatch, p, g, t, heads, kv, d, block):
    """Left-padded prompts, answers of any length, grouped heads; the gradient of what reads only real tokens."""
    monkeypatch.setattr(group_kernel, "BLOCK", block)
    rng = np.random.default_rng(p)
    b, n = 1, p + g * t
    q, k, v, weigh = (jnp.asarray(rng.normal(size=(b, n, h, d)), jnp.float32) for h in (heads, kv, kv, heads))
    prompt_valid = np.arange(p) >= rng.integers(0, p - 1, (b, 1))
    answer_valid = np.arange(t) < rng.integers(1, t + 1, (b, g, 1))
    valid = np.concatenate([prompt_valid, answer_valid.reshape(b, g * t)], axis=1)
    weigh = weigh * valid[:, :, None, None]

    def plain(q, k, v):
        return jnp.sum(weigh * two_part_attention(q, k, v, jnp.asarray(prompt_valid), jnp.asarray(answer_valid)))

    def fused(q, k, v):
        out = group_kernel.group_attention(q, k, v, jnp.asarray(valid), prompt=p, answer=t, interpret=True)
        return jnp.sum(weigh * out)

    (a, da), (c, dc) = (jax.value_and_grad(f, (0, 1, 2))(q, k, v) for f in (fused, plain))
    np.testing.assert_allclose(a, c, rtol=1e-5)
    for ours, theirs in zip(da, dc):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)

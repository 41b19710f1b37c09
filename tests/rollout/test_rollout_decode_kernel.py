"""The decode kernel for GPUs, interpreted, against the plain form; and a loop on unstacked weights against the scan."""

import jax.numpy as jnp
import numpy as np
import pytest

from spatial_jax.ops import decode_kernel
from spatial_jax.ops.shared_prefix import KeyValues, decode_attention, ring_valid


def case(seed, r, w, heads, kv, d, p, s, dtype):
    """Queries, caches with the new token's keys already in their column, and what the plain form wants beside."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)  # noqa: E731
    q, k, v = draw(r, w, heads * kv, d), draw(r, w, kv, d), draw(r, w, kv, d)
    prompt, own = KeyValues(draw(r, kv, p, d), draw(r, kv, p, d)), KeyValues(draw(r, w, kv, s, d), draw(r, w, kv, s, d))
    valid = np.arange(p) >= rng.integers(0, p, (r, 1))
    column, lengths = int(rng.integers(0, s)), rng.integers(1, s + 1, (r, w)).astype(np.int32)
    lengths[0, 0], lengths[-1, -1] = 1, s
    return q, k, v, prompt, own, jnp.asarray(valid), jnp.asarray(column, jnp.int32), jnp.asarray(lengths)


@pytest.mark.parametrize(
    ("r", "w", "heads", "kv", "d", "p", "s", "dtype", "within"),
    [
        (2, 2, 6, 2, 16, 32, 48, jnp.float32, 1e-5),
        pytest.param(2, 3, 8, 2, 128, 96, 64, jnp.float32, 1e-5, marks=pytest.mark.proof),
        pytest.param(1, 2, 7, 1, 64, 64, 192, jnp.float32, 1e-5, marks=pytest.mark.proof),
        pytest.param(1, 2, 6, 2, 128, 128, 128, jnp.bfloat16, 2e-2, marks=pytest.mark.proof),
    ],
)
def test_the_kernel_is_the_plain_form(r, w, heads, kv, d, p, s, dtype, within):
    """Padded prompts, rings that have wrapped, slots of one token and full ones, query heads that fill no tile."""
    for seed in range(2):
        q, k, v, prompt, own, valid, column, lengths = case(seed, r, w, heads, kv, d, p, s, dtype)
        plain = decode_attention(q, k, v, prompt, own, valid, ring_valid(column, lengths - 1, s))
        caches = [x.at[:, :, :, column].set(new) for x, new in ((own.k, k), (own.v, v))]
        assert decode_kernel.takes(q, prompt.k, s, p)
        ours = decode_kernel.decode_attention(q, prompt.k, prompt.v, *caches, valid, column, lengths, interpret=True)
        gap = np.abs(np.asarray(ours, np.float32) - np.asarray(plain, np.float32)).max()
        assert gap < within * np.abs(np.asarray(plain, np.float32)).max(), (seed, gap)

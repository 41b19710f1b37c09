"""Attention over a shared prompt against one dense masked softmax: blocks, decode, int8, ring."""

import jax
import jax.numpy as jnp
import numpy as np

from spatial_jax.ops.attention import reference_attention
from spatial_jax.ops.shared_prefix import (
    answer_attention,
    causal_attention,
    decode_attention,
    group_attention,
    ring_valid,
    store,
)

B, P, G, T, H, K, D = 2, 6, 3, 4, 4, 2, 8


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    q, k, v = (jnp.asarray(rng.normal(size=(B, P + G * T, heads, D)), jnp.float32) for heads in (H, K, K))
    prompt_valid = jnp.asarray(np.arange(P) >= np.array([[0], [2]]))
    answer_valid = jnp.asarray(np.arange(T) < rng.integers(1, T + 1, (B, G, 1)))
    return q, k, v, prompt_valid, answer_valid


def dense_mask(prompt_valid, answer_valid):
    place = np.arange(P + G * T)
    segment = np.where(place < P, -1, (place - P) // T)
    causal = place[:, None] >= place
    same = (segment[None] == -1) | (segment[:, None] == segment[None])
    return jnp.asarray(causal & same) & jnp.concatenate([prompt_valid, answer_valid.reshape(B, -1)], axis=1)[:, None]


def test_group_layout_value_and_gradient():
    q, k, v, prompt_valid, answer_valid = arrays()
    mask = dense_mask(prompt_valid, answer_valid)
    used = jnp.any(mask, axis=-1)[..., None, None] * jnp.asarray(
        np.random.default_rng(1).normal(size=q.shape), jnp.float32
    )

    def results(attention):
        out, pull = jax.vjp(attention, q, k, v)
        return jnp.where(used != 0, out, 0), *pull(used)

    theirs = jax.jit(lambda: results(lambda *qkv: reference_attention(*qkv, mask)))()
    valid = jnp.concatenate([prompt_valid, answer_valid.reshape(B, -1)], axis=1)
    for limit in (2**24, 100, 40):  # whole, one answer at a time, block by block
        ours = jax.jit(
            lambda limit=limit: results(
                lambda *qkv: group_attention(*qkv, valid, prompt=P, answers=(G, T), max_scores=limit)
            )
        )()
        for x, y in zip(ours, theirs):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=2e-6)


def test_causal_blocks():
    q, k, v, *_ = arrays()
    valid = jnp.asarray(np.arange(P + G * T) >= np.array([[0], [5]]))
    whole, blocks = causal_attention(q, k, v, valid), causal_attention(q, k, v, valid, block=4)
    np.testing.assert_allclose(whole[0], blocks[0], atol=1e-6)
    np.testing.assert_allclose(whole[1, 5:], blocks[1, 5:], atol=1e-6)


def test_decode_step_equals_the_last_query():
    q, k, v, prompt_valid, _ = arrays()
    own = [x[:, P:].reshape(B, G, T, -1, D) for x in (q, k, v)]
    everything = jnp.ones((B, G, T), bool)
    expected = answer_attention(*own, k[:, :P], v[:, :P], prompt_valid, everything)[:, :, -1]
    ring, column = 6, 1  # three earlier tokens stand in columns 4, 5 and 0
    places = np.array([4, 5, 0])

    def in_ring(x):
        old = x[:, :, :-1].transpose(0, 1, 3, 2, 4)
        return jnp.full((B, G, K, ring, D), 7.0).at[:, :, :, places].set(old)

    valid = ring_valid(jnp.int32(column), jnp.full((B, G), 3), ring)
    assert np.flatnonzero(valid[0, 0]).tolist() == [0, 4, 5]
    for dtype, tolerance in ((jnp.float32, 1e-6), (jnp.int8, 0.05)):
        prompt = store(k[:, :P].transpose(0, 2, 1, 3), v[:, :P].transpose(0, 2, 1, 3), dtype)
        answer = store(in_ring(own[1]), in_ring(own[2]), dtype)
        out = decode_attention(*(x[:, :, -1] for x in own), prompt, answer, prompt_valid, valid)
        np.testing.assert_allclose(out, expected, atol=tolerance)


def test_splash_kernel_of_groups():
    """The TPU kernel, interpreted: a left-padded prompt of 130 tokens and two answers of 62, in one row padded to
    256.
    """
    from spatial_jax.ops.splash import splash_attention

    rng = np.random.default_rng(0)
    p, g, t = 130, 2, 62
    q, k, v, weight = (jnp.asarray(rng.normal(size=(1, p + g * t, heads, 32)), jnp.float32) for heads in (2, 1, 1, 2))
    prompt_valid, answer_valid = jnp.arange(p)[None] >= 7, jnp.arange(t)[None, None] < jnp.array([[[62], [40]]])
    valid = jnp.concatenate([prompt_valid, answer_valid.reshape(1, -1)], axis=1)
    weight = jnp.where(valid[..., None, None], weight, 0)

    def results(attention):
        out, pull = jax.vjp(attention, q, k, v)
        return jnp.where(valid[..., None, None], out, 0), *pull(weight)

    def splash(q, k, v):
        return splash_attention(
            q,
            k,
            v,
            causal=True,
            kv_valid=valid,
            q_segments=None,
            kv_segments=None,
            scale=32**-0.5,
            interpret=True,
            group=(p, t),
        )

    for ours, theirs in zip(
        results(splash), results(lambda *qkv: group_attention(*qkv, valid, prompt=p, answers=(g, t)))
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)

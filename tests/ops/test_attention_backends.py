"""Attention: the reference against plain NumPy, splash (interpreted) against the reference, what auto chooses, a
compile for real TPUs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spatial_jax.ops.attention import attention, attention_mask, choose_backend, reference_attention, target_platform
from spatial_jax.ops.shared_prefix import causal_attention
from spatial_jax.ops.splash import GroupMask, splash_attention
from spatial_jax.parallel import make_mesh, use_mesh


def arrays(b=2, n=5, m=7, h=4, kv=2, d=8, seed=0, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(seed), 3)
    return (
        jax.random.normal(keys[0], (b, n, h, d), dtype),
        jax.random.normal(keys[1], (b, m, kv, d), dtype),
        jax.random.normal(keys[2], (b, m, kv, d), dtype),
    )


def plain(q, k, v, mask):
    q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))
    out = np.zeros(q.shape)
    for b in range(q.shape[0]):
        for h in range(q.shape[2]):
            kv = h // (q.shape[2] // k.shape[2])
            scores = np.where(mask[b], q[b, :, h] @ k[b, :, kv].T * q.shape[3] ** -0.5, -1e30)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            out[b, :, h] = weights / weights.sum(-1, keepdims=True) @ v[b, :, kv]
    return out


def test_reference_equals_plain_softmax_with_every_mask():
    q, k, v = arrays()
    valid = jnp.array([[1, 1, 1, 0, 1, 1, 1], [1, 1, 1, 1, 1, 0, 1]], bool)
    mask = np.broadcast_to(attention_mask(5, 7, causal=True, kv_valid=valid), (2, 5, 7))
    assert mask[0, 0].tolist() == [True, True, True, False, False, False, False]
    np.testing.assert_allclose(attention(q, k, v, causal=True, kv_valid=valid), plain(q, k, v, mask), atol=2e-6)
    segments = jnp.array([[1, 1, 2, 2, 0]] * 2)
    mask = np.broadcast_to(attention_mask(5, 5, q_segments=segments), (2, 5, 5))
    np.testing.assert_allclose(
        attention(q, k[:, :5], v[:, :5], q_segments=segments)[:, :4],
        plain(q, k[:, :5], v[:, :5], mask)[:, :4],
        atol=2e-6,
    )


def test_a_query_that_sees_nothing_is_finite_forward_and_backward():
    q, k, v = arrays()
    valid = jnp.zeros((2, 7), bool)
    gradient = jax.grad(lambda q: attention(q, k, v, kv_valid=valid).sum())(q)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(attention(q, k, v, kv_valid=valid)[:, 0, 0], v[:, :, 0].mean(1), atol=1e-6)


@pytest.mark.parametrize("case", ["causal", "segments"])
def test_splash_interpreted_equals_the_reference_forward_and_backward(case):
    q, k, v = arrays(b=1, n=140, m=140, h=2, kv=1, d=80)
    valid = jnp.arange(140)[None] >= 11
    masks = (
        {"causal": True, "kv_valid": valid}
        if case == "causal"
        else {"causal": False, "q_segments": (jnp.arange(140)[None] // 50 + 1) * valid}
    )
    weigh = jnp.where(valid[..., None, None], jax.random.normal(jax.random.key(9), q.shape), 0)
    settings = {"kv_valid": None, "q_segments": None, "kv_segments": None} | masks

    def ours(q, k, v):
        return (splash_attention(q, k, v, **settings, scale=80**-0.5, interpret=True) * weigh).sum()

    def theirs(q, k, v):
        return (attention(q, k, v, **masks, backend="xla") * weigh).sum()

    value, gradients = jax.value_and_grad(ours, (0, 1, 2))(q, k, v)
    expected, wanted = jax.value_and_grad(theirs, (0, 1, 2))(q, k, v)
    np.testing.assert_allclose(value, expected, atol=1e-4)
    for a, b in zip(gradients, wanted):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_auto_chooses_by_platform_and_shape():
    small, large = jnp.zeros((1, 64, 4, 128), jnp.bfloat16), jnp.zeros((1, 1024, 4, 128), jnp.bfloat16)
    assert [choose_backend(a, a, "tpu") for a in (small, large)] == ["xla", "splash"]
    assert (
        choose_backend(large, large, "gpu") == "cudnn"
        and choose_backend(large.astype(jnp.float32), large, "gpu") == "xla"
    )
    assert choose_backend(large, large, "cpu") == "xla"
    tower, short = jnp.zeros((2, 3648, 16, 80), jnp.bfloat16), jnp.zeros((450, 64, 16, 80), jnp.bfloat16)
    assert [choose_backend(a, a, "gpu") for a in (tower, short, small)] == ["cudnn", "xla", "xla"]
    with pytest.raises(ValueError, match="backend 'flash' is unknown"):
        attention(small, small, small, backend="flash")


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="says how the choice is seen where there is no cuDNN")
def test_prompts_take_the_kernel_of_their_platform():
    q, k, v = arrays(b=1, n=512, m=512, h=2, kv=1, d=128, dtype=jnp.bfloat16)
    valid = jnp.ones((1, 512), bool)
    with target_platform("gpu"), pytest.raises(RuntimeError, match="cuDNN"):
        jax.make_jaxpr(causal_attention)(q, k, v, valid)
    with target_platform("cpu"):
        jax.make_jaxpr(causal_attention)(q, k, v, valid)


def test_splash_compiles_for_four_tpus_with_batch_and_heads_sharded():
    from jax.experimental import topologies

    devices = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices
    mesh = make_mesh({"fsdp": 2, "tensor": 2}, devices)
    spec = jax.NamedSharding(mesh, jax.P("fsdp", None, "tensor", None))
    q = jax.ShapeDtypeStruct((2, 512, 8, 128), jnp.bfloat16, sharding=spec)
    k = jax.ShapeDtypeStruct((2, 512, 4, 128), jnp.bfloat16, sharding=spec)

    def forward(q, k, v):
        with use_mesh(mesh), target_platform("tpu"):
            return attention(q, k, v, causal=True)

    def gradients(q, k, v):
        return jax.grad(lambda *qkv: forward(*qkv).astype(jnp.float32).sum(), (0, 1, 2))(q, k, v)

    for run, outputs, kernels in ((forward, spec, 1), (gradients, (spec, spec, spec), 2)):
        with jax.default_matmul_precision(
            "default"
        ):  # the tests' own setting would ask for float32 products of bfloat16 in the backward
            text = (
                jax.jit(run, out_shardings=outputs)
                .trace(q, k, k)
                .lower(lowering_platforms=("tpu",))
                .compile()
                .as_text()
            )
        assert text.count("tpu_custom_call") >= kernels
        assert "all-gather" not in text and "all-reduce" not in text


def test_reference_in_bfloat16_keeps_float32_scores():
    q, k, v = arrays(n=64, m=64, d=32)
    exact = reference_attention(q, k, v)
    half = reference_attention(*(a.astype(jnp.bfloat16) for a in (q, k, v)))
    assert half.dtype == jnp.bfloat16
    assert float(jnp.abs(half.astype(jnp.float32) - exact).max()) < 0.03


@pytest.mark.parametrize("prompt, answer, count", [(512, 8192, 4), (640, 13_312, 4), (128, 16_384, 2)])
def test_the_groups_mask_holds_for_long_answers(prompt, answer, count):
    """Places and their answers share one number: at the edges of long answers it still tells them apart."""
    n = prompt + answer * count
    mask = GroupMask(n, prompt, answer)
    place = np.unique(
        np.concatenate(
            [np.arange(0, n, 4099), *[prompt + answer * i + np.array([-1, 0, 1]) for i in range(count + 1)], [n - 1]]
        )
    )
    place = place[(place >= 0) & (place < n)]
    seen = mask.mask_function(mask.q_sequence[place][:, None], place[None])
    own = np.where(place < prompt, -1, (place - prompt) // answer)
    expected = (place[None] <= place[:, None]) & ((own[None] == -1) | (own[None] == own[:, None]))
    np.testing.assert_array_equal(seen, expected)


def test_rows_that_the_groups_mask_cannot_number_are_refused():
    with pytest.raises(ValueError, match="rows of 140000 tokens with answers of 16384 have at most 131072"):
        GroupMask(140_000, 128, 16_384)

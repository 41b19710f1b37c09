"""Chunked log-probabilities: value and gradient of the dense softmax, without its memory."""

import jax
import jax.numpy as jnp
import numpy as np

from launch.planning.hlo import collectives
from spatial_jax.ops.logprob import allowed_ids, token_logprobs
from spatial_jax.parallel import make_mesh, use_mesh

BANNED = (3, 4, 5, 9)


def dense(hidden, head, targets, temperature):
    logits = hidden @ head / temperature
    logits = jnp.where(allowed_ids(head.shape[1], BANNED), logits, -jnp.inf)
    logp = jax.nn.log_softmax(logits, axis=-1)
    p = jnp.exp(logp)
    return jnp.take_along_axis(logp, targets[:, None], 1)[:, 0], -jnp.sum(p * jnp.where(p > 0, logp, 0), axis=-1)


def test_value_and_gradient_equal_the_dense_softmax():
    rng = np.random.default_rng(0)
    n, d, v = 37, 8, 50
    hidden, head = jnp.asarray(rng.normal(size=(n, d)), jnp.float32), jnp.asarray(rng.normal(size=(d, v)), jnp.float32)
    targets = jnp.asarray(rng.integers(10, v, n), jnp.int32)
    a, b = jnp.asarray(rng.normal(size=(2, n)), jnp.float32)

    def chunked(h, w):
        return token_logprobs(h, w, targets, temperature=0.7, banned_ids=BANNED, chunk=8)

    def grads(function):
        (logp, entropy), pull = jax.vjp(function, hidden, head)
        return logp, entropy, *pull((a, b))

    ours = jax.jit(lambda: grads(chunked))()
    theirs = jax.jit(lambda: grads(lambda h, w: dense(h, w, targets, 0.7)))()
    for x, y in zip(ours, theirs):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-5)
    banned = token_logprobs(hidden[:1], head, jnp.array([4]), banned_ids=BANNED)
    assert float(banned[0][0]) < -1e29 and np.isfinite(banned[1]).all()


def test_memory_is_a_chunk_not_the_vocabulary():
    n, d, v, chunk = 4096, 16, 16384, 256
    shapes = (
        jax.ShapeDtypeStruct((n, d), jnp.float32),
        jax.ShapeDtypeStruct((d, v), jnp.float32),
        jax.ShapeDtypeStruct((n,), jnp.int32),
    )

    def loss(hidden, head, targets):
        logp, entropy = token_logprobs(hidden, head, targets, chunk=chunk)
        return jnp.sum(logp) + jnp.sum(entropy)

    compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*shapes).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 8 * chunk * v * 4 < n * v * 4


def test_allowed_ids_of_runs():
    assert np.flatnonzero(~np.asarray(allowed_ids(12, (11, 3, 4, 5, 9, 10)))).tolist() == [3, 4, 5, 9, 10, 11]
    assert np.asarray(allowed_ids(4, ())).all()


def test_on_a_mesh_neither_the_logits_nor_a_vocabulary_of_them_are_gathered():
    mesh = make_mesh({"fsdp": 4, "tensor": 2})
    n, d, v, chunk = 4096, 16, 16384, 64

    def placed(shape, axes, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=jax.NamedSharding(mesh, jax.P(*axes)))

    def loss(hidden, head, targets):
        logp, entropy = token_logprobs(hidden, head, targets, chunk=chunk)
        return jnp.sum(logp) + jnp.sum(entropy)

    def gradients(*arguments):
        with use_mesh(mesh):
            return jax.grad(loss, argnums=(0, 1))(*arguments)

    shapes = placed((n, d), ("fsdp",)), placed((d, v), ("fsdp", "tensor")), placed((n,), ("fsdp",), jnp.int32)
    compiled = jax.jit(gradients).lower(*shapes).compile()
    # A device holds `chunk` rows of half the vocabulary, a few times over.
    assert compiled.memory_analysis().temp_size_in_bytes < 10 * chunk * (v // 2) * 4 < n // 4 * (v // 2) * 4
    # The head's gradient crosses devices once, not once a chunk: nothing of [d, v] is reduced inside a loop.
    moved = [c for c in collectives(compiled.as_text()) if c.kind != "all-gather" and c.bytes >= d * v * 4 // 8]
    assert moved and all(c.times == 1 for c in moved), moved
    rng = np.random.default_rng(0)
    hidden, head = jnp.asarray(rng.normal(size=(n, d)), jnp.float32), jnp.asarray(rng.normal(size=(d, v)), jnp.float32)
    targets = jnp.asarray(rng.integers(0, v, n), jnp.int32)
    ours = compiled(*(jax.device_put(a, s.sharding) for a, s in zip((hidden, head, targets), shapes)))
    alone = jax.jit(jax.grad(lambda h, w: sum(x.sum() for x in token_logprobs(h, w, targets)), (0, 1)))(hidden, head)
    for a, b in zip(ours, alone):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)

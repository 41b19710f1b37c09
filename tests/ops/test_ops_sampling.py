"""Sampling: exact distribution, truncation like transformers, keys that do not know the batch."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from scipy import stats
from transformers.generation.logits_process import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from spatial_jax.ops.attention import target_platform
from spatial_jax.ops.sampling import draw_tokens, sample_keys, step_key, truncate_logits


def test_truncation_equals_transformers():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20, 64)).astype(np.float32) * 3
    for options, warper in (
        ({"top_k": 5}, TopKLogitsWarper(5)),
        ({"top_p": 0.8}, TopPLogitsWarper(0.8)),
        ({"min_p": 0.1}, MinPLogitsWarper(0.1)),
    ):
        ours = np.asarray(truncate_logits(jnp.asarray(logits), **options)) > -1e29
        theirs = np.isfinite(warper(None, torch.tensor(logits)).numpy())
        np.testing.assert_array_equal(ours, theirs)
    both = np.asarray(truncate_logits(jnp.asarray(logits), top_k=8, top_p=0.6)) > -1e29
    chained = TopPLogitsWarper(0.6)(None, TopKLogitsWarper(8)(None, torch.tensor(logits)))
    np.testing.assert_array_equal(both, np.isfinite(chained.numpy()))
    tie = truncate_logits(jnp.log(jnp.array([[0.4, 0.2, 0.2, 0.2]])), top_p=0.5)
    assert (np.asarray(tie) > -1e29).all()  # equal tokens stay or go together


def test_a_gpus_wide_digits_keep_the_same_tokens():
    """Five bits a pass or one: the same threshold, among ties and zeros, too."""
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(48, 3000)).astype(np.float32) * rng.uniform(0.5, 4, (48, 1))
    logits[:8] = np.round(logits[:8])
    logits[:4, 100:] = -1e30
    for options in ({"top_p": 0.5}, {"top_p": 0.95}, {"top_k": 7}, {"top_k": 40, "top_p": 0.9}):
        plain = truncate_logits(jnp.asarray(logits), **options)
        with target_platform("gpu"):
            wide = truncate_logits(jnp.asarray(logits), **options)
        np.testing.assert_array_equal(np.asarray(wide), np.asarray(plain))


def test_draws_follow_the_distribution_and_report_both_logps():
    n, v = 20000, 12
    logits = jnp.asarray(np.random.default_rng(1).normal(size=v) * 1.5, jnp.float32)
    keys = sample_keys(
        step_key(5, 2),
        jnp.arange(n, dtype=jnp.uint32) // 16,
        jnp.arange(n, dtype=jnp.uint32) % 16,
        jnp.zeros(n, jnp.uint32),
    )
    rows = jnp.broadcast_to(logits, (n, v))
    for options in ({}, {"top_p": 0.7}):
        tokens, sampler_logp, full_logp = jax.jit(
            lambda rows, keys, options=options: draw_tokens(rows, keys, **options)
        )(rows, keys)
        expected = np.asarray(jax.nn.softmax(truncate_logits(logits[None], **options)[0]), np.float64)
        counts = np.bincount(np.asarray(tokens), minlength=v)
        kept = expected > 0
        assert counts[~kept].sum() == 0
        assert stats.chisquare(counts[kept], expected[kept] / expected[kept].sum() * n).pvalue > 1e-3
        np.testing.assert_allclose(sampler_logp, np.log(np.maximum(expected, 1e-30))[tokens], atol=1e-5)
        np.testing.assert_allclose(full_logp, jax.nn.log_softmax(logits)[tokens], atol=1e-5)


def test_keys_depend_on_the_sample_alone():
    def draw(prompts, samples, positions, seed=0, step=0):
        keys = sample_keys(step_key(seed, step), *(jnp.asarray(x, jnp.uint32) for x in (prompts, samples, positions)))
        return np.asarray(jax.vmap(lambda key: jax.random.bits(key))(keys)).tolist()

    together = draw([0, 0, 1, 1], [0, 1, 0, 1], [3, 3, 3, 4])
    assert len(set(together)) == 4
    assert draw([1, 0], [0, 1], [3, 3]) == [together[2], together[1]]
    assert draw([0], [0], [3], seed=1) != together[:1] and draw([0], [0], [3], step=1) != together[:1]

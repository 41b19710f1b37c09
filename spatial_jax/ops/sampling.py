"""Drawing tokens: keys that depend on the sample alone, truncation by top-k, top-p and min-p, Gumbel-argmax.

The key of a token is a chain of fold-ins over (seed, step, prompt, sample, position), so the same sample draws the same
noise in whatever slot, batch or device it is decoded. Truncation thresholds come from a bisection over the float's bit
pattern: exact, without a sort, and only reductions over the vocabulary, which stay cheap when it is sharded.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt

from spatial_jax.ops.logprob import BANNED

_BITS_OF_ONE = 0x3F800000


def sample_keys(
    seed: Int[Array, ""] | int,
    step: Int[Array, ""] | int,
    prompts: UInt[Array, " n"],
    samples: UInt[Array, " n"],
    positions: UInt[Array, " n"],
) -> Array:
    """One PRNG key a row, a function of (seed, step, prompt, sample, position in the answer) and nothing else."""
    base = jax.random.fold_in(jax.random.key(seed), step)

    def one(prompt, sample, position):
        return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(base, prompt), sample), position)

    return jax.vmap(one)(prompts, samples, positions)


def _keep_largest(probs: Float[Array, "n v"], weight: Float[Array, "n v"], target: float) -> Bool[Array, "n v"]:
    """The fewest largest entries of `probs` whose summed `weight` reaches `target`; entries equal to the last one stay
    too.
    """
    bits = jax.lax.bitcast_convert_type(probs, jnp.int32)  # the order of non-negative floats is the order of their bits

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) // 2
        reached = jnp.sum(jnp.where(bits >= middle[:, None], weight, 0.0), axis=-1) >= target
        return jnp.where(reached, middle, low), jnp.where(reached, high, middle)

    rows = probs.shape[0]
    start = (jnp.zeros((rows,), jnp.int32), jnp.full((rows,), _BITS_OF_ONE + 1, jnp.int32))
    low, _ = jax.lax.fori_loop(0, 30, halve, start)
    return bits >= low[:, None]


def truncate_logits(
    logits: Float[Array, "n v"], *, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> Float[Array, "n v"]:
    """Logits with everything outside the top-k, then the nucleus, then min-p at -1e30; the order and meaning of
    transformers.

    Ties at a threshold are kept. 0, 1.0 and 0.0 switch the three off.
    """
    if top_k and top_k < logits.shape[-1]:
        probs = jax.nn.softmax(logits, axis=-1)
        logits = jnp.where(_keep_largest(probs, jnp.ones_like(probs), float(top_k)), logits, BANNED)
    if top_p < 1.0:
        probs = jax.nn.softmax(logits, axis=-1)
        logits = jnp.where(_keep_largest(probs, probs, top_p), logits, BANNED)
    if min_p > 0.0:
        probs = jax.nn.softmax(logits, axis=-1)
        logits = jnp.where(probs >= min_p * jnp.max(probs, axis=-1, keepdims=True), logits, BANNED)
    return logits


def draw_tokens(
    logits: Float[Array, "n v"], keys: Array | None, *, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> tuple[Int[Array, " n"], Float[Array, " n"], Float[Array, " n"]]:
    """Tokens, their log-probability under the truncated distribution, and under the full softmax; all [n].

    `logits` come from `scaled_logits`. Without keys the choice is greedy and both log-probabilities are the full
    softmax's.
    """
    full = jax.nn.log_softmax(logits, axis=-1)
    if keys is None:
        tokens = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        logp = jnp.take_along_axis(full, tokens[:, None], axis=-1)[:, 0]
        return tokens, logp, logp
    kept = truncate_logits(logits, top_k=top_k, top_p=top_p, min_p=min_p)
    noise = jax.vmap(lambda key: jax.random.gumbel(key, (logits.shape[-1],), jnp.float32))(keys)
    tokens = jnp.argmax(kept + noise, axis=-1).astype(jnp.int32)
    full_logp = jnp.take_along_axis(full, tokens[:, None], axis=-1)[:, 0]
    if kept is logits:
        return tokens, full_logp, full_logp
    sampler_logp = jnp.take_along_axis(jax.nn.log_softmax(kept, axis=-1), tokens[:, None], axis=-1)[:, 0]
    return tokens, sampler_logp, full_logp

"""Drawing tokens: keys that depend on the sample alone, truncation by top-k, top-p and min-p, Gumbel-argmax.

The key of a token is a chain of fold-ins over (seed, step, prompt, sample, position), so the same sample draws the same
noise in whatever slot, batch or device it is decoded. Truncation thresholds come from a bisection over the float's bit
pattern: exact, without a sort, and only reductions over the vocabulary, which stay cheap when it is sharded.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt

from spatial_jax.ops.attention import for_gpu
from spatial_jax.ops.logprob import BANNED

_BITS = 30  # of a probability as a float's pattern: 1.0 is 0x3F800000


def step_key(seed: Int[Array, ""] | int, step: Int[Array, ""] | int) -> Array:
    """The PRNG key of all samples of a step."""
    return jax.random.fold_in(jax.random.key(seed), step)


def sample_keys(
    base: Array, prompts: UInt[Array, " n"], samples: UInt[Array, " n"], positions: UInt[Array, " n"]
) -> Array:
    """One PRNG key a row, a function of (`step_key`, prompt, sample, position in the answer) and nothing else."""

    def one(prompt, sample, position):
        return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(base, prompt), sample), position)

    return jax.vmap(one)(prompts, samples, positions)


def _keep_largest(
    order: Float[Array, "n v"], weight: Float[Array, "n v"], target_of: Callable[[Array], Array | float]
) -> Bool[Array, "n v"]:
    """The fewest entries, largest of the non-negative `order` first, whose summed `weight` reaches what `target_of`
    makes of the whole sum [n]; entries equal to the last one stay too.

    The threshold is found digit by digit of its bit pattern, the highest first: on a GPU five bits a pass over the
    vocabulary, by the sums that one kernel makes; elsewhere one bit a pass, which compares least.
    """
    bits = jax.lax.bitcast_convert_type(order, jnp.int32)  # the order of non-negative floats is the order of their bits
    low = jnp.zeros((order.shape[0],), jnp.int32)
    width = 5 if for_gpu() else 1

    def above(low, digit):
        return jnp.sum(jnp.where(bits - low[:, None] >= digit, weight, 0.0), axis=-1)

    if width == 1:
        target = target_of(jnp.sum(weight, axis=-1))

        def settle_bit(i, low):
            digit = 1 << (_BITS - 1 - i)
            return low + jnp.where(above(low, digit) >= target, digit, 0)

        return bits >= jax.lax.fori_loop(0, _BITS, settle_bit, low)[:, None]
    # The first pass has a digit of zero, too, whose sum is that of all: the last, since a count from zero on would be
    # made by a kernel of its own.
    digits = np.arange(1, 2**width, dtype=np.int32)
    sums = jax.vmap(above, (None, 0))(low, np.append(digits, 0) << (_BITS - width))  # [digits, n], small ones first
    target, sums = target_of(sums[-1]), sums[:-1]
    for shift in range(_BITS - width, -1, -width):
        low = low + (jnp.sum(sums >= target, axis=0, dtype=jnp.int32) << shift)
        if shift:
            sums = jax.vmap(above, (None, 0))(low, digits << (shift - width))
    return bits >= low[:, None]


def truncate_logits(
    logits: Float[Array, "n v"], *, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> Float[Array, "n v"]:
    """Logits with everything outside the top-k, then the nucleus, then min-p at -1e30; the order and meaning of
    transformers.

    Ties at a threshold are kept. 0, 1.0 and 0.0 switch the three off.
    """
    # Probabilities over the likeliest token's, which no truncation takes away: as good for an order and for shares of a
    # sum, and no pass over the vocabulary divides them.
    top = jnp.max(logits, axis=-1, keepdims=True)
    if top_k and top_k < logits.shape[-1]:
        odds = jnp.exp(logits - top)
        logits = jnp.where(_keep_largest(odds, jnp.ones_like(odds), lambda _: float(top_k)), logits, BANNED)
    if top_p < 1.0:
        odds = jnp.exp(logits - top)
        logits = jnp.where(_keep_largest(odds, odds, lambda total: top_p * total), logits, BANNED)
    if min_p > 0.0:
        logits = jnp.where(jnp.exp(logits - top) >= min_p, logits, BANNED)
    return logits


def draw_tokens(
    logits: Float[Array, "n v"], keys: Array | None, *, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> tuple[Int[Array, " n"], Float[Array, " n"], Float[Array, " n"]]:
    """Tokens, their log-probability under the truncated distribution, and under the full softmax; all [n].

    `logits` come from `scaled_logits`. Without keys the choice is greedy and both log-probabilities are the full
    softmax's.
    """
    top = jnp.max(logits, axis=-1, keepdims=True)

    def logp(kept, tokens):
        """Of the tokens under the softmax of `kept`, whose largest entry is that of all logits: nothing cuts it off."""
        total = jnp.sum(jnp.exp(kept - top), axis=-1)
        return jnp.take_along_axis(logits - top, tokens[:, None], axis=-1)[:, 0] - jnp.log(total)

    if keys is None:
        tokens = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return tokens, logp(logits, tokens), logp(logits, tokens)
    kept = truncate_logits(logits, top_k=top_k, top_p=top_p, min_p=min_p)
    noise = jax.vmap(lambda key: jax.random.gumbel(key, (logits.shape[-1],), jnp.float32))(keys)
    tokens = jnp.argmax(kept + noise, axis=-1).astype(jnp.int32)
    full_logp = logp(logits, tokens)
    return tokens, full_logp if kept is logits else logp(kept, tokens), full_logp

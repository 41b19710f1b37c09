"""Log-probability and entropy of chosen tokens without ever holding [tokens, vocabulary].

The vocabulary of the Qwen-VL family is 152k, so float32 logits of one token cost 0.6 MB. The functions here walk over
chunks of tokens; the backward pass recomputes a chunk's logits from the saved log-sum-exp. The same `scaled_logits`
serves the sampler, so that temperature and banned ids mean the same thing on both sides.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from spatial_jax.parallel.rules import batch_ways, constrain, sum_parts

# Finite, so that 0 * BANNED is 0 and no NaN can appear in an entropy or a masked sum.
BANNED = -1e30


def allowed_ids(vocab_size: int, banned_ids: tuple[int, ...]) -> Array:
    """True where a token may be produced, [v]."""
    ids = jnp.arange(vocab_size, dtype=jnp.int32)
    allowed = jnp.ones((vocab_size,), bool)
    first = None
    ordered = sorted(set(banned_ids))
    for banned, following in zip(ordered, [*ordered[1:], None]):
        first = banned if first is None else first
        if following != banned + 1:  # the end of a run: a tokenizer's unused tail is hundreds of ids, one comparison
            allowed = allowed & ((ids < first) | (ids > banned))
            first = None
    return allowed


def scaled_logits(
    hidden: Float[Array, "n d"],
    head: Float[Array, "d v"],
    temperature: Float[Array, ""] | float = 1.0,
    banned_ids: tuple[int, ...] = (),
    allowed: Bool[Array, " v"] | None = None,
) -> Float[Array, "n v"]:
    """float32 logits divided by the temperature, with the banned ids at -1e30; the one definition for sampler and
    trainer. allowed: `allowed_ids` of the banned ids, where a loop has them from before.
    """
    logits = jnp.dot(hidden, head.astype(hidden.dtype), preferred_element_type=jnp.float32) / temperature
    if banned_ids:
        allowed = allowed_ids(logits.shape[-1], banned_ids) if allowed is None else allowed
        logits = jnp.where(allowed, logits, BANNED)
    return logits


def token_logprobs(
    hidden: Float[Array, "n d"],
    head: Float[Array, "d v"],
    targets: Int[Array, " n"],
    *,
    temperature: Float[Array, ""] | float = 1.0,
    banned_ids: tuple[int, ...] = (),
    chunk: int = 1024,
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Log-probability of each target and entropy (nats) of each distribution, both float32 and differentiable.

    A banned target has log-probability about -1e30 and no gradient: mask it out. At most `chunk` rows of logits live at
    once on a device: on a mesh the rows of a chunk are shared out and each device has the whole width of the head,
    gathered once.
    """
    temperature = jnp.asarray(temperature, jnp.float32)
    return _token_logprobs(hidden, head, targets, temperature, tuple(sorted(set(banned_ids))), chunk * batch_ways())


def _gather_width(head: Array, dtype) -> Array:
    """The head in the type of the products, its width on every device: a sharded width would be summed over devices for
    every chunk.
    """
    return constrain(head.astype(dtype), (None, "vocab"))


def _share_rows(x: Array) -> Array:
    """Rows of a chunk over the devices."""
    return constrain(x, ("batch",) + (None,) * (x.ndim - 1))


def _chunks(n: int, chunk: int) -> tuple[int, int]:
    """(number of chunks, rows a chunk); prefers a split without padding. Rows divide over the devices where `n`
    does.
    """
    least, ways = -(-n // chunk), batch_ways()
    unit = ways if n % ways == 0 else 1
    for count in range(least, 2 * least + 1):
        if n % (count * unit) == 0:
            return count, n // count
    return least, -(-n // (least * unit)) * unit


def _split(x: Array, count: int, rows: int) -> Array:
    """[n, ...] -> [count, rows, ...], rows strided, so that a token axis sharded over devices stays sharded inside
    every chunk.
    """
    padded = jnp.pad(x, [(0, count * rows - x.shape[0])] + [(0, 0)] * (x.ndim - 1))
    return jnp.swapaxes(padded.reshape(rows, count, *x.shape[1:]), 0, 1)


def _join(x: Array, n: int) -> Array:
    """Inverse of `_split`."""
    return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:])[:n]


def _chunk_forward(hidden, head, targets, temperature, banned_ids):
    logits = scaled_logits(hidden, head, temperature, banned_ids)
    lse = jax.nn.logsumexp(logits, axis=-1)
    logp = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0] - lse
    log_p = logits - lse[:, None]
    entropy = -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
    return logp, entropy, lse


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _token_logprobs(hidden, head, targets, temperature, banned_ids, chunk):
    return _forward(hidden, head, targets, temperature, banned_ids, chunk)[0]


def _forward(hidden, head, targets, temperature, banned_ids, chunk):
    n, whole = hidden.shape[0], _gather_width(head, hidden.dtype)
    count, rows = _chunks(n, chunk)
    if count == 1:
        logp, entropy, lse = _chunk_forward(_share_rows(hidden), whole, _share_rows(targets), temperature, banned_ids)
    else:

        def body(_, xs):
            return None, _chunk_forward(_share_rows(xs[0]), whole, _share_rows(xs[1]), temperature, banned_ids)

        _, out = jax.lax.scan(body, None, (_split(hidden, count, rows), _split(targets, count, rows)))
        logp, entropy, lse = (_join(x, n) for x in out)
    return (logp, entropy), (hidden, head, targets, temperature, lse, entropy)


def _chunk_backward(hidden, head, targets, temperature, lse, entropy, d_logp, d_entropy, banned_ids):
    """Gradients (logits, hidden) of one chunk: d logp / d logits = onehot - p, d entropy / d logits = -p (log p +
    entropy).
    """
    logits = scaled_logits(hidden, head, temperature, banned_ids)
    log_p = logits - lse[:, None]
    p = jnp.exp(log_p)
    onehot = jnp.arange(logits.shape[-1], dtype=targets.dtype) == targets[:, None]
    d_logits = d_logp[:, None] * (onehot - p) - d_entropy[:, None] * p * (log_p + entropy[:, None])
    if banned_ids:
        d_logits = jnp.where(allowed_ids(logits.shape[-1], banned_ids), d_logits, 0.0)
    d_logits = (d_logits / temperature).astype(hidden.dtype)
    d_hidden = jnp.dot(d_logits, head.astype(hidden.dtype).T, preferred_element_type=jnp.float32).astype(hidden.dtype)
    return d_logits, d_hidden


def _head_gradient(hidden, d_logits, ways):
    """[ways, d, v] float32: the rows' gradient of the head, in as many parts as devices hold rows."""
    split = (ways, hidden.shape[0] // ways)
    hidden = constrain(hidden.reshape(*split, -1), ("batch", None, None))
    d_logits = constrain(d_logits.reshape(*split, -1), ("batch", None, "vocab"))
    return constrain(
        jnp.einsum("wrd,wrv->wdv", hidden, d_logits, preferred_element_type=jnp.float32), ("batch", None, "vocab")
    )


def _backward(banned_ids, chunk, residuals, cotangents):
    hidden, head, targets, temperature, lse, entropy = residuals
    d_logp, d_entropy = cotangents
    n, whole = hidden.shape[0], _gather_width(head, hidden.dtype)
    count, rows = _chunks(n, chunk)
    # Each device sums its own rows' part of the head's gradient over the chunks; the devices' parts meet once, after
    # the last chunk.
    ways = batch_ways() if rows % batch_ways() == 0 else 1

    def one(xs):
        h, t, chunk_lse, chunk_entropy, chunk_d_logp, chunk_d_entropy = (_share_rows(x) for x in xs)
        d_logits, d_h = _chunk_backward(
            h, whole, t, temperature, chunk_lse, chunk_entropy, chunk_d_logp, chunk_d_entropy, banned_ids
        )
        return _head_gradient(h, d_logits, ways), d_h

    def body(d_head, xs):
        own, d_h = one(xs)
        return constrain(d_head + own, ("batch", None, "vocab")), d_h

    xs = (hidden, targets, lse, entropy, d_logp, d_entropy)
    if count == 1:
        d_head, d_hidden = one(xs)
    else:
        zeros = constrain(jnp.zeros((ways, *head.shape), jnp.float32), ("batch", None, "vocab"))
        d_head, d_hidden = jax.lax.scan(body, zeros, tuple(_split(x, count, rows) for x in xs))
        d_hidden = _join(d_hidden, n)
    d_head = sum_parts(d_head, ("embed", "vocab"))
    return d_hidden, d_head.astype(head.dtype), None, jnp.zeros_like(temperature)


_token_logprobs.defvjp(_forward, _backward)

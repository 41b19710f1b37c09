"""Attention for groups of answers that share their prompt: the update's layout, and one decode step.

Update: one row is [prompt | answer 1 | ... | answer g]. A prompt token sees the prompt before it; an answer token sees
the whole prompt and its own answer before it. The two parts of an answer's softmax (a rectangle over the prompt, a
causal triangle over itself) share one maximum and one sum, so nothing of size [row, row] exists and the result is the
plain layout's to rounding.

Decode: the queries of all slots of a prompt read its keys in one matmul; the slots' own keys lie in a ring, one column
a step.

All functions take rotated q [b, n, h, d], k and v [b, n, k, d] (grouped-query attention, h a multiple of k) and return
[b, n, h, d].
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int

from spatial_jax.ops.attention import (
    MASKED,
    attention,
    choose_backend,
    current_platform,
    fits_gpu_kernels,
    for_gpu,
)
from spatial_jax.ops.kept import KEPT


def on_tpu(q: Array, k: Array) -> bool:
    """Whether the kernel for TPUs takes these rows (long enough, and the program is for a TPU)."""
    return choose_backend(q, k, current_platform()) == "splash"


def on_gpu(length: int, width: int, dtype) -> bool:
    """Whether the kernels for GPUs take packed rows of this length: as long as those that cuDNN is chosen for, and a
    head width that fits.
    """
    half = jnp.dtype(dtype) in (jnp.bfloat16, jnp.float16)
    return for_gpu() and half and fits_gpu_kernels(width) and length >= 512


def packed_padding(length: int, width: int, dtype) -> int:
    """Tokens to put behind packed rows of this length so that no layer has to pad them for the kernel (GPUs alone)."""
    if not on_gpu(length, width, dtype):
        return 0
    from spatial_jax.ops import group_kernel  # Pallas for GPUs is slow to import and only needed there

    return -length % group_kernel.BLOCK


def _scores(q: Array, k: Array, mask: Array) -> Array:
    """float32 [..., queries, keys] of q [..., queries, d] and k [..., keys, d]; masked entries at -1e30."""
    scores = jnp.einsum("...qd,...sd->...qs", q, k, preferred_element_type=jnp.float32) * (q.shape[-1] ** -0.5)
    return jnp.where(mask, scores, MASKED)


def _weigh(weights: Array, v: Array) -> Array:
    return jnp.einsum("...qs,...sd->...qd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)


def _heads_first(q: Array, kv_heads: int) -> Array:
    """[b, n, h, d] -> [b, k, n * (h / k), d]: queries of one kv head side by side, token-major."""
    b, n, h, d = q.shape
    return (
        q.reshape(b, n, kv_heads, h // kv_heads, d)
        .transpose(0, 2, 1, 3, 4)
        .reshape(b, kv_heads, n * (h // kv_heads), d)
    )


def _heads_back(out: Array, n: int, h: int) -> Array:
    """Inverse of `_heads_first`."""
    b, kv_heads, _, d = out.shape
    return out.reshape(b, kv_heads, n, h // kv_heads, d).transpose(0, 2, 1, 3, 4).reshape(b, n, h, d)


def causal_attention(
    q: Float[Array, "b n h d"],
    k: Float[Array, "b m k d"],
    v: Float[Array, "b m k d"],
    valid: Bool[Array, "b m"],
    *,
    block: int = 512,
) -> Float[Array, "b n h d"]:
    """Causal attention of left-padded rows, of which q holds the last n tokens; queries go block by block (recomputed
    in the backward pass) once n exceeds `block`.
    """
    b, n, h, d = q.shape
    m, kv = k.shape[1:3]
    backend = choose_backend(q, k, current_platform())
    if backend != "xla":
        out = attention(q, k, v, causal=True, kv_valid=valid, backend=backend)
        return out if backend == "splash" else checkpoint_name(out, KEPT)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)

    def attend(q_block, first):
        rows = m - n + first + jnp.arange(q_block.shape[1])
        mask = (rows[:, None] >= jnp.arange(m)) & valid[:, None, None, :]
        mask = jnp.repeat(mask, h // kv, axis=2)
        return _heads_back(
            _weigh(jax.nn.softmax(_scores(_heads_first(q_block, kv), k, mask), axis=-1), v), q_block.shape[1], h
        ).astype(q.dtype)

    if n <= block:
        return checkpoint_name(attend(q, 0), KEPT)
    count = -(-n // block)
    blocks = jnp.pad(q, ((0, 0), (0, count * block - n), (0, 0), (0, 0))).reshape(b, count, block, h, d).swapaxes(0, 1)
    out = jax.lax.map(lambda xs: jax.checkpoint(attend)(*xs), (blocks, jnp.arange(count) * block))
    return checkpoint_name(out.swapaxes(0, 1).reshape(b, count * block, h, d)[:, :n], KEPT)


def answer_attention(
    q: Float[Array, "b g t h d"],
    k: Float[Array, "b g t k d"],
    v: Float[Array, "b g t k d"],
    prompt_k: Float[Array, "b p k d"],
    prompt_v: Float[Array, "b p k d"],
    prompt_valid: Bool[Array, "b p"],
    answer_valid: Bool[Array, "b g t"],
    *,
    max_scores: int = 2**24,
) -> Float[Array, "b g t h d"]:
    """Each answer token over its whole prompt and its own answer so far, one softmax over both.

    The prompt's keys are read once for all g * t queries. Above `max_scores` score entries a prompt the answers go one
    at a time, and inside an answer block by block, each block recomputed in the backward pass.
    """
    b, g, t, h, d = q.shape
    kv, p = k.shape[3], prompt_k.shape[1]
    rep = h // kv
    prompt_k, prompt_v = prompt_k.transpose(0, 2, 1, 3), prompt_v.transpose(0, 2, 1, 3)

    def attend(q, k, v, valid, first):
        """q [b, G, T, h, d] against k, v [b, G, t, k, d]; `first` is the position of q's first token in its answer."""
        G, T = q.shape[1:3]
        q = q.reshape(b, G, T, kv, rep, d).transpose(0, 3, 1, 2, 4, 5)  # [b, k, G, T, rep, d]
        own_k, own_v = k.transpose(0, 3, 1, 2, 4), v.transpose(0, 3, 1, 2, 4)  # [b, k, G, t, d]
        causal = (first + jnp.arange(T))[:, None] >= jnp.arange(t)
        own_mask = jnp.repeat(causal & valid[:, None, :, None, :], rep, axis=3)
        to_prompt = _scores(q.reshape(b, kv, G * T * rep, d), prompt_k, prompt_valid[:, None, None, :])
        to_own = _scores(q.reshape(b, kv, G, T * rep, d), own_k, own_mask)
        top = jax.lax.stop_gradient(jnp.maximum(to_prompt.max(-1).reshape(b, kv, G, T * rep), to_own.max(-1)))
        to_prompt = jnp.exp(to_prompt - top.reshape(b, kv, -1)[..., None])
        to_own = jnp.exp(to_own - top[..., None])
        total = to_prompt.sum(-1).reshape(top.shape) + to_own.sum(-1)
        out = _weigh(to_prompt, prompt_v).reshape(b, kv, G, T * rep, d) + _weigh(to_own, own_v)
        out = (out / total[..., None]).reshape(b, kv, G, T, rep, d)
        return out.transpose(0, 2, 3, 1, 4, 5).reshape(b, G, T, h, d).astype(q.dtype)

    if h * g * t * (p + t) <= max_scores:
        return checkpoint_name(attend(q, k, v, answer_valid, 0), KEPT)
    block = t
    while block % 2 == 0 and h * block * (p + t) > max_scores:
        block //= 2

    def one_answer(xs):
        q, k, v, valid = xs  # one answer of every prompt: [b, t, ...]
        parts = q.reshape(b, t // block, block, h, d).swapaxes(0, 1)

        def one_block(ys):
            return jax.checkpoint(attend)(ys[0][:, None], k[:, None], v[:, None], valid[:, None], ys[1])[:, 0]

        return jax.lax.map(one_block, (parts, jnp.arange(t // block) * block)).swapaxes(0, 1).reshape(b, t, h, d)

    out = jax.lax.map(one_answer, (q.swapaxes(0, 1), k.swapaxes(0, 1), v.swapaxes(0, 1), answer_valid.swapaxes(0, 1)))
    return checkpoint_name(out.swapaxes(0, 1), KEPT)


def group_attention(
    q: Float[Array, "b n h d"],
    k: Float[Array, "b n k d"],
    v: Float[Array, "b n k d"],
    valid: Bool[Array, "b n"],
    *,
    prompt: int,
    answers: tuple[int, int],
    **limits,
) -> Float[Array, "b n h d"]:
    """Attention of packed rows [prompt | answer 1 | ... | answer g]: a `prompt` of p tokens and `answers` (g, t), n = p
    + g * t and `packed_padding`. On TPUs one splash kernel over the packed row, on GPUs one of our own (half precision,
    rows of 512 tokens or more).
    """
    b, d, p, (g, t) = q.shape[0], q.shape[3], prompt, answers
    if on_tpu(q, k):
        from spatial_jax.ops.splash import splash_attention  # Pallas for TPU is slow to import and only needed there

        return splash_attention(
            q, k, v, causal=True, kv_valid=valid, q_segments=None, kv_segments=None, scale=d**-0.5, group=(p, t)
        )
    if on_gpu(q.shape[1], d, q.dtype):
        from spatial_jax.ops import group_kernel  # Pallas for GPUs is slow to import and only needed there

        return group_kernel.group_attention(q, k, v, valid, prompt=p, answer=t)
    return two_part_attention(q, k, v, valid[:, :p], valid[:, p:].reshape(b, g, t), **limits)


def two_part_attention(
    q: Float[Array, "b n h d"],
    k: Float[Array, "b n k d"],
    v: Float[Array, "b n k d"],
    prompt_valid: Bool[Array, "b p"],
    answer_valid: Bool[Array, "b g t"],
    **limits,
) -> Float[Array, "b n h d"]:
    """`group_attention` in plain XLA: the prompt, then the answers; every kernel's reference."""
    b, _, h, d = q.shape
    p, (g, t), kv = prompt_valid.shape[1], answer_valid.shape[1:], k.shape[2]
    out_prompt = causal_attention(q[:, :p], k[:, :p], v[:, :p], prompt_valid)
    out_answers = answer_attention(
        q[:, p:].reshape(b, g, t, h, d),
        k[:, p:].reshape(b, g, t, kv, d),
        v[:, p:].reshape(b, g, t, kv, d),
        k[:, :p],
        v[:, :p],
        prompt_valid,
        answer_valid,
        **limits,
    )
    return jnp.concatenate([out_prompt, out_answers.reshape(b, g * t, h, d)], axis=1)


@struct.dataclass
class KeyValues:
    """Cached keys and values [..., s, d]; int8 with one float32 scale a (token, head) [..., s], or any float dtype with
    scales None.
    """

    k: Array
    v: Array
    k_scale: Array | None = None
    v_scale: Array | None = None


def store(k: Array, v: Array, dtype) -> KeyValues:
    """Keys and values in the cache's dtype; int8 is symmetric, scaled by the largest magnitude of each head's
    vector.
    """
    if jnp.dtype(dtype) != jnp.int8:
        return KeyValues(k.astype(dtype), v.astype(dtype))

    def quantize(x):
        scale = jnp.maximum(jnp.max(jnp.abs(x.astype(jnp.float32)), axis=-1), 1e-8) / 127.0
        return jnp.round(x.astype(jnp.float32) / scale[..., None]).astype(jnp.int8), scale

    (qk, ks), (qv, vs) = quantize(k), quantize(v)
    return KeyValues(qk, qv, ks, vs)


def _cached_scores(q: Array, cache: KeyValues, mask: Array) -> Array:
    scores = jnp.einsum("...qd,...sd->...qs", q, cache.k.astype(q.dtype), preferred_element_type=jnp.float32) * (
        q.shape[-1] ** -0.5
    )
    if cache.k_scale is not None:
        scores = scores * cache.k_scale[..., None, :]
    return jnp.where(mask, scores, MASKED)


def _cached_values(weights: Array, cache: KeyValues, dtype) -> Array:
    if cache.v_scale is not None:
        weights = weights * cache.v_scale[..., None, :]
    return jnp.einsum(
        "...qs,...sd->...qd", weights.astype(dtype), cache.v.astype(dtype), preferred_element_type=jnp.float32
    )


def decode_attention(
    q: Float[Array, "r w h d"],
    k: Float[Array, "r w k d"],
    v: Float[Array, "r w k d"],
    prompt: KeyValues,
    answer: KeyValues,
    prompt_valid: Bool[Array, "r p"],
    answer_valid: Bool[Array, "r w s"],
) -> Float[Array, "r w h d"]:
    """One new token in each of w slots of r prompts.

    prompt holds [r, k, p, d], read once for the w slots together; answer holds [r, w, k, s, d], the slots' earlier
    tokens; k, v are the new tokens' own. The three parts share one softmax.
    """
    r, w, h, d = q.shape
    kv = k.shape[2]
    grouped = q.reshape(r, w, kv, h // kv, d)
    to_prompt = _cached_scores(_heads_first(q, kv), prompt, prompt_valid[:, None, None, :])  # [r, k, w * rep, p]
    to_prompt = to_prompt.reshape(r, kv, w, h // kv, -1).transpose(0, 2, 1, 3, 4)  # [r, w, k, rep, p]
    to_answer = _cached_scores(grouped, answer, answer_valid[:, :, None, None, :])  # [r, w, k, rep, s]
    to_self = jnp.sum(grouped.astype(jnp.float32) * k[:, :, :, None].astype(jnp.float32), axis=-1) * (d**-0.5)
    top = jnp.maximum(jnp.maximum(to_prompt.max(-1), to_answer.max(-1)), to_self)
    to_prompt, to_answer, to_self = (
        jnp.exp(x) for x in (to_prompt - top[..., None], to_answer - top[..., None], to_self - top)
    )
    total = to_prompt.sum(-1) + to_answer.sum(-1) + to_self
    from_prompt = _cached_values(to_prompt.transpose(0, 2, 1, 3, 4).reshape(r, kv, w * (h // kv), -1), prompt, q.dtype)
    out = from_prompt.reshape(r, kv, w, h // kv, d).transpose(0, 2, 1, 3, 4)
    out = out + _cached_values(to_answer, answer, q.dtype) + to_self[..., None] * v[:, :, :, None].astype(jnp.float32)
    return (out / total[..., None]).reshape(r, w, h, d).astype(q.dtype)


def append_attention(
    q: Float[Array, "b n h d"],
    k: Float[Array, "b n k d"],
    v: Float[Array, "b n k d"],
    prompt: KeyValues,
    own: KeyValues,
    prompt_valid: Bool[Array, "b p"],
    own_valid: Bool[Array, "b s"],
    valid: Bool[Array, "b n"],
) -> Float[Array, "b n h d"]:
    """n tokens (padded on the left where `valid` is False) behind a prompt and a conversation so far: they see its keys
    in prompt [b, k, p, d] and own [b, k, s, d], and each other causally; one softmax over the three.
    """
    n, h, kv = q.shape[1], q.shape[2], k.shape[2]
    rows = _heads_first(q, kv)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    causal = jnp.tril(jnp.ones((n, n), bool)) & valid[:, None]
    scores = [
        _cached_scores(rows, prompt, prompt_valid[:, None, None]),
        _cached_scores(rows, own, own_valid[:, None, None]),
        _scores(rows, k, jnp.repeat(causal, h // kv, axis=1)[:, None]),
    ]
    p, s = prompt_valid.shape[1], own_valid.shape[1]
    weights = jax.nn.softmax(jnp.concatenate(scores, axis=-1), axis=-1)
    out = _cached_values(weights[..., :p], prompt, q.dtype)
    out = out + _cached_values(weights[..., p : p + s], own, q.dtype) + _weigh(weights[..., p + s :], v)
    return _heads_back(out, n, h).astype(q.dtype)


def ring_valid(column: Int[Array, "..."], lengths: Int[Array, "r w"], size: int) -> Bool[Array, "r w s"]:
    """Which columns of the answer ring a slot may read when `column` (of all, or of each slot) is the next to write and
    the slot has `lengths` cached tokens.
    """
    age = jnp.mod(column[..., None] - jnp.arange(size), size)
    return (age >= 1) & (age <= lengths[..., None])

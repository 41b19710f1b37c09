"""Attention with one meaning on every backend: grouped heads, causal order, key padding, segments."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from spatial_jax.ops.rope import wide_dtype

MASKED = -1e30  # the score of what a query may not see: finite, so that no NaN can appear
BACKENDS = ("auto", "xla", "splash", "cudnn")
_platform: contextvars.ContextVar[str | None] = contextvars.ContextVar("attention_platform", default=None)


def attention_mask(
    n: int,
    m: int,
    *,
    causal: bool = False,
    kv_valid: jax.Array | None = None,
    q_segments: jax.Array | None = None,
    kv_segments: jax.Array | None = None,
) -> jax.Array | None:
    """bool, broadcastable to [b, n, m]: True where query may see key; None when everything is seen.

    causal: query i sees keys up to i + (m - n); kv_valid [b, m]; segments int32 [b, n] and [b, m], 0 sees and is seen
    by nothing.
    """
    mask = None
    if causal:
        mask = (jnp.arange(m)[None, :] <= jnp.arange(n)[:, None] + (m - n))[None]
    if kv_valid is not None:
        mask = kv_valid[:, None, :] if mask is None else mask & kv_valid[:, None, :]
    if q_segments is not None:
        kv_segments = q_segments if kv_segments is None else kv_segments
        same = (q_segments[:, :, None] == kv_segments[:, None, :]) & (kv_segments > 0)[:, None, :]
        mask = same if mask is None else mask & same
    return mask


def reference_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None = None, scale: float | None = None
) -> jax.Array:
    """Plain softmax attention: q [b, n, h, d], k, v [b, m, k, d] with h a multiple of k, mask broadcastable to [b, n,
    m] -> [b, n, h, d].

    Scores, softmax and sums in float32 (float64 for float64 inputs); the weights are cast to v's type before they meet
    v and normalised after. A query that may see nothing gets the mean of the values, never NaN.
    """
    b, n, h, d = q.shape
    kv = k.shape[2]
    group = h // kv
    wide = wide_dtype(q.dtype)
    # Heads first, the queries of one kv head side by side: two plain batched matmuls, the fastest form on CPUs and GPUs
    # alike.
    q = q.reshape(b, n, kv, group, d).transpose(0, 2, 1, 3, 4).reshape(b, kv, n * group, d)
    k, v = k.transpose(0, 2, 3, 1), v.transpose(0, 2, 1, 3)
    scores = jnp.matmul(q, k, preferred_element_type=wide) * jnp.asarray(d**-0.5 if scale is None else scale, wide)
    if mask is not None:
        rows = jnp.repeat(mask, group, axis=1) if mask.shape[1] > 1 else mask
        scores = jnp.where(rows[:, None], scores, jnp.finfo(wide).min)
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    out = jnp.matmul(weights.astype(v.dtype), v, preferred_element_type=wide) / weights.sum(axis=-1, keepdims=True)
    return out.astype(v.dtype).reshape(b, kv, n, group, d).transpose(0, 2, 1, 3, 4).reshape(b, n, h, d)


def choose_backend(q: jax.Array, k: jax.Array, platform: str) -> str:
    """What "auto" means: splash on TPUs from 256 queries and keys on, cuDNN on GPUs in half precision from 512 on
    (measured on an H100 with head widths 128 and 80: 2 to 4 times as fast as XLA,
    benchmarks/results/gpu_attention.json), else XLA.
    """
    n, m, d = q.shape[1], k.shape[1], q.shape[3]
    if platform == "tpu" and min(n, m) >= 256 and q.dtype in (jnp.bfloat16, jnp.float32):
        return "splash"
    if (
        platform in ("gpu", "cuda")
        and q.dtype in (jnp.bfloat16, jnp.float16)
        and d <= 128
        and d % 8 == 0
        and n == m >= 512
        and n % 64 == 0
    ):
        return "cudnn"
    return "xla"


@contextlib.contextmanager
def target_platform(platform: str) -> Iterator[None]:
    """Inside, "auto" chooses for `platform` ("tpu", "gpu", "cpu"), e.g. while compiling for TPUs on a machine that has
    none.
    """
    token = _platform.set(platform)
    try:
        yield
    finally:
        _platform.reset(token)


def current_platform() -> str:
    """The platform that programs are being traced for."""
    return _platform.get() or jax.default_backend()


def for_gpu() -> bool:
    """Whether programs are being traced for a GPU."""
    return current_platform() in ("gpu", "cuda")


def fits_gpu_kernels(width: int) -> bool:
    """Whether our kernels for GPUs serve heads of this width: a power of two that a program's registers hold."""
    return width & (width - 1) == 0 and 16 <= width <= 128


def power_parts(width: int) -> list[tuple[int, int]]:
    """(first, size) of the powers of two, largest first, that a width is the sum of: 80 is (0, 64), (64, 16)."""
    sizes = [1 << bit for bit in reversed(range(width.bit_length())) if width >> bit & 1]
    return [(sum(sizes[:i]), size) for i, size in enumerate(sizes)]


def fits_block_kernel(q: jax.Array) -> bool:
    """Whether the kernel for GPUs takes blocks q [b, n, h, d]: so short that a program holds one, in half precision, of
    a width whose parts matrix units take.
    """
    n, d = q.shape[1], q.shape[3]
    half = q.dtype in (jnp.bfloat16, jnp.float16)
    return for_gpu() and half and fits_gpu_kernels(n) and d <= 128 and power_parts(d)[-1][1] >= 16


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    causal: bool = False,
    kv_valid: jax.Array | None = None,
    q_segments: jax.Array | None = None,
    kv_segments: jax.Array | None = None,
    scale: float | None = None,
    backend: str = "auto",
) -> jax.Array:
    """Attention of q [b, n, h, d] over k, v [b, m, kv heads, d] -> [b, n, h, d]. Masks as in `attention_mask`.

    Rows of queries that see nothing (padding) hold unspecified finite numbers. backend: "auto", "xla", "splash" (TPU)
    or "cudnn" (GPU).
    """
    if backend not in BACKENDS:
        raise ValueError(f"attention: backend {backend!r} is unknown; use one of {', '.join(BACKENDS)}")
    if backend == "auto":
        backend = choose_backend(q, k, current_platform())
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if backend == "splash":
        from spatial_jax.ops.splash import splash_attention  # Pallas for TPU is slow to import and only needed there

        return splash_attention(
            q, k, v, causal=causal, kv_valid=kv_valid, q_segments=q_segments, kv_segments=kv_segments, scale=scale
        )
    mask = attention_mask(
        q.shape[1], k.shape[1], causal=causal, kv_valid=kv_valid, q_segments=q_segments, kv_segments=kv_segments
    )
    if backend == "cudnn":
        full = None if mask is None else jnp.broadcast_to(mask, (q.shape[0], q.shape[1], k.shape[1]))[:, None]
        return jax.nn.dot_product_attention(q, k, v, mask=full, scale=scale, implementation="cudnn")
    return reference_attention(q, k, v, mask, scale)

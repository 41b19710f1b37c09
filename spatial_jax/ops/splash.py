"""Splash attention (Pallas, TPU): block-sparse causal and segment masks, mapped over the shards of a mesh."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
from jax.sharding import PartitionSpec

from spatial_jax.ops.kept import KEPT
from spatial_jax.parallel.rules import active_mesh, partition_spec

BLOCK = 512
LANES = 128


def _round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _kernel(heads: int, n: int, m: int, offset: int, causal: bool, group: tuple[int, int] | None, interpret: bool):
    mask = GroupMask(n, *group) if group else masks.CausalMask((n, m), offset) if causal else masks.FullMask((n, m))
    q, kv = (max(b for b in (128, 256, BLOCK) if size % b == 0) for size in (n, m))
    sizes = kernel.BlockSizes(
        block_q=q,
        block_kv=kv,
        block_kv_compute=kv,
        block_q_dkv=q,
        block_kv_dkv=kv,
        block_kv_dkv_compute=kv,
        block_q_dq=q,
        block_kv_dq=kv,
    )
    return kernel.make_splash_mha(
        masks.MultiHeadMask([mask] * heads),
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
        residual_checkpoint_name=KEPT if causal or group else None,  # the decoder's, not the tower's
    )


class GroupMask(masks._ComputableMask):
    """Rows [prompt | answer 1 | answer 2 | ...] of p and t tokens: causal, and an answer sees the prompt and itself
    only.

    The kernel hands its mask one number a query: here the query's place with its place inside its answer in the lower
    bits, so that no division is needed on the device. Both must fit 31 bits: rows of 2^18 tokens with answers of 8,192,
    of 2^17 with answers of 16,384.
    """

    def __init__(self, n: int, p: int, t: int):
        bits = max((t - 1).bit_length(), 13)
        if n > 2 ** (31 - bits):
            raise ValueError(
                f"splash attention of groups: rows of {n} tokens with answers of {t} have at most {2 ** (31 - bits)};"
                " set config.train.micro_answers"
            )

        def visible(query, key):
            place = query >> bits
            return (key <= place) & ((key < p) | (key >= place - (query & (2**bits - 1))))

        super().__init__((n, n), visible)
        self._sizes = n, p, t
        place = np.arange(n, dtype=np.int32)
        self.q_sequence = ((place << bits) | np.where(place < p, 0, (place - p) % t)).astype(np.int32)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GroupMask) and self._sizes == other._sizes

    def __hash__(self) -> int:
        return hash((GroupMask, self._sizes))


def _segments(q: jax.Array, k: jax.Array, kv_valid, q_segments, kv_segments) -> tuple[jax.Array, jax.Array] | None:
    """Key padding and segments as one pair of segment ids; padding queries meet padding keys, so that no row is
    empty.
    """
    b, n, m = q.shape[0], q.shape[1], k.shape[1]
    if q_segments is None and kv_valid is None:
        return None
    if q_segments is None:
        kv_ids = kv_valid.astype(jnp.int32)
        return (kv_ids if n == m else jnp.ones((b, n), jnp.int32)), kv_ids
    kv_ids = q_segments if kv_segments is None else kv_segments
    return q_segments, kv_ids if kv_valid is None else jnp.where(kv_valid, kv_ids, 0)


def _local(
    q, k, v, q_ids, kv_ids, *, n: int, m: int, causal: bool, group: tuple[int, int] | None, interpret: bool
) -> jax.Array:
    """One shard: q [b, n, h, d] and k, v [b, m, kv, d], already padded; n and m are the sizes before padding."""
    attend = _kernel(q.shape[2], q.shape[1], k.shape[1], m - n, causal, group, interpret)
    ids = kernel.SegmentIds(q=q_ids, kv=kv_ids)
    # Mosaic refuses float32 precision on bfloat16 operands, which a global setting would ask for.
    with jax.default_matmul_precision("default" if q.dtype == jnp.bfloat16 else "highest"):
        out = jax.vmap(attend)(*(a.transpose(0, 2, 1, 3) for a in (q, k, v)), ids)
    return out.transpose(0, 2, 1, 3).astype(q.dtype)


def splash_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    causal: bool,
    kv_valid: jax.Array | None,
    q_segments: jax.Array | None,
    kv_segments: jax.Array | None,
    scale: float,
    interpret: bool = False,
    group: tuple[int, int] | None = None,
) -> jax.Array:
    """`ops.attention.attention` by the splash kernel. Sequences are padded to 128; inside `use_mesh` batch and heads
    stay sharded.

    group (p, t): the rows are a prompt and its answers, see GroupMask (`causal` is implied)."""
    b, n, h, d = q.shape
    m, kv = k.shape[1], k.shape[2]
    n_padded, m_padded = _round_up(n, LANES), _round_up(m, LANES)
    pair = _segments(q, k, kv_valid, q_segments, kv_segments) or (
        jnp.ones((b, n), jnp.int32),
        jnp.ones((b, m), jnp.int32),
    )
    q_ids = jnp.pad(pair[0], ((0, 0), (0, n_padded - n)))
    kv_ids = jnp.pad(pair[1], ((0, 0), (0, m_padded - m)))
    q = jnp.pad(q * jnp.asarray(scale, q.dtype), ((0, 0), (0, n_padded - n), (0, 0), (0, 0)))
    k, v = (jnp.pad(a, ((0, 0), (0, m_padded - m), (0, 0), (0, 0))) for a in (k, v))
    local = functools.partial(_local, n=n, m=m, causal=causal, group=group, interpret=interpret)
    active = active_mesh()
    if active is not None and active[0].size > 1:
        mesh, rules = active
        kv_spec = partition_spec(("batch", None, "kv_heads", None), k.shape, mesh, rules, strict=False)
        # Query heads may only be cut where their kv heads are.
        q_spec = PartitionSpec(kv_spec[0], None, kv_spec[2], None)
        rows = PartitionSpec(kv_spec[0], None)
        local = jax.shard_map(
            local, mesh=mesh, in_specs=(q_spec, kv_spec, kv_spec, rows, rows), out_specs=q_spec, check_vma=False
        )
    if h % kv:
        raise ValueError(f"splash_attention: {h} query heads are not a multiple of {kv} kv heads")
    return local(q, k, v, q_ids, kv_ids)[:, :n, :, :d]

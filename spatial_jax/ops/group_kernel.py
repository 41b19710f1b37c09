"""Attention of packed rows [prompt | answer 1 | ... | answer g] as fused kernels for GPUs (Pallas, through Triton),
forward and backward: `shared_prefix.group_attention` is its reference.

A program takes one block of queries (or, for the gradients of keys and values, one block of keys) and visits only the
blocks that the group's mask shows it, with a running softmax; nothing of size [row, row] exists. Backward from the
saved log-sum-exp, as in Dao 2023 (FlashAttention-2), algorithm 2.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float

from spatial_jax.ops.kept import KEPT
from spatial_jax.ops.running_softmax import empty_carry, fold, precision_of
from spatial_jax.parallel.rules import active_mesh, partition_spec

BLOCK = 64


@dataclasses.dataclass(frozen=True)
class Rows:
    """Static shape of packed rows: p prompt tokens and answers of t tokens, of which n places are real."""

    p: int
    t: int
    n: int
    block: int

    @property
    def prompt_blocks(self) -> int:
        """Blocks that hold a prompt token; the last may hold answer tokens, too."""
        return -(-self.p // self.block)

    def visible(self, query: Array, key: Array) -> Array:
        """Whether the query at one place may see the key at another: itself and before, its prompt or its answer."""
        own = (query - self.p) // self.t == (key - self.p) // self.t
        return (key <= query) & ((key < self.p) | own)

    def first_own(self, block: Array) -> Array:
        """First block after the prompt's that holds keys of the answer of the block's first query."""
        place = jnp.maximum(block * self.block - self.p, 0)
        return jnp.maximum((self.p + place // self.t * self.t) // self.block, self.prompt_blocks)

    def last_own(self, block: Array) -> Array:
        """Last block with queries of the answer of the block's last key."""
        place = jnp.maximum((block + 1) * self.block - 1 - self.p, 0)
        return jnp.minimum((self.p + (place // self.t + 1) * self.t - 1) // self.block, self.blocks - 1)

    @property
    def blocks(self) -> int:
        return -(-self.n // self.block)


def group_attention(
    q: Float[Array, "b n h d"],
    k: Float[Array, "b n k d"],
    v: Float[Array, "b n k d"],
    valid: Bool[Array, "b n"],
    *,
    prompt: int,
    answer: int,
    interpret: bool = False,
) -> Float[Array, "b n h d"]:
    """Every token over its prompt's valid tokens and its own answer's before it. Queries that see nothing get finite
    numbers.
    """
    n = q.shape[1]
    rows = Rows(prompt, answer, n, BLOCK)
    pad = ((0, 0), (0, rows.blocks * BLOCK - n), (0, 0), (0, 0))
    q, k, v = (jnp.pad(x, pad) for x in (q, k, v))
    valid = jnp.pad(valid, pad[:2])
    local = functools.partial(_attend, rows, interpret)
    active = active_mesh()
    if active is not None and active[0].size > 1:
        mesh, rules = active
        keys = partition_spec(("batch", None, "kv_heads", None), k.shape, mesh, rules, strict=False)
        local = jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(keys, keys, keys, PartitionSpec(keys[0], None)),
            out_specs=keys,
            check_vma=False,
        )
    return local(q, k, v, valid)[:, :n]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _attend(rows: Rows, interpret: bool, q: Array, k: Array, v: Array, valid: Array) -> Array:
    return _forward(rows, interpret, q, k, v, valid)[0]


def _attend_forward(rows, interpret, q, k, v, valid):
    out, lse = (checkpoint_name(x, KEPT) for x in _forward(rows, interpret, q, k, v, valid))
    return out, (q, k, v, valid, out, lse)


def _attend_backward(rows, interpret, saved, d_out):
    q, k, v, valid, out, lse = saved
    b, n, h, d = q.shape
    kv = k.shape[2]
    block = lambda index: pl.BlockSpec((None, rows.block, None, d), index)  # noqa: E731
    whole = lambda index: pl.BlockSpec((None, n, None, d), index)  # noqa: E731
    rep, call = h // kv, functools.partial(pl.pallas_call, interpret=interpret, compiler_params=_compiler())
    numbers = pl.BlockSpec((None, None, rows.block), lambda i, j, r: (r, j, i))
    dq, delta = call(
        functools.partial(_dq_kernel, rows=rows, scale=d**-0.5),
        grid=(rows.blocks, h, b),
        in_specs=[
            block(lambda i, j, r: (r, i, j, 0)),
            *[whole(lambda i, j, r: (r, 0, j // rep, 0))] * 2,
            pl.BlockSpec((None, n), lambda i, j, r: (r, 0)),
            *[block(lambda i, j, r: (r, i, j, 0))] * 2,
            numbers,
        ],
        out_specs=[block(lambda i, j, r: (r, i, j, 0)), numbers],
        out_shape=[jax.ShapeDtypeStruct(q.shape, q.dtype), jax.ShapeDtypeStruct(lse.shape, lse.dtype)],
        name="group_attention_dq",
    )(q, k, v, valid, out, d_out, lse)
    heads = lambda index: pl.BlockSpec((None, n, rep, d), index)  # noqa: E731
    dk, dv = call(
        functools.partial(_dkv_kernel, rows=rows, scale=d**-0.5, heads=rep),
        grid=(rows.blocks, kv, b),
        in_specs=[
            heads(lambda i, j, r: (r, 0, j, 0)),
            *[block(lambda i, j, r: (r, i, j, 0))] * 2,
            pl.BlockSpec((None, rows.block), lambda i, j, r: (r, i)),
            heads(lambda i, j, r: (r, 0, j, 0)),
            *[pl.BlockSpec((None, rep, n), lambda i, j, r: (r, j, 0))] * 2,
        ],
        out_specs=[block(lambda i, j, r: (r, i, j, 0))] * 2,
        out_shape=[jax.ShapeDtypeStruct(k.shape, k.dtype), jax.ShapeDtypeStruct(v.shape, v.dtype)],
        name="group_attention_dkv",
    )(q, k, v, valid, d_out, lse, delta)
    return dq, dk, dv, None


_attend.defvjp(_attend_forward, _attend_backward)


def _compiler() -> triton.CompilerParams:
    return triton.CompilerParams(num_warps=4, num_stages=2)


def _forward(rows: Rows, interpret: bool, q: Array, k: Array, v: Array, valid: Array) -> tuple[Array, Array]:
    b, n, h, d = q.shape
    rep = h // k.shape[2]
    block = pl.BlockSpec((None, rows.block, None, d), lambda i, j, r: (r, i, j, 0))
    whole = pl.BlockSpec((None, n, None, d), lambda i, j, r: (r, 0, j // rep, 0))
    return pl.pallas_call(
        functools.partial(_forward_kernel, rows=rows, scale=d**-0.5),
        grid=(rows.blocks, h, b),
        in_specs=[block, whole, whole, pl.BlockSpec((None, n), lambda i, j, r: (r, 0))],
        out_specs=[block, pl.BlockSpec((None, None, rows.block), lambda i, j, r: (r, j, i))],
        out_shape=[jax.ShapeDtypeStruct(q.shape, q.dtype), jax.ShapeDtypeStruct((b, h, n), jnp.float32)],
        interpret=interpret,
        compiler_params=_compiler(),
        name="group_attention_fwd",
    )(q, k, v, valid)


def _places(block: Array, rows: Rows) -> Array:
    return block * rows.block + jnp.arange(rows.block)


def _over_keys(rows: Rows, block: Array, step, carry):
    """`step` at each key block that queries of the block may see: the prompt's, then those of their own answers."""
    carry = jax.lax.fori_loop(0, jnp.minimum(rows.prompt_blocks, block + 1), step, carry)
    return jax.lax.fori_loop(rows.first_own(block), block + 1, step, carry)


def _forward_kernel(q_ref, k_ref, v_ref, valid_ref, out_ref, lse_ref, *, rows: Rows, scale: float):
    block, q = pl.program_id(0), q_ref[...]
    queries = _places(block, rows)

    def step(i, carry):
        here = pl.ds(i * rows.block, rows.block)
        seen = rows.visible(queries[:, None], _places(i, rows)[None, :]) & valid_ref[here][None, :]
        return fold(q, k_ref[here, :], v_ref[here, :], seen, scale, carry)

    out, top, total = _over_keys(rows, block, step, empty_carry(*q.shape))
    total = jnp.maximum(total, 1e-30)
    out_ref[...] = (out / total[:, None]).astype(out_ref.dtype)
    lse_ref[...] = top + jnp.log(total)


def _dq_kernel(
    q_ref, k_ref, v_ref, valid_ref, out_ref, d_out_ref, lse_ref, dq_ref, delta_ref, *, rows: Rows, scale: float
):
    """Gradients of a block of queries, and what a query's output and its gradient have in common, which those of keys
    need too.
    """
    block, q, d_out = pl.program_id(0), q_ref[...], d_out_ref[...]
    queries, precision, lse = _places(block, rows), precision_of(q), lse_ref[...]
    delta = jnp.sum(out_ref[...].astype(jnp.float32) * d_out.astype(jnp.float32), axis=-1)
    delta_ref[...] = delta

    def step(i, dq):
        here = pl.ds(i * rows.block, rows.block)
        keys = k_ref[here, :]
        seen = rows.visible(queries[:, None], _places(i, rows)[None, :]) & valid_ref[here][None, :]
        scores = triton.dot(q, keys.T, precision=precision) * scale
        weights = jnp.where(seen, jnp.exp(jnp.where(seen, scores - lse[:, None], 0.0)), 0.0)
        d_scores = weights * (triton.dot(d_out, v_ref[here, :].T, precision=precision) - delta[:, None]) * scale
        return dq + triton.dot(d_scores.astype(keys.dtype), keys, precision=precision)

    dq = _over_keys(rows, block, step, jnp.zeros(q.shape, jnp.float32))
    dq_ref[...] = dq.astype(dq_ref.dtype)


def _dkv_kernel(
    q_ref,
    k_ref,
    v_ref,
    valid_ref,
    d_out_ref,
    lse_ref,
    delta_ref,
    dk_ref,
    dv_ref,
    *,
    rows: Rows,
    scale: float,
    heads: int,
):
    block, k, v = pl.program_id(0), k_ref[...], v_ref[...]
    keys, valid, precision = _places(block, rows), valid_ref[...], precision_of(k)

    # A block with prompt tokens is seen by everything after it, another by the rest of its answers.
    last = jnp.where(block < rows.prompt_blocks, rows.blocks - 1, rows.last_own(block))
    span = last + 1 - block

    def step(j, carry):
        """The j-th pair of a query head and a block of its queries."""
        dk, dv = carry
        head, i = j // span, block + j % span
        here = pl.ds(i * rows.block, rows.block)
        q, d_out = q_ref[here, head, :], d_out_ref[here, head, :]
        seen = rows.visible(_places(i, rows)[:, None], keys[None, :]) & valid[None, :]
        scores = triton.dot(q, k.T, precision=precision) * scale
        weights = jnp.where(seen, jnp.exp(jnp.where(seen, scores - lse_ref[head, here][:, None], 0.0)), 0.0)
        dv = dv + triton.dot(weights.astype(d_out.dtype).T, d_out, precision=precision)
        d_weights = triton.dot(d_out, v.T, precision=precision) - delta_ref[head, here][:, None]
        dk = dk + triton.dot((weights * d_weights * scale).astype(q.dtype).T, q, precision=precision)
        return dk, dv

    carry = (jnp.zeros(k.shape, jnp.float32), jnp.zeros(v.shape, jnp.float32))
    dk, dv = jax.lax.fori_loop(0, heads * span, step, carry)
    dk_ref[...], dv_ref[...] = dk.astype(dk_ref.dtype), dv.astype(dv_ref.dtype)

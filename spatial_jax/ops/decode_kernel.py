"""One decode step's attention as one kernel for GPUs (Pallas, through Triton): `shared_prefix.decode_attention` is its
reference.

A program takes one slot of one kv head: its few query heads pass over the prompt's keys and then over the slot's own,
with one running softmax (Dao 2023, FlashAttention-2, section 3.1). Of the ring it reads only the blocks that hold the
slot's tokens. The slots of a prompt read the same keys one after another, so memory gives them once and the cache of
the card the other times.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from spatial_jax.ops.attention import fits_gpu_kernels
from spatial_jax.ops.running_softmax import empty_carry, fold
from spatial_jax.parallel.rules import active_mesh, partition_spec

# Tensor cores take tiles of sixteen rows at least.
ROWS = 16
BLOCK = 64


def takes(q: Array, cache: Array, ring: int, prompt: int) -> bool:
    """Whether the kernel serves these shapes: heads of a power of two, no more query heads a kv head than a tile has
    rows, caches that whole blocks fill, and a float type.
    """
    d, heads = q.shape[-1], q.shape[-2] // cache.shape[1]
    float_cache = jnp.issubdtype(cache.dtype, jnp.floating)
    return float_cache and fits_gpu_kernels(d) and heads <= ROWS and not (ring % ROWS or prompt % ROWS)


def decode_attention(
    q: Float[Array, "r w h d"],
    prompt_k: Float[Array, "r k p d"],
    prompt_v: Float[Array, "r k p d"],
    own_k: Float[Array, "r w k s d"],
    own_v: Float[Array, "r w k s d"],
    prompt_valid: Bool[Array, "r p"],
    column: Int[Array, ""],
    lengths: Int[Array, "r w"],
    *,
    interpret: bool = False,
) -> Float[Array, "r w h d"]:
    """One token of each of w slots of r prompts over the prompt and the `lengths` newest columns of its ring, the last
    of which is `column`: the token's own keys are written before.
    """
    local = functools.partial(_attend, interpret=interpret)
    active = active_mesh()
    if active is not None and active[0].size > 1:
        mesh, rules = active
        prompts, heads, *_ = partition_spec(
            ("batch", "kv_heads", None, None), prompt_k.shape, mesh, rules, strict=False
        )
        query, prompt = PartitionSpec(prompts, None, heads), PartitionSpec(prompts, heads)
        rows = PartitionSpec(prompts)
        local = jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(query, prompt, prompt, query, query, rows, PartitionSpec(), rows),
            out_specs=query,
            check_vma=False,
        )
    return local(q, prompt_k, prompt_v, own_k, own_v, prompt_valid, column, lengths)


def _attend(q, prompt_k, prompt_v, own_k, own_v, prompt_valid, column, lengths, *, interpret: bool) -> Array:
    """One device's prompts and heads."""
    r, w, h, d = q.shape
    kv, p, s = prompt_k.shape[1], prompt_k.shape[2], own_k.shape[3]
    heads = h // kv
    kernel = functools.partial(
        _kernel,
        heads=heads,
        prompt_block=math.gcd(p, BLOCK),
        own_block=math.gcd(s, BLOCK),
        scale=d**-0.5,
    )
    # A block of more query heads than there are: the kernel masks the rest.
    query = pl.BlockSpec((None, None, None, ROWS, d), lambda i, j, n: (i, n, j, 0, 0))
    prompt = pl.BlockSpec((None, None, p, d), lambda i, j, n: (i, j, 0, 0))
    own = pl.BlockSpec((None, None, None, s, d), lambda i, j, n: (i, n, j, 0, 0))
    grouped = q.reshape(r, w, kv, heads, d)
    out = pl.pallas_call(
        kernel,
        grid=(r, kv, w),
        in_specs=[
            query,
            *(prompt, prompt, own, own),
            pl.BlockSpec((None, p), lambda i, j, n: (i, 0)),
            pl.BlockSpec((1,), lambda i, j, n: (0,)),
            pl.BlockSpec((None, 1), lambda i, j, n: (i, n)),
        ],
        out_specs=query,
        out_shape=jax.ShapeDtypeStruct(grouped.shape, q.dtype),
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=2),
        interpret=interpret,
        name="decode_attention",
    )(grouped, prompt_k, prompt_v, own_k, own_v, prompt_valid, column[None], lengths)
    return out.reshape(q.shape)


def _kernel(
    q_ref,  # [heads, d]
    prompt_k_ref,  # [p, d]
    prompt_v_ref,
    own_k_ref,  # [s, d]
    own_v_ref,
    valid_ref,  # [p]
    column_ref,  # [1]
    length_ref,  # [1]
    out_ref,  # [heads, d]
    *,
    heads: int,
    prompt_block: int,
    own_block: int,
    scale: float,
):
    d = q_ref.shape[1]
    real = (jnp.arange(ROWS) < heads)[:, None]
    q = triton.load(q_ref.at[pl.ds(0, ROWS), :], mask=real, other=0.0)

    def prompt_step(i, carry):
        here = pl.ds(i * prompt_block, prompt_block)
        return fold(q, prompt_k_ref[here, :], prompt_v_ref[here, :], valid_ref[here][None, :], scale, carry)

    size = own_k_ref.shape[0]
    column, length = column_ref[0], length_ref[0]

    def own_step(i, carry):
        block = jnp.mod(i, size // own_block)
        place = block * own_block + jnp.arange(own_block)
        age = jnp.mod(column - place + size, size)
        here = pl.ds(block * own_block, own_block)
        return fold(q, own_k_ref[here, :], own_v_ref[here, :], (age < length)[None, :], scale, carry)

    carry = empty_carry(ROWS, d)
    carry = jax.lax.fori_loop(0, prompt_k_ref.shape[0] // prompt_block, prompt_step, carry)
    # Blocks from that of the slot's first token to that of its last, around the ring's end; each at most once.
    last = (column + size) // own_block
    first = jnp.maximum((column + size - length + 1) // own_block, last - size // own_block + 1)
    out, _, total = jax.lax.fori_loop(first, last + 1, own_step, carry)
    out = out / jnp.maximum(total, 1e-30)[:, None]
    triton.store(out_ref.at[pl.ds(0, ROWS), :], out.astype(out_ref.dtype), mask=real)

"""Attention inside short blocks (the windows of a picture) as one fused kernel for GPUs (Pallas, through Triton), and
one for its gradients: `attention.reference_attention` with key padding is its reference.

A program takes one head of one block whole, so its scores never leave it, and the backward pass repeats them. Widths
that are no power of two go in parts that are (80 = 64 + 16): nothing is padded.
"""

from __future__ import annotations

import functools
import operator

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float

from spatial_jax.ops.attention import MASKED, power_parts
from spatial_jax.ops.running_softmax import precision_of
from spatial_jax.parallel.rules import active_mesh, partition_spec


def block_attention(
    q: Float[Array, "b n h d"],
    k: Float[Array, "b n h d"],
    v: Float[Array, "b n h d"],
    valid: Bool[Array, "b n"],
    *,
    interpret: bool = False,
) -> Float[Array, "b n h d"]:
    """Every row over the valid rows of its block; a block without any gets zeros. n: a power of two, 16 to 128."""
    local = functools.partial(_attend, interpret)
    active = active_mesh()
    if active is not None and active[0].size > 1:
        mesh, rules = active
        blocks = partition_spec(("patches", None, "vision_heads", None), q.shape, mesh, rules, strict=False)
        rows = PartitionSpec(blocks[0], None)
        local = jax.shard_map(local, mesh=mesh, in_specs=(blocks,) * 3 + (rows,), out_specs=blocks, check_vma=False)
    return local(q, k, v, valid)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(interpret: bool, q: Array, k: Array, v: Array, valid: Array) -> Array:
    return _call(_forward_kernel, interpret, 1, q, k, v, valid)[0]


def _attend_forward(interpret, q, k, v, valid):
    return _attend(interpret, q, k, v, valid), (q, k, v, valid)


def _attend_backward(interpret, saved, d_out):
    return *_call(_backward_kernel, interpret, 3, *saved, d_out), None


_attend.defvjp(_attend_forward, _attend_backward)


def _call(kernel, interpret: bool, outputs: int, q: Array, k: Array, v: Array, valid: Array, *more: Array) -> list:
    b, n, h, d = q.shape
    block = pl.BlockSpec((None, n, None, d), lambda i, j: (i, 0, j, 0))
    return pl.pallas_call(
        functools.partial(kernel, scale=d**-0.5),
        grid=(b, h),
        in_specs=[block] * 3 + [pl.BlockSpec((None, n), lambda i, j: (i, 0))] + [block] * len(more),
        out_specs=[block] * outputs,
        out_shape=[jax.ShapeDtypeStruct(q.shape, q.dtype)] * outputs,
        interpret=interpret,
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=1),
        name=f"block_attention{kernel.__name__.removesuffix('_kernel')}",
    )(q, k, v, valid, *more)


def _load(ref) -> list[Array]:
    """[n, width] of each part."""
    return [ref[:, pl.ds(first, width)] for first, width in power_parts(ref.shape[-1])]


def _store(ref, parts: list[Array]) -> None:
    for (first, width), part in zip(power_parts(ref.shape[-1]), parts):
        ref[:, pl.ds(first, width)] = part.astype(ref.dtype)


def _product(a: list[Array], b: list[Array]) -> Array:
    """a b^T, summed over the parts."""
    return functools.reduce(operator.add, (triton.dot(x, y.T, precision=precision_of(x)) for x, y in zip(a, b)))


def _weights(q: list[Array], k: list[Array], seen: Array, scale: float) -> Array:
    """float32 [n, n], each row a distribution over the valid keys."""
    scores = jnp.where(seen[None, :], _product(q, k) * scale, MASKED)
    weights = jnp.where(seen[None, :], jnp.exp(scores - scores.max(axis=-1)[:, None]), 0.0)
    return weights / jnp.maximum(weights.sum(axis=-1), 1e-30)[:, None]


def _forward_kernel(q_ref, k_ref, v_ref, valid_ref, out_ref, *, scale: float):
    weights = _weights(_load(q_ref), _load(k_ref), valid_ref[...], scale)
    _store(out_ref, [triton.dot(weights.astype(v.dtype), v, precision=precision_of(v)) for v in _load(v_ref)])


def _backward_kernel(q_ref, k_ref, v_ref, valid_ref, d_out_ref, dq_ref, dk_ref, dv_ref, *, scale: float):
    q, k, d_out = _load(q_ref), _load(k_ref), _load(d_out_ref)
    precision, dtype = precision_of(q[0]), q[0].dtype
    weights = _weights(q, k, valid_ref[...], scale)
    _store(dv_ref, [triton.dot(weights.astype(dtype).T, part, precision=precision) for part in d_out])
    d_weights = _product(d_out, _load(v_ref))
    d_scores = weights * (d_weights - (weights * d_weights).sum(axis=-1)[:, None]) * scale
    d_scores = d_scores.astype(dtype)
    _store(dq_ref, [triton.dot(d_scores, part, precision=precision) for part in k])
    _store(dk_ref, [triton.dot(d_scores.T, part, precision=precision) for part in q])

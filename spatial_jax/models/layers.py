"""The few layers that the tower and the decoder are made of: pure functions of nested dicts of arrays."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from spatial_jax.ops.attention import current_platform
from spatial_jax.ops.rope import wide_dtype
from spatial_jax.parallel.rules import batch_ways, constrain, sum_parts

Params = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Compute:
    """How a forward pass computes: the activations' type, and the factor of LoRA branches (alpha / rank)."""

    dtype: Any
    lora_scale: float = 1.0


def linear(p: Params, x: jax.Array, compute: Compute, in_axes: int = 1) -> jax.Array:
    """x [..., inputs] times kernel [inputs, outputs] plus bias; `in_axes` trailing axes of x are inputs, outputs keep
    the kernel's shape.

    With lora_a [inputs, r] and lora_b [r, outputs] beside the kernel, their product is added; with kernel_scale
    [outputs] the kernel is int8 and its product multiplied by it.
    """
    y = _contract(x, p["kernel"].astype(compute.dtype), in_axes)
    if "kernel_scale" in p:
        y = (y * p["kernel_scale"]).astype(compute.dtype)
    if "lora_a" in p:
        # The factor meets the smallest array, so that the second product is added to y where it is made.
        low = _contract(x, (p["lora_a"] * compute.lora_scale).astype(compute.dtype), in_axes)
        y = y + _contract(low, p["lora_b"].astype(compute.dtype), 1)
    if "bias" in p:
        y = y + p["bias"].astype(compute.dtype)
    return y


def _contract(x: jax.Array, kernel: jax.Array, in_axes: int) -> jax.Array:
    axes = tuple(range(x.ndim - in_axes, x.ndim))
    return jax.lax.dot_general(x, kernel, ((axes, tuple(range(in_axes))), ((), ())))


def rms_norm(p: Params, x: jax.Array, eps: float) -> jax.Array:
    """RMSNorm over the last axis: float32 inside, cast back before the weight is applied (the order that bfloat16
    parity needs).
    """
    return _unit_rms(x, eps) * p["scale"].astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _unit_rms(x: jax.Array, eps: float) -> jax.Array:
    """x over the root of its mean square. The gradient keeps x in its own type and one number a row, and takes no
    division: a GPU's compiler then makes two kernels of it where its own way takes three.
    """
    return _unit_rms_forward(x, eps)[0]


def _unit_rms_forward(x, eps):
    wide = x.astype(wide_dtype(x.dtype))
    inverse = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + eps)
    return (wide * inverse).astype(x.dtype), (x, inverse)


def _unit_rms_backward(eps, residuals, cotangent):
    x, inverse = residuals
    normed, cotangent = x.astype(inverse.dtype) * inverse, cotangent.astype(inverse.dtype)
    along = jnp.sum(cotangent * normed, axis=-1, keepdims=True)
    return (((cotangent - normed * (1 / x.shape[-1]) * along) * inverse).astype(x.dtype),)


_unit_rms.defvjp(_unit_rms_forward, _unit_rms_backward)


def layer_norm(p: Params, x: jax.Array, eps: float) -> jax.Array:
    """LayerNorm over the last axis, float32 inside."""
    wide_type = wide_dtype(x.dtype)
    wide = x.astype(wide_type)
    centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
    normed = centred * jax.lax.rsqrt(jnp.mean(centred * centred, axis=-1, keepdims=True) + eps)
    return (normed * p["scale"].astype(wide_type) + p["bias"].astype(wide_type)).astype(x.dtype)


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
    """The named nonlinearity, computed in float32 and returned in the input's type."""
    functions: dict[str, Callable[[jax.Array], jax.Array]] = {
        "silu": jax.nn.silu,
        "gelu": lambda x: jax.nn.gelu(x, approximate=False),
        "gelu_pytorch_tanh": lambda x: jax.nn.gelu(x, approximate=True),
        "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    }
    function = functions[name]
    return lambda x: function(x.astype(wide_dtype(x.dtype))).astype(x.dtype)


def _alone_on_cpu() -> bool:
    return current_platform() == "cpu" and batch_ways() == 1


def merge_rows(x: jax.Array) -> jax.Array:
    """x [b, n, ...] as [b * n, ...] where a CPU computes alone: of products over two row axes its compiler transposes
    what goes into a kernel's gradient, element by element. Elsewhere as it is: an axis may be cut over devices.
    """
    return x.reshape(-1, *x.shape[2:]) if _alone_on_cpu() else x


def gated(name: str, gate: jax.Array, up: jax.Array) -> jax.Array:
    """The named nonlinearity of gate, times up. On a CPU the backward pass computes it again: to keep its parts of all
    layers costs more, for a scan's arrays are zeroed and copied before they are written.
    """

    def product(gate: jax.Array, up: jax.Array) -> jax.Array:
        return activation(name)(gate) * up

    return (jax.checkpoint(product, prevent_cse=False) if _alone_on_cpu() else product)(gate, up)


@jax.custom_vjp
def lookup(table: jax.Array, tokens: jax.Array) -> jax.Array:
    """Rows of table [v, d] at tokens [b, ...]. For the gradient each device adds up its own tokens' rows in float32 and
    the devices' sums meet once; left to the compiler, the table's gradient would be gathered before it is added to.
    """
    return jnp.take(table, tokens, axis=0)


def _lookup_forward(table, tokens):
    return lookup(table, tokens), (tokens, table)


def _lookup_backward(residuals, cotangent):
    tokens, table = residuals
    ways = batch_ways() if tokens.ndim > 1 and tokens.shape[0] % batch_ways() == 0 else 1
    parts = constrain(jnp.zeros((ways, *table.shape), wide_dtype(table.dtype)), ("batch", "vocab", None))
    own = jax.vmap(lambda part, rows, values: part.at[rows].add(values))(
        parts, tokens.reshape(ways, -1), cotangent.reshape(ways, -1, table.shape[1]).astype(parts.dtype)
    )
    return sum_parts(constrain(own, ("batch", "vocab", None)), ("vocab", "embed")).astype(table.dtype), None


lookup.defvjp(_lookup_forward, _lookup_backward)


def in_parts(x: jax.Array, parts: int, *axes: str | None) -> jax.Array:
    """[N, ...] -> [parts, N / parts, ...], each part on the device that holds its rows; axes: logical names of the axes
    after N.
    """
    x = x.reshape(parts, x.shape[0] // parts, *x.shape[1:])
    return constrain(x, ("patches", None, *(axes or (None,) * (x.ndim - 2)))) if parts > 1 else x


def take_parts(x: jax.Array, index: jax.Array) -> jax.Array:
    """Rows of x [N, ...] by index [S, m] within each of S parts -> [S * m, ...]. The parts are a batch of the gather,
    so that a device that holds a part needs no other's rows.
    """
    rows = jax.vmap(lambda part, rows: part[rows])(in_parts(x, len(index)), index)
    return rows.reshape(-1, *x.shape[1:])


@jax.custom_vjp
def gather_rows(x: jax.Array, index: jax.Array, inverse: jax.Array) -> jax.Array:
    """Rows of x [S, n, ...] by index [S, m] within each part -> [S, m, ...], zero where index is out of range.
    `inverse` [S, n] is the index of the way back, so that the gradient is a gather too.
    """
    return jax.vmap(lambda part, rows: part.at[rows].get(mode="fill", fill_value=0))(x, index)


def _gather_forward(x, index, inverse):
    return gather_rows(x, index, inverse), (index, inverse)


def _gather_backward(indices, cotangent):
    index, inverse = indices
    return gather_rows(cotangent, inverse, index), None, None


gather_rows.defvjp(_gather_forward, _gather_backward)

"""The few layers that the tower and the decoder are made of: pure functions of nested dicts of arrays."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from spatial_jax.ops.rope import wide_dtype

Params = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Compute:
    """How a forward pass computes: the activations' type, and the factor of LoRA branches (alpha / rank)."""

    dtype: Any
    lora_scale: float = 1.0


def linear(p: Params, x: jax.Array, compute: Compute, in_axes: int = 1) -> jax.Array:
    """x [..., inputs] times kernel [inputs, outputs] plus bias; `in_axes` trailing axes of x are inputs, outputs keep the kernel's shape.

    With lora_a [inputs, r] and lora_b [r, outputs] beside the kernel, their product is added.
    """
    y = _contract(x, p["kernel"].astype(compute.dtype), in_axes)
    if "lora_a" in p:
        low = _contract(x, p["lora_a"].astype(compute.dtype), in_axes)
        y = y + _contract(low, p["lora_b"].astype(compute.dtype), 1) * jnp.asarray(compute.lora_scale, compute.dtype)
    if "bias" in p:
        y = y + p["bias"].astype(compute.dtype)
    return y


def _contract(x: jax.Array, kernel: jax.Array, in_axes: int) -> jax.Array:
    axes = tuple(range(x.ndim - in_axes, x.ndim))
    return jax.lax.dot_general(x, kernel, ((axes, tuple(range(in_axes))), ((), ())))


def rms_norm(p: Params, x: jax.Array, eps: float) -> jax.Array:
    """RMSNorm over the last axis: float32 inside, cast back before the weight is applied (the order that bfloat16 parity needs)."""
    wide = x.astype(wide_dtype(x.dtype))
    normed = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + eps)
    return normed.astype(x.dtype) * p["scale"].astype(x.dtype)


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


@jax.custom_vjp
def gather_rows(x: jax.Array, index: jax.Array, inverse: jax.Array) -> jax.Array:
    """Rows x[index], zero where index is out of range. `inverse` is the index of the way back, so that the gradient is a gather too."""
    return x.at[index].get(mode="fill", fill_value=0)


def _gather_forward(x, index, inverse):
    return gather_rows(x, index, inverse), (index, inverse)


def _gather_backward(indices, cotangent):
    index, inverse = indices
    return gather_rows(cotangent, inverse, index), None, None


gather_rows.defvjp(_gather_forward, _gather_backward)

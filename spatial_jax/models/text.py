"""The decoder: one layer as a pure function, scanned over stacked parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from spatial_jax.models.layers import Compute, Params, gated, linear, merge_rows, rms_norm
from spatial_jax.models.remat import remat
from spatial_jax.models.sizes import TextConfig
from spatial_jax.ops.attention import for_gpu
from spatial_jax.ops.rope import mrope_cos_sin, rotate, rotate_pairs
from spatial_jax.parallel.rules import axis_ways, constrain

Attend = Callable[[jax.Array, jax.Array, jax.Array, Any], tuple[jax.Array, Any]]


# Projections of one input, which `joined_layers` makes one product of.
QKV, GATE_UP = ("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")
NORMS = ("input_norm", "post_norm")
# Tokens of a row from which on a pass on a GPU joins the projections of queries, keys and values.
LONG = 512


def _project(
    p: Params, names: tuple[str, ...], sizes: tuple[int, ...], x: jax.Array, compute: Compute
) -> list[jax.Array]:
    """The projections `names` of x [..., d], each with so many `sizes` of its first output axis, in one product where
    their kernels are joined.
    """
    joined = "+".join(names)
    if joined not in p:
        return [linear(p[name], x, compute) for name in names]
    one = p[joined]
    # [..., shards, sizes of a shard one after another, ...]
    y = linear({key: value for key, value in one.items() if key != "bias"}, x, compute)
    if "bias" in one:
        # Behind the barrier it is added where the parts are read; cuBLAS would have it spread over all rows before.
        y = jax.lax.optimization_barrier(y) + one["bias"].astype(compute.dtype)
    at, shards = x.ndim, y.shape[x.ndim - 1]
    ends = [sum(sizes[: i + 1]) // shards for i in range(len(sizes) - 1)]
    parts = [part.reshape(*x.shape[:-1], -1, *part.shape[at + 1 :]) for part in jnp.split(y, ends, axis=at)]
    biases = [p.get(name, {}).get("bias") for name in names]
    return [y if bias is None else y + bias.astype(compute.dtype) for y, bias in zip(parts, biases)]


def joined_layers(layers: Params, count: int, compute: Compute) -> list[Params]:
    """The stacked layers one by one, for a loop that reads them many times: kernels in the activations' type with their
    adapters added, and those of one input side by side. The same function to rounding.

    A GPU's program copies what it takes out of a stacked array, and launches a kernel for every product.
    """
    return [_joined(jax.tree.map(lambda x, i=i: x[i], layers), compute) for i in range(count)]


def _joined(layer: Params, compute: Compute) -> Params:
    whole = {name: _whole(part, compute) if "kernel" in part else part for name, part in layer.items()}
    for names, axis in ((QKV, "kv_heads"), (GATE_UP, "mlp")):
        # Biases stay apart: beside the product they would be spread over its rows by a kernel of their own.
        kernels = [whole[name].pop("kernel") for name in names]
        whole["+".join(names)] = {"kernel": _side_by_side(kernels, axis)}
    return whole


def _side_by_side(kernels: list[jax.Array], axis: str) -> jax.Array:
    """Kernels [m, n_i, ...] as one [m, shards, sizes of a shard one after another, ...], n_i lying along the logical
    `axis`. Each device's shards lie together: nothing crosses between devices.
    """
    ways = axis_ways(axis, *(kernel.shape[1] for kernel in kernels))
    return jnp.concatenate([k.reshape(k.shape[0], ways, -1, *k.shape[2:]) for k in kernels], axis=2)


def _may_join(layers: Params, config: TextConfig) -> bool:
    """Not int8 kernels, and none where query heads are cut over more devices than kv heads: they would be gathered."""
    heads, kv = config.num_heads, config.num_kv_heads
    return "kernel_scale" not in layers[QKV[0]] and axis_ways("heads", heads) == axis_ways("kv_heads", heads, kv)


def joined_queries(layers: Params, compute: Compute) -> Params:
    """The stacked layers with one kernel for queries, keys and values, one adapter, and one array of both norms'
    scales: for passes so long that reading their rows three times costs more than a copy of these kernels. The same
    function to rounding.
    """

    def join(layer: Params) -> Params:
        parts = [layer[name] for name in QKV]
        one = {"kernel": _side_by_side([part["kernel"].astype(compute.dtype) for part in parts], "kv_heads")}
        adapted = [part for part in parts if "lora_a" in part]
        if adapted:
            one["lora_a"] = jnp.concatenate([part["lora_a"] for part in adapted], axis=-1)
            blocks = [[_adapter(other, part) for other in parts] for part in adapted]
            one["lora_b"] = jnp.concatenate([_side_by_side(block, "kv_heads") for block in blocks])
        if "bias" in parts[0]:
            one["bias"] = _side_by_side([part["bias"][None] for part in parts], "kv_heads")[0]
        rest = {name: part for name, part in layer.items() if name not in (*QKV, *NORMS)}
        # A loop's body takes both scales out in one kernel, and stores their gradients in one.
        return {**rest, "+".join(QKV): one, "+".join(NORMS): jnp.stack([layer[name]["scale"] for name in NORMS])}

    return jax.vmap(join)(layers)


def _adapter(p: Params, owner: Params) -> jax.Array:
    """What the owner's adapter [r, ...] adds to a projection: its own lora_b to itself, nothing to another."""
    high = owner["lora_b"]
    return high if p is owner else jnp.zeros((high.shape[0], *p["kernel"].shape[1:]), high.dtype)


def _whole(p: Params, compute: Compute) -> dict[str, jax.Array]:
    """A projection with its adapter added to its kernel, in the activations' type; of int8 its numbers."""
    kernel = p["kernel"]
    if "kernel_scale" in p:
        kernel = kernel.astype(jnp.float32) * p["kernel_scale"]
    if "lora_a" in p:
        low, high = p["lora_a"].astype(jnp.float32), p["lora_b"].astype(jnp.float32)
        rank = low.shape[-1]
        added = jnp.dot(low.reshape(-1, rank), high.reshape(rank, -1), precision="highest") * compute.lora_scale
        kernel = kernel.astype(jnp.float32) + added.reshape(kernel.shape)
    rest = {key: value for key, value in p.items() if key == "bias"}
    return {"kernel": kernel.astype(compute.dtype), **rest}


def _norms(p: Params) -> list[Params]:
    """Both norms of a layer, whose scales `joined_queries` makes one array."""
    joined = "+".join(NORMS)
    return [{"scale": scale} for scale in p[joined]] if joined in p else [p[name] for name in NORMS]


def decoder_layer(
    p: Params,
    x: jax.Array,
    cos: jax.Array,
    sin: jax.Array,
    attend: Attend,
    cache: Any,
    config: TextConfig,
    compute: Compute,
) -> tuple[jax.Array, Any]:
    """One pre-norm layer: x [b, n, d] -> ([b, n, d], what `attend` keeps). What attention puts out is named for
    policies of models/remat.py where it is computed, in ops/.
    """
    eps, rows = config.rms_norm_eps, x.shape[:2]
    input_norm, post_norm = _norms(p)
    h = merge_rows(rms_norm(input_norm, x, eps))
    q, k, v = _project(p, QKV, (config.num_heads, config.num_kv_heads, config.num_kv_heads), h, compute)
    if config.qk_norm:
        q, k = rms_norm(p["q_norm"], q, eps), rms_norm(p["k_norm"], k, eps)
    q, k, v = (a.reshape(*rows, *a.shape[-2:]) for a in (q, k, v))
    turn = rotate_pairs if for_gpu() else rotate
    q, k = checkpoint_name(turn(q, cos, sin), "q"), checkpoint_name(turn(k, cos, sin), "k")
    q = constrain(q, ("batch", "sequence", "heads", None))
    out, cache = attend(q, k, checkpoint_name(v, "v"), cache)
    x = x + linear(p["o_proj"], merge_rows(out), compute, in_axes=2).reshape(x.shape)
    h = merge_rows(rms_norm(post_norm, x, eps))
    gate, up = _project(p, GATE_UP, (config.intermediate_size, config.intermediate_size), h, compute)
    hidden = constrain(gated("silu", gate, up).reshape(*rows, -1), ("batch", "sequence", "mlp"))
    x = x + linear(p["down_proj"], merge_rows(hidden), compute).reshape(x.shape)
    return constrain(x, ("batch", "sequence", "activation")), cache


def run_decoder(
    p: Params,
    x: jax.Array,
    positions: jax.Array,
    attend: Attend,
    caches: Any,
    deepstack: jax.Array | None,
    config: TextConfig,
    compute: Compute,
    policy: str,
) -> tuple[jax.Array, Any]:
    """All layers and the final norm: x [b, n, d], positions [3, b, n] -> (hidden [b, n, d], stacked new caches).

    deepstack [k, b, n, d] is added after the first k layers. Layers and caches may be lists, one entry a layer
    (`joined_layers`): then so are the new caches.
    """
    cos, sin = mrope_cos_sin(
        positions, config.mrope_section, config.mrope_interleaved, config.rope_theta, compute.dtype
    )
    if isinstance(p["layers"], list):
        x, kept = x.astype(compute.dtype), []
        for layer, cache in zip(p["layers"], caches, strict=True):
            with jax.named_scope("layer"):  # by which a compiled program's kernels are told from all others
                x, new = decoder_layer(layer, x, cos, sin, attend, cache, config, compute)
            kept.append(new)
        return rms_norm(p["norm"], x, config.rms_norm_eps), kept
    taps = 0 if deepstack is None else deepstack.shape[0]
    layers = p["layers"]
    if for_gpu() and x.shape[1] >= LONG and _may_join(layers, config):
        layers = joined_queries(layers, compute)

    def body(x, step):
        layer, cache, index = step
        x, cache = decoder_layer(layer, x, cos, sin, attend, cache, config, compute)
        if deepstack is not None:
            x = jax.lax.cond(
                index < taps, lambda: x + deepstack[jnp.minimum(index, taps - 1)].astype(x.dtype), lambda: x
            )
        return x, cache

    indices = None if deepstack is None else jnp.arange(config.num_layers)
    x, caches = jax.lax.scan(remat(body, policy), x.astype(compute.dtype), (layers, caches, indices))
    return rms_norm(p["norm"], x, config.rms_norm_eps), caches

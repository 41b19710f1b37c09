"""The decoder: one layer as a pure function, scanned over stacked parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from spatial_jax.models.layers import Compute, Params, activation, linear, rms_norm
from spatial_jax.models.remat import remat
from spatial_jax.models.sizes import TextConfig
from spatial_jax.ops.rope import mrope_cos_sin, rotate
from spatial_jax.parallel.rules import constrain

Attend = Callable[[jax.Array, jax.Array, jax.Array, Any], tuple[jax.Array, Any]]


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
    """One pre-norm layer: x [b, n, d] -> ([b, n, d], what `attend` keeps)."""
    eps = config.rms_norm_eps
    h = rms_norm(p["input_norm"], x, eps)
    q, k, v = (linear(p[name], h, compute) for name in ("q_proj", "k_proj", "v_proj"))
    if config.qk_norm:
        q, k = rms_norm(p["q_norm"], q, eps), rms_norm(p["k_norm"], k, eps)
    q, k = checkpoint_name(rotate(q, cos, sin), "q"), checkpoint_name(rotate(k, cos, sin), "k")
    q = constrain(q, ("batch", "sequence", "heads", None))
    out, cache = attend(q, k, checkpoint_name(v, "v"), cache)
    x = x + linear(p["o_proj"], checkpoint_name(out, "attention"), compute, in_axes=2)
    h = rms_norm(p["post_norm"], x, eps)
    hidden = activation("silu")(linear(p["gate_proj"], h, compute)) * linear(p["up_proj"], h, compute)
    hidden = constrain(hidden, ("batch", "sequence", "mlp"))
    x = x + linear(p["down_proj"], hidden, compute)
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

    deepstack [k, b, n, d] is added after the first k layers.
    """
    cos, sin = mrope_cos_sin(
        positions, config.mrope_section, config.mrope_interleaved, config.rope_theta, compute.dtype
    )
    taps = 0 if deepstack is None else deepstack.shape[0]

    def body(x, step):
        layer, cache, index = step
        x, cache = decoder_layer(layer, x, cos, sin, attend, cache, config, compute)
        if deepstack is not None:
            x = jax.lax.cond(
                index < taps, lambda: x + deepstack[jnp.minimum(index, taps - 1)].astype(x.dtype), lambda: x
            )
        return x, cache

    indices = None if deepstack is None else jnp.arange(config.num_layers)
    x, caches = jax.lax.scan(remat(body, policy), x.astype(compute.dtype), (p["layers"], caches, indices))
    return rms_norm(p["norm"], x, config.rms_norm_eps), caches

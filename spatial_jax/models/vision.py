"""The vision tower on packed patches: windows and frames as blocks, every shape static."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp

from spatial_jax.models.batch import BlockLayout, VisionArrays, VisionFeatures
from spatial_jax.models.families import FAMILIES
from spatial_jax.models.layers import (
    Compute,
    Params,
    activation,
    gated,
    gather_rows,
    in_parts,
    layer_norm,
    linear,
    rms_norm,
    take_parts,
)
from spatial_jax.models.remat import remat
from spatial_jax.models.sizes import VisionConfig
from spatial_jax.ops.attention import attention, fits_block_kernel
from spatial_jax.ops.rope import grid_cos_sin, rotate, wide_dtype
from spatial_jax.parallel.rules import constrain

NORM_EPS = 1e-6
HEADS = ("vision_heads", None)


def block_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, layout: BlockLayout | None, segment_ids: jax.Array, parts: int = 1
) -> jax.Array:
    """q, k, v [N, h, d] -> [N, h, d], each row attending inside its block, or inside its segment of its part when there
    is no layout.
    """
    if layout is None:
        q, k, v = (in_parts(a, parts, *HEADS) for a in (q, k, v))
        segments = in_parts(segment_ids, parts)
        out = attention(q, k, v, q_segments=segments, kv_segments=segments)
        return out.reshape(-1, *out.shape[2:])
    slots = None if layout.index is None else layout.index.reshape(parts, -1)

    def move(a, index, inverse):
        return a if index is None else gather_rows(in_parts(a, parts, *HEADS), index, inverse)

    q, k, v = (move(a, slots, layout.inverse).reshape(-1, layout.size, *a.shape[1:]) for a in (q, k, v))
    valid = None if layout.valid is None else layout.valid.reshape(-1, layout.size)
    if fits_block_kernel(q):
        from spatial_jax.ops import block_kernel  # Pallas for GPUs is slow to import and only needed there

        out = block_kernel.block_attention(q, k, v, jnp.ones(q.shape[:2], bool) if valid is None else valid)
    else:
        out = attention(q, k, v, kv_valid=valid)
    out = out.reshape(-1, *out.shape[2:])
    return move(out, layout.inverse, slots).reshape(-1, *out.shape[1:])


def _norm(p: Params, x: jax.Array, config: VisionConfig) -> jax.Array:
    return rms_norm(p, x, NORM_EPS) if FAMILIES[config.family].tower.rms_norm else layer_norm(p, x, NORM_EPS)


def vision_block(
    p: Params,
    x: jax.Array,
    cos: jax.Array,
    sin: jax.Array,
    layout: BlockLayout | None,
    segment_ids: jax.Array,
    parts: int,
    config: VisionConfig,
    compute: Compute,
) -> jax.Array:
    """One pre-norm block on packed patches, x [N, d]."""
    # Pinned, the weights of a block are gathered; free, the compiler sums partial products of all patches over the
    # devices instead.
    x = constrain(x, ("patches", None))
    qkv = constrain(linear(p["qkv"], _norm(p["norm1"], x, config), compute), ("patches", None, "vision_heads", None))
    q, k = rotate(qkv[:, 0], cos, sin), rotate(qkv[:, 1], cos, sin)
    x = x + linear(p["proj"], block_attention(q, k, qkv[:, 2], layout, segment_ids, parts), compute, in_axes=2)
    h = _norm(p["norm2"], x, config)
    if "gate_proj" in p:
        hidden = gated(config.hidden_act, linear(p["gate_proj"], h, compute), linear(p["up_proj"], h, compute))
        return x + linear(p["down_proj"], hidden, compute)
    return x + linear(p["fc2"], activation(config.hidden_act)(linear(p["fc1"], h, compute)), compute)


def merge(
    p: Params, x: jax.Array, config: VisionConfig, compute: Compute, norm_after_grouping: bool = False
) -> jax.Array:
    """Merger: x [N, d] -> [N / m^2, out]; the DeepStack mergers normalise after grouping."""
    grouped = (x.shape[0] // config.merge_unit, config.merge_unit * config.hidden_size)
    if norm_after_grouping:
        x = layer_norm(p["norm"], x.reshape(grouped), NORM_EPS)
    else:
        x = _norm(p["norm"], x, config).reshape(grouped)
    return linear(p["fc2"], activation("gelu")(linear(p["fc1"], x, compute)), compute)


def scan_period(config: VisionConfig) -> int:
    """Smallest number of blocks after which the pattern of window and full blocks repeats; the outer scan runs over
    such groups.
    """
    pattern = [i in config.full_attention_blocks for i in range(config.depth)]
    return next(
        p for p in range(1, config.depth + 1) if config.depth % p == 0 and pattern == pattern[:p] * (config.depth // p)
    )


def position_embedding(table: jax.Array, vision: VisionArrays) -> jax.Array:
    """Bilinear samples of the learned position table, [N, d] float32: table rows times float32 weights, summed in
    float32.
    """
    wide = wide_dtype(table.dtype)
    rows = table[jnp.asarray(vision.tap_index)].astype(wide)
    return (rows * jnp.asarray(vision.tap_weight)[:, :, None].astype(wide)).sum(axis=0)


def run_tower(p: Params, vision: VisionArrays, config: VisionConfig, compute: Compute, policy: str) -> VisionFeatures:
    """Packed patches to features in the order of the inputs' tokens."""
    x = linear(p["patch_embed"], vision.patches.astype(compute.dtype), compute)
    if vision.tap_index is not None:
        x = x + position_embedding(p["pos_embed"]["embedding"].astype(compute.dtype), vision).astype(compute.dtype)
    cos, sin = grid_cos_sin(vision.rows, vision.cols, config.head_dim, compute.dtype)
    period = scan_period(config) if vision.windows is not None else 1
    full = [vision.windows is None or i in config.full_attention_blocks for i in range(period)]
    # Equal neighbours within a group are scanned, too: each kind of block is compiled once, not `period` times.
    runs = [(vision.frames if kind else vision.windows, len(list(equal))) for kind, equal in itertools.groupby(full)]
    taps = config.deepstack_blocks
    groups = config.depth // period

    def block(layout):
        def run(x, weights):
            return vision_block(weights, x, cos, sin, layout, vision.segment_ids, vision.parts, config, compute), None

        return remat(run, policy)

    def body(carry, step):
        x, kept = carry
        weights, slot = step
        for (layout, count), stacked in zip(runs, weights):
            if count == 1:
                x, _ = block(layout)(x, stacked)
            else:
                x, _ = jax.lax.scan(block(layout), x, stacked)
        if kept is not None:
            # Blocks without a DeepStack tap write to a spare last slot.
            kept = jax.lax.dynamic_update_index_in_dim(kept, x, slot, 0)
        return (x, kept), None

    weights, start = [], 0
    for _, count in runs:
        part = slice(start, start + count) if count > 1 else start
        weights.append(jax.tree.map(lambda a, part=part: a.reshape(groups, period, *a.shape[1:])[:, part], p["blocks"]))
        start += count
    slots = jnp.asarray([taps.index(i) if i in taps else len(taps) for i in range(config.depth)]) if taps else None
    kept = jnp.zeros((len(taps) + 1, *x.shape), x.dtype) if taps else None
    (x, kept), _ = jax.lax.scan(body, (x, kept), (weights, slots))

    features = merge(p["merger"], x, config, compute)
    if vision.token_order is not None:
        features = take_parts(features, vision.token_order)
    deepstack = None
    if kept is not None:
        deepstack = jnp.stack(
            [
                merge(jax.tree.map(lambda a, j=j: a[j], p["deepstack"]), kept[j], config, compute, True)
                for j in range(len(taps))
            ]
        )
    return VisionFeatures(features, deepstack, vision.parts)

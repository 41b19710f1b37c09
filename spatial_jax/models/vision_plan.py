"""Packs the patches of images and videos into one array with static index arrays, on the host in NumPy.

The tower then needs no grid: windows and frames are gathered blocks (or plain reshapes when every block is full),
padding is segment 0. Shapes depend on the bucket and on coarse counts only, so that the number of compiled programs
stays small.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from spatial_jax.models.batch import BlockLayout, VisionArrays
from spatial_jax.models.sizes import VisionConfig


def round_size(count: int) -> int:
    """The next number of 1, 2, 3, 4, 6, 8, 12, 16, ...: at most 1.5 times `count`, two values an octave."""
    power = 1 << max(count - 1, 0).bit_length()
    return power * 3 // 4 if power >= 4 and power * 3 // 4 >= count else power


@functools.lru_cache(maxsize=512)
def _frame_plan(
    h: int, w: int, merge: int, window_tokens: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One frame of h x w patches in tower order: patch order [hw], rows [hw], cols [hw], window id of each patch
    [hw].
    """
    lh, lw = h // merge, w // merge
    merged = np.arange(lh * lw).reshape(lh, lw)
    if window_tokens:
        rows, cols = np.divmod(merged, lw)
        window = (rows // window_tokens) * -(-lw // window_tokens) + cols // window_tokens
        order = np.argsort(window.reshape(-1), kind="stable")
        window_ids = np.repeat(window.reshape(-1)[order], merge * merge)
    else:
        order, window_ids = merged.reshape(-1), np.zeros(h * w, np.int64)
    inside = np.arange(merge * merge)
    patch_order = (order[:, None] * merge * merge + inside).reshape(-1)
    rows = ((order // lw)[:, None] * merge + inside // merge).reshape(-1).astype(np.int32)
    cols = ((order % lw)[:, None] * merge + inside % merge).reshape(-1).astype(np.int32)
    return patch_order, rows, cols, window_ids


def _position_taps(
    rows: np.ndarray, cols: np.ndarray, heights: np.ndarray, widths: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bilinear, corner-aligned taps into a side x side table: int32 [4, N], float32 [4, N] (float32 by definition, as
    in transformers).
    """

    def axis(index, extent):
        scale = np.float32(side - 1) / np.maximum(extent - 1, 1).astype(np.float32)
        source = index.astype(np.float32) * scale
        low = np.floor(source).astype(np.int32)
        return low, np.minimum(low + 1, side - 1), (source - low.astype(np.float32)).astype(np.float32)

    top, bottom, down = axis(rows, heights)
    left, right, across = axis(cols, widths)
    one = np.float32(1)
    index = np.stack([top * side + left, top * side + right, bottom * side + left, bottom * side + right]).astype(
        np.int32
    )
    weight = np.stack([(one - down) * (one - across), (one - down) * across, down * (one - across), down * across])
    return index, weight.astype(np.float32)


def _blocks(
    block_ids: Sequence[np.ndarray], counts: Sequence[np.ndarray], part: int, size: int, count: int
) -> BlockLayout:
    """Blocks of consecutive packed rows, a layout for each part of the pack: block_ids [n] non-decreasing ids of the
    part's real rows, counts their sizes, padded to [count, size]; part: rows of a part.
    """
    parts = len(counts)
    full = all((sizes == size).all() for sizes in counts)
    index: Any = np.full((parts, count * size), part, np.int32)  # NumPy arrays stand where device arrays will
    inverse: Any = np.full((parts, part), count * size, np.int32)
    valid: Any = np.zeros((parts, count * size), bool)
    for i, (ids, sizes) in enumerate(zip(block_ids, counts)):
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        slots = ids * size + np.arange(len(ids)) - starts[ids]
        valid[i, slots] = True
        index[i, slots] = np.arange(len(ids), dtype=np.int32)
        inverse[i, : len(ids)] = slots
    valid = None if valid.all() else valid.reshape(parts, count, size)
    if full and count * size == part:
        return BlockLayout(count, size, None, None, valid)
    return BlockLayout(count, size, index.reshape(parts, count, size), inverse, valid)


def _block_shape(counts: Sequence[np.ndarray], part: int, bucketed: bool, size: int | None = None) -> tuple[int, int]:
    """(count, size) of a block layout of every part; rounded up when shapes are to be shared between batches."""
    most = max(map(len, counts))
    largest = size or max(int(sizes.max(initial=1)) for sizes in counts)
    if not bucketed:
        return most, largest
    # Equal blocks that fill the bucket stay exact, so that they are reshapes and not gathers.
    if part % largest == 0 and all((sizes == largest).all() for sizes in counts):
        return part // largest, largest
    # Blocks below 64 slots cost next to nothing: one size for all of them.
    largest = size or min(round_size(max(largest, 64)), part)
    fill = -(-part // largest)
    return fill if most <= fill else round_size(most), largest


def plan_vision(
    pixel_values: np.ndarray,
    grid_thw: Iterable[Iterable[int]],
    vision_config: VisionConfig,
    *,
    bucket: int | None = None,
    pictures: Sequence[int] | None = None,
) -> VisionArrays:
    """VisionArrays (NumPy leaves) of packed pictures.

    pixel_values [N, K] as transformers' processors give them (frames in merge-block order), grid_thw [m, 3] (t, h, w)
    in patches, images and videos alike; bucket: rows to pad to (a multiple of merge^2). pictures: how many of the m
    pictures go into each of the pack's parts, which are of equal size and know nothing of one another, so that devices
    can take one or several each; default: one part with all. ValueError when the rows do not match the grids or exceed
    the bucket, or a part its share of it.
    """
    config, pixel_values = vision_config, np.asarray(pixel_values)
    grids = np.asarray(list(grid_thw) if not isinstance(grid_thw, np.ndarray) else grid_thw, np.int64).reshape(-1, 3)
    _check_grids(pixel_values, grids, config)
    expected = len(pixel_values)
    share = [len(grids)] if pictures is None else list(pictures)
    if sum(share) != len(grids) or (len(share) > 1 and bucket is None):
        raise ValueError(
            f"plan_vision: parts of {share} pictures need a bucket and {sum(share)} grids, not {len(grids)}"
        )
    own = np.split(grids, np.cumsum(share)[:-1])
    needed = [int(g.prod(axis=1).sum()) for g in own]
    total, parts = bucket or expected, len(share)
    part = total // parts
    if part < max(needed) or total % (parts * config.merge_unit):
        raise ValueError(
            f"plan_vision: bucket {total} must be a multiple of {parts * config.merge_unit} and hold"
            f" {max(needed) * parts} patches; raise it or lower max_pixels"
        )

    # Where every block attends fully, windows would be a permutation for nothing.
    windowed = config.window_tokens > 0 and len(config.full_attention_blocks) < config.depth
    window = config.window_tokens if windowed else 0
    frames = [[(int(h), int(w)) for t, h, w in g for _ in range(int(t))] for g in own]
    plans = [[_frame_plan(h, w, config.spatial_merge_size, window) for h, w in f] for f in frames]
    sizes = [np.array([h * w for h, w in f], np.int64) for f in frames]
    rows: Any = np.zeros(total, np.int32)  # NumPy arrays stand where device arrays will
    cols: Any = np.zeros(total, np.int32)
    segments: Any = np.zeros(total, np.int32)
    patches: Any = np.zeros(
        (total, config.patch_dim), pixel_values.dtype if pixel_values.dtype == np.float64 else np.float32
    )
    orders, frame_ids, window_ids = [], [], []
    begins = np.concatenate([[0], np.cumsum(needed)])
    values = pixel_values.astype(patches.dtype, copy=False)
    for i in range(parts):
        here = slice(i * part, i * part + needed[i])
        # Each part is packed from its own start, and what it leaves free stays 0: a device that takes a part alone sees
        # the same rows wherever the other parts end.
        starts = np.concatenate([[0], np.cumsum(sizes[i])])
        orders.append(_join([p[0] + start for p, start in zip(plans[i], starts)]))
        rows[here], cols[here] = _join([p[1] for p in plans[i]]), _join([p[2] for p in plans[i]])
        frame_ids.append(np.repeat(np.arange(len(frames[i])), sizes[i]))
        # Frames count from 1: segment 0 is padding.
        segments[here] = frame_ids[i] + 1
        np.take(values[begins[i] : begins[i + 1]], orders[i], axis=0, out=patches[here])
        offsets = np.cumsum([0, *(int(p[3][-1]) + 1 for p in plans[i])])
        window_ids.append(_join([p[3] + offset for p, offset in zip(plans[i], offsets)]))

    frame_blocks = window_blocks = None
    count, size = _block_shape(sizes, part, bucket is not None)
    # Blocks cost count * size^2 scores, the masked whole part^2: frames of uneven size may cost more as blocks.
    if count * size * size < part * part or (count == 1 and size == part):
        frame_blocks = _blocks(frame_ids, sizes, part, size, count)
    token_order: Any = None
    if windowed:
        counts = [np.bincount(ids) for ids in window_ids]
        count, size = _block_shape(
            counts, part, bucket is not None, config.window_tokens**2 * config.merge_unit if bucket else None
        )
        window_blocks = _blocks(window_ids, counts, part, size, count)
        token_order = _token_order(orders, part // config.merge_unit, config.merge_unit, always=bucket is not None)
    tap_index: Any = None
    tap_weight: Any = None
    if config.num_position_embeddings:
        heights, widths = np.ones((2, total), np.int64)
        for i in range(parts):
            here = slice(i * part, i * part + needed[i])
            heights[here] = np.repeat([h for h, _ in frames[i]], sizes[i])
            widths[here] = np.repeat([w for _, w in frames[i]], sizes[i])
        tap_index, tap_weight = _position_taps(rows, cols, heights, widths, int(config.num_position_embeddings**0.5))
    return VisionArrays(
        patches, rows, cols, segments, frame_blocks, window_blocks, token_order, tap_index, tap_weight, parts
    )


def _check_grids(pixel_values: np.ndarray, grids: np.ndarray, config: VisionConfig) -> None:
    """ValueError where the rows are not those of the grids, or a grid has no whole merge blocks."""
    expected = int(grids.prod(axis=1).sum())
    if len(pixel_values) != expected or pixel_values.shape[1] != config.patch_dim:
        raise ValueError(
            f"plan_vision: pixel_values {pixel_values.shape} do not match grids {grids.tolist()}: need ({expected},"
            f" {config.patch_dim})"
        )
    if (grids[:, 1:] % config.spatial_merge_size).any():
        raise ValueError(
            f"plan_vision: grids {grids.tolist()} must have sides that are multiples of {config.spatial_merge_size}"
            " patches"
        )


def _token_order(orders: Sequence[np.ndarray], tokens: int, unit: int, *, always: bool) -> np.ndarray | None:
    """[parts, tokens] where each merged token of a part stands among those in window order; None where windows change
    no order, unless it is wanted `always`: batches of one bucket share a program whatever their pictures are.
    """
    merged = [order[::unit] // unit for order in orders]
    if not always and all((order == np.arange(len(order))).all() for order in merged):
        return None
    places = np.tile(np.arange(tokens, dtype=np.int32), (len(orders), 1))
    for i, order in enumerate(merged):
        places[i, order] = np.arange(len(order), dtype=np.int32)
    return places


def _join(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """One array of all; empty for a part without pictures."""
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)

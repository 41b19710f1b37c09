"""Packs the patches of images and videos into one array with static index arrays, on the host in NumPy.

The tower then needs no grid: windows and frames are gathered blocks (or plain reshapes when every block is full), padding is segment 0.
Shapes depend on the bucket and on coarse counts only, so that the number of compiled programs stays small.
"""
from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from spatial_jax.models.batch import BlockLayout, VisionArrays
from spatial_jax.models.configs import VisionConfig


def round_size(count: int) -> int:
    """The next number of 1, 2, 3, 4, 6, 8, 12, 16, ...: at most 1.5 times `count`, two values an octave."""
    power = 1 << max(count - 1, 0).bit_length()
    return power * 3 // 4 if power >= 4 and power * 3 // 4 >= count else power


@functools.lru_cache(maxsize=512)
def _frame_plan(h: int, w: int, merge: int, window_tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One frame of h x w patches in tower order: patch order [hw], rows [hw], cols [hw], window id of each patch [hw]."""
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


def _position_taps(rows: np.ndarray, cols: np.ndarray, heights: np.ndarray, widths: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Bilinear, corner-aligned taps into a side x side table: int32 [4, N], float32 [4, N] (float32 by definition, as in transformers)."""
    def axis(index, extent):
        scale = np.float32(side - 1) / np.maximum(extent - 1, 1).astype(np.float32)
        source = index.astype(np.float32) * scale
        low = np.floor(source).astype(np.int32)
        return low, np.minimum(low + 1, side - 1), (source - low.astype(np.float32)).astype(np.float32)

    top, bottom, down = axis(rows, heights)
    left, right, across = axis(cols, widths)
    one = np.float32(1)
    index = np.stack([top * side + left, top * side + right, bottom * side + left, bottom * side + right]).astype(np.int32)
    weight = np.stack([(one - down) * (one - across), (one - down) * across, down * (one - across), down * across])
    return index, weight.astype(np.float32)


def _blocks(block_ids: np.ndarray, counts: np.ndarray, total: int, size: int, count: int) -> BlockLayout:
    """Blocks of consecutive packed rows: block_ids [n] non-decreasing ids of the real rows, counts their sizes, padded to [count, size]."""
    n = len(block_ids)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    slots = block_ids * size + np.arange(n) - starts[block_ids]
    full = bool((counts == size).all())
    valid: Any = None
    if not (full and len(counts) == count):
        valid = np.zeros(count * size, bool)
        valid[slots] = True
        valid = valid.reshape(count, size)
    if full and count * size == total:
        return BlockLayout(count, size, None, None, valid)
    index: Any = np.full(count * size, total, np.int32)
    index[slots] = np.arange(n, dtype=np.int32)
    inverse: Any = np.full(total, count * size, np.int32)
    inverse[:n] = slots
    return BlockLayout(count, size, index.reshape(count, size), inverse, valid)


def _block_shape(counts: np.ndarray, total: int, bucketed: bool, size: int | None = None) -> tuple[int, int]:
    """(count, size) of a block layout; rounded up when shapes are to be shared between batches."""
    largest = size or int(counts.max())
    if not bucketed:
        return len(counts), largest
    # Equal blocks that fill the bucket stay exact, so that they are reshapes and not gathers.
    if total % largest == 0 and (counts == largest).all():
        return total // largest, largest
    # Blocks below 64 slots cost next to nothing: one size for all of them.
    largest = size or min(round_size(max(largest, 64)), total)
    fill = -(-total // largest)
    return fill if len(counts) <= fill else round_size(len(counts)), largest


def plan_vision(pixel_values: np.ndarray, grid_thw: Iterable[Iterable[int]], vision_config: VisionConfig, *,
                bucket: int | None = None) -> VisionArrays:
    """VisionArrays (NumPy leaves) of packed pictures.

    pixel_values [N, K] as transformers' processors give them (frames in merge-block order), grid_thw [m, 3] (t, h, w) in patches, images and
    videos alike; bucket: rows to pad to (a multiple of merge^2). ValueError when the rows do not match the grids or exceed the bucket.
    """
    config = vision_config
    pixel_values = np.asarray(pixel_values)
    grids = np.asarray(list(grid_thw) if not isinstance(grid_thw, np.ndarray) else grid_thw, np.int64).reshape(-1, 3)
    rows_given, expected = len(pixel_values), int(grids.prod(axis=1).sum())
    if rows_given != expected or pixel_values.shape[1] != config.patch_dim:
        raise ValueError(f"plan_vision: pixel_values {pixel_values.shape} do not match grids {grids.tolist()}: need ({expected}, {config.patch_dim})")
    if (grids[:, 1:] % config.spatial_merge_size).any():
        raise ValueError(f"plan_vision: grids {grids.tolist()} must have sides that are multiples of {config.spatial_merge_size} patches")
    total = bucket or expected
    if total < expected or total % config.merge_unit:
        raise ValueError(f"plan_vision: bucket {total} must be a multiple of {config.merge_unit} and hold {expected} patches; "
                         "raise it or lower max_pixels")

    windowed = config.window_tokens > 0 and len(config.full_attention_blocks) < config.depth
    frames = [(int(h), int(w)) for t, h, w in grids for _ in range(int(t))]
    parts = [_frame_plan(h, w, config.spatial_merge_size, config.window_tokens if windowed else 0) for h, w in frames]
    sizes = np.array([h * w for h, w in frames])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    order = np.concatenate([p[0] + s for p, s in zip(parts, starts)])
    rows: Any = np.zeros(total, np.int32)  # NumPy arrays stand where device arrays will
    cols: Any = np.zeros(total, np.int32)
    rows[:expected], cols[:expected] = np.concatenate([p[1] for p in parts]), np.concatenate([p[2] for p in parts])
    frame_ids = np.repeat(np.arange(len(frames)), sizes)
    segments: Any = np.zeros(total, np.int32)
    segments[:expected] = frame_ids + 1

    patches: Any = np.zeros((total, config.patch_dim), pixel_values.dtype if pixel_values.dtype == np.float64 else np.float32)
    np.take(pixel_values.astype(patches.dtype, copy=False), order, axis=0, out=patches[:expected])

    frame_blocks = None
    count, size = _block_shape(sizes, total, bucket is not None)
    if count * size * size < total * total or (count == 1 and size == total):
        frame_blocks = _blocks(frame_ids, sizes, total, size, count)
    window_blocks = None
    token_order: Any = None
    if windowed:
        window_ids, offset = [], 0
        for part in parts:
            window_ids.append(part[3] + offset)
            offset += int(part[3][-1]) + 1
        ids = np.concatenate(window_ids)
        window_counts = np.bincount(ids)
        count, size = _block_shape(window_counts, total, bucket is not None, config.window_tokens**2 * config.merge_unit if bucket else None)
        window_blocks = _blocks(ids, window_counts, total, size, count)
        merged_order = order[::config.merge_unit] // config.merge_unit
        if bucket is not None or (merged_order != np.arange(len(merged_order))).any():
            token_order = np.arange(total // config.merge_unit, dtype=np.int32)
            token_order[merged_order] = np.arange(len(merged_order), dtype=np.int32)
    tap_index: Any = None
    tap_weight: Any = None
    if config.num_position_embeddings:
        heights = np.ones(total, np.int64)
        widths = np.ones(total, np.int64)
        heights[:expected] = np.repeat([h for h, _ in frames], sizes)
        widths[:expected] = np.repeat([w for _, w in frames], sizes)
        tap_index, tap_weight = _position_taps(rows, cols, heights, widths, int(config.num_position_embeddings**0.5))
    return VisionArrays(patches, rows, cols, segments, frame_blocks, window_blocks, token_order, tap_index, tap_weight)

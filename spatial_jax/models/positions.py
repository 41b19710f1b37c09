"""M-RoPE position ids of token sequences, on the host in NumPy. The one position function of sampler, trainer and
evaluation.

Rules (Qwen2-VL report and the transformers sources): a text token has three equal ids and advances by one; a vision
token of a run starting at `cur` has time id cur + floor(a * step), height id cur + row, width id cur + column, over
merged rows and columns; step is 1, for Qwen2.5-VL videos tokens_per_second * seconds_per_grid. Qwen3-VL treats every
time step of a video as its own run, since timestamps stand between them. Three rules are in use for Qwen2.5-VL videos:

- "qwen", the default: the product of the floats, floor after multiplying, and after a run `cur` continues at 1 + the
  largest id of the run. Qwen's published training code (qwen-vl-finetune, rope2d.py) does this, as did transformers
  before it cut the seconds.
- "4.57": as "qwen", but seconds_per_grid loses its fraction first (transformers 4.57.3: at 0.5 s all frames share one
  time). For policies that were fine-tuned through that version.
- "hf5": the float product, but `cur` continues at cur + max(rows, columns) (transformers 5.23): text after a long clip
  gets ids that the clip's last frames have already.

They agree on pictures; "qwen" and "4.57" where the seconds are whole; "qwen" and "hf5" before the end of a clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from spatial_jax.models.configs import ModelConfig

TEXT, IMAGE, VIDEO = 0, 1, 2


def vision_run_positions(start: int, grid: Sequence[int], step: float, merge: int) -> np.ndarray:
    """int32 [3, t * h * w / merge^2] ids (time, height, width) of one image or video with grid (t, h, w) in patches."""
    t, h, w = int(grid[0]), int(grid[1]) // merge, int(grid[2]) // merge
    # float32 as in transformers, so that floor() falls on the same side.
    times = np.floor(np.arange(t, dtype=np.float32) * np.float32(step)).astype(np.int32)
    ids = np.empty((3, t, h, w), np.int32)
    ids[0], ids[1], ids[2] = times[:, None, None], np.arange(h, dtype=np.int32)[:, None], np.arange(w, dtype=np.int32)
    return ids.reshape(3, -1) + np.int32(start)


def row_positions(
    type_ids: np.ndarray,
    grids: Sequence[Sequence[int]] | Sequence[np.ndarray],
    config: ModelConfig,
    seconds_per_grid: Sequence[float] = (),
) -> tuple[np.ndarray, int]:
    """Positions of one unpadded sequence.

    type_ids [s]: 0 text, 1 image token, 2 video token; grids: (t, h, w) of each picture or video in token order;
    seconds_per_grid: one number a video (Qwen2.5-VL; 1.0 when left out). Returns (int32 [3, s], id of the next token).
    Raises ValueError when the vision tokens do not match the grids.
    """
    type_ids = np.asarray(type_ids)
    merge, unit, length = config.vision.spatial_merge_size, config.vision.merge_unit, len(type_ids)
    positions = np.empty((3, length), np.int32)
    boundaries = np.flatnonzero(np.diff(type_ids)) + 1
    seconds: Iterator[float] = iter(seconds_per_grid)
    runs = _runs(type_ids, grids, config)
    at = cur = 0
    while at < length:
        kind = int(type_ids[at])
        if kind == TEXT:
            following = boundaries[np.searchsorted(boundaries, at, side="right") :]
            end = int(following[0]) if following.size else length
            positions[:, at:end] = np.arange(cur, cur + end - at, dtype=np.int32)
            cur += end - at
            at = end
            continue
        grid = next(runs, None)
        # A picture ends where its grid says, not where the type changes: two may follow each other without a word
        # between.
        size = int(np.prod(grid)) // unit if grid is not None else 0
        if grid is None or at + size > length or (type_ids[at : at + size] != kind).any():
            raise ValueError(
                f"positions: vision tokens at index {at} do not match the grids {np.asarray(grids).tolist()}; "
                "never truncate a prompt inside a picture, and pass the grids in token order"
            )
        step = 1.0
        if kind == VIDEO and config.traits.seconds_in_positions:
            # transformers 4.57 drops what an interval has beyond whole seconds; the others keep it.
            interval = float(next(seconds, 1.0))
            step = config.vision.tokens_per_second * (int(interval) if config.position_rule == "4.57" else interval)
        ids = vision_run_positions(cur, grid, step, merge)
        positions[:, at : at + size] = ids
        # They differ for a clip whose times outgrow its sides: transformers 5 goes on behind the longer side alone.
        cur = cur + max(int(grid[1]), int(grid[2])) // merge if config.position_rule == "hf5" else int(ids.max()) + 1
        at += size
    if next(runs, None) is not None:
        raise ValueError(
            f"positions: there are more grids than vision runs in the tokens: {np.asarray(grids).tolist()}"
        )
    return positions, cur


def _runs(
    type_ids: np.ndarray, grids: Sequence[Sequence[int]] | Sequence[np.ndarray], config: ModelConfig
) -> Iterator[tuple[int, int, int]]:
    """Grids as the tokens show them: Qwen3-VL's videos are one run a time step. A grid is a video's when its first
    token is.
    """
    vision_types = type_ids[type_ids != TEXT]
    offset = 0
    for t, h, w in np.asarray(grids, np.int64).reshape(-1, 3).tolist():
        split = config.traits.timed_steps and offset < len(vision_types) and vision_types[offset] == VIDEO
        yield from [(1, h, w)] * t if split else [(t, h, w)]
        offset += t * h * w // config.vision.merge_unit


def token_types(input_ids: np.ndarray, config: ModelConfig) -> np.ndarray:
    """uint8 like input_ids: 1 at image tokens, 2 at video tokens, else 0. Only for prompts: a sampled token is always
    text.
    """
    return ((input_ids == config.image_token_id) * IMAGE + (input_ids == config.video_token_id) * VIDEO).astype(
        np.uint8
    )


def batch_positions(
    input_ids: np.ndarray,
    config: ModelConfig,
    attention_mask: np.ndarray | None = None,
    image_grid_thw: np.ndarray | None = None,
    video_grid_thw: np.ndarray | None = None,
    second_per_grid_ts: Sequence[float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of a padded batch in the layout of transformers' processors (grids in row order, images and videos
    apart).

    input_ids [b, s]; returns (int32 [3, b, s] with 0 at padding, int32 [b] id of each row's next token).
    """
    input_ids = np.asarray(input_ids)
    valid = np.ones(input_ids.shape, bool) if attention_mask is None else np.asarray(attention_mask).astype(bool)
    kinds = {
        IMAGE: np.asarray(image_grid_thw if image_grid_thw is not None else [], np.int64).reshape(-1, 3),
        VIDEO: np.asarray(video_grid_thw if video_grid_thw is not None else [], np.int64).reshape(-1, 3),
    }
    seconds = [1.0] * len(kinds[VIDEO]) if second_per_grid_ts is None else [float(x) for x in second_per_grid_ts]
    used = {IMAGE: 0, VIDEO: 0}
    positions = np.zeros((3, *input_ids.shape), np.int32)
    following = np.zeros(len(input_ids), np.int32)
    for row, ids in enumerate(input_ids):
        types = token_types(ids[valid[row]], config)
        # Grids come as one list for the batch: a row takes its own from where the row before stopped.
        first_video = used[VIDEO]
        grids = _grids_in_token_order(types, kinds, used, config.vision.merge_unit)
        positions[:, row, valid[row]], following[row] = row_positions(
            types, grids, config, seconds[first_video : used[VIDEO]]
        )
    for kind, name in ((IMAGE, "image_grid_thw"), (VIDEO, "video_grid_thw")):
        if used[kind] != len(kinds[kind]):
            raise ValueError(f"{name}: {len(kinds[kind])} grids given but the tokens of the batch use {used[kind]}")
    return positions, following


def _grids_in_token_order(
    types: np.ndarray, kinds: dict[int, np.ndarray], used: dict[int, int], unit: int
) -> list[np.ndarray]:
    """Takes this row's grids from the two lists in the order in which its tokens show them; advances `used`."""
    vision = types[types != TEXT]
    grids, at = [], 0
    while at < len(vision):
        kind = int(vision[at])
        if used[kind] >= len(kinds[kind]):
            raise ValueError(
                f"{'image' if kind == IMAGE else 'video'}_grid_thw: the tokens show more than the {len(kinds[kind])}"
                " grids given"
            )
        grids.append(kinds[kind][used[kind]])
        used[kind] += 1
        at += int(grids[-1].prod()) // unit
    return grids

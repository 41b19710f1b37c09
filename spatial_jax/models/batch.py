"""Device pytrees that travel between rooms: packed vision arrays, prompts, answers. All shapes are static under jit.

Letters: b prompts, g answers of a prompt, p prompt tokens, t answer tokens, N packed patches, m merge side (2), d model
width.
"""

from __future__ import annotations

import jax
from flax import struct


@struct.dataclass
class BlockLayout:
    """How the packed patches of each of S parts are cut into attention blocks (windows or frames).

    count, size:  number of blocks of a part and slots of a block (static).
    index:    int32 [S, count, size] row, within its part, of each slot, N / S for an empty slot; None when the packed
    order already is that. inverse:  int32 [S, N / S] slot (flat, within its part) of each packed row, count * size for
    padding; None together with `index`. valid:    bool [S, count, size] slots that hold a patch; None when all do.
    """

    count: int = struct.field(pytree_node=False)
    size: int = struct.field(pytree_node=False)
    index: jax.Array | None = None
    inverse: jax.Array | None = None
    valid: jax.Array | None = None


@struct.dataclass
class VisionArrays:
    """Patches of any number of images and videos, packed into one array of N rows, with what the vision tower needs.

    The N rows are S equal parts (`parts`, static), each with the pictures of its own share of a batch's prompts: where
    devices hold whole parts, nothing of the tower but its weights travels between them. patches:      [N, channels *
    temporal * patch * patch] float32, in tower order (window order for Qwen2.5-VL), padding rows zero. rows, cols:
    int32 [N] patch coordinates inside the frame. segment_ids:  int32 [N] 1, 2, ... a frame (one temporal grid step of
    one image or video); 0 is padding. frames:       blocks of whole frames; None means one dense attention masked by
    `segment_ids`. windows:      blocks of attention windows (Qwen2.5-VL), else None. token_order:  int32 [S, N / S /
    m^2] merged row, within its part, of each token in the order of the inputs (undoes the window order);
                  None when equal.
    tap_index, tap_weight: int32 / float32 [4, N] rows and weights of the interpolated position table (Qwen3-VL), else
    None.
    """

    patches: jax.Array
    rows: jax.Array
    cols: jax.Array
    segment_ids: jax.Array
    frames: BlockLayout | None = None
    windows: BlockLayout | None = None
    token_order: jax.Array | None = None
    tap_index: jax.Array | None = None
    tap_weight: jax.Array | None = None
    parts: int = struct.field(pytree_node=False, default=1)


@struct.dataclass
class VisionFeatures:
    """What the tower gives the decoder: features [N / m^2, d], input order within each of the pack's `parts`; deepstack
    [k, N / m^2, d] (Qwen3-VL) or None.
    """

    features: jax.Array
    deepstack: jax.Array | None = None
    parts: int = struct.field(pytree_node=False, default=1)


@struct.dataclass
class PromptBatch:
    """b prompts, padded on the left.

    tokens [b, p] int32; valid [b, p] bool; positions [3, b, p] int32 (M-RoPE, 0 at padding);
    feature_index [b, p] int32: row of the vision features at a vision token, -1 elsewhere; with a pack of S parts,
    prompt r finds its own in part r // (b / S); next_position [b] int32: M-RoPE id of the first answer token; vision:
    all pictures of the batch, or what the tower made of them before, or None.
    """

    tokens: jax.Array
    valid: jax.Array
    positions: jax.Array
    feature_index: jax.Array
    next_position: jax.Array
    vision: VisionArrays | VisionFeatures | None = None


@struct.dataclass
class AnswerBatch:
    """g answers to each of b prompts, padded on the right.

    tokens [b, g, t] int32; valid [b, g, t] bool; positions [3, b, g, t] int32 (next_position + k for a plain answer);
    feature_index [b, g, t] int32, -1 unless a later turn shows a picture; loss_mask [b, g, t] bool; vision: pictures of
    later turns.
    """

    tokens: jax.Array
    valid: jax.Array
    positions: jax.Array
    feature_index: jax.Array
    loss_mask: jax.Array
    vision: VisionArrays | VisionFeatures | None = None

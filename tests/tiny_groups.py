"""Tiny prompts with pictures, for rollout and update tests: host prompts made from the pieces of tiny_checkpoints."""

import numpy as np
import tiny_checkpoints as tiny

from spatial_jax.models.positions import row_positions, token_types
from spatial_jax.processing.prompt import EncodedPrompt

PIECES = (
    [3, ("image", (1, 6, 10)), 5],
    [9],
    [2, ("image", (1, 4, 4)), 3, ("image", (1, 8, 4)), 4],
    [5, ("image", (1, 8, 8)), 2],
)
BANNED = (tiny.IMAGE, tiny.VIDEO, tiny.START, tiny.END)


def encoded(config, hf_config, pieces, seed=0) -> EncodedPrompt:
    """One row of pieces (see tiny_checkpoints._row) as processing would encode it."""
    inputs = tiny.make_inputs(hf_config, [pieces], seed=seed)
    ids, grids = inputs["input_ids"][0].astype(np.int32), inputs.get("image_grid_thw", np.zeros((0, 3)))
    types = token_types(ids, config)
    positions, following = row_positions(types, [tuple(grid) for grid in grids], config)
    return EncodedPrompt(
        ids,
        positions,
        following,
        np.asarray(types, np.uint8),
        inputs.get("pixel_values"),
        np.asarray(grids, np.int32),
        [],
    )


def prompts(config, hf_config, count=4) -> list[EncodedPrompt]:
    return [encoded(config, hf_config, PIECES[i % len(PIECES)], seed=i) for i in range(count)]

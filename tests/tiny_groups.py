"""Tiny prompts with pictures, for rollout and update tests: host prompts made from the pieces of tiny_checkpoints."""

import jax
import numpy as np
import tiny_checkpoints as tiny
from flax import nnx

from spatial_jax.models.group import group_logprobs
from spatial_jax.models.positions import row_positions, token_types
from spatial_jax.processing.collate import collate_prompts
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


def trainer_logp(policy, prompts, batch):
    """float32 [b, g, t]: the update's log-probabilities of a trajectory batch of prompts of up to 48 tokens."""
    device = collate_prompts(prompts, policy.config.vision, prompt_bucket=48, patch_bucket=256, pad_id=tiny.PAD)
    compute = jax.jit(lambda params, p, a: group_logprobs(nnx.merge(policy.graphdef, params), p, a, banned_ids=BANNED))
    return np.asarray(compute(policy.params, device, batch.answers)[0])

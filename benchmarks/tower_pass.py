"""FLOPs of an update on a clip with a tower that trains: the tower passed by every micro-batch of answers, against once
forward and once backward for all of them.

    python -m benchmarks.tower_pass              # traced only; writes benchmarks/results/tower_pass.json

Qwen2.5-VL-7B, a clip of 16 frames of 448x448 pixels (8,192 patches, 2,048 tokens), a question of 160 tokens, 8 answers
of 256 tokens, two answers a micro-batch, recomputation by layer. FLOPs are the matrix products of the traced programs
of the Updater, loops by their trip count. `kept_gib`: what the device holds between the tower's two passes: residuals
of its layers, features, and their gradient in float32.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.policies import write_result
from launch.planning.counting import count
from spatial_jax.models import abstract_model, published_config, split_params, trainable_mask
from spatial_jax.models.group import group_logprobs
from spatial_jax.processing import EncodedPrompt, collate_answers
from spatial_jax.training.batches import Buckets, GroupBatch, split_answers
from spatial_jax.training.state import init_state
from spatial_jax.training.tower import without_pictures
from spatial_jax.training.update import Updater

PAIRS, SIDE, WORDS, GROUP, ANSWER, PART = 8, 32, 160, 8, 256, 2
REMAT = "full"


def main() -> None:
    config = published_config("qwen2_5_vl_7b")
    graphdef, params = abstract_model(config, jnp.bfloat16, jnp.bfloat16)
    trainable, frozen = split_params(params, trainable_mask(params))
    state = init_state(trainable, optax.sgd(1.0))
    updater = Updater(graphdef, optax.sgd(1.0), loss, None, REMAT)
    whole = clip_batch(config)
    grads = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, jnp.float32), trainable)
    scalar = jax.ShapeDtypeStruct((), jnp.float32)
    parts = split_answers(whole, PART)

    def flops(function: Any, *arguments: Any) -> float:
        return count(function.trace(*arguments).jaxpr, lambda *_: 0.0).flops

    given = (trainable, frozen, grads)
    each, one = (flops(updater.jit_for(state)[0], *given, b, scalar, {}) for b in (parts[0], whole))
    tower, pack = updater.tower_for(state), parts[0].prompts.vision
    seen, gathered = tower.forward.eval_shape(trainable, frozen, pack)
    shown = without_pictures(parts[0])
    text = flops(tower.accumulate, *given, gathered, seen.features, shown, scalar, {})
    forward = flops(tower.forward, trainable, frozen, pack)
    backward = flops(tower.backward, *given, gathered, seen)
    before, after = each * len(parts), forward + text * len(parts) + backward
    kept = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((seen, gathered)))
    result = {
        "model": "qwen2_5_vl_7b",
        "frames": 2 * PAIRS,
        "answers": GROUP,
        "answers_a_micro_batch": PART,
        "remat": REMAT,
        "tflop": {
            "a_pass_a_micro_batch": round(before / 1e12, 1),
            "one_pass": round(after / 1e12, 1),
            "all_answers_in_one_program": round(one / 1e12, 1),
        },
        "tower_tflop": {
            "a_pass_a_micro_batch": round((before - text * len(parts)) / 1e12, 1),
            "forward": round(forward / 1e12, 1),
            "backward": round(backward / 1e12, 1),
        },
        "one_pass_over_before": round(after / before, 3),
        "kept_gib": round(kept / 2**30, 2),
    }
    write_result("tower_pass", "python -m benchmarks.tower_pass", result)


def loss(model: Any, batch: GroupBatch, coefficients: Any) -> dict[str, jax.Array]:
    """A weighted sum of the answers' log-probabilities, as every objective's gradient is."""
    logp, _ = group_logprobs(model, batch.prompts, batch.answers, remat=REMAT)
    return {"loss": -jnp.sum(jnp.where(batch.answers.loss_mask, logp, 0.0))}


def clip_batch(config: Any) -> GroupBatch:
    """A clip and its answers."""
    pictured = PAIRS * SIDE * SIDE // config.vision.merge_unit
    kinds = np.zeros(pictured + WORDS, np.uint8)
    kinds[8 : 8 + pictured] = 1
    prompt = EncodedPrompt(
        np.zeros(len(kinds), np.int32),
        np.broadcast_to(np.arange(len(kinds), dtype=np.int32), (3, len(kinds))),
        len(kinds),
        kinds,
        np.zeros((PAIRS * SIDE * SIDE, config.vision.patch_dim), np.float32),
        np.array([[1, SIDE, SIDE]] * PAIRS),
        [],
    )
    buckets = Buckets((len(kinds),), (ANSWER,), (PAIRS * SIDE * SIDE,), 0, config.vision)
    answers = [[np.zeros(ANSWER, np.int32)] * GROUP]
    return GroupBatch(
        buckets.prompts([prompt]),
        collate_answers(answers, [len(kinds)], answer_bucket=ANSWER, pad_id=0),
    )


if __name__ == "__main__":
    main()

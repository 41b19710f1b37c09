"""What one update costs with the prompt passed once a group, against one row an answer: FLOPs of the traced program,
time, memory.

    python -m benchmarks.group_update            # CPU, about three minutes; writes benchmarks/results/group_update.json

A group of 16, a prompt of 1,024 tokens (900 of a picture), answers of 128 tokens. FLOPs count every matrix product of
the differentiated program, loops by their trip count; the same count for the 3B shape, which is only traced. The plain
layout here encodes the picture once a group too, which the usual trainers do not: the ratio is that of the decoder
alone.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.policies import describe, picture_prompt, time_calls, tiny_config, write_result
from spatial_jax.models import (
    ModelConfig,
    PromptBatch,
    QwenVL,
    VisionFeatures,
    abstract_model,
    published_config,
    split_model,
)
from spatial_jax.models.group import group_logprobs, plain_logprobs
from spatial_jax.processing import collate_answers, collate_prompts

GROUP, PROMPT, ANSWER, GRID = 16, 1024, 128, (60, 60)


def count_flops(jaxpr: Any) -> float:
    """Multiply-adds times two of all matrix products of a jaxpr, loop bodies times their trips."""
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
        trips = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    total += trips * count_flops(inner)
    return total


def distinct_tokens(config: ModelConfig) -> float:
    """FLOPs of forward and backward with every distinct token once and only the attention pairs that exist; decoder and
    head.
    """
    text = config.text
    tokens = PROMPT + GROUP * (ANSWER - 1)
    linear = (
        text.num_layers
        * text.hidden_size
        * (text.head_dim * (2 * text.num_heads + 2 * text.num_kv_heads) + 3 * text.intermediate_size)
    )
    pairs = PROMPT**2 / 2 + GROUP * (ANSWER * PROMPT + ANSWER**2 / 2)
    attention = 4 * text.num_heads * text.head_dim * text.num_layers * pairs
    return 3 * (2 * linear * tokens + attention + 2 * text.hidden_size * text.vocab_size * GROUP * ANSWER)


def make_loss(graphdef, layout, remat: str):
    def loss(params, prompts: PromptBatch, answers, features):
        model = nnx.merge(graphdef, params)
        prompts = dataclasses.replace(prompts, vision=features)
        logp, entropy = layout(model, prompts, answers, remat=remat, chunk=4096)
        return jnp.sum(logp) + 0.01 * jnp.sum(entropy)

    return jax.value_and_grad(loss)


def trace_flops(config: ModelConfig, batch, answers, remat: str = "none") -> dict[str, float]:
    """FLOPs of both layouts, traced only; the tower is left out of both (features are given)."""
    graphdef, params = abstract_model(config)
    rows = jax.ShapeDtypeStruct((GRID[0] * GRID[1] // 4, config.text.hidden_size), jnp.float32)
    features = VisionFeatures(rows)  # type: ignore[arg-type]
    flops = {
        name: count_flops(jax.make_jaxpr(make_loss(graphdef, layout, remat))(params, batch, answers, features).jaxpr)
        for name, layout in (("group", group_logprobs), ("plain", plain_logprobs))
    }
    return {
        "group_gflop": round(flops["group"] / 1e9, 1),
        "plain_gflop": round(flops["plain"] / 1e9, 1),
        "plain_over_group": round(flops["plain"] / flops["group"], 2),
        "group_over_distinct_tokens": round(flops["group"] / distinct_tokens(config), 3),
    }


def main() -> None:
    config = tiny_config(256, 768, 2, 4, 2)
    prompt = picture_prompt(config, PROMPT, GRID, 0)
    batch = collate_prompts([prompt], config.vision, prompt_bucket=PROMPT, patch_bucket=None, pad_id=0)
    batch = PromptBatch(batch.tokens, batch.valid, batch.positions, batch.feature_index, batch.next_position, None)
    rng = np.random.default_rng(0)
    tokens = [[rng.integers(16, 1024, ANSWER).astype(np.int32) for _ in range(GROUP)]]
    answers = collate_answers(tokens, [prompt.next_position], answer_bucket=ANSWER, pad_id=0)
    graphdef, params = split_model(QwenVL(config, rngs=nnx.Rngs(0)))
    features = VisionFeatures(jnp.asarray(rng.normal(size=(GRID[0] * GRID[1] // 4, 256)), jnp.float32))
    result: dict[str, Any] = {
        "group_size": GROUP,
        "prompt": PROMPT,
        "answer": ANSWER,
        "remat": "full",
        "model": describe(config),
        "flops": trace_flops(config, batch, answers),
        "flops_full_remat": trace_flops(config, batch, answers, "full"),
        "flops_qwen2_5_vl_3b": trace_flops(published_config("qwen2_5_vl_3b"), batch, answers),
    }
    values = {}
    for name, layout in (("group", group_logprobs), ("plain", plain_logprobs)):
        step = jax.jit(make_loss(graphdef, layout, "full")).lower(params, batch, answers, features).compile()
        values[name] = float(step(params, batch, answers, features)[0])
        result[f"{name}_time"] = time_calls(
            lambda step=step: jax.block_until_ready(step(params, batch, answers, features)), 1
        )
        temporary = step.memory_analysis().temp_size_in_bytes  # type: ignore[union-attr]
        result[f"{name}_time"]["temp_mib"] = round(temporary / 2**20, 1)
    result["time_plain_over_group"] = {
        key: round(result["plain_time"][key] / result["group_time"][key], 2) for key in ("wall_s", "cpu_s")
    }
    result["loss_relative_difference"] = abs(values["group"] - values["plain"]) / abs(values["plain"])
    write_result("group_update", "python -m benchmarks.group_update", result)


if __name__ == "__main__":
    main()

"""Tokens a second of the rollout engine against transformers' generate: the same weights, 8 picture prompts x 16
samples.

    python -m benchmarks.rollout_speed           # CPU, about four minutes; writes benchmarks/results/rollout_speed.json

Answers are cut at a fixed length for the comparison, so both sides make the same number of tokens. Apart from it stand
the gain of the shared prefill (a group against sixteen prompts of one sample) and of refilling slots (lengths with a
long tail, 4 slots against 16 a prompt).
"""

from __future__ import annotations

import tempfile
from typing import Any

import jax
import numpy as np
from flax import nnx

from benchmarks.policies import describe, picture_prompt, prepare_torchvision, time_calls, tiny_config, write_result
from spatial_jax.models import QwenVL, load_pretrained, save_pretrained, split_model
from spatial_jax.rollout import Engine, SamplingParams

PROMPTS, GROUP, LENGTH, ANSWER, GRID = 8, 16, 256, 64, (28, 32)


def transformers_generate(directory: str, prompts: list, repeats: int) -> dict[str, float]:
    """generate() with num_return_sequences, KV cache, sampling; one batch of all prompts."""
    prepare_torchvision()
    import torch
    import transformers

    model = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).eval()
    ids = torch.tensor(np.stack([prompt.input_ids for prompt in prompts])).long()
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == model.config.image_token_id).int(),
        "pixel_values": torch.tensor(np.concatenate([prompt.pixel_values for prompt in prompts])),
        "image_grid_thw": torch.tensor(np.concatenate([prompt.grid_thw for prompt in prompts])).long(),
    }

    def run():
        with torch.no_grad():
            out = model.generate(
                **inputs,
                max_new_tokens=ANSWER,
                min_new_tokens=ANSWER,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                num_return_sequences=GROUP,
                eos_token_id=None,
                pad_token_id=0,
            )
        assert out.shape == (PROMPTS * GROUP, LENGTH + ANSWER)

    return time_calls(run, repeats)


def main() -> None:
    config = tiny_config(256, 768, 4, 4, 2)
    prompts = [picture_prompt(config, LENGTH, GRID, seed) for seed in range(PROMPTS)]
    graphdef, params = split_model(QwenVL(config, rngs=nnx.Rngs(0)))

    def engine(**options: Any) -> Engine:
        return Engine(
            graphdef,
            config,
            **{"max_slots": 128, "prompt_buckets": (LENGTH,), "answer_buckets": (32, ANSWER), "pad_id": 0, **options},
        )

    def measure(made: Engine, prompts: list, group: int, sampling: SamplingParams, repeats: int = 2) -> dict[str, Any]:
        groups = made.generate(params, prompts, group, sampling)
        tokens = sum(len(sample) for each in groups for sample in each)
        seconds = time_calls(lambda: made.generate(params, prompts, group, sampling), repeats)
        return {
            **seconds,
            "tokens": tokens,
            "tokens_per_wall_s": round(tokens / seconds["wall_s"], 1),
            "decode_steps": made.work.steps,
        }

    fixed, first = SamplingParams(ANSWER), SamplingParams(1)
    # One token in 24 ends an answer: mean length about 22, cut at 64.
    tailed = SamplingParams(ANSWER, stop_ids=tuple(range(0, config.text.vocab_size, 24)))
    result: dict[str, Any] = {
        "prompts": PROMPTS,
        "group": GROUP,
        "prompt_tokens": LENGTH,
        "answer_tokens": ANSWER,
        "model": describe(config),
    }
    result["engine"] = measure(engine(), prompts, GROUP, fixed)
    result["prefill_shared"] = measure(engine(), prompts, GROUP, first)
    result["prefill_one_a_sample"] = measure(
        engine(max_prefill_tokens=8192), [prompt for prompt in prompts for _ in range(GROUP)], 1, first, repeats=1
    )
    for slots in (GROUP, 4):
        # The same 32 slots: two prompts at a time with all their samples, or eight prompts with four slots each.
        result[f"long_tail_{slots}_slots_a_prompt"] = measure(
            engine(max_slots=32, slots_per_prompt=slots), prompts, GROUP, tailed
        )
    with tempfile.TemporaryDirectory() as directory:
        save_pretrained((config, params), directory)
        assert load_pretrained(directory).config.text == config.text
        jax.clear_caches()
        result["transformers"] = transformers_generate(directory, prompts, 2)
    result["transformers"]["tokens_per_wall_s"] = round(PROMPTS * GROUP * ANSWER / result["transformers"]["wall_s"], 1)
    for key in ("wall_s", "cpu_s"):
        result[f"transformers_over_engine_{key}"] = round(result["transformers"][key] / result["engine"][key], 2)
        result[f"shared_prefill_gain_{key}"] = round(
            result["prefill_one_a_sample"][key] / result["prefill_shared"][key], 2
        )
    steps = {slots: result[f"long_tail_{slots}_slots_a_prompt"]["decode_steps"] for slots in (GROUP, 4)}
    result["refill_gain_in_steps"] = round(steps[GROUP] / steps[4], 2)
    write_result("rollout_speed", "python -m benchmarks.rollout_speed", result)


if __name__ == "__main__":
    main()

"""vLLM's side, where it is installed: its own engine on the same shape with dummy weights, prompts and answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from benchmarks.card import Work
from spatial_jax.models import read_config


def rollout(work: Work) -> dict[str, Any]:
    """All prompts with `group` answers each, cut at their length; prompts are cached once, as vLLM does by itself."""
    import vllm

    folder = work.folder / "policy"
    if not (folder / "config.json").exists():
        raise RuntimeError("there is no policy: the part that makes it failed")
    config = read_config(str(folder))
    engine = vllm.LLM(
        model=str(folder),
        load_format="dummy",
        dtype="bfloat16",
        max_model_len=work.prompt + work.rolled,
        gpu_memory_utilization=0.85,
        limit_mm_per_prompt={"image": 1},
        max_num_seqs=work.prompts * work.group,
    )
    sampling = vllm.SamplingParams(
        n=work.group,
        temperature=1.0,
        max_tokens=work.rolled,
        min_tokens=work.rolled,
        ignore_eos=True,
        detokenize=False,
    )
    prompts = [_prompt(config, work, seed) for seed in range(work.prompts)]
    seeds = iter(range(work.prompts, 100 * work.prompts))

    def generate() -> None:
        fresh = [prompt | _picture(work, next(seeds)) for prompt in prompts]  # none that is in the cache already
        made = sum(len(answer.token_ids) for each in engine.generate(fresh, sampling) for answer in each.outputs)
        if made != work.prompts * work.group * work.rolled:
            raise RuntimeError(f"vLLM made {made} tokens")

    rates = work.rates(work.prompts * work.group * work.rolled, generate, 2)
    return rates | {"vllm": vllm.__version__}


def _prompt(config: Any, work: Work, seed: int) -> dict[str, Any]:
    """Token ids with one place for the picture, which vLLM widens to all of its tokens."""
    pictured = work.grid[0] * work.grid[1] // config.vision.merge_unit
    words = np.random.default_rng(seed).integers(16, 200, work.prompt - pictured - 2).tolist()
    middle = [config.vision_start_token_id, config.image_token_id, config.vision_end_token_id]
    return {"prompt_token_ids": [*words[:4], *middle, *words[4:]]}


def _picture(work: Work, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    size = (14 * work.grid[0], 14 * work.grid[1], 3)
    return {"multi_modal_data": {"image": Image.fromarray(rng.integers(0, 256, size, np.uint8))}}

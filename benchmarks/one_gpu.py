"""A published size on one accelerator: prompts, rollout and update of Qwen2.5-VL-3B in bfloat16, here and in
transformers on the same card.

    python -m benchmarks.one_gpu         # one GPU of 80 GB, four minutes; writes benchmarks/results/one_gpu.json
    python -m benchmarks.one_gpu --layers=2 --part=ours    # a look at one side

Random weights of the true shapes; each side in a process of its own, one after the other. Eight prompts of 1,024
tokens, 900 of them of a picture of 840 x 840; sixteen answers each. Rollout: 128 answers of 128 tokens. Update: forward
and backward over one group with answers of 256 tokens, every layer recomputed; transformers passes the prompt with
every answer, as trl does, four rows at a time, and makes logits for the answers alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.policies import RESULTS, picture_prompt, prepare_torchvision, time_calls
from spatial_jax.models import ModelConfig, published_config

PROMPTS, GROUP, PROMPT, GRID, ROLLED, UPDATED, ROWS = 8, 16, 1024, (60, 60), 128, 256, 4


def model_config(name: str, layers: int) -> ModelConfig:
    """The published shape, with fewer decoder layers on request."""
    config = published_config(name)
    return dataclasses.replace(config, text=dataclasses.replace(config.text, num_layers=layers)) if layers else config


def best(call: Callable[[], Any], repeats: int = 3) -> tuple[float, float]:
    """(seconds of the first call, least seconds of the others); `call` must wait for its result."""
    return time_calls(call, 1)["wall_s"], time_calls(call, repeats)["wall_s"]


def ours(config: ModelConfig) -> dict[str, Any]:
    """spatial_jax: parameters drawn on the device, the engine's and the update's own programs."""
    import functools

    import jax
    import jax.numpy as jnp
    from flax import nnx

    from spatial_jax.metrics.flops import GroupTokens, forward_flops, mfu, model_shape, peak_flops, training_flops
    from spatial_jax.models import abstract_model, config_to_hf
    from spatial_jax.models.generate import prompt_hidden
    from spatial_jax.models.group import group_logprobs
    from spatial_jax.processing import collate_answers, collate_prompts
    from spatial_jax.rollout import Engine, SamplingParams

    graphdef, shapes = abstract_model(config, "bfloat16", "bfloat16")
    leaves, tree = jax.tree_util.tree_flatten(shapes)
    draw = jax.jit(lambda key, shape, dtype: jax.random.normal(key, shape, dtype) * 0.02, static_argnums=(1, 2))
    params = jax.tree_util.tree_unflatten(
        tree, [draw(jax.random.key(i), leaf.shape, leaf.dtype) for i, leaf in enumerate(leaves)]
    )
    prompts = [picture_prompt(config, PROMPT, GRID, seed) for seed in range(PROMPTS)]
    shape, patches = model_shape(config_to_hf(config)), GRID[0] * GRID[1]
    window = config.vision.window_tokens**2 * config.vision.merge_unit
    out: dict[str, Any] = {"device": jax.devices()[0].device_kind, "jax": jax.__version__}
    peak = peak_flops(out["device"])

    def group(answers: tuple[int, ...]) -> GroupTokens:
        return GroupTokens(PROMPT, answers, patches, patches * patches, patches * window)

    def memory() -> float:
        stats = jax.devices()[0].memory_stats() or {}
        return round(stats.get("peak_bytes_in_use", 0) / 2**30, 2)

    @jax.jit
    def last_logits(params, batch):
        model = nnx.merge(graphdef, params)
        return model.logits(prompt_hidden(model, batch)[0][:, -1:])

    batch = jax.device_put(collate_prompts(prompts, config.vision, prompt_bucket=PROMPT, patch_bucket=None, pad_id=0))
    first, seconds = best(lambda: jax.block_until_ready(last_logits(params, batch)))
    flops = forward_flops(shape, [group(()) for _ in prompts])
    out["prompts"] = {
        "first_s": first,
        "seconds": seconds,
        "tokens_per_s": round(PROMPTS * PROMPT / seconds),
        "mfu": round(mfu(flops, seconds, peak), 3),
    }
    print("prompts", out["prompts"], flush=True)

    engine = Engine(
        graphdef, config, max_slots=PROMPTS * GROUP, prompt_buckets=(PROMPT,), answer_buckets=(ROLLED,), pad_id=0
    )
    first, seconds = best(lambda: engine.generate(params, prompts, GROUP, SamplingParams(ROLLED)), 2)
    out["rollout"] = {
        "first_s": first,
        "seconds": seconds,
        "tokens_per_s": round(PROMPTS * GROUP * ROLLED / seconds),
        "peak_gib": memory(),
    }
    print("rollout", out["rollout"], flush=True)

    rng = np.random.default_rng(0)
    answers = collate_answers(
        [[rng.integers(16, 1000, UPDATED).astype(np.int32) for _ in range(GROUP)]],
        [prompts[0].next_position],
        answer_bucket=UPDATED,
        pad_id=0,
    )
    answers, one = jax.device_put(
        (answers, collate_prompts(prompts[:1], config.vision, prompt_bucket=PROMPT, patch_bucket=None, pad_id=0))
    )

    @functools.partial(jax.jit, donate_argnums=1)
    def gradient(params, old, one, answers):
        def loss(params):
            return -group_logprobs(nnx.merge(graphdef, params), one, answers, remat="full")[0].mean()

        return jax.grad(loss)(params)

    kept = [jax.tree.map(jnp.zeros_like, params)]

    def update() -> None:
        kept[0] = jax.block_until_ready(gradient(params, kept[0], one, answers))

    first, seconds = best(update)
    flops = training_flops(shape, [group((UPDATED,) * GROUP)])
    out["update"] = {
        "first_s": first,
        "seconds": seconds,
        "answers_per_s": round(GROUP / seconds, 2),
        "mfu": round(mfu(flops, seconds, peak), 3),
        "peak_gib": memory(),
    }
    print("update", out["update"], flush=True)
    return out


def theirs(config: ModelConfig) -> dict[str, Any]:
    """transformers on CUDA, scaled-dot-product attention."""
    prepare_torchvision()
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    from spatial_jax.models import config_to_hf

    plain = config_to_hf(config, "bfloat16")
    torch.set_default_dtype(torch.bfloat16)
    where = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(where):
        model = Qwen2_5_VLForConditionalGeneration(
            Qwen2_5_VLConfig(**{k: v for k, v in plain.items() if k not in ("architectures", "model_type")})
        )
    model.to(torch.device(where)).eval()  # type: ignore[arg-type]
    made = [picture_prompt(config, PROMPT, GRID, seed) for seed in range(PROMPTS)]

    def inputs(which: list, answer: int = 0) -> dict[str, Any]:
        tails = np.random.default_rng(0).integers(16, 1000, (len(which), answer))
        ids = torch.tensor(np.concatenate([np.stack([p.input_ids for p in which]), tails], 1), device=where).long()
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": (ids == config.image_token_id).int(),
            "pixel_values": torch.tensor(
                np.concatenate([p.pixel_values for p in which]), device=where, dtype=torch.bfloat16
            ),
            "image_grid_thw": torch.tensor(np.concatenate([p.grid_thw for p in which]), device=where).long(),
        }

    def wait() -> None:
        if where == "cuda":
            torch.cuda.synchronize()

    def memory() -> float:
        return round(torch.cuda.max_memory_allocated() / 2**30, 2) if where == "cuda" else 0.0

    out: dict[str, Any] = {"torch": torch.__version__, "attention": model.config._attn_implementation}
    batch = inputs(made)

    @torch.no_grad()
    def prompts() -> None:
        model(**batch, logits_to_keep=1)
        wait()

    first, seconds = best(prompts)
    out["prompts"] = {"first_s": first, "seconds": seconds, "tokens_per_s": round(PROMPTS * PROMPT / seconds)}
    print("prompts", out["prompts"], flush=True)

    @torch.no_grad()
    def rollout() -> None:
        model.generate(
            **batch,
            max_new_tokens=ROLLED,
            min_new_tokens=ROLLED,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            num_return_sequences=GROUP,
            eos_token_id=None,
            pad_token_id=0,
        )
        wait()

    first, seconds = best(rollout, 1)
    out["rollout"] = {
        "first_s": first,
        "seconds": seconds,
        "tokens_per_s": round(PROMPTS * GROUP * ROLLED / seconds),
        "peak_gib": memory(),
    }
    print("rollout", out["rollout"], flush=True)

    model.train()
    model.gradient_checkpointing_enable()
    rows = inputs([made[0]] * ROWS, UPDATED)

    def update() -> None:
        model.zero_grad(set_to_none=False)
        for _ in range(GROUP // ROWS):
            logits = model(**rows, logits_to_keep=UPDATED + 1, use_cache=False).logits[:, :-1]
            chosen = torch.log_softmax(logits.float(), -1).gather(-1, rows["input_ids"][:, -UPDATED:, None])
            (-chosen.mean() * ROWS / GROUP).backward()
        wait()

    first, seconds = best(update)
    out["update"] = {
        "first_s": first,
        "seconds": seconds,
        "answers_per_s": round(GROUP / seconds, 2),
        "peak_gib": memory(),
    }
    print("update", out["update"], flush=True)
    return out


SIDES = {"ours": ours, "theirs": theirs}


def main() -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.one_gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="qwen2_5_vl_3b")
    parser.add_argument("--layers", type=int, default=0, help="decoder layers; 0: the published number")
    parser.add_argument("--part", choices=tuple(SIDES), help="only this side, printed as JSON")
    parser.add_argument("--out", default=str(RESULTS / "one_gpu.json"))
    args = parser.parse_args()
    if args.part:
        print(json.dumps(SIDES[args.part](model_config(args.model, args.layers))))
        return 0
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    sides = {}
    for part in SIDES:
        command = [
            sys.executable,
            "-m",
            "benchmarks.one_gpu",
            f"--part={part}",
            f"--model={args.model}",
            f"--layers={args.layers}",
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        print(done.stdout, flush=True)
        if done.returncode:
            print(f"one_gpu: {part} ended with {done.returncode}", file=sys.stderr)
            continue
        sides[part] = json.loads(done.stdout.strip().splitlines()[-1])
    result: dict[str, Any] = {
        "command": "python -m benchmarks.one_gpu",
        "model": args.model,
        "layers": args.layers or "all",
        "prompts": PROMPTS,
        "group": GROUP,
        "prompt_tokens": PROMPT,
        "rollout_tokens": ROLLED,
        "update_tokens": UPDATED,
        **sides,
    }
    if len(sides) == len(SIDES):
        result["times_faster"] = {
            task: round(sides["theirs"][task]["seconds"] / sides["ours"][task]["seconds"], 2)
            for task in ("prompts", "rollout", "update")
        }
        print(result["times_faster"])
    with open(args.out, "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    return int(len(sides) < len(SIDES))


if __name__ == "__main__":
    sys.exit(main())

"""A 100M-class random Qwen2.5-VL on this machine: forward, forward + backward and greedy decoding, here and in
transformers.

    python benchmarks/model_speed.py [--out benchmarks/results/model_speed.json] [--repeats 3] [--threads 2] [--small]

Same weights, same inputs, float32, alternating runs; the best of the repeats counts. Compilation is timed apart.
--small is a smoke test.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from spatial_jax.models import (
    ModelConfig,
    QwenVL,
    TextConfig,
    VisionConfig,
    count_params,
    load_pretrained,
    save_pretrained,
    split_model,
)
from spatial_jax.models.generate import prompt_hidden
from spatial_jax.models.reference import import_torch, torch_model
from spatial_jax.models.verify import sample_inputs


def model_config(small: bool) -> ModelConfig:
    """About 100M parameters (2M when small), untied, windows of 8 x 8 patches."""
    width, ffn, layers, vocab, depth, tower = (128, 256, 2, 2000, 2, 64) if small else (640, 1792, 14, 32000, 8, 320)
    heads, head_dim, section = (4, 32, (4, 6, 6)) if small else (10, 64, (8, 12, 12))
    text = TextConfig(vocab, width, ffn, layers, heads, 2, head_dim, 1e-6, 1e6, section)
    blocks = tuple(i for i in range(depth) if i % 4 == 3) or (1,)
    vision = VisionConfig(
        "qwen2_5_vl",
        depth,
        tower,
        tower * 2,
        4,
        width,
        "silu",
        14,
        window_size=112,
        full_attention_blocks=blocks,
        tokens_per_second=2.0,
    )
    ids: dict[str, Any] = {
        "image_token_id": vocab - 4,
        "video_token_id": vocab - 3,
        "vision_start_token_id": vocab - 2,
        "vision_end_token_id": vocab - 1,
    }
    return ModelConfig("qwen2_5_vl", text, vision, bos_token_id=2, eos_token_id=3, pad_token_id=1, **ids)


def best(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds of each function, the best of `repeats`, the functions taking turns."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in times.items()}


def compare(name: str, ours: Callable[[], object], theirs: Callable[[], object], repeats: int, tokens: int) -> dict:
    """One row of the table: warm up (ours compiles), then alternate."""
    start = time.perf_counter()
    ours()
    compile_s = time.perf_counter() - start
    theirs()
    seconds = best({"spatial_jax": ours, "transformers": theirs}, repeats)
    row = {
        "task": name,
        "tokens": tokens,
        "spatial_jax_s": seconds["spatial_jax"],
        "transformers_s": seconds["transformers"],
        "speedup": seconds["transformers"] / seconds["spatial_jax"],
        "first_call_s": compile_s,
    }
    print(
        f"{name:<20} spatial_jax {row['spatial_jax_s']:8.3f} s   transformers {row['transformers_s']:8.3f} s   "
        f"x{row['speedup']:.2f}   (first call {compile_s:.1f} s)",
        flush=True,
    )
    return row


def measure(small: bool, repeats: int, threads: int, new_tokens: int) -> dict:
    """All three tasks; returns what the JSON holds."""
    torch, transformers = import_torch()
    torch.set_num_threads(threads)
    config = model_config(small)
    inputs: dict[str, Any] = sample_inputs(config, [[24, ("image", (1, 16, 16)), 24]] * (2 if small else 4))
    with tempfile.TemporaryDirectory() as directory:
        save_pretrained((config, split_model(QwenVL(config, rngs=nnx.Rngs(0)))[1]), directory)
        theirs = torch_model(directory)
        policy = load_pretrained(directory, position_rule="hf5")
    tensors = {key: torch.from_numpy(value) for key, value in inputs.items()}
    labels = torch.from_numpy(np.where(inputs["mm_token_type_ids"] == 0, inputs["input_ids"], -100))
    batch, targets = policy.batch(**inputs), jnp.asarray(labels.numpy())

    @jax.jit
    def forward(params, batch):
        model = nnx.merge(policy.graphdef, params)
        return model.logits(prompt_hidden(model, batch)[0])

    @jax.jit
    def gradient(params, batch):
        def loss(params):
            logp = jax.nn.log_softmax(forward(params, batch)[:, :-1])
            chosen = jnp.take_along_axis(logp, jnp.maximum(targets[:, 1:], 0)[..., None], -1)[..., 0]
            return -jnp.where(targets[:, 1:] >= 0, chosen, 0).sum() / (targets[:, 1:] >= 0).sum()

        return jax.value_and_grad(loss)(params)

    def torch_forward():
        with torch.no_grad():
            return theirs(**tensors)

    def torch_gradient():
        theirs.zero_grad(set_to_none=True)
        theirs(**tensors, labels=labels).loss.backward()

    def torch_greedy():
        with torch.no_grad():
            return theirs.generate(
                **tensors,
                max_new_tokens=new_tokens,
                min_new_tokens=new_tokens,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=1,
            )

    count, decoded = inputs["input_ids"].size, len(inputs["input_ids"]) * new_tokens
    rows = [
        compare("forward", lambda: jax.block_until_ready(forward(policy.params, batch)), torch_forward, repeats, count),
        compare(
            "forward + backward",
            lambda: jax.block_until_ready(gradient(policy.params, batch)),
            torch_gradient,
            repeats,
            count,
        ),
        compare(
            "greedy decoding",
            lambda: policy.greedy(**inputs, max_new_tokens=new_tokens),
            torch_greedy,
            repeats,
            decoded,
        ),
    ]
    return {
        "parameters": count_params(config),
        "batch": list(inputs["input_ids"].shape),
        "new_tokens": new_tokens,
        "threads": threads,
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_average_at_end": os.getloadavg()[0],
        "versions": {"jax": jax.__version__, "torch": torch.__version__, "transformers": transformers.__version__},
        "rows": rows,
    }


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="benchmarks/results/model_speed.json")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--new_tokens", type=int, default=32)
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    result = measure(args.small, args.repeats, args.threads, args.new_tokens)
    os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
    with open(args.out, "w") as file:
        json.dump(result, file, indent=2)
        file.write("\n")
    print(f"{result['parameters'] / 1e6:.0f}M parameters, batch {result['batch']}; written to {args.out}")


if __name__ == "__main__":
    main()

"""What the group benchmarks share: a tiny Qwen2.5-VL with its processor files, and picture prompts of a given
length.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.models import ModelConfig, TextConfig, VisionConfig, row_positions, token_types
from spatial_jax.processing import EncodedPrompt

RESULTS = Path(__file__).parent / "results"


def tiny_config(width: int, ffn: int, layers: int, heads: int, kv_heads: int, vocab_size: int = 1024) -> ModelConfig:
    """A Qwen2.5-VL of the given decoder, with a small tower."""
    head_dim = width // heads
    half = head_dim // 2
    section = (half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8)
    text = TextConfig(vocab_size, width, ffn, layers, heads, kv_heads, head_dim, 1e-6, 1e6, section)
    vision = VisionConfig(
        "qwen2_5_vl",
        2,
        64,
        128,
        2,
        width,
        "silu",
        14,
        window_size=112,
        full_attention_blocks=(1,),
        tokens_per_second=2.0,
    )
    return ModelConfig(
        "qwen2_5_vl",
        text,
        vision,
        image_token_id=5,
        video_token_id=6,
        vision_start_token_id=7,
        vision_end_token_id=8,
        pad_token_id=0,
    )


def picture_prompt(config: ModelConfig, tokens: int, grid: tuple[int, int], seed: int) -> EncodedPrompt:
    """A prompt of `tokens` tokens, one picture of grid (h, w) patches in the middle, the rest random text."""
    rng = np.random.default_rng(seed)
    pictured = grid[0] * grid[1] // config.vision.merge_unit
    words = rng.integers(16, config.text.vocab_size, tokens - pictured - 2).astype(np.int32)
    middle = [config.vision_start_token_id, *[config.image_token_id] * pictured, config.vision_end_token_id]
    ids = np.concatenate([words[:4], middle, words[4:]]).astype(np.int32)
    positions, following = row_positions(token_types(ids, config), [(1, *grid)], config)
    pixels = rng.standard_normal((grid[0] * grid[1], config.vision.patch_dim)).astype(np.float32)
    return EncodedPrompt(
        ids,
        positions,
        following,
        np.asarray(token_types(ids, config), np.uint8),
        pixels,
        np.array([[1, *grid]], np.int32),
        [],
    )


def time_calls(function: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Least wall and CPU seconds of `repeats` calls (a shared machine delays, nothing speeds up)."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"wall_s": round(min(walls), 4), "cpu_s": round(min(cpus), 4)}


def prepare_torchvision() -> None:
    """Lets a torchvision built for CUDA be imported beside a CPU torch (transformers' processors only need the import
    to pass).
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except ImportError:
        return
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)


_KEPT: list[Any] = []  # a library that is garbage-collected takes its operators along


def write_result(name: str, command: str, result: dict[str, Any]) -> None:
    """results/NAME.json, and the same on the console."""
    import jax

    record = {
        "command": command,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        **result,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


def describe(config: ModelConfig) -> dict[str, Any]:
    """The decoder's sizes, for the record."""
    return {
        key: value
        for key, value in dataclasses.asdict(config.text).items()
        if key in ("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads")
    }

"""The policy network: Qwen2-VL, Qwen2.5-VL and Qwen3-VL in Flax NNX, from and to Hugging Face checkpoints."""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "AnswerBatch": "batch",
    "BlockLayout": "batch",
    "PromptBatch": "batch",
    "VisionArrays": "batch",
    "VisionFeatures": "batch",
    "ModelConfig": "configs",
    "TextConfig": "sizes",
    "VisionConfig": "sizes",
    "published": "configs",
    "published_names": "configs",
    "config_from_hf": "hf_config",
    "config_to_hf": "hf_config",
    "QwenVL": "qwen_vl",
    "split_model": "qwen_vl",
    "abstract_model": "qwen_vl",
    "ASKING_FILE": "policy",
    "Policy": "policy",
    "load_pretrained": "policy",
    "save_pretrained": "policy",
    "read_config": "policy",
    "checkpoint_directory": "hub",
    "plan_vision": "vision_plan",
    "batch_positions": "positions",
    "row_positions": "positions",
    "token_types": "positions",
    "LoraConfig": "lora",
    "add_lora": "lora",
    "merge_lora": "lora",
    "save_lora": "lora",
    "trainable_mask": "trainable",
    "split_params": "trainable",
    "join_params": "trainable",
    "leaf_paths": "trees",
    "nest": "trees",
    "param_axes": "sharding",
    "model_shardings": "sharding",
    "count_params": "layout",
    "param_specs": "layout",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)

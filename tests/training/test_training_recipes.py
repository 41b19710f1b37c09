"""Recipes start and take two steps at reduced size on eight devices: their own method, objective, reward, precision,
adapters and curriculum.
"""

import importlib

import numpy as np
import pytest

from spatial_jax import config as run_config
from spatial_jax.metrics import read_metrics
from spatial_jax.training.loop import train
from spatial_jax.training.methods import METHODS
from tests.tiny_worlds import make_world

# One of each method stays in the suite: a recipe's two steps on eight devices take up to two minutes of a core.
SUITE = [
    ("kl_ablation", "quickstart"),
    ("li2025_qwen2_5_vl_3b", "entropy"),
    ("spatial_ssrl_qwen2_5_vl_3b", "sft"),
    ("vsgrpo_qwen2_vl_2b", "dpo"),
]
PROOFS = [
    ("li2025_qwen2_5_vl_7b", ""),
    ("li2025_ablation", "quickstart"),
    ("spatial_ssrl_qwen2_5_vl_7b", "grpo"),
    ("spatial_ssrl_qwen3_vl_4b", "grpo"),
    ("vsgrpo_qwen2_vl_2b", "grpo,vanilla"),
    ("vsgrpo_qwen2_vl_7b", "grpo,think"),
    ("vsgrpo_qwen2_vl_2b", "grpo,observe"),
    ("vsgrpo_qwen2_vl_7b", "sft"),
    ("vilasr_qwen2_5_vl_7b", "grpo"),
    ("vilasr_qwen2_5_vl_7b", "sft"),
    ("debug_cpu", "grpo"),
    ("debug_gpu", "grpo"),
]
RECIPES = [*SUITE, *(pytest.param(*recipe, marks=pytest.mark.proof) for recipe in PROOFS)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("recipes"), scenes=40, families="bearing,depth_order2,count", seed=5)


def reduced(config, world):
    """The recipe with its sizes taken away, and nothing else."""
    several, one_turn = config.train.update_prompts < config.train.prompts, config.rollout.turns == 1
    samples = METHODS[config.train.method].samples
    config.train.update(
        {"steps": 2, "prompts": 16 if several else 8, "update_prompts": 8, "micro_prompts": 8, "seed": 1}
    )
    config.model.path, config.data.paths, config.data.weights = str(world / "policy"), (str(world / "questions"),), ()
    config.model.lora_rank = min(config.model.lora_rank, 4)
    config.data.update(
        {
            "min_pixels": 28 * 28,
            "max_pixels": 56 * 56,
            "prompt_buckets": (160, 640),  # most recipes fit the small ones; padding is most of a step
            "cache_mib": 16,
            "workers": 0,
            "together": 8 if one_turn and samples else 1,  # fewer rows than devices: each would compute all of them
        }
    )
    if not one_turn:
        config.data.system = ""  # the drawing protocol's has a thousand tokens of a tiny vocabulary
    config.rollout.update(
        {
            "group_size": 4,
            "max_new_tokens": 4,
            "max_tokens": 0 if one_turn else 256,
            "answer_buckets": (64, 256) if not samples else (4,) if one_turn else (4, 256),
            "max_slots": 64,
        }
    )
    config.algorithm.refill_rounds = min(config.algorithm.refill_rounds, 1)
    config.log.update({"sinks": ("jsonl",), "gallery_every": 0})
    return run_config.strict(config)


@pytest.mark.parametrize(("name", "arg"), RECIPES, ids=lambda v: v)
def test_two_steps(world, tmp_path, name, arg):
    config = importlib.import_module(f"configs.{name}").get_config(arg)
    assert train(reduced(config, world), tmp_path) == 0
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows] == [1, 2] and all(np.isfinite(row.get("loss", 0.0)) for row in rows)
    assert (tmp_path / "export" / "model.safetensors").is_file() or (tmp_path / "checkpoints").is_dir()

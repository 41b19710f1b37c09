"""Every recipe starts and takes two steps: its method, objective, reward, reference, curriculum and adapters, on a tiny policy."""
import importlib

import numpy as np
import pytest

from configs import li2025_ablation
from data_prep import synthesize
from data_prep.annotate.__main__ import main as annotate
from spatial_jax import config as run_config
from spatial_jax.data.fresh import make_fresh
from spatial_jax.metrics import read_metrics
from spatial_jax.training.loop import train

RECIPES = [
    ("li2025_qwen2_5_vl_7b", ""), ("li2025_qwen2_5_vl_3b", ""), ("spatial_ssrl_qwen2_5_vl_7b", "grpo"), ("spatial_ssrl_qwen2_5_vl_7b", "sft"),
    ("spatial_ssrl_qwen2_5_vl_3b", "grpo"), ("spatial_ssrl_qwen3_vl_4b", "grpo"), ("vsgrpo_qwen2_vl_2b", "grpo,vanilla"),
    ("vsgrpo_qwen2_vl_2b", "grpo,think"), ("vsgrpo_qwen2_vl_7b", "grpo,observe"), ("vsgrpo_qwen2_vl_7b", "sft"), ("vsgrpo_qwen2_vl_2b", "dpo"),
    ("debug_cpu", "grpo"), ("debug_gpu", "grpo"), ("li2025_ablation", "quickstart"), ("kl_ablation", "quickstart"), ("kl_ablation", "vsgrpo"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    assert annotate(["--source=rendered", "--preset=plain", "--count=8", "--seed=3", f"--out={root}/scenes"]) == 0
    assert synthesize.main([f"--scenes={root}/scenes", f"--out={root}/questions", "--families=bearing,depth_order2", "--profile=plain",
                            "--wordings=1", "--seed=3"]) == 0
    make_fresh("tiny", [f"{root}/questions"], root / "policy")
    return root


def reduced(name, arg, world):
    """The recipe with small sizes; what it does stays as it is."""
    config = importlib.import_module(f"configs.{name}").get_config(arg)
    config.model.path, config.model.dtype, config.model.param_dtype = str(world / "policy"), "float32", "float32"
    config.data.paths, config.data.weights, config.data.families, config.data.workers = (str(world / "questions"),), (), (), 0
    config.data.update({"min_pixels": 28 * 28, "max_pixels": 56 * 56, "prompt_buckets": (256,), "together": 1, "cache_mib": 8})
    config.run.update({"steps": 2, "prompts": 2, "update_prompts": 2, "micro_prompts": 2})
    config.rollout.update({"group_size": 2, "max_new_tokens": 4, "answer_buckets": (4, 64), "max_slots": 8})
    config.model.lora_rank = min(config.model.lora_rank, 2)
    config.mesh.update({"data": 1, "fsdp": 1, "tensor": 1})
    config.log.update({"sinks": ("jsonl",), "console_every": 1, "gallery_every": 0})
    return run_config.strict(config)


@pytest.mark.parametrize(("name", "arg"), RECIPES)
def test_two_steps(name, arg, world):
    workdir = world / f"{name}-{arg}"
    run = reduced(name, arg, world)
    assert train(run, workdir) == 0
    rows = read_metrics(workdir)
    assert [row["step"] for row in rows] == [1, 2]
    # A rollout may hold no group with a gradient, and then there is no loss; what was sampled is scored in any case.
    watched = "reward/mean" if run.run.method == "grpo" else "loss"
    assert all(np.isfinite(row[watched]) for row in rows)


def test_every_member_of_the_data_ablation_names_families():
    assert all(member["data.families"] for member in li2025_ablation.sweep("quickstart"))

"""Every recipe converts strictly and holds the numbers of its paper."""

import importlib
import pathlib

import pytest

from configs import grid, kl_ablation, li2025_ablation
from spatial_jax import config as run_config
from spatial_jax.models.remat import POLICIES

# recipe, argument -> what its paper (or released script) states
PAPERS = {
    ("li2025_qwen2_5_vl_7b", ""): {
        "train.prompts": 256,
        "rollout.group_size": 16,
        "rollout.temperature": 1.0,
        "rollout.top_p": 0.7,
        "rollout.max_new_tokens": 8192,
        "optimizer.learning_rate": 1e-6,
        "optimizer.beta1": 0.9,
        "optimizer.weight_decay": 0.01,
        "algorithm.kl_coef": 0.01,
        "algorithm.clip_low": 0.20,
        "algorithm.clip_high": 0.25,
        "model.freeze": (),
        "reference.mode": "every_n",
        "curriculum.enabled": True,
    },
    ("li2025_qwen2_5_vl_7b", "four"): {"train.prompts": 256, "train.update_prompts": 64, "algorithm.clip_high": 0.25},
    ("li2025_qwen2_5_vl_7b", "entropy,four"): {"train.update_prompts": 64, "entropy.adaptive": True},
    ("li2025_qwen2_5_vl_3b", ""): {"rollout.group_size": 16, "optimizer.learning_rate": 1e-6},
    ("spatial_ssrl_qwen2_5_vl_7b", "grpo"): {
        "train.prompts": 256,
        "train.update_prompts": 128,
        "train.steps": 360,
        "rollout.group_size": 5,
        "rollout.top_p": 1.0,
        "rollout.max_new_tokens": 2048,
        "data.min_pixels": 262_144,
        "data.max_pixels": 4_194_304,
        "data.prompt_mode": "think_boxed",
        "algorithm.clip_high": 0.3,
        "algorithm.dual_clip": 3.0,
        "algorithm.kl_coef": 0.01,
        "algorithm.kl": "k3",
        "algorithm.aggregate": "token",
        "reference.mode": "none",
        "algorithm.drop_zero_variance": False,
        "optimizer.learning_rate": 1e-6,
        "optimizer.beta2": 0.999,
        "optimizer.grad_clip": 1.0,
    },
    ("spatial_ssrl_qwen2_5_vl_7b", "sft"): {
        "train.method": "sft",
        "model.lora_rank": 128,
        "optimizer.learning_rate": 1e-5,
        "optimizer.schedule": "cosine",
        "data.max_pixels": 262_144,
    },
    ("spatial_ssrl_qwen2_5_vl_3b", "grpo"): {"rollout.group_size": 5},
    ("spatial_ssrl_qwen3_vl_4b", "grpo"): {"rollout.group_size": 5},
    ("spatial_ssrl_qwen3_vl_4b", "sft"): {"model.lora_rank": 128},
    ("vsgrpo_qwen2_vl_2b", "grpo,vanilla"): {
        "rollout.group_size": 14,
        "rollout.temperature": 1.0,
        "algorithm.kl_coef": 1e-4,
        "algorithm.kl": "k3",
        "optimizer.learning_rate": 1e-5,
        "data.prompt_mode": "vanilla",
        "reward.format_weight": 0.0,
    },
    ("vsgrpo_qwen2_vl_2b", "grpo,think"): {
        "data.prompt_mode": "think_answer",
        "reward.format_weight": 0.5,
        "rollout.max_new_tokens": 1024,
    },
    ("vsgrpo_qwen2_vl_7b", "grpo,observe"): {"data.prompt_mode": "observe_answer", "optimizer.learning_rate": 5e-6},
    ("vsgrpo_qwen2_vl_7b", "sft"): {"train.method": "sft", "data.prompt_mode": "vanilla"},
    ("vsgrpo_qwen2_vl_2b", "dpo"): {"train.method": "dpo", "dpo.beta": 0.1},
    ("vilasr_qwen2_5_vl_7b", "grpo"): {
        "train.prompts": 32,
        "train.update_prompts": 16,
        "rollout.group_size": 8,
        "rollout.turns": 10,
        "rollout.max_pictures": 42,
        "rollout.max_tokens": 13_312,
        "rollout.max_new_tokens": 1024,
        "data.max_pixels": 200_704,
        "algorithm.clip_high": 0.3,
        "algorithm.dual_clip": 3.0,
        "algorithm.kl_coef": 0.0,
        "algorithm.aggregate": "sequence",
        "reward.format_weight": 0.5,
        "reward.gate": 0.0,
        "rollout.repeat_px": 0.0,
        "optimizer.learning_rate": 1e-6,
    },
    ("vilasr_qwen2_5_vl_7b", "sft"): {
        "model.freeze": ("vision", "merger"),
        "optimizer.learning_rate": 1e-5,
        "optimizer.schedule": "cosine",
    },
    ("vilasr_qwen2_5_vl_7b", "reflect"): {
        "model.freeze": ("vision", "merger"),
        "optimizer.learning_rate": 1e-5,
        "optimizer.warmup_steps": 73,
        "train.prompts": 32,
        "data.max_pixels": 1_003_520,
    },
    ("draw_tiny", "sft"): {"rollout.turns": 4, "data.prompt_mode": "drawing"},
    ("draw_tiny", "plain"): {"rollout.turns": 1, "data.prompt_mode": "bare"},
    ("draw_tiny", "reflect"): {"train.method": "sft", "data.system": ""},
    ("draw_tiny", "grpo"): {"reward.format_weight": 0.5, "reward.gate": 0.0, "rollout.temperature": 0.75},
    ("draw_tiny", "names"): {"model.freeze": ("vision", "merger"), "train.method": "sft"},
    ("draw_tiny", "settle"): {"model.freeze": (), "optimizer.learning_rate": 1.5e-4},
    ("draw_tiny", "align"): {"train.method": "align"},
    ("debug_cpu", "dpo"): {"mesh.fsdp": 1},
    ("debug_gpu", "grpo"): {"mesh.fsdp": 1},
    ("selfsup_tiny", "align"): {"train.method": "align"},
    ("selfsup_tiny", "parts"): {"data.together": 4, "train.method": "sft"},
    ("selfsup_tiny", "cold"): {"data.together": 4, "optimizer.schedule": "cosine"},
    ("selfsup_tiny", "families"): {"data.together": 4},
    ("selfsup_tiny", "grpo"): {"algorithm.kl_coef": 0.01, "reference.mode": "none", "train.method": "grpo"},
    ("li2025_ablation", "quickstart"): {},
    ("kl_ablation", "vsgrpo"): {"reference.mode": "none"},
}


@pytest.mark.parametrize(("name", "arg"), PAPERS)
def test_recipe_converts_and_matches_its_paper(name, arg):
    config = importlib.import_module(f"configs.{name}").get_config(arg)
    run = run_config.strict(config)
    assert run.model.remat in POLICIES
    for key, value in PAPERS[name, arg].items():
        section, leaf = key.split(".")
        assert getattr(getattr(run, section), leaf) == value, key


@pytest.mark.parametrize(("name", "arg"), PAPERS)
def test_a_micro_batch_of_the_largest_pictures_has_a_bucket(name, arg):
    """A prompt has no room for more patches than its tokens allow, whatever its pictures: so many must fit, or a run
    would end in its middle.
    """
    run = run_config.strict(importlib.import_module(f"configs.{name}").get_config(arg))
    merged = 4  # patches that become one token
    assert run.train.micro_prompts * max(run.data.prompt_buckets) * merged <= max(run.data.patch_buckets)


@pytest.mark.parametrize("name", sorted({name for name, _ in PAPERS} - {"li2025_ablation"}))
def test_unknown_argument_is_named(name):
    with pytest.raises(ValueError, match="not 'nonsense'"):
        importlib.import_module(f"configs.{name}").get_config("nonsense")


def test_every_recipe_shows_its_command():
    for path in pathlib.Path("configs").glob("*.py"):
        if "def get_config" in path.read_text():
            assert f"--config=configs/{path.name}" in importlib.import_module(f"configs.{path.stem}").__doc__


def test_ablations_override_keys_that_exist():
    for module, arg in ((kl_ablation, "quickstart"), (li2025_ablation, ""), (li2025_ablation, "quickstart")):
        members = module.sweep(arg)
        assert len({str(m) for m in members}) == len(members)
        config = module.get_config(arg)
        for member in members:
            config.update_from_flattened_dict(member)
            run_config.strict(config)
    assert len(li2025_ablation.sweep()) == 18 and len(kl_ablation.sweep()) == 9


def test_ablation_names_families_that_exist():
    from data_prep.synthesis import FAMILIES

    assert {f for names in li2025_ablation.DATA_TYPES.values() for f in names} <= set(FAMILIES)


def test_grid_helpers():
    assert grid.grid({"a": [1, 2], "b": [3]}) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]
    assert grid.zip_values({"a": [1, 2], "b": [3, 4]}) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    assert grid.chain([{"a": 1}], [{"b": 2}]) == [{"a": 1}, {"b": 2}]
    with pytest.raises(ValueError, match="differ in length: a 1, b 2"):
        grid.zip_values({"a": [1], "b": [1, 2]})
    with pytest.raises(ValueError, match="a is set twice"):
        grid.product([{"a": 1}], [{"a": 2}])

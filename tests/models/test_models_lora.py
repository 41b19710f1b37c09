"""LoRA: a fresh adapter is silent, a merged one equals the branch, the export is PEFT's; frozen parameters keep their
bytes.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_checkpoints as tiny
from flax import nnx
from safetensors.numpy import load_file

from spatial_jax.models import (
    LoraConfig,
    QwenVL,
    add_lora,
    config_from_hf,
    join_params,
    leaf_paths,
    merge_lora,
    save_lora,
    split_model,
    split_params,
    trainable_mask,
)
from spatial_jax.models.generate import prompt_hidden
from spatial_jax.models.policy import Policy

TARGETS = r"text\.layers\.(q|o|down)_proj|vision\.blocks\.qkv|vision\.merger\.fc1|text\.head"


@pytest.fixture(scope="module")
def policy():
    config = config_from_hf(tiny.hf_config("qwen2_5_vl").to_dict())
    return Policy(config, *split_model(QwenVL(config, rngs=nnx.Rngs(0))))


@pytest.fixture(scope="module")
def inputs():
    return tiny.make_inputs(tiny.hf_config("qwen2_5_vl"), tiny.CASES["one_image"])


def test_adapters_are_silent_at_first_merge_exactly_and_export(policy, inputs, tmp_path):
    lora = LoraConfig(rank=3, alpha=6, targets=TARGETS)
    graphdef, params = add_lora(policy.config, policy.graphdef, policy.params, lora)
    assert params["text"]["layers"]["o_proj"]["lora_a"].shape == (3, 4, 16, 3)
    assert params["vision"]["blocks"]["qkv"]["lora_b"].shape == (6, 3, 3, 2, 16)
    before = policy.logits(**inputs)
    np.testing.assert_array_equal(Policy(policy.config, graphdef, params).logits(**inputs), before)
    rng = np.random.default_rng(0)
    for path, leaf in list(leaf_paths(params)):
        if path[-1] == "lora_b":
            node = params
            for key in path[:-1]:
                node = node[key]
            node["lora_b"] = jnp.asarray(rng.standard_normal(leaf.shape), leaf.dtype)
    branch = Policy(policy.config, graphdef, params).logits(**inputs)
    assert np.abs(branch - before).max() > 0.01
    merged = merge_lora(policy.config, params, lora)
    assert jax.tree.structure(merged) == jax.tree.structure(policy.params)
    np.testing.assert_allclose(Policy(policy.config, policy.graphdef, merged).logits(**inputs), branch, atol=2e-4)
    save_lora(policy.config, params, lora, tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    a = saved["base_model.model.model.language_model.layers.1.self_attn.o_proj.lora_A.weight"]
    b = saved["base_model.model.model.language_model.layers.1.self_attn.o_proj.lora_B.weight"]
    delta = (merged["text"]["layers"]["o_proj"]["kernel"] - policy.params["text"]["layers"]["o_proj"]["kernel"])[1]
    np.testing.assert_allclose(2.0 * (b @ a), np.asarray(delta).reshape(64, 64).T, atol=1e-5)


def test_targets_that_match_nothing_list_the_layers(policy):
    with pytest.raises(ValueError, match=r"match no linear layer.*vision\.merger\.fc2"):
        add_lora(policy.config, policy.graphdef, policy.params, LoraConfig(targets="q_proj"))


def test_frozen_parameters_keep_their_bytes_and_the_rest_moves(policy, inputs):
    mask = trainable_mask(policy.params, freeze=("vision", "merger", "embed"))
    learns, frozen = split_params(policy.params, mask)
    assert {path[0] for path, _ in leaf_paths(frozen)} == {"vision", "text"} and "embed" in frozen["text"]
    batch = policy.batch(**inputs)

    @jax.jit
    def step(learns, frozen):
        def loss(learns):
            model = nnx.merge(policy.graphdef, join_params(learns, frozen))
            return (model.logits(prompt_hidden(model, batch)[0]) ** 2).mean()

        return jax.tree.map(lambda p, g: p - 0.1 * g, learns, jax.grad(loss)(learns)), frozen

    moved = dict(leaf_paths(join_params(*step(learns, frozen))))
    for (path, leaf), (_, moves) in zip(leaf_paths(policy.params), leaf_paths(mask)):
        same = np.asarray(leaf).tobytes() == np.asarray(moved[path]).tobytes()
        # A key bias shifts all scores of a query alike: its gradient is rounding.
        assert same != moves or path[-2:] == ("k_proj", "bias"), path
    assert (
        dict(leaf_paths(trainable_mask(policy.params, freeze=("embed", "head"))))[("text", "head", "kernel")] is False
    )
    with pytest.raises(ValueError, match="unknown group 'tower'"):
        trainable_mask(policy.params, freeze=("tower",))

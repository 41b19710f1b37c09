"""The sampler's own layout of the weights: when a run has one, and what its abstract programs then hold."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from configs import li2025_qwen2_5_vl_7b
from launch.planning.chips import Topology
from launch.planning.measure import measure
from spatial_jax.config import strict
from spatial_jax.models import ModelConfig, TextConfig, VisionConfig, load_pretrained
from spatial_jax.models.configs import published_config
from spatial_jax.models.sharding import tensor_ways
from spatial_jax.parallel import make_mesh
from spatial_jax.training.abstract import Work, abstract_setup, rollout_programs
from spatial_jax.training.answers import sampling_mesh

SMALL = ModelConfig(
    "qwen2_5_vl",
    TextConfig(512, 64, 96, 2, 8, 8, 8, 1e-6, 1e6, (2, 1, 1)),
    VisionConfig("qwen2_5_vl", 2, 32, 64, 8, 64, "silu", 14, window_size=112, full_attention_blocks=(1,)),
)


def setup_of(axes, tensor, heads):
    run = SimpleNamespace(rollout=SimpleNamespace(tensor=tensor))
    model = dataclasses.replace(SMALL, text=dataclasses.replace(SMALL.text, num_heads=8 * heads, num_kv_heads=heads))
    return SimpleNamespace(mesh=axes and make_mesh(axes), run=run, policy=SimpleNamespace(config=model))


@pytest.mark.parametrize(
    ("axes", "tensor", "heads", "shared"),
    [
        ({"fsdp": 8}, -1, 2, 2),
        ({"fsdp": 8}, -1, 4, 4),
        ({"data": 2, "fsdp": 4}, -1, 8, 8),
        ({"fsdp": 8}, -1, 1, None),
        ({"fsdp": 8}, -1, 3, None),  # nothing to share by: the trainer's layout
        ({"data": 8}, -1, 4, None),  # weights are whole already
        ({"fsdp": 8}, 0, 4, None),
        ({"fsdp": 8}, 1, 4, 1),
        ({"data": 8}, 2, 4, 2),
        (None, 4, 4, None),
    ],
)
def test_when_a_run_samples_with_a_layout_of_its_own(axes, tensor, heads, shared):
    setup = setup_of(axes, tensor, heads)
    mesh = sampling_mesh(setup)
    if shared is None:
        assert mesh is setup.mesh
    else:
        assert dict(mesh.shape) == {"data": 8 // shared, "fsdp": 1, "tensor": shared}


def test_published_models_divide_and_an_odd_vocabulary_does_not():
    """A vocabulary of 373 cannot be cut: such a policy is sampled from in the trainer's layout."""
    assert [
        tensor_ways(published_config(name)) for name in ("qwen2_5_vl_7b", "qwen2_5_vl_3b", "qwen2_vl_2b", "qwen3_vl_4b")
    ] == [4, 2, 2, 8]
    setup = setup_of({"fsdp": 8}, -1, 4)
    setup.policy.config = dataclasses.replace(SMALL, text=dataclasses.replace(SMALL.text, vocab_size=373))
    assert sampling_mesh(setup) is setup.mesh


@pytest.mark.parametrize(("tensor", "heads"), [(4, 2), (-2, 4), (3, 4)])
def test_a_setting_that_divides_nothing_is_named(tensor, heads):
    with pytest.raises(ValueError, match=rf"config\.rollout\.tensor = {tensor} must divide {heads}, which"):
        sampling_mesh(setup_of({"fsdp": 8}, tensor, heads))


def test_abstract_programs_sample_from_the_copy():
    """Weights are brought over once a step; the trainer's stay beside the programs that sample, and are counted."""
    config = li2025_qwen2_5_vl_7b.get_config()
    config.train.update(dict(prompts=8, update_prompts=8, micro_prompts=8))
    config.rollout.update(dict(group_size=2, max_new_tokens=16, answer_buckets=(16,), max_slots=16))
    config.data.update(dict(prompt_buckets=(64,), patch_buckets=(256,)))
    model = load_pretrained("configs/quickstart_policy").config
    setup = abstract_setup(strict(config), model, make_mesh({"fsdp": 8}))
    programs = {p.name: p for p in rollout_programs(setup, Work(56 * 56, 16))}
    assert list(programs) == ["reshard", "prefill", "decode"] and programs["reshard"].calls == 1
    kernel = programs["decode"].arguments[0]["text"]["layers"]["gate_proj"]["kernel"]
    assert kernel.dtype == jnp.bfloat16 and kernel.sharding.spec == jax.sharding.PartitionSpec(None, None, "tensor")
    measured = {
        name: measure(p, setup, Topology.parse("cpu:8"), Work(56 * 56, 16))
        for name, p in programs.items()
        if name != "prefill"
    }
    assert measured["decode"].resident_gib > measured["reshard"].resident_gib > 0

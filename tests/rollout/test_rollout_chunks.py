"""Prompts that pass in chunks give the answers of prompts that pass whole."""

import numpy as np
import pytest
import tiny_checkpoints as tiny
import tiny_groups

from configs import vsgrpo_qwen2_vl_2b
from spatial_jax import config as run_config
from spatial_jax.models import load_pretrained
from spatial_jax.parallel import make_mesh
from spatial_jax.processing.prompt import prefix
from spatial_jax.rollout import Engine, SamplingParams
from spatial_jax.rollout.device import Shape
from spatial_jax.rollout.shared import SharedPrompts

GREEDY = SamplingParams(5, temperature=0.0, stop_ids=(5,), banned_ids=tiny_groups.BANNED)


def engines(policy, **options):
    """(whole, chunks of twenty tokens: the last of a prompt's three is shorter)."""
    sizes = {"prompt_buckets": (48,), "answer_buckets": (8, 16), "patch_buckets": (64, 256), "pad_id": tiny.PAD}
    return (Engine(policy.graphdef, policy.config, **sizes, **options, max_prefill_tokens=most) for most in (32768, 20))


def assert_same(ours, theirs):
    for group, expected in zip(ours, theirs, strict=True):
        for a, b in zip(group, expected, strict=True):
            assert a.tokens.tolist() == b.tokens.tolist()
            np.testing.assert_allclose(a.full_logp, b.full_logp, atol=1e-5)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("policy")
    hf_config = tiny.make(directory, "qwen3_vl").config
    policy = load_pretrained(directory, position_rule="hf5")
    return policy, tiny_groups.prompts(policy.config, hf_config)


@pytest.mark.parametrize("kv_dtype", [None, "int8"])
def test_answers_are_those_of_whole_prompts(world, kv_dtype):
    policy, prompts = world
    whole, chunks = engines(policy, kv_dtype=kv_dtype)
    assert_same(*(engine.generate(policy.params, prompts, 2, GREEDY) for engine in (chunks, whole)))


def test_questions_behind_a_clip_that_passed_in_chunks(world):
    policy, prompts = world
    whole, chunks = engines(policy)
    sets = []
    for number, place in enumerate((0, 2)):
        prompt = prompts[place]
        ends = tuple(np.concatenate([prompt.input_ids[-1:], [30 + k] * (k + 1)]).astype(np.int32) for k in range(3))
        sets.append(SharedPrompts((3 * number, 3 * number + 1, 3 * number + 2), prefix(prompt, len(prompt) - 1), ends))
    assert_same(*(engine.continue_shared(policy.params, sets, GREEDY) for engine in (chunks, whole)))


def test_every_device_prefills_a_long_prompt(world):
    policy, _ = world
    whole, chunks = engines(policy, mesh=make_mesh({"fsdp": 8}))
    shape = Shape(rows=16, slots=2, samples=2, prompt=48, answer=8)
    assert whole.prefill_size(shape) == 16 and chunks.prefill_size(shape) == 8


def test_very_many_chunks_are_refused():
    config = vsgrpo_qwen2_vl_2b.get_config()
    config.rollout.max_prefill_tokens = 64  # of prompts of 4,096
    with pytest.raises(ValueError, match="set it to 128 or more"):
        run_config.strict(config).check()

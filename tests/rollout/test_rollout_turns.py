"""Rollouts of several turns: caches that stay on the device give the answers of passing everything again, at the cost
of their own tokens.
"""

import collections
import threading
from functools import partial

import jax
import numpy as np
import pytest
import tiny_checkpoints as tiny
import tiny_groups

from benchmarks.turns import repeat_turns, same_answers
from spatial_jax.models import load_pretrained
from spatial_jax.models.sharding import model_shardings
from spatial_jax.ops import decode_kernel
from spatial_jax.ops.attention import target_platform
from spatial_jax.parallel import make_mesh
from spatial_jax.rollout import Engine, SamplingParams, run_turns, trajectory_batch

SAMPLING = SamplingParams(12, stop_ids=tuple(range(2, 24)), banned_ids=tiny_groups.BANNED, seed=3)
TOLD = {"max_turns": 5, "max_tokens": 120, "step": 7}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(policy, prompts, environment that shows one picture, two, or only a word, and its calls in order)."""
    directory = tmp_path_factory.mktemp("policy")
    model = tiny.make(directory, "qwen2_5_vl")
    policy = load_pretrained(directory, position_rule="hf5")
    pieces = ([2, ("image", (1, 4, 8)), 3], [3, ("image", (1, 4, 4)), 2, ("image", (1, 8, 4)), 1], [4])
    shown = [tiny_groups.encoded(policy.config, model.config, each, seed=i) for i, each in enumerate(pieces)]
    calls, lock = [], threading.Lock()

    def environment(sample):
        with lock:
            calls.append((sample.prompt_index, sample.sample_index))
        kind = (sample.prompt_index + sample.sample_index + len(sample.turns) // 2) % 7
        return None if kind == 6 else shown[kind % 3]

    return policy, tiny_groups.prompts(policy.config, model.config), environment, calls


def make_engine(policy, **options):
    options = {"max_slots": 16, "prompt_buckets": (48,), "answer_buckets": (16, 120), "pad_id": tiny.PAD, **options}
    return Engine(policy.graphdef, policy.config, patch_buckets=(64, 256, 2048), **options)


@pytest.fixture(scope="module")
def made(world):
    """(groups, engine, calls, prompts as they finished) on one device, two prompts at a time: rows are refilled."""
    policy, prompts, environment, calls = world
    engine, before, seen = make_engine(policy, max_slots=8), len(calls), []
    groups = run_turns(
        engine, policy.params, prompts, 4, SAMPLING, environment, on_finish=lambda i, group: seen.append(i), **TOLD
    )
    return groups, engine, calls[before:], seen


def test_equal_to_passing_all_turns_again(world, made):
    policy, prompts, environment, _ = world
    groups, engine, _, seen = made
    theirs, work = repeat_turns(make_engine(policy), policy.params, prompts, 4, SAMPLING, environment, **TOLD)
    assert same_answers(groups, theirs) < 1e-4 and sorted(seen) == [0, 1, 2, 3]
    assert collections.Counter(len(sample.turns) for group in groups for sample in group)[9] >= 2  # to the last turn
    assert engine.work.distinct == sum(map(len, prompts)) + sum(len(sample) for group in groups for sample in group)
    assert engine.work.tokens == engine.work.distinct - 16  # every token once, but the last of each answer
    assert work.tokens > 2.5 * engine.work.tokens


@pytest.mark.proof
def test_a_gpus_caches_by_layer_give_the_same_turns(world, made, monkeypatch):
    policy, prompts, environment, _ = world
    monkeypatch.setattr(decode_kernel, "decode_attention", partial(decode_kernel.decode_attention, interpret=True))
    with target_platform("gpu"):
        engine = make_engine(policy, max_slots=8)
        ours = run_turns(engine, policy.params, prompts, 4, SAMPLING, environment, **TOLD)
    assert same_answers(ours, made[0]) < 1e-4


def test_programs_are_bounded_and_announced(made):
    kinds = collections.Counter(program.split("(")[0] for program in made[1].programs.seen)
    # Two rings; blocks of one length in batches of two sizes, with and without pictures; three sizes of packs.
    assert kinds["decode_turns"] <= 2 and kinds["append"] <= 2 * 2 * 2 and kinds["see"] <= 2 * 3
    assert kinds["empty"] == kinds["grow"] == 1 and kinds["admit"] <= 4


def test_a_sample_that_waits_does_not_hold_up_others(made):
    """Some sample was asked for its second turn before another's first turn had ended."""
    calls = [place for place in made[2] if place[0] < 2]  # those that decode from the beginning
    first = {place: calls.index(place) for place in calls}
    second = min(i for i, place in enumerate(calls) if i > first[place])
    assert second < max(first.values())


def test_the_trainer_agrees_about_every_turn(world, made):
    policy, prompts, *_ = world
    batch = trajectory_batch(
        made[0],
        [prompt.next_position for prompt in prompts],
        policy.config.vision,
        answer_buckets=(120,),
        patch_buckets=(2048,),
        pad_id=tiny.PAD,
    )
    gap = np.abs(tiny_groups.trainer_logp(policy, prompts, batch) - batch.full_logp)[batch.answers.loss_mask]
    assert gap.max() < 1e-4


@pytest.mark.proof
def test_eight_devices(world, made):
    """Each part of the rows appends to its own."""
    policy, prompts, environment, _ = world
    mesh = make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    params = jax.device_put(policy.params, model_shardings(policy.config, policy.params, mesh))
    groups = run_turns(make_engine(policy, mesh=mesh), params, prompts, 4, SAMPLING, environment, **TOLD)
    assert same_answers(groups, made[0]) < 1e-4


@pytest.mark.proof
@pytest.mark.parametrize("kv", [None, "int8"])
def test_greedy_and_small_caches(world, kv):
    policy, prompts, environment, _ = world
    greedy = SamplingParams(12, temperature=0.0, stop_ids=tuple(range(2, 80)), banned_ids=tiny_groups.BANNED)
    ours = run_turns(make_engine(policy, kv_dtype=kv), policy.params, prompts, 2, greedy, environment, **TOLD)
    theirs, _ = repeat_turns(make_engine(policy, kv_dtype=kv), policy.params, prompts, 2, greedy, environment, **TOLD)
    if kv is None:
        assert same_answers(ours, theirs) < 1e-4
    assert max(len(sample.turns) for group in ours for sample in group) > 3
    assert all(a.turns[0].tokens.tolist() == b.turns[0].tokens.tolist() for a, b in zip(ours[0], theirs[0]))

"""Questions on one clip that pass it once give the answers, log-probabilities and gradients of questions that pass
alone.
"""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_checkpoints as tiny
import tiny_groups
from flax import nnx

from configs import vsgrpo_qwen2_vl_2b
from spatial_jax import config as run_config
from spatial_jax.models import load_pretrained
from spatial_jax.models.group import group_logprobs
from spatial_jax.processing.prompt import EncodedPrompt
from spatial_jax.rollout import Engine, SamplingParams
from spatial_jax.training.answers import Draws
from spatial_jax.training.batches import Buckets, rollout_batch
from spatial_jax.training.together import sample_sets, sets_batch

SAMPLING = SamplingParams(5, stop_ids=tuple(range(2, 24)), banned_ids=tiny_groups.BANNED, seed=3)


def with_end(prompt: EncodedPrompt, words) -> EncodedPrompt:
    """The prompt with these tokens behind it."""
    ids = np.asarray(words, np.int32)
    following = np.broadcast_to(prompt.next_position + np.arange(len(ids), dtype=np.int32), (3, len(ids)))
    return dataclasses.replace(
        prompt,
        input_ids=np.concatenate([prompt.input_ids, ids]),
        positions=np.concatenate([prompt.positions, following], axis=1),
        type_ids=np.concatenate([prompt.type_ids, np.zeros(len(ids), np.uint8)]),
        next_position=prompt.next_position + len(ids),
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(policy, questions, engine): three questions on one clip, two on another."""
    directory = tmp_path_factory.mktemp("policy")
    hf_config = tiny.make(directory, "qwen2_5_vl").config
    policy = load_pretrained(directory, position_rule="hf5")
    clips = [tiny_groups.encoded(policy.config, hf_config, tiny_groups.PIECES[i], seed=i) for i in (0, 2)]
    ends = [(0, [30, 31]), (0, [40, 41, 42, 43]), (0, [50]), (1, [60, 61]), (1, [70, 71, 72])]
    questions = [SimpleNamespace(prompt=with_end(clips[i], end)) for i, end in ends]
    engine = Engine(
        policy.graphdef,
        policy.config,
        prompt_buckets=(48,),
        answer_buckets=(8, 16),
        patch_buckets=(64, 256),
        pad_id=tiny.PAD,
    )
    return policy, questions, engine


SETS = [[0, 1, 2], [3, 4]]


def test_greedy_answers_of_a_set_are_those_of_its_questions_alone(world):
    policy, questions, engine = world
    greedy, finished = dataclasses.replace(SAMPLING, temperature=0.0), []
    told = {"prompt_ids": range(5), "on_finish": lambda place, group: finished.append((place, len(group)))}
    together = sample_sets(engine, policy.params, questions, SETS, Draws(2, greedy, 1), **told)
    alone = engine.generate(policy.params, [q.prompt for q in questions], 2, greedy)
    assert sorted(finished) == [(i, 2) for i in range(5)] and sorted(together) == list(range(5))
    for place, group in enumerate(alone):
        for number, (ours, theirs) in enumerate(zip(together[place], group)):
            assert ours.tokens.tolist() == theirs.tokens.tolist() and ours.finish_reason == theirs.finish_reason
            np.testing.assert_allclose(ours.full_logp, theirs.full_logp, atol=1e-4)
            assert (ours.prompt_index, ours.sample_index) == (place, number)


def test_an_update_on_sets_is_that_on_questions_alone(world):
    policy, questions, engine = world
    told = {"prompt_ids": range(5), "on_finish": lambda *_: None}
    groups = sample_sets(engine, policy.params, questions, SETS, Draws(2, SAMPLING, 7), **told)
    assert len({tuple(t.tokens.tolist()) for group in groups.values() for t in group}) > 5  # their keys differ
    rng = np.random.default_rng(0)
    advantages, keep = rng.standard_normal((5, 2)), rng.random((5, 2)) < 0.8
    buckets = Buckets((48,), (8, 16), (64, 512), tiny.PAD, policy.config.vision)
    members = [[(questions[i], groups[i], advantages[i], keep[i]) for i in places] for places in SETS]
    together = sets_batch(members, 4, 3, buckets)  # a place that is free in each set, and a row
    alone = rollout_batch([q.prompt for q in questions], [groups[i] for i in range(5)], advantages, keep, buckets)
    assert np.shape(together.answers.tokens)[:2] == (3, 8) and np.size(together.prompts.tokens) < np.size(
        alone.prompts.tokens
    )

    @jax.jit
    def update(params, batch):
        def loss(params):
            logp, entropy = group_logprobs(
                nnx.merge(policy.graphdef, params), batch.prompts, batch.answers, banned_ids=tiny_groups.BANNED
            )
            weight = jnp.where(batch.policy.mask, jnp.asarray(batch.policy.advantages)[..., None], 0.0)
            return jnp.sum(weight * logp - 0.1 * batch.policy.mask * entropy), logp

        return jax.grad(loss, has_aux=True)(params)

    ours, logp = update(policy.params, together)
    theirs, _ = update(policy.params, alone)
    mask = np.asarray(together.policy.mask)
    assert mask.sum() == np.asarray(alone.policy.mask).sum() > 0
    # The sampler's numbers of the same tokens are the trainer's.
    np.testing.assert_allclose(np.asarray(logp)[mask], np.asarray(together.policy.rollout_logp)[mask], atol=1e-4)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)):
        np.testing.assert_allclose(a, b, atol=2e-4 * max(1.0, float(np.abs(b).max())))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "add a bucket above max_new_tokens = 256"),
        ({"rollout.answer_buckets": (64, 384), "rollout.max_slots": 40}, "more than config.rollout.max_slots = 40"),
        ({"rollout.answer_buckets": (64, 384), "algorithm.kl_in": "reward"}, "algorithm.kl_in = 'loss'"),
        ({"rollout.answer_buckets": (64, 384), "train.micro_prompts": 2}, "more than config.train.micro_prompts = 2"),
    ],
)
def test_settings_that_cannot_be_had_together_are_one_line(changes, words):
    config = vsgrpo_qwen2_vl_2b.get_config()
    config.rollout.together = 4
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=words):
        run_config.strict(config).check()

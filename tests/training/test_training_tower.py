"""Micro-batches on one pack of pictures: a tower that trains passes it once, and the gradients are those of a pass for
each micro-batch and each prompt.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_checkpoints as tiny
import tiny_groups

from spatial_jax import config as run_config
from spatial_jax.models import ModelConfig, TextConfig, VisionConfig, load_pretrained, split_params, trainable_mask
from spatial_jax.models.group import group_logprobs
from spatial_jax.parallel import make_mesh
from spatial_jax.processing.collate import AnswerTurn, collate_answers, collate_turns
from spatial_jax.training.abstract import abstract_setup
from spatial_jax.training.batches import Buckets, GroupBatch, split_answers
from spatial_jax.training.state import init_state
from spatial_jax.training.tower import packs_of
from spatial_jax.training.update import Updater

ANSWERS = (4, 2, 3, 4)


def micro_batches(config, hf_config, *, parts, keyed, later=False):
    """Four answers in parts of two to each of eight prompts, neighbours of which show the same pictures; with `later`
    a third part whose answers are shown a picture of their own.
    """
    prompts = [prompt for prompt in tiny_groups.prompts(config, hf_config) for _ in range(2)]
    if keyed:  # as the run's processor does
        prompts = [dataclasses.replace(p, keys=(bytes([i // 2]),) * (p.patches > 0)) for i, p in enumerate(prompts)]
    buckets = Buckets((48,), (4,), (256, 512, 1024), tiny.PAD, config.vision, parts)
    rng = np.random.default_rng(0)
    tokens = [[rng.integers(2, 150, n).astype(np.int32) for n in ANSWERS] for _ in prompts]
    starts = [p.next_position for p in prompts]
    answers = collate_answers(tokens, starts, answer_bucket=4, pad_id=tiny.PAD)
    batches = split_answers(GroupBatch(buckets.prompts(prompts), answers), 2)
    if later:
        shown = AnswerTurn(observation=tiny_groups.encoded(config, hf_config, [2, ("image", (1, 4, 8)), 2], seed=9))
        turns = [[[AnswerTurn(t), shown, AnswerTurn(t)] for t in row[:2]] for row in tokens]
        drawn = collate_turns(turns, starts, config.vision, answer_bucket=24, patch_bucket=512, pad_id=tiny.PAD)
        batches.append(GroupBatch(batches[0].prompts, drawn))
    return batches


def loss(model, batch, coefficients, remat):
    logp, entropy = group_logprobs(model, batch.prompts, batch.answers, remat=remat)
    kept = batch.answers.loss_mask
    return {"loss": jnp.sum(jnp.where(kept, -logp + 0.1 * entropy, 0.0)), "tokens_max": jnp.sum(kept * 1.0)}


def step(directory, batches, mesh, freeze, remat):
    """(change of the parameters by one step of plain descent, sums, the Updater)."""
    policy = load_pretrained(directory, position_rule="hf5", mesh=mesh)
    trainable, frozen = split_params(policy.params, trainable_mask(policy.params, freeze))
    optimizer = optax.sgd(1.0)
    updater = Updater(policy.graphdef, optimizer, functools.partial(loss, remat=remat), mesh, remat)
    before = jax.tree.map(np.array, trainable)
    state, sums = updater(init_state(trainable, optimizer), frozen, batches, 1.0)
    return jax.tree.map(lambda a, b: np.asarray(a) - b, state.params, before), sums, updater


@pytest.mark.parametrize(
    "family, axes, freeze, remat",
    [
        ("qwen2_5_vl", {}, (), "full"),
        ("qwen2_5_vl", {}, ("vision", "text", "embed", "head"), "none"),  # the merger alone learns
        ("qwen3_vl", {"data": 2, "fsdp": 2, "tensor": 2}, (), "none"),
    ],
    ids=str,
)
def test_one_pass_gives_the_gradients_of_a_pass_for_each(tmp_path, family, axes, freeze, remat):
    hf_config = tiny.make(tmp_path, family).config
    config, mesh = load_pretrained(tmp_path, position_rule="hf5").config, make_mesh(axes) if axes else None
    told = {"parts": 4 if axes else 1, "later": bool(freeze)}
    once = micro_batches(config, hf_config, keyed=True, **told)
    plain = micro_batches(config, hf_config, keyed=False, **told)
    assert len(once[0].prompts.vision.patches) < len(plain[0].prompts.vision.patches)
    # Copies: none of them knows that its pack is another's.
    plain = [jax.tree.map(np.copy, batch) for batch in plain]
    (ours, sums, updater), (theirs, others, each) = (step(tmp_path, b, mesh, freeze, remat) for b in (once, plain))
    assert updater._tower is not None and each._tower is None
    assert updater.programs == each.programs == 1 + told["later"]
    assert np.abs(jax.tree.leaves(theirs["vision"])[0]).max() > 0
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * max(1.0, float(np.abs(b).max())))
    for key in others:
        np.testing.assert_allclose(sums[key], others[key], rtol=1e-5)


def test_what_shares_a_pass(tmp_path):
    hf_config = tiny.make(tmp_path, "qwen2_5_vl").config
    config = load_pretrained(tmp_path, position_rule="hf5").config
    batches = micro_batches(config, hf_config, parts=1, keyed=True)
    trains, still = {"vision": {"merger": 0}, "text": {"norm": 0}}, {"text": {"norm": 0}}
    other = jax.tree.map(np.copy, batches[:1])
    assert [(pack is not None, len(members)) for pack, members in packs_of([*batches, *other], trains)] == [
        (True, 2),
        (False, 1),
    ]
    assert [pack for pack, _ in packs_of(batches, still)] == [None] * 2  # adapters on a still tower, too
    text = [dataclasses.replace(b, prompts=dataclasses.replace(b.prompts, vision=None)) for b in batches]
    assert [len(members) for _, members in packs_of(text, trains)] == [1, 1]
    assert list(packs_of([{}], trains)) == [(None, [{}])]


SMALL = ModelConfig(
    "qwen2_5_vl",
    TextConfig(128, 32, 48, 1, 2, 1, 16, 1e-6, 1e6, (2, 3, 3)),
    VisionConfig("qwen2_5_vl", 1, 32, 48, 2, 32, "silu", 4, window_size=16, full_attention_blocks=(0,)),
)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({}, r"tower trains \(vision.*set config\.model\.freeze=\('vision', 'merger'\)"),
        ({"freeze": ("vision",)}, r"tower trains \(vision\.merger.*config\.model\.freeze"),
        ({"freeze": ("vision", "merger")}, ""),
        ({"lora_rank": 2}, ""),
        ({"lora_rank": 2, "lora_targets": r"vision\.blocks\.qkv"}, r"qkv\.lora_a.*config\.model\.lora_targets"),
        ({"lora_rank": 2, "lora_targets": ".*(qkv|q_proj)", "freeze": ("vision",)}, r"qkv\.lora_a"),
    ],
    ids=str,
)
def test_features_are_kept_only_of_a_tower_that_does_not_train(model, words):
    """Decided by the parameters that train, adapters included, not by the settings' names."""
    config = run_config.default()
    config.model.update(model)
    config.data.feature_cache_gib = 0.1
    run = run_config.strict(config)
    if words:
        with pytest.raises(ValueError, match=words):
            abstract_setup(run, SMALL, None)
    else:
        assert abstract_setup(run, SMALL, None).tower_is_frozen

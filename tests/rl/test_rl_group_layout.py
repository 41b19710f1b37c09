"""One pass of the prompt a group equals one row an answer: log-probabilities and gradients, every objective, one and
eight devices.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_checkpoints as tiny
import tiny_groups
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from spatial_jax.models import load_pretrained, text
from spatial_jax.models.group import group_logprobs, plain_logprobs
from spatial_jax.models.sharding import model_shardings
from spatial_jax.ops import group_kernel, shared_prefix
from spatial_jax.ops.attention import target_platform
from spatial_jax.parallel import make_mesh
from spatial_jax.parallel.rules import use_mesh
from spatial_jax.processing.collate import AnswerTurn, collate_prompts, collate_turns
from spatial_jax.rl import ObjectiveConfig, PolicyBatch, group_advantages, objective
from spatial_jax.training.batches import GroupBatch, split_answers

OBJECTIVES = [
    ObjectiveConfig("grpo", clip_high=0.28, kl_coef=0.04),
    ObjectiveConfig("dapo", dual_clip=3.0),
    ObjectiveConfig("dr_grpo", aggregate="constant", max_tokens=9),
    ObjectiveConfig("gspo", aggregate="sequence"),
    ObjectiveConfig("cispo", is_cap=2.0),
    ObjectiveConfig("rloo", aggregate="sequence", kl_coef=0.1, kl="k2"),
]


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def world(request, tmp_path_factory):
    """(policy, prompts, answers): four prompts with pictures, three answers each, one of them with a picture in its
    second turn.
    """
    directory = tmp_path_factory.mktemp(request.param)
    hf_config = tiny.make(directory, request.param).config
    policy = load_pretrained(directory, position_rule="hf5")
    prompts = tiny_groups.prompts(policy.config, hf_config)
    shown = tiny_groups.encoded(policy.config, hf_config, [2, ("image", (1, 4, 8)), 2], seed=9)
    rng = np.random.default_rng(0)
    turns = [
        [[AnswerTurn(rng.integers(2, 150, rng.integers(1, 9)).astype(np.int32))] for _ in range(3)] for _ in prompts
    ]
    turns[1][2] += [AnswerTurn(observation=shown), AnswerTurn(rng.integers(2, 150, 3).astype(np.int32))]
    answers = collate_turns(
        turns,
        [p.next_position for p in prompts],
        policy.config.vision,
        answer_bucket=24,
        patch_bucket=32,
        pad_id=tiny.PAD,
    )
    return (
        policy,
        collate_prompts(prompts, policy.config.vision, prompt_bucket=40, patch_bucket=256, pad_id=tiny.PAD),
        answers,
    )


def passes(policy, layout, remat="none", mesh=None):
    """jitted (params, prompts, answers, cotangents [c, 2, b, g, t]) -> (logp, entropy, gradients with a leading
    [c]).
    """

    @jax.jit
    def run(params, prompts, answers, cotangents):
        with use_mesh(mesh):

            def forward(params):
                return layout(
                    nnx.merge(policy.graphdef, params),
                    prompts,
                    answers,
                    temperature=0.9,
                    banned_ids=(2, 3),
                    remat=remat,
                    chunk=64,
                )

            (logp, entropy), pull = jax.vjp(forward, params)
            return logp, entropy, jax.lax.map(lambda c: pull((c[0], c[1]))[0], cotangents)

    return run


def cotangents(logp, entropy, answers):
    """d loss / d (logp, entropy) of every objective at the plain layout's values, [c, 2, b, g, t]."""
    rng = np.random.default_rng(1)
    old, ref, rollout = (logp + rng.normal(0, 0.3, logp.shape).astype(np.float32) for _ in range(3))
    advantages = group_advantages(rng.random(logp.shape[:2]))
    batch = PolicyBatch(jnp.asarray(advantages), jnp.asarray(answers.loss_mask), old, ref, rollout)

    def gradient(cfg):
        def loss(logp, entropy):
            sums = objective(logp, entropy, batch, cfg, entropy_coef=0.01)
            return sums["loss"] / sums["count"]

        return jnp.stack(jax.grad(loss, argnums=(0, 1))(logp, entropy))

    return jnp.stack([gradient(cfg) for cfg in OBJECTIVES])


def assert_same(ours, theirs, mask):
    np.testing.assert_allclose(np.where(mask, ours[0], 0), np.where(mask, theirs[0], 0), rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(np.where(mask, ours[1], 0), np.where(mask, theirs[1], 0), rtol=1e-5, atol=2e-5)
    for c, cfg in enumerate(OBJECTIVES):
        norm, difference = 0.0, 0.0
        for x, y in zip(jax.tree.leaves(ours[2]), jax.tree.leaves(theirs[2])):
            norm += float(np.sum(np.asarray(y[c], np.float64) ** 2))
            difference += float(np.sum((np.asarray(x[c], np.float64) - np.asarray(y[c], np.float64)) ** 2))
        assert norm > 0 and (difference / norm) ** 0.5 < 1e-5, cfg


def test_group_layout_equals_plain_layout(world):
    policy, prompts, answers = world
    if (
        policy.config.family == "qwen3_vl"
    ):  # DeepStack rows go to their tokens in both layouts; gradients are the other family's
        values = [
            jax.jit(lambda params, layout=layout: layout(nnx.merge(policy.graphdef, params), prompts, answers))(
                policy.params
            )
            for layout in (group_logprobs, plain_logprobs)
        ]
        for ours, theirs in zip(*values):
            np.testing.assert_allclose(
                np.where(answers.loss_mask, ours, 0), np.where(answers.loss_mask, theirs, 0), rtol=1e-5, atol=2e-5
            )
        return
    plain = passes(policy, plain_logprobs)
    zeros = jnp.zeros((len(OBJECTIVES), 2, *answers.tokens.shape), jnp.float32)
    logp, entropy, _ = plain(policy.params, prompts, answers, zeros)
    weights = cotangents(logp, entropy, answers)
    theirs = plain(policy.params, prompts, answers, weights)
    assert_same(
        passes(policy, group_logprobs, "attention")(policy.params, prompts, answers, weights), theirs, answers.loss_mask
    )
    mesh = make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    params = jax.device_put(policy.params, model_shardings(policy.config, policy.params, mesh))
    rows = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    placed = jax.tree.map(lambda x: jax.device_put(x, rows), (prompts.tokens, answers.tokens))
    sharded = passes(policy, group_logprobs, "full", mesh)
    assert_same(
        sharded(params, replace(prompts, tokens=placed[0]), replace(answers, tokens=placed[1]), weights),
        theirs,
        answers.loss_mask,
    )


def test_the_form_for_gpus_equals_plain_layout(world, monkeypatch):
    """Rows filled up to whole blocks of the kernel (interpreted here), and one product for queries, keys and values."""
    policy, prompts, answers = world
    if policy.config.family == "qwen3_vl":
        return
    monkeypatch.setattr(text, "LONG", 1)
    monkeypatch.setattr(shared_prefix, "on_gpu", lambda *_: True)
    monkeypatch.setattr(group_kernel, "BLOCK", 16)
    rows = []

    def attend(q, *rest, **sizes):
        rows.append(q.shape[1])
        return fused(q, *rest, **sizes, interpret=True)

    fused = group_kernel.group_attention
    monkeypatch.setattr(group_kernel, "group_attention", attend)
    weights = cotangents(*(jnp.full(answers.tokens.shape, -2.0),) * 2, answers)
    with target_platform("gpu"):
        ours = passes(policy, group_logprobs, "attention")(policy.params, prompts, answers, weights)
    assert set(rows) == {112}  # 40 + 3 * 23 tokens
    assert_same(ours, passes(policy, plain_logprobs)(policy.params, prompts, answers, weights), answers.loss_mask)


def test_a_group_in_parts_is_the_whole_group(world):
    """`micro_answers`: parts of two and one answer give the log-probabilities, the summed loss and its gradients of
    three at once.
    """
    policy, prompts, answers = world
    assert [b.answers is answers for b in split_answers(GroupBatch(prompts, answers), 2)] == [
        True
    ]  # pictures of later turns stay together
    answers = replace(answers, vision=None, feature_index=np.full_like(answers.feature_index, -1))
    rng = np.random.default_rng(2)
    host = PolicyBatch(
        rng.normal(size=answers.tokens.shape[:2]), answers.loss_mask, ref_logp=rng.normal(-3, 1, answers.tokens.shape)
    )

    @jax.jit
    def run(params, batch):
        def loss(params):
            logp, entropy = group_logprobs(nnx.merge(policy.graphdef, params), batch.prompts, batch.answers)
            return objective(logp, entropy, batch.policy, OBJECTIVES[0])["loss"], logp

        (value, logp), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        return logp, value, gradient

    whole = GroupBatch(prompts, answers, host)
    parts = split_answers(whole, 2)
    assert [p.answers.tokens.shape[1] for p in parts] == [2, 1] and [p.policy.advantages.shape[1] for p in parts] == [
        2,
        1,
    ]
    logp, loss, gradient = run(policy.params, whole)
    values = [run(policy.params, part) for part in parts]
    joined = np.concatenate([v[0] for v in values], axis=1)
    np.testing.assert_allclose(
        np.where(answers.loss_mask, joined, 0), np.where(answers.loss_mask, logp, 0), rtol=1e-5, atol=2e-5
    )
    np.testing.assert_allclose(sum(v[1] for v in values), loss, rtol=1e-4)
    for mine, one in zip(
        jax.tree.leaves(jax.tree.map(lambda *parts: sum(parts), *[v[2] for v in values])),
        jax.tree.leaves(gradient),
        strict=True,
    ):
        np.testing.assert_allclose(mine, one, rtol=1e-3, atol=1e-4 * float(np.abs(one).max()) + 1e-7)


def test_observed_tokens_enter_only_through_context(world):
    """Another mask or another shown token changes the loss of nothing outside the mask: gradients with respect to them
    are context only.
    """
    _, _, answers = world
    mask = np.asarray(answers.loss_mask)
    shown = np.asarray(answers.valid) & ~mask
    assert shown[1, 2].any() and shown.sum() == shown[1, 2].sum()
    logp = jnp.asarray(np.random.default_rng(2).normal(-1, 0.3, mask.shape), jnp.float32)
    batch = PolicyBatch(jnp.ones(mask.shape[:2]), jnp.asarray(mask), logp - 0.1)
    gradient = jax.grad(lambda x: objective(x, None, batch, OBJECTIVES[1])["loss"])(logp)
    assert (np.asarray(gradient)[shown] == 0).all() and (np.asarray(gradient)[mask] != 0).any()

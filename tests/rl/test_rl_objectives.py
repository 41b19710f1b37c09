"""Objectives against published values, against trl's own loss (value and gradient), and their invariants."""

import collections
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_checkpoints  # noqa: F401  (makes trl's import of torchvision pass)
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trl import GRPOTrainer

from spatial_jax.rl import (
    ObjectiveConfig,
    PolicyBatch,
    importance_weights,
    kl_estimate,
    normaliser,
    objective,
    policy_loss,
)
from spatial_jax.rl.objectives import token_weights

LENGTHS = (6, 3, 4, 1)


def rows(*values):
    return np.array([list(row) + [0.0] * (6 - len(row)) for row in values], np.float32)


OLD = rows([-0.10, -1.20, -0.35, -2.00, -0.05, -0.80], [-0.60, -0.40, -1.50], [-2.30, -0.15, -0.70, -0.90], [-0.25])
NEW = OLD + rows([0.05, 0.30, -0.40, 0.25, -0.02, 0.10], [-0.30, 0.35, 1.30], [0.20, -0.10, 0.50, -0.60], [0.15])
REF = OLD + rows([0.02, -0.10, 0.20, -0.30, 0.01, 0.05], [0.15, -0.05, 0.40], [-0.25, 0.03, 0.10, 0.60], [-0.08])
ROLLOUT = OLD + rows([0.01, -0.02, 0.90, -0.05, 0.00, 0.03], [0.02, -0.80, 0.04], [-0.01, 0.05, -0.03, 0.02], [0.03])
ADVANTAGES = np.array([1.2, -0.7, -1.5, 0.9], np.float32)
MASK = np.arange(6) < np.array(LENGTHS)[:, None]
CLIP = {"clip_low": 0.2, "clip_high": 0.28}


def loss(new=NEW, **options):
    return policy_loss(new, OLD, ADVANTAGES, MASK, **{**CLIP, **options})[0]


PUBLISHED = [
    ({"dual_clip": 3.0}, 0.1306989825),
    ({"dual_clip": 3.0, "aggregate": "sequence"}, 0.1535875024),
    ({"dual_clip": 3.0, "aggregate": "constant", "max_tokens": 6}, 0.0762410731),
    ({}, 0.1641638159),
    ({"kind": "dapo", "kl_coef": 0.04, "ref_logp": REF}, 0.1705299506),
    ({"aggregate": "sequence"}, 0.1926298070),
    ({"aggregate": "sequence", "kl_coef": 0.04, "ref_logp": REF}, 0.1984455800),
    ({"kind": "dr_grpo", "aggregate": "constant"}, 0.0957622259),
    ({"kind": "dr_grpo", "aggregate": "constant", "kl_coef": 0.04, "ref_logp": REF}, 0.0994758045),
    ({"kind": "gspo", "aggregate": "sequence"}, 0.0737101199),
    ({"kind": "cispo"}, -0.0807150795),
    ({"kind": "cispo", "clip_low": 1.0}, -0.0460189094),
    ({"kl_coef": 0.04, "ref_logp": REF, "rollout_logp": ROLLOUT, "is_cap": 2.0}, 0.2659253245),
    ({"dual_clip": 3.0, "rollout_logp": ROLLOUT, "is_cap": 2.0}, 0.2274065407),
    ({"dual_clip": 3.0, "rollout_logp": ROLLOUT, "is_cap": 2.0, "is_level": "sequence"}, 0.6964740473),
]


@pytest.mark.parametrize("options,value", PUBLISHED)
def test_published_values(options, value):
    assert abs(float(loss(**options)) - value) < 1e-6


def test_published_parts():
    for kind, value in (("k1", 0.0714285714), ("k2", 0.1382714286), ("k3", 0.1591533676)):
        got = np.where(MASK, kl_estimate(jnp.asarray(NEW), jnp.asarray(REF), kind), 0).sum() / MASK.sum()
        assert abs(got - value) < 1e-6
    np.testing.assert_allclose(
        kl_estimate(jnp.array([0.0, -1, -3, -30]), jnp.array([0.0, -1.5, -1, -1]), "k3"),
        [0, 0.106531, 4.389056, 10],
        atol=1e-5,
    )
    np.testing.assert_allclose(
        kl_estimate(jnp.array([0.0, -1, -3, -30]), jnp.array([0.0, -1.5, -1, -1]), "k2"),
        [0, 0.125, 2, 420.5],
        atol=1e-5,
    )
    weights = importance_weights(jnp.asarray(OLD), jnp.asarray(ROLLOUT), jnp.asarray(MASK), 2.0)
    np.testing.assert_allclose(weights[0], [0.99005, 1.0202, 0.40657, 1.05127, 1, 0.97045], atol=1e-5)
    np.testing.assert_allclose(weights[1, :3], [0.9802, 2, 0.96079], atol=1e-5)
    sequence = importance_weights(jnp.asarray(OLD), jnp.asarray(ROLLOUT), jnp.asarray(MASK), 2.0, "sequence")
    np.testing.assert_allclose(sequence[:, 0], [0.41895, 2, 0.97045, 0.97045], atol=1e-5)
    mask = np.arange(6) < np.array([6, 3, 4, 0])[:, None]
    values = np.arange(24).reshape(4, 6) / 10
    for aggregate, max_tokens, value in (
        ("token", None, 0.692308),
        ("sequence", None, 0.766667),
        ("constant", 6, 0.5),
        ("constant", 100, 0.03),
    ):
        got = (values * token_weights(mask, aggregate)).sum() / normaliser(mask, aggregate, max_tokens)
        assert abs(float(got) - value) < 1e-6


def trl_loss(loss_type, beta=0.0, level="token", epsilon_high=0.28, delta=None, is_ratio=None):
    """trl's GRPO loss and its gradient on the same numbers, through a stand-in for the trainer."""
    new = torch.tensor(NEW, requires_grad=True)
    accelerator = types.SimpleNamespace(
        num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x, gather_for_metrics=lambda x: x
    )
    args = types.SimpleNamespace(use_bias_correction_kl=False, delta=delta, steps_per_generation=1)
    stub = types.SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (new, torch.zeros_like(new), None),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level=level,
        beta=beta,
        args=args,
        loss_type=loss_type,
        epsilon_low=0.2,
        epsilon_high=epsilon_high,
        use_vllm=is_ratio is not None,
        vllm_importance_sampling_correction=True,
        model=types.SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1,
        max_completion_length=6,
        accelerator=accelerator,
        _entropy_bonus_enabled=False,
        _metrics={"train": collections.defaultdict(list)},
    )
    inputs = {
        "prompt_ids": torch.zeros(4, 1),
        "prompt_mask": torch.ones(4, 1),
        "completion_ids": torch.zeros(4, 6),
        "completion_mask": torch.tensor(MASK).int(),
        "advantages": torch.tensor(ADVANTAGES),
        "old_per_token_logps": torch.tensor(OLD),
        "ref_per_token_logps": torch.tensor(REF),
        "num_items_in_batch": torch.tensor(float(MASK.sum())),
    }
    if is_ratio is not None:
        inputs["importance_sampling_ratio"] = torch.tensor(np.asarray(is_ratio))
    value = GRPOTrainer._compute_loss(stub, None, inputs)
    value.backward()
    return float(value), new.grad.numpy()


TRL = [
    ({"loss_type": "grpo", "beta": 0.04}, {"aggregate": "sequence", "kl_coef": 0.04, "ref_logp": REF}),
    ({"loss_type": "bnpo"}, {}),
    ({"loss_type": "dapo", "beta": 0.04}, {"kind": "dapo", "kl_coef": 0.04, "ref_logp": REF}),
    ({"loss_type": "dapo", "delta": 3.0}, {"kind": "dapo", "dual_clip": 3.0}),
    ({"loss_type": "dr_grpo"}, {"kind": "dr_grpo", "aggregate": "constant"}),
    ({"loss_type": "grpo", "level": "sequence"}, {"kind": "gspo", "aggregate": "sequence"}),
    ({"loss_type": "cispo", "epsilon_high": 1.28}, {"kind": "cispo", "clip_low": 1.0}),
    ({"loss_type": "dapo", "is_ratio": "token"}, {"kind": "dapo", "rollout_logp": ROLLOUT, "is_cap": 2.0}),
]


@pytest.mark.parametrize("theirs,ours", TRL)
def test_value_and_gradient_equal_trl(theirs, ours):
    if theirs.get("is_ratio"):
        theirs = {**theirs, "is_ratio": np.minimum(np.exp(OLD - ROLLOUT), 2.0)}
    value, gradient = trl_loss(**theirs)
    own_value, own_gradient = jax.value_and_grad(lambda new: loss(new, **ours))(jnp.asarray(NEW))
    assert abs(float(own_value) - value) < 1e-6
    np.testing.assert_allclose(own_gradient, np.where(MASK, gradient, 0), atol=1e-6)


def test_rloo_is_the_whole_answers_ratio():
    total = np.where(MASK, NEW - OLD, 0).sum(-1)
    ratio = np.exp(total)
    expected = -np.minimum(ratio * ADVANTAGES, np.clip(ratio, 0.8, 1.28) * ADVANTAGES).mean()
    assert abs(float(loss(kind="rloo", aggregate="sequence")) - expected) < 1e-6


def test_masked_tokens_and_missing_parts():
    garbage = np.where(MASK, NEW, -1e30)
    value, gradient = jax.value_and_grad(lambda new: loss(new, kl_coef=0.04, ref_logp=np.where(MASK, REF, np.nan)))(
        jnp.asarray(garbage)
    )
    assert abs(float(value) - 0.1705299506) < 1e-6
    assert np.isfinite(gradient).all() and (np.asarray(gradient)[~MASK] == 0).all()
    with pytest.raises(ValueError, match="kl_coef needs ref_logp"):
        loss(kl_coef=0.1)
    with pytest.raises(ValueError, match="is_cap needs rollout_logp"):
        loss(is_cap=2.0)
    with pytest.raises(ValueError, match="unknown kind"):
        loss(kind="ppo")
    on_policy = policy_loss(NEW, None, ADVANTAGES, MASK)[1]
    assert float(on_policy["ratio"]) == 1.0 and float(on_policy["clip_high"]) == 0.0


@settings(max_examples=8, deadline=None)
@given(
    st.integers(0, 2**20),
    st.sampled_from(["grpo", "gspo", "cispo", "rloo"]),
    st.sampled_from(["token", "sequence", "constant"]),
)
def test_invariant_to_split_order_and_padding(seed, kind, aggregate):
    rng = np.random.default_rng(seed)
    b, g, t = 4, 2, 5
    new, old, ref = (rng.normal(-1, 0.5, (b, g, t)).astype(np.float32) for _ in range(3))
    mask = np.arange(t) < rng.integers(1, t + 1, (b, g, 1))
    advantages = rng.normal(size=(b, g)).astype(np.float32)
    advantages[0] = 0.0  # a group of constant reward
    cfg = ObjectiveConfig(kind, aggregate=aggregate, kl_coef=0.1, max_tokens=7)

    def sums(index, pad=0):
        widen = ((0, 0), (0, 0), (0, pad))
        part = [np.pad(x[index], widen, constant_values=9.0) for x in (old, ref, new)]
        batch = PolicyBatch(advantages[index], np.pad(mask[index], widen), part[0], part[1])
        return objective(jnp.asarray(part[2]), None, batch, cfg)

    whole, halves, shuffled = sums(np.arange(b)), [sums([0, 2]), sums([1, 3])], sums(rng.permutation(b), pad=3)
    for name in ("loss", "count", "tokens", "kl_ref", "ratio"):
        np.testing.assert_allclose(sum(half[name] for half in halves), whole[name], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(shuffled[name], whole[name], rtol=1e-5, atol=1e-6)
    no_kl = ObjectiveConfig(kind, aggregate=aggregate)
    gradient = jax.grad(lambda x: objective(x, None, PolicyBatch(advantages, mask, old), no_kl)["loss"])(
        jnp.asarray(new)
    )
    assert (np.asarray(gradient)[0] == 0).all() and np.isfinite(gradient).all()

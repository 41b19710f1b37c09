"""Group advantages: published values, degenerate groups exactly zero, answers without a score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial_jax.rl import constant_groups, group_advantages, penalised_rewards

PUBLISHED = [
    ("grpo", [1, 0, 0, 1], [0.866024, -0.866024, -0.866024, 0.866024]),
    ("grpo", [0.25, 0.5, 0.75, 1], [-1.161891, -0.387297, 0.387297, 1.161891]),
    ("grpo", [1, 0, 0, 0, 1], [1.0954, -0.7303, -0.7303, -0.7303, 1.0954]),
    ("rloo", [1, 0, 0, 1], [0.666667, -0.666667, -0.666667, 0.666667]),
    ("dr_grpo", [0.25, 0.5, 0.75, 1], [-0.375, -0.125, 0.125, 0.375]),
]


@pytest.mark.parametrize("kind,rewards,expected", PUBLISHED)
def test_published_values(kind, rewards, expected):
    np.testing.assert_allclose(
        group_advantages([rewards], kind=kind)[0], expected, atol=5e-5 if len(rewards) == 5 else 1e-6
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 24), st.floats(-3, 3, width=32), st.sampled_from(["grpo", "dr_grpo", "rloo", "dapo"]))
def test_constant_groups_are_exactly_zero(n, value, kind):
    rewards = np.full((2, n), value, np.float32)
    assert (group_advantages(rewards, kind=kind) == 0).all() and constant_groups(rewards).all()


def test_unscored_answers_take_no_part():
    rewards = [[1.0, 0.0, np.nan, 1.0, 0.0], [np.nan, np.nan, 0.5, np.nan, np.nan]]
    advantages = group_advantages(rewards)
    np.testing.assert_allclose(advantages[0], [0.866024, -0.866024, 0, 0.866024, -0.866024], atol=1e-6)
    assert (advantages[1] == 0).all()
    valid = ~np.isnan(rewards)
    np.testing.assert_array_equal(group_advantages(np.nan_to_num(np.array(rewards), nan=7.0), valid=valid), advantages)


def test_kl_in_the_reward():
    logp = np.log(np.array([[[0.5, 0.5], [0.25, 0.5]]]))
    ref = np.log(np.array([[[0.5, 0.25], [0.5, 0.5]]]))
    mask = np.array([[[1, 1], [1, 0]]])
    np.testing.assert_allclose(
        penalised_rewards([[1.0, 1.0]], logp, ref, mask, 0.1), [[1 - 0.1 * np.log(2), 1 + 0.1 * np.log(2)]], rtol=1e-5
    )


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="unknown kind"):
        group_advantages([[1.0]], kind="gae")
    with pytest.raises(ValueError, match=r"\[prompts, group\]"):
        group_advantages([1.0, 2.0])

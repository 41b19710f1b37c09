"""The adaptive entropy coefficient and the reference policy's updates."""

import jax.numpy as jnp
import numpy as np
import pytest

from spatial_jax.rl import EntropyConfig, EntropyController, ReferenceConfig, ReferenceController, update_reference


def test_entropy_coefficient_follows_skywork():
    control = EntropyController(EntropyConfig(adaptive=True, target=0.2, delta=1e-3, high=2.5e-3))
    assert [control.update(h) for h in (0.1, 0.1, 0.1)] == [1e-3, 2e-3, 2.5e-3]
    assert control.update(0.3) == 0.0 and control.coef == 1.5e-3  # above the target: smaller, and not applied
    assert control.update(float("nan")) == 0.0 and control.coef == 1.5e-3
    again = EntropyController(control.config)
    again.load_state_dict(control.state_dict())
    assert again.update(0.1) == control.update(0.1)
    assert EntropyController(EntropyConfig(start=0.01)).update(5.0) == 0.01


def test_reference_update_rules():
    every = ReferenceController(ReferenceConfig("every_n", n=3))
    assert [every.due(step) for step in range(1, 8)] == [False, False, True, False, False, True, False]
    by_kl = ReferenceController(ReferenceConfig("kl", kl_threshold=0.1, min_steps=2))
    assert [by_kl.due(step, kl) for step, kl in enumerate((0.5, 0.05, 0.2, 0.2, 0.2), 1)] == [
        False,
        False,
        True,
        False,
        True,
    ]
    plateau = ReferenceController(ReferenceConfig("val_plateau", patience=2))
    for score in (0.5, 0.6, 0.6, 0.55):
        plateau.observe_validation(score)
    restored = ReferenceController(plateau.config)
    restored.load_state_dict(plateau.state_dict())
    assert restored.due(9) and not restored.due(10) and restored.updates == 1
    assert not ReferenceController(ReferenceConfig()).due(10**6, 99.0)
    with pytest.raises(ValueError, match="unknown mode"):
        ReferenceConfig("sometimes")


def test_reference_copy_and_average():
    def trees():
        return {"w": jnp.zeros(3, jnp.bfloat16)}, {"w": jnp.ones(3)}

    copied = update_reference(*trees(), ReferenceConfig("every_n"))
    assert copied["w"].dtype == jnp.bfloat16 and (np.asarray(copied["w"], np.float32) == 1).all()
    assert np.allclose(np.asarray(update_reference(*trees(), ReferenceConfig("ema", ema=0.75))["w"], np.float32), 0.25)

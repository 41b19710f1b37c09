"""Estimators of KL(policy || reference) from log-probabilities of the policy's own tokens (Schulman, "Approximating KL
divergence").
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

KINDS = ("k1", "k2", "k3")


def kl_estimate(new_logp: Float[Array, "*n"], ref_logp: Float[Array, "*n"], kind: str = "k3") -> Float[Array, "*n"]:
    """Per-token estimate in nats, differentiable in new_logp.

    With d = ref - new clamped to [-20, 20]: k1 = -d (unbiased, signed), k2 = d^2 / 2, k3 = exp(d) - d - 1 clamped to at
    most 10. k1 and k2 take d unclamped.
    """
    difference = ref_logp - new_logp
    if kind == "k1":
        return -difference
    if kind == "k2":
        return 0.5 * difference**2
    if kind == "k3":
        difference = jnp.clip(difference, -20.0, 20.0)
        return jnp.minimum(jnp.exp(difference) - difference - 1.0, 10.0)
    raise ValueError(f"kl: unknown estimator {kind!r}; use one of {', '.join(KINDS)}")


def penalised_rewards(rewards, sampled_logp, ref_logp, mask, coef: float, kind: str = "k1") -> np.ndarray:
    """Rewards [b, g] minus coef times the answer's summed KL estimate; log-probabilities and mask [b, g, t]. NumPy; NaN
    rewards stay NaN.
    """
    kl = np.asarray(kl_estimate(jnp.asarray(sampled_logp), jnp.asarray(ref_logp), kind))
    return np.asarray(rewards) - coef * np.where(np.asarray(mask, bool), kl, 0.0).sum(axis=-1)

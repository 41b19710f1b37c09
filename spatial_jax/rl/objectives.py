"""Policy objectives on per-token log-probabilities: GRPO, Dr. GRPO, DAPO, GSPO, CISPO, RLOO.

Everything here is a pure function of arrays. Losses come as sums and counts, so that the caller can split a global
batch into micro-batches and devices any way and divide once: sum of losses over the global normaliser. Sources:
DeepSeekMath (GRPO), DAPO, Dr. GRPO, GSPO, MiniMax-M1 (CISPO), Ahmadian et al. (RLOO), Yao et al. (truncated importance
sampling).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from spatial_jax.rl.kl import kl_estimate
from spatial_jax.rl.surrogates import AGGREGATES, OBJECTIVES

IS_LEVELS = ("token", "sequence")


@dataclass(frozen=True)
class ObjectiveConfig:
    """What the policy loss is made of; hashable, so it can be a static argument of jit.

    kind:       the surrogate. grpo, dr_grpo and dapo share the clipped token ratio (they differ in advantage,
    aggregation, rewards);
                gspo clips the geometric-mean ratio of the answer, rloo the ratio of the whole answer (as trl's
                RLOOTrainer); cispo weighs log-probabilities by the clipped ratio without its gradient.
    clip_low, clip_high:  the ratio is clipped to [1 - clip_low, 1 + clip_high].
    dual_clip:  c > 1 bounds the loss of negative advantages at -A c (grpo, dr_grpo, dapo); None is off.
    aggregate:  "token" mean over all tokens, "sequence" mean over answers of their token mean, "constant" sum /
    (answers * max_tokens).
                Answers without a single trained token count nowhere.
    kl_coef, kl: weight and estimator of the KL to the reference in the loss (0 switches it off).
    is_cap:     cap of the weight exp(old - sampler log-prob), None is off; is_level: per "token" or per "sequence".
    max_tokens: the constant of "constant"; None means the padded width.
    """

    kind: str = "grpo"
    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = None
    aggregate: str = "token"
    kl_coef: float = 0.0
    kl: str = "k3"
    is_cap: float | None = None
    is_level: str = "token"
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("kind", self.kind, tuple(OBJECTIVES)),
            ("aggregate", self.aggregate, AGGREGATES),
            ("is_level", self.is_level, IS_LEVELS),
        ):
            if value not in known:
                raise ValueError(f"policy loss: unknown {name} {value!r}; use one of {', '.join(known)}")
        if self.dual_clip is not None and self.dual_clip <= 1.0:
            raise ValueError(f"policy loss: dual_clip must exceed 1, got {self.dual_clip}")


@struct.dataclass
class PolicyBatch:
    """What a policy loss needs besides the new log-probabilities; leading axes may be [n] answers or [b, g].

    advantages [...], mask [..., t] (tokens that train), old_logp [..., t] or None when strictly on-policy (the ratio is
    then 1 in value), ref_logp [..., t] (needed when kl_coef > 0), rollout_logp [..., t] (needed when is_cap is set):
    the sampler's full-softmax values.
    """

    advantages: Array
    mask: Array
    old_logp: Array | None = None
    ref_logp: Array | None = None
    rollout_logp: Array | None = None


def _mask_out(x: Array, mask: Array) -> Array:
    """x where the mask holds, else 0; unlike a product it stops NaN and huge values of masked tokens, in the gradient
    too.
    """
    return jnp.where(mask, x, 0.0)


def surrogate(new_logp: Array, batch: PolicyBatch, cfg: ObjectiveConfig) -> tuple[Array, dict[str, Array]]:
    """Per-token policy loss [n, t] (without KL) and per-token statistics of the same shape."""
    mask = batch.mask.astype(bool)
    # On policy the ratio is 1 and its gradient is the policy's own: no second pass for what is known.
    old_logp = jax.lax.stop_gradient(new_logp if batch.old_logp is None else batch.old_logp)
    advantage = batch.advantages[..., None]
    kind = OBJECTIVES[cfg.kind]
    # Clamped where exp would overflow: a token that far off has no gradient left, but no nan either.
    log_ratio = jnp.clip(kind.log_ratio(_mask_out(new_logp - old_logp, mask), mask), -20.0, 20.0)
    ratio = jnp.exp(log_ratio)
    loss = kind.loss(ratio, _mask_out(new_logp, mask), advantage, cfg)
    stats = {
        "ratio": ratio,
        "clip_high": (ratio > 1.0 + cfg.clip_high) & (advantage > 0),
        "clip_low": (ratio < 1.0 - cfg.clip_low) & (advantage < 0),
        "kl_old": jnp.exp(-log_ratio) - 1.0 + log_ratio,
    }
    if batch.rollout_logp is not None:
        stats["sampler_gap"] = jnp.abs(_mask_out(old_logp - batch.rollout_logp, mask))
        if cfg.is_cap is not None:
            weight = importance_weights(old_logp, batch.rollout_logp, mask, cfg.is_cap, cfg.is_level)
            stats["is_weight"] = weight
            loss = loss * weight
    elif cfg.is_cap is not None:
        raise ValueError(
            "policy loss: is_cap needs rollout_logp, the sampler's log-probabilities; pass them or set is_cap to None"
        )
    return _mask_out(loss, mask), stats


def importance_weights(old_logp: Array, rollout_logp: Array, mask: Array, cap: float, level: str = "token") -> Array:
    """Truncated weights min(exp(old - sampler), cap) [n, t], a token's own or the whole answer's; no gradient."""
    difference = _mask_out(old_logp - rollout_logp, mask)
    if level == "sequence":
        difference = jnp.broadcast_to(jnp.sum(difference, axis=-1, keepdims=True), difference.shape)
    return jax.lax.stop_gradient(jnp.minimum(jnp.exp(jnp.clip(difference, -20.0, 20.0)), cap))


def token_weights(mask: Array, aggregate: str) -> Array:
    """Weight [..., t] of each token in the sum: 1, or 1 / length of its answer for "sequence"; 0 outside the mask."""
    weights = mask.astype(jnp.float32)
    if aggregate == "sequence":
        weights = weights / jnp.maximum(jnp.sum(weights, axis=-1, keepdims=True), 1.0)
    return weights


def normaliser(mask: Array, aggregate: str, max_tokens: int | None = None) -> Float[Array, ""]:
    """What the summed loss of a batch is divided by; additive over any split of the batch, so compute it once for the
    global batch.
    """
    if aggregate == "token":
        return jnp.sum(mask.astype(jnp.float32))
    sequences = jnp.sum(jnp.any(mask.astype(bool), axis=-1).astype(jnp.float32))
    return sequences * (1.0 if aggregate == "sequence" else float(max_tokens or mask.shape[-1]))


def objective(
    new_logp: Float[Array, "b g t"],
    entropy: Float[Array, "b g t"] | None,
    batch: PolicyBatch,
    cfg: ObjectiveConfig,
    *,
    entropy_coef: Float[Array, ""] | float = 0.0,
) -> dict[str, Array]:
    """Sums over a (micro-)batch: {"loss", "count", "tokens", and one sum or max a metric}.

    loss / count (count summed over the global batch) is policy loss + kl_coef * KL - entropy_coef * entropy, all
    aggregated alike. Metrics: policy_loss and kl_ref use the aggregation (divide by count); entropy, ratio, kl_old,
    clip_high, clip_low, is_weight, sampler_gap are token sums (divide by tokens); ratio_max and sampler_gap_max are
    maxima.
    """
    mask = batch.mask.astype(bool)
    weights = token_weights(mask, cfg.aggregate)
    per_token, stats = surrogate(new_logp, batch, cfg)
    sums = {"policy_loss": jnp.sum(per_token * weights)}
    loss = sums["policy_loss"]
    if batch.ref_logp is not None:
        # Masked before and after: padding may hold infinities, and their gradient times 0 would be nan.
        kl = _mask_out(kl_estimate(_mask_out(new_logp, mask), _mask_out(batch.ref_logp, mask), cfg.kl), mask)
        sums["kl_ref"] = jnp.sum(kl * weights)
        if cfg.kl_coef:
            loss = loss + cfg.kl_coef * sums["kl_ref"]
    elif cfg.kl_coef:
        raise ValueError(
            "policy loss: kl_coef needs ref_logp, the reference's log-probabilities; pass them or set kl_coef to 0"
        )
    if entropy is not None:
        entropy = _mask_out(entropy, mask)
        loss = loss - entropy_coef * jnp.sum(entropy * weights)
        sums["entropy"] = jax.lax.stop_gradient(jnp.sum(entropy))
    for name, value in stats.items():
        sums[name] = jnp.sum(_mask_out(value.astype(jnp.float32), mask))
    sums["ratio_max"] = jnp.max(_mask_out(stats["ratio"], mask))
    if "sampler_gap" in stats:
        sums["sampler_gap_max"] = jnp.max(stats["sampler_gap"])
    # Only the loss has a gradient; metrics that kept theirs would make the backward pass remember them.
    sums = {name: jax.lax.stop_gradient(value) for name, value in sums.items()}
    return {
        "loss": loss,
        "count": normaliser(mask, cfg.aggregate, cfg.max_tokens),
        "tokens": jnp.sum(mask.astype(jnp.float32)),
        **sums,
    }


AGGREGATED_METRICS = ("policy_loss", "kl_ref")
MAXIMA = ("ratio_max", "sampler_gap_max")


def metrics_from_sums(sums: dict) -> dict:
    """Means and maxima of the sums of a whole batch; counts of 0 give 0."""
    count, tokens = (jnp.maximum(sums[name], 1e-8) for name in ("count", "tokens"))
    out = {}
    for name, value in sums.items():
        if name in ("count", "tokens") or name in MAXIMA:
            out[name] = value
        else:
            out[name] = value / (count if name in (*AGGREGATED_METRICS, "loss") else tokens)
    return out


def policy_loss(
    new_logp,
    old_logp,
    advantages,
    mask,
    *,
    kind="grpo",
    clip_low=0.2,
    clip_high=0.2,
    dual_clip=None,
    aggregate="token",
    ref_logp=None,
    kl_coef=0.0,
    kl="k3",
    rollout_logp=None,
    is_cap=None,
    is_level="token",
    max_tokens=None,
    entropy=None,
    entropy_coef=0.0,
):
    """(loss, metrics) of answers in rows: new_logp, old_logp, mask [n, t], advantages [n]; differentiable in new_logp
    (and entropy).

    The arguments are ObjectiveConfig's; old_logp None means strictly on-policy. cispo with clip_low=1 bounds the ratio
    from above only (trl's form, whose epsilon_high is 1 + clip_high). rloo and gspo are defined with
    aggregate="sequence".
    """
    cfg = ObjectiveConfig(kind, clip_low, clip_high, dual_clip, aggregate, kl_coef, kl, is_cap, is_level, max_tokens)
    optional = [None if x is None else jnp.asarray(x) for x in (old_logp, ref_logp, rollout_logp)]
    batch = PolicyBatch(jnp.asarray(advantages), jnp.asarray(mask), *optional)
    sums = objective(jnp.asarray(new_logp), entropy, batch, cfg, entropy_coef=entropy_coef)
    metrics = metrics_from_sums(sums)
    return metrics["loss"], {name: jax.lax.stop_gradient(value) for name, value in metrics.items()}

"""AdamW with schedule, gradient clipping, a learning rate for each part of the policy, and small moments where memory
is short.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from spatial_jax.models.trainable import group_of
from spatial_jax.training.moments import scale_by_eight_bit_adam
from spatial_jax.training.settings import OptimizerSettings


def learning_rate(settings: OptimizerSettings, steps: int) -> optax.Schedule:
    """Learning rate by optimizer step: linear warm-up, then constant, cosine or linear decay to `final_fraction` at
    `steps`.
    """
    peak, warmup = settings.learning_rate, settings.warmup_steps
    rest = max(steps - warmup, 1)
    if settings.schedule == "cosine":
        body = optax.cosine_decay_schedule(peak, rest, settings.final_fraction)
    elif settings.schedule == "linear":
        body = optax.linear_schedule(peak, peak * settings.final_fraction, rest)
    else:
        body = optax.constant_schedule(peak)
    if not warmup:
        return body
    return optax.join_schedules([optax.linear_schedule(peak / warmup, peak, warmup), body], [warmup])


def decays(path: tuple[Any, ...], value: jax.Array) -> bool:
    """Whether weight decay applies: matrices only, not norms and biases. Stacked layers add a leading axis, so the name
    decides.
    """
    name = jax.tree_util.keystr(path).lower()
    return value.ndim >= 2 and not any(word in name for word in ("norm", "bias", "ln_q"))


def scale_by_part(settings: OptimizerSettings) -> optax.GradientTransformation:
    """Updates of the vision tower and of the merger times their learning rate over the common one."""
    ratios = {
        name: rate / settings.learning_rate
        for name, rate in (("vision", settings.vision_learning_rate), ("merger", settings.merger_learning_rate))
        if rate is not None
    }

    def scale(path, update):
        names = tuple(jax.tree_util.keystr(path, simple=True, separator="/").split("/"))
        return update * ratios.get(group_of(names), 1.0)

    return (
        optax.stateless(lambda updates, params: jax.tree_util.tree_map_with_path(scale, updates))
        if ratios
        else optax.identity()
    )


def adam(settings: OptimizerSettings) -> optax.GradientTransformation:
    """Adam's direction, with moments in the type of the settings ("bfloat16": the first moment; the second needs
    float32's precision).
    """
    if settings.moments == "int8":
        return scale_by_eight_bit_adam(settings.beta1, settings.beta2, settings.epsilon)
    kind = jnp.bfloat16 if settings.moments == "bfloat16" else jnp.float32
    return optax.scale_by_adam(settings.beta1, settings.beta2, settings.epsilon, mu_dtype=kind)


def make_optimizer(settings: OptimizerSettings, steps: int) -> optax.GradientTransformation:
    """AdamW on float32 master weights; the tree it is given holds the trainable parameters only."""
    return optax.chain(
        optax.clip_by_global_norm(settings.grad_clip) if settings.grad_clip else optax.identity(),
        adam(settings),
        (
            optax.add_decayed_weights(
                settings.weight_decay, mask=lambda params: jax.tree_util.tree_map_with_path(decays, params)
            )
            if settings.weight_decay
            else optax.identity()
        ),
        optax.scale_by_learning_rate(learning_rate(settings, steps)),
        scale_by_part(settings),
    )

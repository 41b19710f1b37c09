"""The KL reference: a copy of the trainable parameters that is replaced every N steps, when the KL passes a threshold, or drifts (EMA)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from spatial_jax.training.settings import ReferenceSettings
from spatial_jax.training.state import Flat

_copy = jax.jit(lambda params: jax.tree.map(jnp.copy, params))
_mix = jax.jit(lambda old, new, decay: jax.tree.map(lambda o, n: o * decay + n * (1 - decay), old, new), donate_argnums=(0,))


class Reference:
    """The copy. `params` is None where the run needs no reference: then no copy is kept and no pass is made."""

    def __init__(self, settings: ReferenceSettings, needed: bool, params: Flat):
        self.settings = settings
        self.params: Flat | None = _copy(params) if needed else None
        self.refreshed_at = 0

    def after_step(self, step: int, params: Flat, metrics: Mapping[str, float]) -> dict[str, float]:
        """Refreshes when it is time; returns what to log."""
        if self.params is None:
            return {}
        settings = self.settings
        if settings.mode == "ema":
            self.params = _mix(self.params, params, settings.ema_decay)
            return {}
        due = (settings.mode == "every_n" and step % settings.every_n == 0
               or settings.mode == "kl" and metrics.get("kl/reference", 0.0) > settings.kl_threshold)
        if due:
            self.params, self.refreshed_at = _copy(params), step
        return {"reference/age": float(step - self.refreshed_at)}

    def get_state(self) -> dict[str, Any]:
        return {"refreshed_at": self.refreshed_at}

    def set_state(self, params: Flat | None, state: Mapping[str, Any]) -> None:
        self.params, self.refreshed_at = params, int(state["refreshed_at"])

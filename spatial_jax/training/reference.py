"""The device copy of the reference policy, beside the controller that says when it is replaced."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from spatial_jax.rl import ReferenceConfig, ReferenceController, update_reference
from spatial_jax.training.state import Params


class Reference:
    """`params` is None where the run needs no reference: then no copy is kept and no pass is made."""

    def __init__(self, config: ReferenceConfig, needed: bool, params: Params):
        self.config, self.controller = config, ReferenceController(config)
        self.params: Params | None = jax.tree.map(jnp.copy, params) if needed else None

    def after_step(self, step: int, params: Params, metrics: Mapping[str, float]) -> bool:
        """Replaces the reference when it is time; whether it did."""
        if self.params is None or not self.controller.due(step, metrics.get("kl/reference")):
            return False
        self.params = update_reference(self.params, params, self.config)
        return True

    def metrics(self, step: int) -> dict[str, float]:
        return {} if self.params is None else {"reference/age": float(step - self.controller.last_update)}

"""Entropy bonus with an adaptive coefficient (Skywork-OR1)."""

from __future__ import annotations

import dataclasses

from spatial_jax.ranges import NotNegative


@dataclasses.dataclass(frozen=True)
class EntropyConfig:
    """target entropy in nats a token; the coefficient moves by `delta` a step within [low, high], from `start`.

    adaptive False keeps the coefficient at `start` and always applies it.
    """

    adaptive: bool = False
    target: NotNegative = 0.2
    delta: NotNegative = 1e-4
    low: NotNegative = 0.0
    high: NotNegative = 5e-3
    start: NotNegative = 0.0


class EntropyController:
    """Holds the coefficient of the entropy bonus; `update` once a step with the batch's mean entropy, then `active`
    goes into the loss.
    """

    def __init__(self, config: EntropyConfig):
        self.config = config
        self.coef = config.start
        self._below = True

    @property
    def active(self) -> float:
        """The coefficient to use now: 0 while the entropy is above its target."""
        return self.coef if self._below or not self.config.adaptive else 0.0

    def update(self, entropy: float) -> float:
        """One step of the controller with the mean token entropy just measured; returns `active`. A NaN changes
        nothing.
        """
        if not self.config.adaptive or entropy != entropy:
            return self.active
        config = self.config
        self._below = entropy < config.target
        self.coef = min(max(self.coef + (config.delta if self._below else -config.delta), config.low), config.high)
        return self.active

    def state_dict(self) -> dict[str, float]:
        return {"coef": self.coef, "below": float(self._below)}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.coef, self._below = float(state["coef"]), bool(state["below"])

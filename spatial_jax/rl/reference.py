"""The reference policy: when it is replaced by the current one, and how (frozen, every N steps, by KL, on a stalled
validation, EMA).
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp

from spatial_jax.ranges import Count, Positive, ShareBelow1, Whole

MODES = ("none", "every_n", "kl", "val_plateau", "ema")


@dataclasses.dataclass(frozen=True)
class ReferenceConfig:
    """mode: "none" frozen; "every_n" replaced each `n` steps; "kl" when the KL to it exceeds `kl_threshold`;
    "val_plateau" after `patience` validations without an improvement; "ema" moved by `ema` (weight of the old
    reference) each `n` steps.

    reset_optimizer: also start the optimizer anew at a replacement (ProRL v1). min_steps: fewest steps between two
    replacements.
    """

    mode: Literal["none", "every_n", "kl", "val_plateau", "ema"] = "none"
    n: Count = 200
    kl_threshold: Positive = 0.1
    patience: Count = 5
    ema: ShareBelow1 = 0.6
    reset_optimizer: bool = False
    min_steps: Whole = 1

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"reference: unknown mode {self.mode!r}; use one of {', '.join(MODES)}")
        if self.n < 1 or self.patience < 1 or not 0.0 <= self.ema < 1.0:
            raise ValueError(
                f"reference: need n >= 1, patience >= 1 and 0 <= ema < 1, got n={self.n}, patience={self.patience},"
                f" ema={self.ema}"
            )


class ReferenceController:
    """Decides, on the host, after which steps the reference is updated. Small state; `state_dict` goes into the
    checkpoint.
    """

    def __init__(self, config: ReferenceConfig):
        self.config = config
        self.last_update = 0
        self.updates = 0
        self._best: float | None = None
        self._stalled = 0

    def observe_validation(self, score: float) -> None:
        """A validation score (higher is better), for mode "val_plateau"."""
        if self._best is None or score > self._best:
            self._best, self._stalled = score, 0
        else:
            self._stalled += 1

    def due(self, step: int, kl: float | None = None) -> bool:
        """Whether to update the reference after optimizer step `step` (1, 2, ...), whose mean KL to it was `kl`.
        Records the update.
        """
        config = self.config
        since = step - self.last_update
        due = {
            "none": False,
            "every_n": since >= config.n,
            "ema": since >= config.n,
            "kl": kl is not None and kl > config.kl_threshold,
            "val_plateau": self._stalled >= config.patience,
        }[config.mode] and since >= config.min_steps
        if due:
            self.last_update, self._stalled = step, 0
            self.updates += 1
        return due

    def state_dict(self) -> dict[str, Any]:
        return {"last_update": self.last_update, "updates": self.updates, "best": self._best, "stalled": self._stalled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last_update, self.updates = int(state["last_update"]), int(state["updates"])
        self._best, self._stalled = state["best"], int(state["stalled"])


@partial(jax.jit, donate_argnums=0)
def blend_reference(reference: Any, params: Any, old_weight: jax.Array | float) -> Any:
    """old_weight * reference + (1 - old_weight) * params leaf by leaf, in the reference's type; 0 is a copy. The old
    reference is donated.
    """

    def blend(old, new):
        mixed = old_weight * old.astype(jnp.float32) + (1.0 - old_weight) * new.astype(jnp.float32)
        return mixed.astype(old.dtype)

    return jax.tree.map(blend, reference, params)


def update_reference(reference: Any, params: Any, config: ReferenceConfig) -> Any:
    """The new reference: a copy of the policy's parameters, or their moving average in mode "ema"."""
    return blend_reference(reference, params, config.ema if config.mode == "ema" else 0.0)

"""Reinforcement learning on groups: advantages, objectives, KL, entropy control, reference policy, curriculum,
refill.
"""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "constant_groups": "advantages",
    "group_advantages": "advantages",
    "overlong_penalty": "advantages",
    "kl_estimate": "kl",
    "penalised_rewards": "kl",
    "ObjectiveConfig": "objectives",
    "PolicyBatch": "objectives",
    "metrics_from_sums": "objectives",
    "normaliser": "objectives",
    "objective": "objectives",
    "policy_loss": "objectives",
    "importance_weights": "objectives",
    "EntropyConfig": "entropy",
    "EntropyController": "entropy",
    "ReferenceConfig": "reference",
    "ReferenceController": "reference",
    "update_reference": "reference",
    "Refill": "refill",
    "drop_reason": "refill",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)

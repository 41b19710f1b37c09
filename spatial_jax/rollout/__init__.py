"""Rollouts: weights and prompts in, trajectories out. Prefill once a prompt, decode a group over one prompt cache,
refill free slots.
"""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "Engine": "engine",
    "SamplingParams": "types",
    "Trajectory": "types",
    "Turn": "types",
    "run_turns": "turns",
    "extend": "turns",
    "trajectory_batch": "batch",
    "weight_mover": "weights",
    "DrawingEnvironment": "environment",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)

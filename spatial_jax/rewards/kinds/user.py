"""A user's own reward: one function in one file. It gets the response and the whole record and runs in a process that
can be killed.
"""

from __future__ import annotations

import math

from spatial_jax.rewards.base import Context, Kind, Record, RewardUnavailable, Score, Spec
from spatial_jax.rewards.user_process import call_user_function


def score(response: str, record: Record, spec: Spec, context: Context) -> Score:
    """`function(response, record)` of `file` returns a float, or {"reward": float, "accuracy": float in [0, 1]}, or
    None to exclude the sample; accuracy defaults to the reward clipped to [0, 1]. Past `timeout` seconds it is killed
    with everything it started, and the sample excluded; beyond `memory_gib` of address space it meets a MemoryError.
    """
    result = call_user_function(
        str(spec["file"]),
        str(spec["function"]),
        response,
        dict(record),
        context.remaining(float(spec["timeout"])),
        float(spec["memory_gib"]),
    )
    values = result if isinstance(result, dict) else {"reward": result}
    reward, where = values.get("reward"), f"{spec['file']}:{spec['function']}"
    if isinstance(result, dict) and "reward" not in result:
        raise RewardUnavailable(f"{where} returned a dict without 'reward': {str(result)[:80]}")
    if reward is None:
        raise RewardUnavailable(f"{where} gave no score")
    if isinstance(reward, bool) or not isinstance(reward, int | float) or not math.isfinite(reward):
        raise RewardUnavailable(
            f"{where} returned {reward!r}; it must return a finite number, a dict with reward and accuracy, or None"
        )
    parts = values.get("accuracy", min(1.0, max(0.0, reward))), values.get("format", 1.0)
    if not all(isinstance(part, int | float) and math.isfinite(part) for part in parts):
        raise RewardUnavailable(f"{where} returned accuracy {parts[0]!r} and format {parts[1]!r}; both must be numbers")
    return Score(float(reward), float(parts[0]), float(parts[1]))


def _check(record: Record, spec: Spec) -> None:
    if not spec["file"] or not spec["function"]:
        raise ValueError(
            'reward user: name file and function, {"kind": "user", "file": "my_reward.py", "function": "reward"}'
        )


KIND = Kind(
    "user",
    {"file": "", "function": "", "timeout": 10.0, "memory_gib": 16.0},
    score,
    _check,
    own_format=lambda spec: "none",
)

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
    and the sample excluded.
    """
    result = call_user_function(
        str(spec["file"]), str(spec["function"]), response, dict(record), context.remaining(float(spec["timeout"]))
    )
    values = result if isinstance(result, dict) else {"reward": result}
    reward, where = values.get("reward"), f"{spec['file']}:{spec['function']}"
    if reward is None:
        raise RewardUnavailable(f"{where} gave no score")
    if isinstance(reward, bool) or not isinstance(reward, int | float) or not math.isfinite(reward):
        raise RewardUnavailable(
            f"{where} returned {reward!r}; it must return a finite number, a dict with reward and accuracy, or None"
        )
    accuracy = float(values.get("accuracy", min(1.0, max(0.0, reward))))
    return Score(float(reward), accuracy, float(values.get("format", 1.0)))


def _check(record: Record, spec: Spec) -> None:
    if not spec["file"] or not spec["function"]:
        raise ValueError(
            'reward user: name file and function, {"kind": "user", "file": "my_reward.py", "function": "reward"}'
        )


KIND = Kind("user", {"file": "", "function": "", "timeout": 10.0}, score, _check)

"""Rewards: response + record -> float. `score(spec, response, record)`; parsing lives apart, in `rewards.parsing`; no
jax.
"""

from spatial_jax.rewards.base import RewardUnavailable, Score
from spatial_jax.rewards.judge import Judge, JudgeConfig
from spatial_jax.rewards.kinds import KINDS
from spatial_jax.rewards.kinds.depth import smooth_depth
from spatial_jax.rewards.kinds.iou import box_iou
from spatial_jax.rewards.kinds.mra import mean_relative_accuracy
from spatial_jax.rewards.kinds.overlong import overlong_penalty
from spatial_jax.rewards.kinds.vsgrpo import min_relative
from spatial_jax.rewards.parsing import (
    parse_box,
    parse_choice,
    parse_number,
    parse_order,
)
from spatial_jax.rewards.scoring import (
    Outcome,
    check_record,
    complete_spec,
    evaluate,
    is_correct,
    outcome_many,
    score,
    score_many,
)

__all__ = [
    "KINDS",
    "Judge",
    "JudgeConfig",
    "Outcome",
    "RewardUnavailable",
    "Score",
    "box_iou",
    "check_record",
    "complete_spec",
    "evaluate",
    "is_correct",
    "mean_relative_accuracy",
    "min_relative",
    "outcome_many",
    "overlong_penalty",
    "parse_box",
    "parse_choice",
    "parse_number",
    "parse_order",
    "score",
    "score_many",
    "smooth_depth",
]

"""A run's settings as an evaluation's: the same form, system text, limits, sampling and reward, so that held-out scores
and offline pass rates mean what training means.

The split of its validation is asked as validation asks; any other as rollouts are sampled, which is what the
curriculum's filter of pass rates wants.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from spatial_jax.data.asked import TEMPLATE
from spatial_jax.evals.settings import EngineSettings, EvalSettings, JudgeSettings, PolicySettings, SamplingSettings
from spatial_jax.models import checkpoint_directory
from spatial_jax.training.settings import RunConfig
from spatial_jax.training.setup import run_asking, run_processor


def evaluation_of(run: RunConfig, split: str) -> EvalSettings:
    """The settings of an evaluation of `split` as `run` asks it. How the policy is asked stays open here
    (`recipe_asking`).
    """
    rollout, validation, reward = run.rollout, run.validation, run.reward
    if split == validation.split:
        sampling = SamplingSettings(validation.samples, validation.temperature)
    else:
        kept = {name: getattr(rollout, name) for name in ("temperature", "top_p", "top_k", "min_p")}
        sampling = SamplingSettings(rollout.group_size if rollout.temperature else 1, **kept)
    engine = EngineSettings(
        max_slots=rollout.max_slots, prompt_buckets=run.data.prompt_buckets, answer_buckets=rollout.answer_buckets
    )
    judge = JudgeSettings(
        reward.judge_endpoint,
        reward.judge_model,
        reward.judge_key_variable,
        reward.judge_cache,
        threads=reward.threads,
    )
    seeded = dataclasses.replace(sampling, seed=run.train.seed)
    return EvalSettings(PolicySettings(dtype=run.model.dtype, by_family=reward.by_family), seeded, engine, judge)


def recipe_asking(run: RunConfig, directory: str | Path) -> dict[str, Any]:
    """How `run` asks a policy like that in `directory`, as fields of Asking that are told. ValueError for a run that
    asks nothing.
    """
    asking = run_asking(run, run_processor(run, checkpoint_directory(directory)))
    if asking is None:
        raise ValueError(f"--config: a run of method {run.train.method} asks no questions; give a recipe that does")
    told = {name: value for name, value in dataclasses.asdict(asking).items() if value is not None}
    return {"system": TEMPLATE, **told}

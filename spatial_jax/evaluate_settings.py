"""What evaluate's flags ask for: the settings of an evaluation, or those of a training recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from spatial_jax.config import strict, strict_as
from spatial_jax.data import PromptStyle
from spatial_jax.evals import flags as opts
from spatial_jax.evals.settings import PUBLISHED, EvalSettings
from spatial_jax.options import flag_parts


def recipe() -> Any:
    """The training run whose recipe --config is; None where it is an evaluation's."""
    if opts.CONFIG.value is None or "rollout" not in opts.CONFIG.value:
        return None
    return strict(opts.CONFIG.value)


def recipe_told() -> dict[str, Any] | None:
    """How the recipe asks a policy like --model's; None without a recipe."""
    run = recipe()
    if run is None:
        return None
    from spatial_jax.training.evaluated import recipe_asking

    told = recipe_asking(run, str(opts.MODEL.value))
    if opts.PROMPT_MODE.value not in (None, "", PUBLISHED, told["prompt_mode"]):
        told.pop("format", None)  # another form is read as that form
    return told


def recipe_rule(form: str | None) -> Any:
    """What the recipe lays over the rewards of its records, in the response format `form` (None: its own); None without
    a recipe.
    """
    run = recipe()
    if run is None:
        return None
    from spatial_jax.training.answers import run_rule

    rule = run_rule(run)
    return dataclasses.replace(rule, format=form) if form is not None else rule


def saved_form() -> str | None:
    """The response form of --score_only's responses, None where they are answers as published."""
    from spatial_jax.forms import get_form

    told = opts.PROMPT_MODE.value
    return None if told in (None, "", PUBLISHED) else get_form(told).name


def saved_rule(by_family: Sequence[str]) -> Any:
    """What lies over the rewards of --score_only's questions: the recipe's rule, else the response form's; `by_family`:
    rewards in their place.
    """
    from spatial_jax.forms import get_form
    from spatial_jax.rewards.rule import OWN_REWARD, RewardRule

    form = saved_form()
    asked = RewardRule(get_form(form).format) if form else OWN_REWARD
    rule = recipe_rule(asked.format if form else None) or asked
    return dataclasses.replace(rule, by_family=tuple(by_family)) if by_family else rule


def datasets() -> list[str]:
    """--dataset, else the recipe's own."""
    run = recipe()
    return flag_parts(opts.DATASET) or (list(run.data.paths) if run and not flag_parts(opts.BENCHMARKS) else [])


def families() -> list[str]:
    """--families, else the recipe's own."""
    run = recipe()
    return flag_parts(opts.FAMILIES) or (list(run.data.families) if run else [])


def read_settings() -> Any:
    """EvalSettings of --config, with the flags that replace single settings put in. A recipe of training asks as its
    run does.
    """
    run = recipe()
    if run is not None:
        from spatial_jax.training.evaluated import evaluation_of

        settings = evaluation_of(run, opts.SPLIT.value)
    else:
        settings = strict_as(EvalSettings, opts.CONFIG.value) if opts.CONFIG.value is not None else EvalSettings()
    given = {
        "samples": opts.SAMPLES.value,
        "temperature": opts.TEMPERATURE.value,
        "max_new_tokens": opts.TOKENS.value,
    }
    if opts.PROMPT_MODE.value and opts.PROMPT_MODE.value != PUBLISHED:
        PromptStyle(opts.PROMPT_MODE.value)
    settings = dataclasses.replace(
        settings,
        sampling=_replace(settings.sampling, given),
        policy=_replace(settings.policy, {"prompt_mode": opts.PROMPT_MODE.value or None, "system": opts.SYSTEM.value}),
        judge=_replace(settings.judge, {name: flag.value for name, flag in opts.JUDGE.items()}),
    )
    if settings.policy.prompt_mode == PUBLISHED and datasets() and not opts.SCORE_ONLY.value:
        raise ValueError("prompt_mode published is for --benchmarks; questions of --dataset are asked in a form")
    settings.check()
    return settings


def _replace(settings: Any, given: Mapping[str, Any]) -> Any:
    return dataclasses.replace(settings, **{name: value for name, value in given.items() if value is not None})

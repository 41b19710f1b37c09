"""What evaluate's flags ask for: the settings of an evaluation, or those of a training recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from spatial_jax.config import strict, strict_as
from spatial_jax.data import PromptStyle
from spatial_jax.evals import flags as opts
from spatial_jax.evals.settings import PUBLISHED, EvalSettings
from spatial_jax.options import flag_parts

_JUDGE = (*(f"judge_{name}" for name in opts.JUDGE), "judge_cases")
_WRITTEN = ("out", "workdir", "name", "page")
# What each task reads beside its own flag.
_READS = {
    "compare": ("config", "data", "dataset", "split", "families", "out", "page"),
    "table": ("workdir", "out", "page"),
    "score_only": ("config", "limit", "prompt_mode", "dataset", "benchmark", *_JUDGE, *_WRITTEN),
    "leakage": ("benchmarks", "data", "limit", "scoring", "page"),
    "model": ("config", "limit", "prompt_mode", "dataset", "benchmarks", *_JUDGE, *_WRITTEN)
    + ("samples", "temperature", "max_new_tokens", "system"),
    "judge_cases": ("config", "page", *_JUDGE),
}
_OF_DATASET, _OF_BENCHMARKS = ("split", "families", "greedy_too"), ("data", "scoring", "rotations")


def chosen_task(rest: Sequence[str]) -> str:
    """What the flags ask for: the flag of the task's own, e.g. "compare"; `rest`: what stands behind them. ValueError,
    one line, for none, for two, and for a flag that the task would not read: it was meant to do something.
    """
    asked = [name for name in _READS if _given(name)]
    alone = [name for name in asked if name not in ("model", "judge_cases")]
    if len(alone) > 1:
        raise ValueError(f"--{alone[0]} and --{alone[1]} are tasks of their own: give one")
    task = (alone or asked or [""])[0]
    if not task or (task == "model" and not (flag_parts(opts.BENCHMARKS) or datasets())):
        raise ValueError(
            "nothing to do: give --model with --benchmarks or --dataset, or --score_only, --compare, --table, --leakage"
            " or --judge_cases (see --help)"
        )
    if rest and task not in ("compare", "table"):
        raise ValueError(f"unexpected argument {rest[0]!r}; options start with --, and lists are joined by commas")
    reads, without = {task, *_READS[task]}, dict[str, str]()
    if task in ("model", "score_only"):
        named = {"model": "benchmarks", "score_only": "benchmark"}[task]
        reads |= {*(_OF_DATASET if datasets() else ()), *(_OF_BENCHMARKS if _given(named) else ())}
        reads -= {"rotations", "greedy_too"} if task == "score_only" else set()
        without = dict.fromkeys(_OF_DATASET, "dataset") | dict.fromkeys(_OF_BENCHMARKS, named)
    known = {*_READS, *_OF_DATASET, *_OF_BENCHMARKS, *(name for names in _READS.values() for name in names)}
    for name in sorted(known - reads):
        if _given(name):
            lacks = without.get(name)
            why = f"without --{lacks}" if lacks and not _given(lacks) else f"with --{task}"
            raise ValueError(f"--{name} does nothing {why}; leave it out")
    _check_places(task)
    return task


def _check_places(task: str) -> None:
    """ValueError where two things are asked for in one place."""
    if task == "score_only" and datasets() and _given("benchmark"):
        raise ValueError(
            "--score_only: give --benchmark, or --dataset (or a recipe that names its own), whose questions the"
            " responses answer"
        )
    if task == "leakage" and not flag_parts(opts.BENCHMARKS):
        raise ValueError("--leakage needs --benchmarks, whose pictures are searched for")
    if task in ("model", "score_only") and opts.OUT.value and opts.WORKDIR.value:
        raise ValueError("--out and --workdir are two places for the results: give one")
    one = opts.NAME.value or str(opts.OUT.value).endswith(".json")
    if task == "model" and one and flag_parts(opts.BENCHMARKS) and datasets():
        raise ValueError("--benchmarks and --dataset cannot share one result; give --out a folder, and no --name")


def _given(name: str) -> bool:
    """Whether a flag asks for something else than what is done without it."""
    flag = flags.FLAGS[name]
    return flag.value is not None and flag.value != [] and flag.value != flag.default


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

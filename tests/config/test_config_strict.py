"""Unknown keys, wrong types and contradictions are one clear line; every key of a run is read by something."""

import dataclasses
import functools
import json
import math
import pathlib
import re
import sys
import typing

import jax
import pytest
from absl import flags
from ml_collections import config_flags

from configs import common, eval_spatial, quickstart
from spatial_jax import config as run_config
from spatial_jax.evals.settings import EvalSettings
from spatial_jax.training import settings


def test_default_round_trip():
    assert run_config.strict(run_config.default()) == settings.RunConfig()


@pytest.mark.parametrize("arg", ["sft", "sft_scratch", "sft_clear", "grpo"])
def test_quickstart_configs_convert(arg):
    assert run_config.strict(quickstart.get_config(arg)).model.dtype == "float32"


# Values for the keys that are None by default.
SET = {str: "words", int: 12544, float: 2.5}


@pytest.mark.parametrize("make", [run_config.default, eval_spatial.get_config])
def test_every_key_can_be_set_on_the_command_line(make, monkeypatch):
    config, given = make(), {}
    for path, leaf in jax.tree.flatten_with_path(config.to_dict(), is_leaf=lambda node: not isinstance(node, dict))[0]:
        name = ".".join(key.key for key in path)
        *sections, last = name.split(".")
        given[name] = SET[functools.reduce(getattr, sections, config).get_type(last)] if leaf is None else leaf
    monkeypatch.setattr(sys, "argv", ["program", *(f"--config.{name}={value}" for name, value in given.items())])
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config, flag_values=values)
    values(sys.argv)
    for name, value in given.items():
        assert functools.reduce(getattr, name.split("."), values.config) == value, name


def test_unknown_key_names_the_nearest():
    plain = run_config.default().to_dict()
    plain["optimizer"]["learning_rat"] = 1.0
    with pytest.raises(
        run_config.ConfigError, match=r"config\.optimizer\.learning_rat .*nearest is config\.optimizer\.learning_rate"
    ):
        run_config.strict(plain)


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("train", "steps", "ten", "must be int"),
        ("algorithm", "kind", "ppo", "must be one of"),
        ("data", "paths", "a,b", "must be a list"),
        ("train", "micro_prompts", 7, "multiple"),
        ("rollout", "group_size", 1, "at least 2"),
        ("rollout", "max_new_tokens", 10**6, "exceeds"),
    ],
)
def test_bad_values_are_named(section, key, value, words):
    plain = run_config.default().to_dict()
    plain[section][key] = value
    with pytest.raises(ValueError, match=words):
        run_config.strict(plain)


def test_recipes_cannot_set_keys_that_do_not_exist():
    with pytest.raises(KeyError, match="learning_rte"):
        common.base(optimizer={"learning_rte": 1.0})


def _leaves(kind, path=()):
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _leaves(hints[field.name], (*path, field.name))
        else:
            yield (*path, field.name)


def test_every_key_is_read():
    """A flag that does nothing is worse than none: each leaf's name is read as an attribute somewhere in the
    package.
    """
    root = pathlib.Path(settings.__file__).parents[1]
    code = "\n".join(p.read_text() for p in root.rglob("*.py") if p.name not in ("settings.py", "config.py"))
    unread = [".".join(leaf) for leaf in _leaves(settings.RunConfig) if not re.search(rf"\.{leaf[-1]}\b", code)]
    whole = {"beta1", "beta2"}  # passed on from the dataclass by the same name
    assert [name for name in unread if name.split(".")[-1] not in whole] == []


def numeric(kind, path=("config",)):
    """(section and key names, type with its rules) of every numeric setting, those of lists included."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        item = next((a for a in typing.get_args(hint) if isinstance(a, type) and dataclasses.is_dataclass(a)), None)
        if item is not None or (isinstance(hint, type) and dataclasses.is_dataclass(hint)):
            yield from numeric(item or hint, (*path, field.name))
        elif re.search(r"\b(int|float)\b", str(hint)):
            yield (*path, field.name), hint


def set_to(kind, path, value):
    """Plain settings of `kind` with one value; of a list its only item."""
    plain = json.loads(json.dumps(run_config.editable(kind()).to_dict()))
    place = plain
    for name in path[1:-1]:
        place = place[name][0] if isinstance(place[name], list) else place[name]
    place[path[-1]] = [value] if isinstance(place[path[-1]], list) else value
    return plain


@pytest.mark.parametrize("kind", [settings.RunConfig, EvalSettings])
def test_every_number_has_its_range(kind):
    """0, -1, nan, inf and other types: a run that can begin, or one line with the key, the value and what may stand."""
    found = list(numeric(kind))
    assert len(found) > (70 if kind is settings.RunConfig else 15)
    for path, hint in found:
        name, whole = ".".join(path), not re.search(r"\bfloat\b", str(hint))
        assert "Range(" in str(hint), f"{name} has no range"
        for value in (0, -1, math.nan, math.inf, -math.inf, 10**400, "3", True, None, {}):
            try:
                run_config.strict_as(kind, set_to(kind, path, value)).check()
            except ValueError as error:
                text = str(error)
                assert "\n" not in text and len(text) < 400, text
                if path[-1] in text:  # else another setting contradicts a value that is allowed by itself
                    continue
                assert value in (0, -1, None), (name, value, text)
            else:
                allowed = value in (0, -1) or (value is None and type(None) in typing.get_args(hint))
                assert allowed, (name, value)
                assert value != -1 or "also=(-1,)" in str(hint) or "low=-1" in str(hint) or "low=-inf" in str(hint), (
                    name
                )
        if not whole:
            with pytest.raises(ValueError, match=re.escape(path[-1]) + r"(\[0\])? = nan; it must be"):
                run_config.strict_as(kind, set_to(kind, path, math.nan)).check()


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("checkpoint", "every", 0, "config.checkpoint.every = 0; it must be at least 1"),
        ("log", "console_every", 0, "config.log.console_every = 0; it must be at least 1"),
        ("train", "update_prompts", -1, "config.train.update_prompts = -1; it must be at least 1"),
        ("optimizer", "learning_rate", math.nan, "config.optimizer.learning_rate = nan; it must be at least 0"),
        ("rollout", "top_p", 0.0, "config.rollout.top_p = 0.0; it must be above 0 and at most 1"),
        ("rollout", "answer_buckets", (), "config.rollout.answer_buckets = (); it must be a list of sizes"),
        ("rollout", "answer_buckets", (64, 32), "each larger than the one before"),
        ("data", "patch_buckets", (0, 5), "config.data.patch_buckets[0] = 0; it must be at least 1"),
        ("mesh", "fsdp", 0, "config.mesh.fsdp = 0; it must be at least 1, or -1"),
        ("algorithm", "dual_clip", 1.0, "config.algorithm.dual_clip = 1.0; it must be above 1"),
        ("log", "sinks", ("jsonl", "wandbb"), "config.log.sinks[1] = 'wandbb'; it must be one of"),
        ("rollout", "temperature", 0.0, "no group would have a gradient"),
        ("data", "feature_cache", "features", "a folder without room: set config.data.feature_cache_gib"),
        ("curriculum", "stages", ({"min_pass_rate": 2.0},), "config.curriculum.stages[0].min_pass_rate = 2.0; it must"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_allowed(section, key, value, words):
    plain = run_config.default().to_dict()
    plain[section][key] = value
    with pytest.raises(ValueError, match=re.escape(words)):
        run_config.strict(plain)


def test_settings_put_together_by_hand_are_checked_too():
    run = settings.RunConfig(train=settings.TrainSettings(prompts=0, update_prompts=0))
    with pytest.raises(ValueError, match=r"config\.train\.prompts = 0; it must be at least 1"):
        run.check()


def test_a_section_that_is_a_value_is_one_line():
    with pytest.raises(run_config.ConfigError, match=r"config\.optimizer = 3; it must be keys with values"):
        run_config.strict({**run_config.default().to_dict(), "optimizer": 3})

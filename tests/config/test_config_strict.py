"""Unknown keys, wrong types and contradictions are one clear line; every key of a run is read by something."""

import dataclasses
import functools
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
from spatial_jax.training import settings


def test_default_round_trip():
    assert run_config.strict(run_config.default()) == settings.RunConfig()


@pytest.mark.parametrize("arg", ["sft", "sft_scratch", "grpo"])
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
        ("run", "steps", "ten", "must be int"),
        ("algorithm", "kind", "ppo", "must be one of"),
        ("data", "paths", "a,b", "must be a list"),
        ("run", "micro_prompts", 7, "multiple"),
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

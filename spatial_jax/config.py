"""A run's configuration: ml_collections ConfigDict outside, frozen dataclasses inside, nothing in between.

`default()` gives the ConfigDict of `training.settings.RunConfig`'s defaults, which configs/*.py edit and the command
line overrides (`--config.optimizer.learning_rate=1e-5`). `strict` turns it into the dataclass: an unknown key, a wrong
type or a value outside the allowed set is one error that names the key and the nearest valid one.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict

from spatial_jax.ranges import rules_of, shorten
from spatial_jax.renamed import told_new_name
from spatial_jax.training.settings import RunConfig


class ConfigError(ValueError):
    """A configuration that cannot be run; the message is one line."""


def default() -> ConfigDict:
    """ConfigDict with every key of a run and its default."""
    return editable(RunConfig())


def editable(settings: Any) -> ConfigDict:
    """ConfigDict of a dataclass of settings and of those within it. A key that is None by default keeps its type, so
    that recipes and the command line can set it: ml_collections refuses to override a plain None.
    """
    hints = typing.get_type_hints(type(settings))  # the rules of ranges.py do not matter here
    return ConfigDict(
        {
            field.name: _editable(hints[field.name], getattr(settings, field.name))
            for field in dataclasses.fields(settings)
        }
    )


def _editable(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return editable(value)
    if value is None:
        inner = next(arg for arg in typing.get_args(hint) if arg is not type(None))
        words = typing.get_origin(inner) is typing.Literal
        kind = type(typing.get_args(inner)[0]) if words else typing.get_origin(inner) or inner  # tuple[str, ...]: tuple
        return config_dict.placeholder(kind)
    if isinstance(value, tuple):
        return tuple(
            dataclasses.asdict(item) if dataclasses.is_dataclass(item) and not isinstance(item, type) else item
            for item in value
        )
    return value


def strict(config: Mapping[str, Any]) -> RunConfig:
    """The frozen RunConfig of `config`. Raises ConfigError."""
    run = strict_as(RunConfig, config)
    run.check()
    return run


def strict_as(kind: type, config: Mapping[str, Any]) -> Any:
    """Like `strict`, for another frozen dataclass of settings. Raises ConfigError."""
    plain = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
    return _dataclass(kind, plain, "config")


def _dataclass(kind: type, values: Mapping[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind, include_extras=True)
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} = {values!r}; it must be keys with values, of {', '.join(hints)}")
    unknown = [str(key) for key in values if key not in hints]
    if unknown:
        if where == "config" and (told := told_new_name(unknown[0])):
            raise ConfigError(told)
        near = difflib.get_close_matches(unknown[0], list(hints), n=1, cutoff=0.0)
        raise ConfigError(f"{where}.{unknown[0]} is not a key of the configuration; the nearest is {where}.{near[0]}")
    return kind(**{key: _value(hints[key], value, f"{where}.{key}") for key, value in values.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    hint, rules = rules_of(hint)
    if rules:
        value = _value(hint, value, where)
        if problem := next(filter(None, (rule.problem(value) for rule in rules)), ""):
            raise ConfigError(f"{where} = {shorten(value)}; {problem}")
        return value
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast(type, hint), value, where)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in typing.get_args(hint):
            return None
        inner = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        return _value(inner[0], value, where)
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise ConfigError(
                f"{where} = {shorten(value)}; it must be one of {', '.join(map(repr, typing.get_args(hint)))}"
            )
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} = {shorten(value)}; it must be a list")
        return tuple(_value(typing.get_args(hint)[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        return dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > sys.float_info.max:
            raise ConfigError(f"{where} = {shorten(value)}; no setting is that large")
        return float(value)
    if hint in (int, float, str, bool) and type(value) is not hint:
        raise ConfigError(f"{where} = {shorten(value)} is {type(value).__name__}; it must be {hint.__name__}")
    return value

"""Sections of a run's configuration that had another name: what is given under an old one is refused with the new one,
and what an older run has saved is read under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SECTIONS = {"run": "train"}  # old: new


def renamed_key(key: str) -> str:
    """Today's name of a dotted key ("run.steps" -> "train.steps"); "" where it never had another."""
    section, dot, rest = key.partition(".")
    return f"{SECTIONS[section]}{dot}{rest}" if section in SECTIONS else ""


def told_new_name(key: str) -> str:
    """The line that refuses an old key and gives today's; "" where it never had another name."""
    new = renamed_key(key)
    return f"config.{key} is named config.{new} now; write config.{new}" if new else ""


def with_new_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Saved settings, nested or with dotted keys, under today's names."""
    return {renamed_key(key) or key: value for key, value in settings.items()}

"""Settings of filters and models as dataclasses, overridden on the command line by --set=GROUP.KEY=VALUE; an unknown
key names the nearest.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any

from data_prep.sources.base import SourceError
from spatial_jax.endpoints import mask_secrets

GROUPS = ("quality", "clip", "duplicates", "leakage", "balance", "proposals", "masks", "captions", "depth", "camera")
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, 1, 0.0)
    return close[0] if close else "none"


def parse_overrides(
    texts: Sequence[str], groups: Sequence[str] = GROUPS, example: str = "quality.least_contrast=0.03"
) -> dict[str, dict[str, str]]:
    """Group -> key -> text of "GROUP.KEY=VALUE" strings, of these `groups`. Raises SourceError."""
    out: dict[str, dict[str, str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        group, dot, key = name.partition(".")
        shown = f"--set={mask_secrets(text)}"
        if not equals or not dot or not key:
            raise SourceError(f"{shown}: write GROUP.KEY=VALUE, for example --set={example}")
        if group not in groups:
            raise SourceError(
                f"{shown}: no group {group!r}, the nearest is {_nearest(group, groups)!r} (of {', '.join(groups)})"
            )
        out.setdefault(group, {})[key] = value
    return out


def _convert(group: str, key: str, text: str, like: Any) -> Any:
    try:
        if isinstance(like, bool):
            return _TRUTH[text.lower()]
        if isinstance(like, tuple):
            return tuple(part.strip() for part in text.split(";") if part.strip())
        return type(like)(text)
    except (ValueError, KeyError):
        raise SourceError(f"--set={group}.{key}={mask_secrets(text)}: wants a value like {like!r}") from None


def make(group: str, overrides: dict[str, str], *kinds: type, **given: Any) -> list[Any]:
    """One instance of each of the dataclasses `kinds` that share a group's keys: defaults, then `given`, then
    `overrides` (text). Lists are written with semicolons. Raises SourceError for a key that none of them has, or a
    value of another kind.
    """
    fields = [{f.name: f.default for f in dataclasses.fields(kind)} for kind in kinds]
    known = sorted({key for one in fields for key in one})
    for key in overrides:
        if key not in known:
            raise SourceError(
                f"--set={group}.{key}: no such setting, the nearest is {_nearest(key, known)!r} (of {', '.join(known)})"
            )
    out = []
    for kind, own in zip(kinds, fields):
        values = {k: v for k, v in given.items() if k in own}
        values.update({k: _convert(group, k, v, own[k]) for k, v in overrides.items() if k in own})
        out.append(kind(**values))
    return out

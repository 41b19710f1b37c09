"""Which reward a question family has in a run, where that is not the records' own: texts like "relation=judge",
"vsi_*=vsgrpo" or "distance=mra:tolerance=0.1".

The first text whose pattern fits a record's family counts. Each names a reward kind and, after a colon, its parameters
with semicolons between them.
"""

from __future__ import annotations

import difflib
import fnmatch
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from spatial_jax.data.records import CODE_REWARDS
from spatial_jax.forms import NO_FORMAT
from spatial_jax.reading import parse_json
from spatial_jax.rewards.base import nearest
from spatial_jax.rewards.kinds import KINDS
from spatial_jax.rewards.kinds.vsgrpo import MODES
from spatial_jax.rewards.scoring import complete_spec

WHERE = "reward.by_family"


@functools.lru_cache(maxsize=64)
def parse_by_family(texts: tuple[str, ...]) -> tuple[tuple[str, dict[str, Any]], ...]:
    """(pattern of family names, reward spec) of each text. ValueError, one line, names what is no reward."""
    return tuple(_parse(text) for text in texts)


def _parse(text: str) -> tuple[str, dict[str, Any]]:
    pattern, mark, rest = (part.strip() for part in text.partition("="))
    if not mark or not pattern or not rest:
        raise ValueError(f'{WHERE}: {text!r} is no FAMILY=REWARD, e.g. "relation=judge" or "vsi_*=vsgrpo"')
    kind, _, given = (part.strip() for part in rest.partition(":"))
    choices = [name for name in KINDS if name not in CODE_REWARDS]
    if kind not in choices:
        raise ValueError(f"{WHERE}: {text!r}: reward {kind!r} is unknown; {nearest(kind, choices)}")
    spec: dict[str, Any] = {"kind": kind}
    for part in filter(None, (p.strip() for p in given.split(";"))):
        key, equals, value = (p.strip() for p in part.partition("="))
        if not equals or key == "kind":
            raise ValueError(f"{WHERE}: {text!r}: write parameters as KEY=VALUE with semicolons between them")
        spec[key] = _value(value)
    try:
        complete_spec(spec)
    except ValueError as error:
        raise ValueError(f"{WHERE}: {text!r}: {error}") from None
    return pattern, spec


def _value(text: str) -> Any:
    """A number, true, false, null or a list as JSON writes it; anything else is text."""
    try:
        return parse_json(text)
    except ValueError:
        return text


def reward_of_family(family: str, texts: Sequence[str]) -> dict[str, Any] | None:
    """The spec that a run gives to a family, a dict of its own; None where it leaves the record's."""
    for pattern, spec in parse_by_family(tuple(texts)):
        if fnmatch.fnmatchcase(family, pattern):
            return dict(spec)
    return None


def check_by_family(texts: Sequence[str], families: Collection[str]) -> None:
    """ValueError, one line with near names, for a pattern that fits none of the data's families."""
    for pattern, _ in parse_by_family(tuple(texts)):
        if not any(fnmatch.fnmatchcase(family, pattern) for family in families):
            near = difflib.get_close_matches(pattern, sorted(families), 3, 0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else f"the data has {', '.join(sorted(families))}"
            raise ValueError(f"{WHERE}: no question is of family {pattern!r}; {hint}")


def with_mode(spec: dict[str, Any], form: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """The spec for a run whose responses have `form`: parameters that the record's own reward of the same kind states
    stay, and vsGRPO's mode is the one of the form. ValueError where vsGRPO has no such form.
    """
    if own.get("kind") == spec["kind"]:
        spec = {**own, **spec}
    if spec["kind"] == "vsgrpo" and "mode" not in spec:
        modes = {name: mode for mode, name in MODES.items()}
        if form not in modes:
            raise ValueError(f"{WHERE}: vsgrpo knows {', '.join(MODES)} responses, not the form {form!r}")
        spec["mode"] = modes.get(form, modes[NO_FORMAT])
    return spec

"""A benchmark's items out of what --data names, checked against the published version; what is missing is said once and
stays in the result.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spatial_jax.evals.registry import benchmark_names, get_benchmark
from spatial_jax.evals.sources import SourceError, locate
from spatial_jax.evals.versions import check_version, missing_media

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Loaded:
    """`files`: {"folder", "version", "rows", "why": [why a result on these items is not complete]}."""

    name: str
    items: list[dict[str, Any]]
    files: dict[str, Any]


def folder_of(name: str, data: Sequence[str]) -> str:
    """The part of --data that is this benchmark's: NAME=DIR under any of its names, else DIR/NAME where that is a
    folder, else DIR; "" for the hub.
    """
    plain = ""
    for entry in data:
        key, equals, value = entry.partition("=")
        if not equals:
            plain = plain or entry
        elif _canonical(key) == name:
            return value
    own = Path(plain) / name if plain else None
    return str(own) if own and own.is_dir() else plain


def _canonical(key: str) -> str:
    try:
        return get_benchmark(key).name
    except ValueError:
        raise ValueError(f"--data: {key!r} is no benchmark; known: {', '.join(benchmark_names())}") from None


def load_benchmark(name: str, data: Sequence[str] = (), limit: int = 0) -> Loaded:
    """Items of a benchmark, at most `limit` of them (0: all), spread evenly. SourceError naming what is not there."""
    benchmark = get_benchmark(name)
    root = locate(folder_of(benchmark.name, data), benchmark.hub)
    try:
        items = benchmark.load(root)
    except KeyError as error:
        raise SourceError(
            f"{name}: the items in {root} lack the column {error}; are these the published files?"
        ) from error
    if not items:
        raise SourceError(f"{name}: no item in {root}; are these the published files?")
    files = {"folder": str(root), **check_version(benchmark, items)}
    for line in files["why"]:
        log.warning("%s: %s: %s", name, root, line)
    if limit and len(items) > limit:
        files["why"] = [*files["why"], f"--limit: {limit} of {len(items)} items"]
        items = [items[i * len(items) // limit] for i in range(limit)]
    return Loaded(benchmark.name, items, files)


def with_media(loaded: Loaded) -> Loaded:
    """The items with what is missing of their videos and pictures counted under "why". SourceError where none is there
    (an archive that was not unpacked).
    """
    lost = missing_media(loaded.items)
    if not lost:
        return loaded
    root = Path(loaded.files["folder"])
    packed = sorted(p.name for p in root.rglob("*.zip"))[:3] if root.is_dir() else []
    unpack = f"; unpack {', '.join(packed)} there" if packed else ""
    line = f"{len(lost)} of {len(loaded.items)} items lack a video or picture, the first {lost[0]}{unpack}"
    if len(lost) == len(loaded.items):
        raise SourceError(f"{loaded.name}: {line}")
    log.warning("%s: %s; they score 0", loaded.name, line)
    return dataclasses.replace(loaded, files={**loaded.files, "why": [*loaded.files["why"], line]})


def completeness(result: dict[str, Any], files: dict[str, Any]) -> dict[str, Any]:
    """The result with "files" and "complete" (None: the published counts are not known); what the run itself lost is
    added to why it is not.
    """
    why = list(files["why"])
    for key, words in (
        ("failed", "could not be asked and score 0"),
        ("left_out", "left out"),
        ("unanswered", "without a response"),
    ):
        if result.get(key):
            why.append(f"{result[key]} items {words}")
    if result.get("unknown"):
        why.append(f"{result['unknown']} responses are to no item")
    judge = result.get("judge") or {}
    if judge.get("excluded"):
        why.append(f"{judge['excluded']} answers without the judge's verdict are left out")
    known = None if files["version"] == "unchecked" and not why else not why
    return {**result, "files": {**files, "why": why}, "complete": known}


def completeness_line(result: dict[str, Any]) -> str:
    """ "blink: val, 1,901 rows, complete", or why it is not."""
    files = result["files"]
    if files["why"]:
        return f"{result['benchmark']}: NOT COMPLETE: {'; '.join(files['why'])}"
    if files["version"] == "unchecked":
        return f"{result['benchmark']}: {files['rows']:,} rows; how many the published files have is not known here"
    return f"{result['benchmark']}: {files['version']}, {files['rows']:,} rows, complete"

"""What makes a run the run it is: its settings and the contents of what it reads. Every checkpoint keeps them, and they
are compared when the run goes on.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spatial_jax.metrics.report.runs import flatten
from spatial_jax.renamed import with_new_names
from spatial_jax.training.settings import RunConfig

# Settings that say how a run is carried out, seen or ended, not what it trains: they may change without being asked.
_HARMLESS = (
    *("log.*", "checkpoint.*", "validation.*", "mesh.*", "model.remat"),
    *("train.steps", "train.micro_prompts", "train.micro_answers"),
    *("data.workers", "data.cache_mib", "data.feature_cache", "data.feature_cache_gib", "data.check"),
    *("data.prompt_buckets", "data.patch_buckets"),
    *("rollout.answer_buckets", "rollout.max_slots", "rollout.max_prefill_tokens", "rollout.tensor"),
    *(
        "reward.threads",
        "reward.deadline_s",
        "reward.judge_endpoint",
        "reward.judge_key_variable",
        "reward.judge_cache",
    ),
)
# Where something is read from: compared by what is there, for it may have been moved.
_PLACES = ("model.path", "data.paths", "reward.user_file", "offline_pass_rates")


@dataclasses.dataclass(frozen=True)
class Changes:
    """Lines "key: old -> new": those that make it another run, and those that do not."""

    breaking: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()

    def refuse(self, where: str) -> None:
        """ValueError, one line, unless nothing breaking is left."""
        if not self.breaking:
            return
        more = f" (and, which may: {', '.join(self.harmless)})" if self.harmless else ""
        raise ValueError(
            f"{where} holds a run with other settings, and would become another one: {', '.join(self.breaking)}{more};"
            " put them back, or give --allow_changes to go on with the new ones, --noresume to begin anew (what is"
            " there is moved aside), or another --workdir"
        )


NOTHING = Changes()


def settings_of(run: RunConfig) -> dict[str, Any]:
    """The settings as JSON gives them back."""
    return json.loads(json.dumps(dataclasses.asdict(run)))


def run_name(run: RunConfig) -> str:
    """A short name of a run's settings; the same settings have the same one."""
    return hashlib.sha256(json.dumps(settings_of(run), sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path: str) -> str:
    """Of a file's content; "" where there is none."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path and Path(path).is_file() else ""


def changed_settings(old: Any, run: RunConfig) -> Changes:
    """What differs between the settings a checkpoint was made with and those of now, without what is read from where.
    A setting that the older code had not yet counts as its default, one that is none any more as nothing.
    """
    if not isinstance(old, Mapping):
        return NOTHING
    before, now = flatten(settings_of(RunConfig())) | flatten(with_new_names(old)), flatten(settings_of(run))
    breaking: list[str] = []
    harmless: list[str] = []
    for key, value in now.items():
        if key in _PLACES or before.get(key) == value:
            continue
        line = f"{key} {_short(before.get(key))} -> {_short(value)}"
        if key == "train.steps" and run.optimizer.schedule != "constant":
            line += f" (the {run.optimizer.schedule} schedule ends there)"
        (harmless if any(fnmatch.fnmatchcase(key, p) for p in _HARMLESS) else breaking).append(line)
    return Changes(tuple(breaking), tuple(harmless))


def changed_inputs(old: Any, old_settings: Any, inputs: Mapping[str, Any], run: RunConfig) -> Changes:
    """The same for what is read: `old` and `inputs` are digests by setting, "model.path" and so on (see _PLACES). The
    same content at another place is harmless, other content at the same place is not.
    """
    if not isinstance(old, Mapping):
        return NOTHING
    before = flatten(with_new_names(old_settings)) if isinstance(old_settings, Mapping) else {}
    now = flatten(settings_of(run))
    breaking, harmless = [], []
    for key in _PLACES:
        moved = f"{key} {_short(before.get(key))} -> {_short(now[key])}"
        if old.get(key) != inputs.get(key):
            same = before.get(key) == now[key]
            breaking.append(
                f"{key} (its content has changed: {_short(now[key])})" if same else f"{moved} (other content)"
            )
        elif before.get(key) != now[key]:
            harmless.append(f"{moved} (the same content)")
    return Changes(tuple(breaking), tuple(harmless))


def merge_changes(parts: Iterable[Changes]) -> Changes:
    """All of them in one."""
    parts = list(parts)
    return Changes(sum((p.breaking for p in parts), ()), sum((p.harmless for p in parts), ()))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

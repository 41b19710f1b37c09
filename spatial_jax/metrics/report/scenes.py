"""Scenes of the datasets beside a run, looked up by id, so that a gallery can draw the boxes and the depth that a
question was made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from spatial_jax.data import QuestionRecord, SceneRecord
from spatial_jax.data.records import from_example
from spatial_jax.options import list_parts
from spatial_jax.pages import ExampleFolder

KINDS = {"scenes": SceneRecord, "questions": QuestionRecord}
MOST_READ = 20_000


def dataset_kind(manifest: dict[str, Any]) -> str:
    """ "scenes", "questions" or "" (no dataset of ours)."""
    name = str((manifest.get("identity") or {}).get("name", ""))
    return name if name in KINDS else ""


def asked_of(manifest: dict[str, Any], option: str) -> list[str]:
    """Names of the folders that a dataset's questions were asked of by --rooms or --scenes (`option`)."""
    config = (manifest.get("identity") or {}).get("config")
    given = config.get(option) if isinstance(config, dict) else None
    return [Path(part).name for part in list_parts(str(given or ""))]


def read_records(folder: Path, kind: str) -> Iterator[Any]:
    """SceneRecord or QuestionRecord of a dataset directory, held-out first. What cannot be read is passed over: a
    report does without it.
    """
    try:
        examples = ExampleFolder(folder)
    except ValueError:
        return
    for split in sorted(examples.splits):
        for index in range(min(examples.splits[split], MOST_READ)):
            try:
                yield from_example(KINDS[kind], examples.get(split, index))
            except (ValueError, KeyError, TypeError):
                continue


def find_scenes(datasets: Iterable[tuple[Path, dict[str, Any]]], wanted: Iterable[str]) -> dict[str, SceneRecord]:
    """scene_id -> record for the ids that the datasets hold; held-out splits are searched first."""
    missing = {scene for scene in wanted if scene}
    found: dict[str, SceneRecord] = {}
    for folder, manifest in datasets:
        if dataset_kind(manifest) != "scenes" or not missing:
            continue
        for scene in read_records(folder, "scenes"):
            if scene.scene_id in missing:
                missing.discard(scene.scene_id)
                found[scene.scene_id] = scene
                if not missing:
                    break
    return found


def first_record(datasets: Iterable[tuple[Path, dict[str, Any]]], kind: str, most_objects: bool = False) -> Any:
    """A record to show: the first of the first dataset of that kind, or among its first 40 the scene with most objects;
    None without one.
    """
    for folder, manifest in datasets:
        if dataset_kind(manifest) != kind:
            continue
        chosen = None
        for index, record in enumerate(read_records(folder, kind)):
            if chosen is None or (most_objects and len(record.objects) > len(chosen.objects)):
                chosen = record
            if not most_objects or index >= 40:
                break
        if chosen is not None:
            return chosen
    return None

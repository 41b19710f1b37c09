"""From what an importer read of a row to its QuestionRecord."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from data_prep.synthesis.importers.columns import Found
from data_prep.synthesis.importers.rows import BadRow, Bases
from spatial_jax.data.records import GENERATOR_VERSION, QuestionRecord, coordinate_like

_ENDING = re.compile(r"\.(mp4|mov|mkv|webm|avi|m4v|gif|jpe?g|png|webp|json|npy|ply)$", re.IGNORECASE)

_MARK = re.compile(r"<image>")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a row comes from and where its pictures are. `bases`: folders that picture paths may start from; `found`:
    what the import read as what so far.
    """

    kind: str
    number: int
    file: str
    bases: Bases
    split: str
    found: Found = dataclasses.field(default_factory=Found)
    fps: float = 0.0  # of folders of frames; 0 when unknown


def build(
    place: Place,
    *,
    question: str,
    answer: str,
    images: list[tuple[bytes, int, int]],
    scene_id: str,
    question_type: str,
    reward: dict[str, Any],
    family: str,
    options: tuple[str, ...] = (),
    unit: str = "",
    meta: dict[str, Any] | None = None,
    tags: tuple[str, ...] = (),
    earlier: int = 0,
) -> QuestionRecord:
    """The record; `earlier`: pictures that belong to turns before the question."""
    written = question + "".join(options) + ("" if question_type == "box" else answer)  # a box's are the importer's own
    if coordinate_like(written):
        raise BadRow("text holds what reads as a coordinate placeholder")
    if any("\ud800" <= c <= "\udfff" for c in written + scene_id + family + unit):
        raise BadRow("text holds half a character (a lone surrogate)")
    marks = len(_MARK.findall(question))
    if marks != len(images) - earlier and (marks or earlier):
        raise BadRow("number of <image> marks and of pictures differ")
    digest = hashlib.sha1(f"{place.number}\n{question}\n{answer}".encode()).hexdigest()[:12]
    whole = {
        "provenance": place.kind,
        "file": Path(place.file).name,
        "row": place.number,
        "generator_version": GENERATOR_VERSION,
        "objects": [],
        **(meta or {}),
    }
    return QuestionRecord(
        question_id=f"{place.kind}/{scene_id}/{digest}",
        source=place.kind,
        split=place.split,
        scene_id=scene_id,
        images=tuple(i[0] for i in images),
        widths=tuple(i[1] for i in images),
        heights=tuple(i[2] for i in images),
        question=question,
        question_type=question_type,
        answer=answer,
        options=options,
        unit=unit,
        reward=json.dumps(reward),
        family=family,
        meta=json.dumps(whole),
        tags=tags,
    )


def scene_path(row: dict[str, Any]) -> str:
    """The scene that a row names, with its folders and without the ending of a file; "" for none."""
    for name in ("scene_id", "scene_name", "scene", "video", "video_id", "video_path"):
        if isinstance(row.get(name), str) and row[name].strip("/"):
            return _ENDING.sub("", row[name].replace("\\", "/").strip("/"))
    return ""


def scene_of(row: dict[str, Any], images: list[tuple[bytes, int, int]]) -> str:
    """Id of a row's scene: its name without folders, as benchmarks write it, else a digest of the first picture."""
    if path := scene_path(row):
        return path.rpartition("/")[2]
    return hashlib.sha1(images[0][0]).hexdigest()[:16] if images else "unknown"

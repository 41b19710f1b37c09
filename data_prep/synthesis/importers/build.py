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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """What a row says, under the names of its record. `images`: (bytes, width, height) each, of which the first
    `earlier` belong to turns before the question.
    """

    question: str
    answer: str
    images: list[tuple[bytes, int, int]]
    scene_id: str
    question_type: str
    reward: dict[str, Any]
    family: str
    options: tuple[str, ...] = ()
    unit: str = ""
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)
    tags: tuple[str, ...] = ()
    earlier: int = 0


def build(place: Place, entry: Entry) -> QuestionRecord:
    """The record of an entry. BadRow where its texts or its pictures cannot be those of one."""
    # A box's answer is the importer's own writing: coordinates belong into it.
    written = entry.question + "".join(entry.options) + ("" if entry.question_type == "box" else entry.answer)
    if coordinate_like(written):
        raise BadRow("text holds what reads as a coordinate placeholder")
    if any("\ud800" <= c <= "\udfff" for c in written + entry.scene_id + entry.family + entry.unit):
        raise BadRow("text holds half a character (a lone surrogate)")
    marks = len(_MARK.findall(entry.question))
    if marks != len(entry.images) - entry.earlier and (marks or entry.earlier):
        raise BadRow("number of <image> marks and of pictures differ")
    # The row's number is part of the id: files do repeat a question word for word.
    digest = hashlib.sha1(f"{place.number}\n{entry.question}\n{entry.answer}".encode()).hexdigest()[:12]
    whole = {
        "provenance": place.kind,
        "file": Path(place.file).name,
        "row": place.number,
        "generator_version": GENERATOR_VERSION,
        "objects": [],
        **entry.meta,
    }
    return QuestionRecord(
        question_id=f"{place.kind}/{entry.scene_id}/{digest}",
        source=place.kind,
        split=place.split,
        scene_id=entry.scene_id,
        images=tuple(i[0] for i in entry.images),
        widths=tuple(i[1] for i in entry.images),
        heights=tuple(i[2] for i in entry.images),
        question=entry.question,
        question_type=entry.question_type,
        answer=entry.answer,
        options=entry.options,
        unit=entry.unit,
        reward=json.dumps(entry.reward),
        family=entry.family,
        meta=json.dumps(whole),
        tags=entry.tags,
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

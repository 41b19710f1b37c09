"""Rooms out of scans' own folders (ScanNet, ScanNet++, ARKitScenes), with frames of the walk through them; scenes of a
benchmark kept out by their ids; and how many questions of each topic a published set holds.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_prep.pipeline import ITEM_ERRORS, png
from data_prep.sources import BadItem, SourceError, dataset_reader
from data_prep.sources.datasets.scans import Scan, ScanFolder, Shot, quarter_turns, turned
from data_prep.synthesis.importers.frames import SceneFrames, spread
from data_prep.synthesis.vsi.scene import Instance, MetadataError, Room
from spatial_jax.data.records import QuestionRecord
from spatial_jax.reading import parse_json

SCANS = ("scannet", "scannetpp", "arkitscenes")
# Questions of each topic in VSI-100k, made of about so many scans (arXiv 2504.00883, section 3).
QUOTAS = {
    "vsi100k": {
        "object_counting": 6400,
        "object_abs_distance": 75000,
        "object_size_estimation": 13000,
        "room_size_estimation": 1500,
        "object_rel_distance": 13000,
        "object_rel_direction": 8000,
    }
}
QUOTA_SCANS = 1513


def open_scans(path: str) -> ScanFolder:
    """The reader whose folder `path` is. MetadataError, one line, names what each looked for."""
    looked = []
    for name in SCANS:
        try:
            return dataset_reader(name)(path, rooms=True)
        except SourceError as error:
            looked.append(str(error).partition("looked for ")[2] or str(error))
    raise MetadataError(f"{path} holds no scans of {', '.join(SCANS)}: looked for {'; or '.join(looked)}")


def room_of(reader: ScanFolder, scan: Scan) -> Room:
    """A scan as the topics read it. Instances with a surface have their points, so that distances are between points;
    categories are the dataset's.
    """
    objects: dict[str, list[Instance]] = {}
    for thing in scan.instances:
        objects.setdefault(thing.name, []).append(Instance(thing.center, thing.extent, thing.axes.T, thing.points))
    counts = {name: len(things) for name, things in objects.items()}
    return Room(scan.scan_id, reader.dataset, objects, counts, math.nan, scan.points)


def frames_of_walk(reader: ScanFolder, scan_id: str, count: int) -> SceneFrames:
    """`count` frames of a walk, evenly spread, with their times, all turned as most of them stand upright; where one
    cannot be used the next usable one stands for it. [] where the scan has no frames. BadItem where not one can be
    used.
    """
    out = SceneFrames()
    out.video = {}
    total, rate = reader.walk(scan_id)
    if not total:
        return out
    wanted = spread(total, count)
    found: list[tuple[int, Shot]] = []
    problem: BaseException | None = None
    for position, first in enumerate(wanted):
        last = wanted[position + 1] if position + 1 < len(wanted) else total
        for number in range(first, min(last, first + 10)):
            try:
                shot = reader.posed_shot(scan_id, number)
            except ITEM_ERRORS as error:
                problem = error
                continue
            found.append((number, dataclasses.replace(shot, depth=None)))
            break
    if not found:
        raise BadItem(f"none of its {total} frames can be used ({problem})")
    # One clip is held one way: a frame that looks straight down, or is tilted for a moment, goes with the others.
    ways = collections.Counter(way for _, shot in found if (way := quarter_turns(shot)) is not None)
    way = ways.most_common(1)[0][0] if ways else 0
    for shot in (turned(shot, way) for _, shot in found):
        out.append((shot.encoded or png(shot.rgb), shot.rgb.shape[1], shot.rgb.shape[0]))
    out.video = {"fps": rate, "indices": [number for number, _ in found], "total": total}
    out.lost = len(wanted) - len(out)
    return out


def rooms_of_folder(reader: ScanFolder, kept_out: frozenset[str]) -> Iterator[tuple[str, Room | None, str]]:
    """(scan, its room, why there is none), scan by scan."""
    for scan_id in reader.scan_list:
        if scan_id in kept_out:
            yield scan_id, None, "kept out by --exclude_scenes"
            continue
        try:
            yield scan_id, room_of(reader, reader.scan(scan_id)), ""
        except ITEM_ERRORS as error:
            yield scan_id, None, " ".join(str(error).split())[:200]


def scenes_in(path: str) -> frozenset[str]:
    """Ids of the scenes that a file names: a benchmark's rows (JSON, JSON lines; scene_name, scene_id, scene, or the
    name of a video file), metadata keyed by scene, or one id a line. MetadataError, one line, where it names none.
    """
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise MetadataError(f"{path}: cannot be read ({error}); give a benchmark's JSON or a list of ids") from None
    rows: Any = None
    try:
        rows = parse_json(text)
    except ValueError:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        try:
            rows = [json.loads(line) for line in lines] if lines and lines[0].startswith("{") else lines
        except ValueError as error:
            raise MetadataError(f"{path}: its lines are not JSON ({error})") from None
    found = set(rows) if isinstance(rows, dict) else {_scene_of(row) for row in rows if isinstance(rows, list)}
    found = {str(name) for name in found if name}
    if not found:
        raise MetadataError(f"{path}: names no scene (scene_name, scene_id, a video's name, or one id a line)")
    return frozenset(found)


def _scene_of(row: Any) -> str:
    if isinstance(row, dict):
        keys = ("scene_name", "scene_id", "scene", "mp4_path", "video_path", "video", "path")
        row = next((row[key] for key in keys if isinstance(row.get(key), str)), "")
    if not isinstance(row, str):
        return ""
    return re.sub(r"\.(mp4|mov|mkv|avi|webm)$", "", row.rstrip("/").rpartition("/")[2])


class Quota:
    """Lets so many questions of each topic pass as the published set has for so many scans; what one room leaves over
    goes to the next ones.
    """

    def __init__(self, name: str, rooms: int):
        if name not in QUOTAS:
            raise ValueError(f"--quota={name} is unknown: use {' or '.join(QUOTAS)}")
        self.each = {topic: count / max(rooms, QUOTA_SCANS) for topic, count in QUOTAS[name].items()}
        self.rooms, self.taken = 0, dict.fromkeys(self.each, 0)

    def most(self) -> dict[str, int]:
        """Questions that the next room may have of each topic."""
        self.rooms += 1
        return {topic: math.ceil(self.rooms * rate) - self.taken[topic] for topic, rate in self.each.items()}

    def add(self, records: Sequence[QuestionRecord]) -> None:
        """These questions were made."""
        for record in records:
            family = record.family.removeprefix("vsi_")
            self.taken[next(topic for topic in self.taken if family.startswith(topic))] += 1

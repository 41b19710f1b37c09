"""Questions on rooms: metadata files in VSI-Bench's form, folders of ScanNet, ScanNet++ and ARKitScenes, or datasets of
walks and clips that data_prep.annotate has made.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_prep.pipeline import ITEM_ERRORS
from data_prep.sources.base import BadItem
from data_prep.sources.datasets.scans import ScanFolder
from data_prep.synthesis.balance import Balance
from data_prep.synthesis.demonstrations import MANNERS
from data_prep.synthesis.importers import BadRow
from data_prep.synthesis.importers.frames import SceneFrames, frames_of
from data_prep.synthesis.vsi.drawn import draw_on_frames
from data_prep.synthesis.vsi.questions import (
    DRAWN_TOPICS,
    HELDOUT_TOPICS,
    TOPICS,
    Settings,
    floor_area,
    room_questions,
)
from data_prep.synthesis.vsi.scans import Quota, frames_of_walk, open_scans, rooms_of_folder, scenes_in
from data_prep.synthesis.vsi.scene import MetadataError, Room, load_rooms
from data_prep.synthesis.vsi.walks import WalkFolder
from data_prep.synthesis.work import Item, Work, share_of
from spatial_jax.options import list_parts
from spatial_jax.pages import say


class FromRooms(Work):
    """Questions on room scans."""

    def __init__(self, args: argparse.Namespace):
        super().__init__(args)
        self.paths = list_parts(args.rooms)
        whole = hashlib.sha256()
        self.scans: dict[str, ScanFolder] = {}
        self.walks: dict[str, WalkFolder] = {}
        for path in self.paths:
            try:
                if Path(path, "dataset_info.json").is_file():
                    self.walks[path] = WalkFolder(path)
                    whole.update(self.walks[path].digest.encode())
                elif Path(path).is_dir():
                    self.scans[path] = open_scans(path)
                    whole.update(self.scans[path].config()["files"].encode())
                else:
                    whole.update(Path(path).read_bytes())
            except OSError as error:
                raise MetadataError(f"{path}: {error.strerror or error}; give a file of {{scene: metadata}}") from None
        if args.heldout_percent is not None and len(self.walks) == len(self.paths):
            raise MetadataError(
                "walks and clips keep the split that annotate gave them; leave --heldout_percent out, and give it to"
                " data_prep.annotate"
            )
        drawable = len(self.walks) == len(self.paths) and all(folder.rendered for folder in self.walks.values())
        if args.demonstrations and not (drawable and args.demonstrations == MANNERS[0]):
            raise MetadataError(
                "--demonstrations on rooms draws on the frames of rendered walks, over several turns: give --rooms"
                " datasets of data_prep.annotate --source=walk, and no other manner"
            )
        excluded = [scenes_in(path) for path in list_parts(args.exclude_scenes)]
        self.kept_out: frozenset[str] = frozenset().union(*excluded)
        self.digest, self.drawn = whole.hexdigest()[:16], 0

    def items(self) -> Iterator[Item]:
        args = self.args
        settings = Settings(args.definitions, not args.no_margins, args.most, args.wordings, seed=args.seed)
        balance = None if args.no_margins else Balance()
        files = {p: load_rooms(p, args.clouds) for p in self.paths if p not in self.scans and p not in self.walks}
        total = sum(len(r.scan_list) for r in self.scans.values()) + sum(len(rooms) for rooms, _ in files.values())
        total += sum(len(folder.ids) for folder in self.walks.values())
        quota = Quota(args.quota, total) if args.quota else None
        for path in self.paths:
            for scene, room, why, reader in self._rooms(path, files):
                if room is None:
                    yield scene, [], why
                    continue
                split = self._split(scene, reader)
                try:
                    frames = self._frames(scene, reader)
                except (BadRow, *ITEM_ERRORS) as error:
                    say(f"skipped {scene}: {error}")
                    yield scene, [], str(error)
                    continue
                if not floor_area(room, settings) > 0:
                    self.reasons["no floor is known or shown: the room's size"] += 1
                most = quota.most() if quota else None
                topics = (*TOPICS, *(DRAWN_TOPICS if args.demonstrations else ()))
                made = room_questions(
                    room, settings, topics=topics, split=split, frames=frames, balance=balance, quota=most
                )
                if quota:
                    quota.add(made)
                elif room.first:  # never trained on, as in the paper
                    made += room_questions(
                        room, settings, topics=HELDOUT_TOPICS, split="heldout", frames=frames, balance=balance
                    )
                if args.demonstrations:
                    made = [draw_on_frames(record, room) for record in made]
                    self.drawn += sum('"turns"' in record.meta for record in made)
                yield scene, made, "no question past its margins"

    def _split(self, scene: str, reader: ScanFolder | WalkFolder | None) -> str:
        if isinstance(reader, WalkFolder):
            return reader.split
        return "heldout" if share_of(scene) < (self.args.heldout_percent or 0) else "train"

    def _frames(self, scene: str, reader: ScanFolder | WalkFolder | None) -> Sequence[tuple[bytes, int, int]]:
        """The pictures of a scene's questions; BadRow, or what a broken file raises."""
        frames = SceneFrames()
        if self.args.frames:
            frames = frames_of(self.args.frames, scene, self.args.most_frames, self.args.fps)
        elif isinstance(reader, WalkFolder):
            frames = reader.shown
        elif reader is not None:
            frames = frames_of_walk(reader, scene, self.args.most_frames)
        if len({(width, height) for _, width, height in frames}) > 1:
            raise BadItem("its frames are of different sizes: a clip has one; bring them to one")
        if frames.lost:
            self.reasons["a chosen frame cannot be used: its scene is shown by the others"] += frames.lost
        return frames

    def _rooms(
        self, path: str, files: dict[str, tuple[list[Room], list[str]]]
    ) -> Iterator[tuple[str, Room | None, str, ScanFolder | WalkFolder | None]]:
        """(scene, its room, why there is none, the reader of its frames) of a file or folder."""
        if path in self.scans:
            for scene, room, why in rooms_of_folder(self.scans[path], self.kept_out):
                if room is None:
                    say(f"skipped {scene}: {why}")
                yield scene, room, why, self.scans[path]
            return
        if path in self.walks:
            folder = self.walks[path]
            for scene, room, why in folder.rooms(self.args.most_frames):
                if scene in self.kept_out:
                    room, why = None, "kept out by --exclude_scenes"
                if room is None:
                    say(f"skipped {scene}: {why}")
                yield scene, room, why, folder
            return
        rooms, problems = files[path]
        for problem in problems:
            say(f"skipped {problem}")
            yield problem.split(":")[0], None, "scene metadata not usable", None
        for room in rooms:
            out = room.scene_id in self.kept_out
            yield room.scene_id, None if out else room, "kept out by --exclude_scenes" if out else "", None

    def lines(self) -> list[str]:
        lines = [line for reader in self.scans.values() for line in reader.said]
        lines += [f"demonstrations: {self.drawn} questions have turns that draw"] if self.args.demonstrations else []
        lines += [line for folder in self.walks.values() for line in folder.lines()]
        if self.scans and not self.kept_out:
            lines.append("no scene is kept out: name a benchmark's scenes with --exclude_scenes before testing on it")
        return lines

    def advice(self) -> str:
        return "give a file of {scene: object_counts, object_bbox, room_size}, a folder of scans, or a dataset of walks"

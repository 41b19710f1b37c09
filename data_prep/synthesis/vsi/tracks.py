"""Things followed over the frames of a clip into one list of instances: those of one name whose boxes overlap in the
clip's world are one thing.

This is a guess and is said: which things are one is told by 3-D overlap and name alone. Where it is not clear, two
boxes that touch but hardly overlap, the category is not asked about.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from data_prep.synthesis.vsi.scene import Instance, MetadataError, Room
from spatial_jax.data.records import SceneObject, SceneRecord

SAME = 0.3  # share of the smaller box that lies in the larger one from which on two are one thing
UNCLEAR = 0.02  # from which on two may be
ROOM = (0.05, 0.05)  # metres, and share of a side: by so much may a box be too small
LEAST_CONFIDENCE = 0.5
GRID = np.stack(np.meshgrid(*[np.linspace(-0.9, 0.9, 6)] * 3, indexing="ij"), -1).reshape(-1, 3) / 2


@dataclasses.dataclass
class Box:
    """A thing in one frame, in the clip's level world: `axes` rows, `lengths` full sides, share `seen` of it."""

    frame: int
    name: str
    center: np.ndarray
    axes: np.ndarray
    lengths: np.ndarray
    seen: float

    def overlap(self, other: Box) -> float:
        """Share of the smaller of the two that lies in the other, which may be a little larger than it is told."""
        small, large = (self, other) if self.lengths.prod() < other.lengths.prod() else (other, self)
        points = (GRID * small.lengths) @ small.axes + small.center
        local = np.abs((points - large.center) @ large.axes.T)
        return float((local <= large.lengths * (0.5 + ROOM[1]) + ROOM[0]).all(1).mean())


@dataclasses.dataclass
class Track:
    """Boxes that are one thing."""

    boxes: list[Box]

    @property
    def best(self) -> Box:
        """The box of the frame that shows most of it."""
        return max(self.boxes, key=lambda box: (round(box.seen, 2), box.lengths.prod()))

    def overlap(self, box: Box) -> float:
        """The most that one of its boxes overlaps with another box."""
        return max(b.overlap(box) for b in self.boxes)


def follow(boxes: Sequence[Box]) -> list[Track]:
    """Tracks of boxes that are given frame by frame; no two boxes of a frame are one thing."""
    tracks: list[Track] = []
    for frame in sorted({box.frame for box in boxes}):
        now = [box for box in boxes if box.frame == frame]
        pairs = [
            (share, i, k)
            for i, box in enumerate(now)
            for k, track in enumerate(tracks)
            if track.boxes[0].name == box.name and (share := track.overlap(box)) >= SAME
        ]
        left, free = set(range(len(now))), set(range(len(tracks)))
        for _, i, k in sorted(pairs, reverse=True):
            if i in left and k in free:
                tracks[k].boxes.append(now[i])
                left.discard(i)
                free.discard(k)
        tracks += [Track([now[i]]) for i in sorted(left)]
    return _join(tracks)


def _join(tracks: list[Track]) -> list[Track]:
    """Tracks that turn out to be one thing, as they overlap and no frame has both, made one."""
    out: list[Track] = []
    for track in tracks:
        frames = {box.frame for box in track.boxes}
        for other in out:
            apart = frames.isdisjoint(box.frame for box in other.boxes)
            if apart and other.boxes[0].name == track.boxes[0].name and other.overlap(track.best) >= SAME:
                other.boxes += track.boxes
                break
        else:
            out.append(track)
    return out


def clip_room(clip: str, frames: Sequence[SceneRecord], told: collections.Counter[str]) -> Room:
    """The room of a clip whose frames have objects with boxes, and poses. Counts what it passes over in `told`.
    MetadataError where no frame can be used.
    """
    level = _level(frames)
    boxes: list[Box] = []
    for k, scene in enumerate(frames):
        pose = _pose(scene)
        if pose is None:
            told["frame without a pose: its things are not followed"] += 1
            continue
        boxes += [box for o in scene.objects if (box := _box(k, o, level @ pose[:3, :3], level @ pose[:3, 3]))]
    if not boxes:
        raise MetadataError("no frame has a pose and an object with a 3-D box (--depth=megasam:DIR or vggt:DIR)")
    tracks = follow(boxes)
    groups: dict[str, list[Track]] = collections.defaultdict(list)
    for track in tracks:
        groups[track.boxes[0].name].append(track)
    objects: dict[str, list[Instance]] = {}
    for name, group in groups.items():
        if any(a.overlap(b.best) >= UNCLEAR for i, a in enumerate(group) for b in group[:i]):
            told[f"category whose boxes may be one thing or two: {name}"] += 1
            continue
        objects[name] = [_instance(track.best) for track in group]
    counts = {name: len(group) for name, group in objects.items()}
    told["sighting of a thing in a frame"] += len(boxes)
    told["thing that these were taken for, by name and 3-D overlap"] += len(tracks)
    metric = all(scene.depth_flag == "metric" for scene in frames if scene.objects)
    guess = f"{len(boxes)} sightings followed into {len(tracks)} things by name and 3-D overlap"
    # When a detector first finds a thing is not when it first comes into view: its order is not asked.
    return Room(clip, "clip", objects, counts, math.nan, metric=metric, known_from=guess)


def _instance(box: Box) -> Instance:
    return Instance(box.center, box.lengths, box.axes, whole=box.seen)


def _pose(scene: SceneRecord) -> np.ndarray | None:
    given = scene.json_field("meta").get("pose")
    try:
        pose = np.asarray(given, np.float64).reshape(4, 4)
    except (TypeError, ValueError):
        return None
    return pose if np.isfinite(pose).all() else None


def _level(frames: Sequence[SceneRecord]) -> np.ndarray:
    """Rotation [3, 3] from the clip's world to one whose z is up, by gravity as its frames know it. MetadataError."""
    downs = []
    for scene in frames:
        pose = _pose(scene)
        if pose is not None and len(scene.gravity) == 3:
            downs.append(pose[:3, :3] @ np.asarray(scene.gravity, np.float64))
    if not downs:
        raise MetadataError("no frame has a pose and knows where down is")
    up = -np.mean(downs, 0)
    if not np.linalg.norm(up) > 0.5:
        raise MetadataError("its frames contradict each other about where down is: poses and frames do not belong")
    up /= np.linalg.norm(up)
    across = np.cross(up, (0.0, 1.0, 0.0) if abs(up[1]) < 0.9 else (1.0, 0.0, 0.0))
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(up, across), up])


def _box(frame: int, thing: SceneObject, turn: np.ndarray, origin: np.ndarray) -> Box | None:
    """An object's box in the level world; None where it has none, or is hardly one."""
    center, lengths = np.asarray(thing.center, np.float64), np.asarray(thing.extent, np.float64)
    if not (np.isfinite(center).all() and np.isfinite(lengths).all() and (lengths > 0).all()):
        return None
    if thing.confidence < LEAST_CONFIDENCE or not thing.name:
        return None
    axes = (turn @ np.asarray(thing.rotation, np.float64).reshape(3, 3)).T
    return Box(frame, thing.name, turn @ center + origin, axes, lengths, float(thing.visible_fraction))

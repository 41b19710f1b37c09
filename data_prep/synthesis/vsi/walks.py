"""Rooms out of walks and clips whose frames data_prep.annotate has made into scene records: what their frames show.

Of a rendered walk everything is known, and only that counts which the frames of a question show clearly; of a clip of
one's own the things are followed over its frames (data_prep.synthesis.vsi.tracks).
"""

from __future__ import annotations

import collections
import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.synthesis.dataset import SceneDataset
from data_prep.synthesis.importers.frames import SceneFrames, spread
from data_prep.synthesis.vsi.scene import Instance, MetadataError, Room, parse_room
from data_prep.synthesis.vsi.sights import read_sights
from data_prep.synthesis.vsi.surface import surface_points
from data_prep.synthesis.vsi.tracks import clip_room
from data_prep.synthesis.vsi.ways import ABOVE, FLAT, Footprint, Ways
from spatial_jax.data.records import SceneRecord

SHOWN_PIXELS = 0.002  # share of a frame's pixels from which on it shows a thing clearly
SHOWN_SHARE = 0.35  # of the thing itself
CORNERS = 3  # of a room, to be seen from inside it before its size is asked


class WalkFolder:
    """The walks and clips of a scene dataset. `shown`: frames of the walk that was read last; `split`: the one that its
    frames are in, for its questions must not be in another ("heldout" where they are in both). DatasetError.
    """

    def __init__(self, path: str):
        self.scenes = SceneDataset(path)
        self.digest, self.path = self.scenes.digest, path
        self.shown, self.split = SceneFrames(), "train"
        self.told: collections.Counter[str] = collections.Counter()
        self.rendered = False  # whether any of them is a rendered walk, of which everything is known
        self.ids = self._places()
        if not self.ids:
            raise MetadataError(
                f"{path}: its scenes are single pictures, no walk and no clip; give --scenes={path}, or annotate with"
                " --source=walk or --source=video"
            )

    def _places(self) -> dict[str, list[tuple[int, int]]]:
        """(number in its clip, place in the dataset) of the frames of each clip, in their order."""
        out: dict[str, list[tuple[int, int]]] = {}
        for place in range(len(self.scenes)):
            scene = self.scenes.get(place)
            if isinstance(scene, str):
                self.told["frame whose record is damaged"] += 1
                continue
            clip, number = clip_of(scene, place)
            self.rendered |= isinstance(scene.json_field("meta").get("walk"), str)
            if clip:
                out.setdefault(clip, []).append((number, place))
        return {clip: sorted(places) for clip, places in out.items()}

    def rooms(self, most_frames: int) -> Iterator[tuple[str, Room | None, str]]:
        """(clip, its room, why there is none) of what `most_frames` of its frames show."""
        for clip, places in self.ids.items():
            chosen = [places[k] for k in spread(len(places), most_frames)]  # never all of a long clip at once
            frames = {number: scene for number, place in chosen if not isinstance(scene := self.scenes.get(place), str)}
            try:
                yield clip, self._room(clip, frames, places[0]), ""
            except (MetadataError, ValueError, KeyError, TypeError, IndexError) as error:
                what = str(error) if isinstance(error, MetadataError) else f"{type(error).__name__}: {error}"
                yield clip, None, " ".join(what.split())[:200]

    def _room(self, clip: str, numbered: dict[int, SceneRecord], first: tuple[int, int]) -> Room:
        frames, numbers = list(numbered.values()), list(numbered)
        metas = [scene.json_field("meta") for scene in frames]
        self.shown = SceneFrames((scene.image, scene.width, scene.height) for scene in frames)
        self.shown.video = _times(metas, numbers)
        self.split = "heldout" if any(scene.split == "heldout" for scene in frames) else "train"
        if len({(scene.width, scene.height) for scene in frames}) > 1:
            raise MetadataError("its frames are of different sizes: a clip has one")
        if "walk" not in metas[0]:
            return clip_room(clip, frames, self.told)
        start = self.scenes.get(first[1])
        if isinstance(start, str) or "room" not in (facts := start.json_field("meta")):
            raise MetadataError("its first frame, which holds what is known of the room, is missing")
        return walk_room(clip, facts["room"], frames, metas)

    def lines(self) -> list[str]:
        """What the end of a run says of the folder."""
        return [f"{self.path}: {count} x {what}" for what, count in self.told.items()]


def clip_of(scene: SceneRecord, place: int) -> tuple[str, int]:
    """The walk or clip that a scene record is a frame of ("": none), and its number in it."""
    meta = scene.json_field("meta")
    if isinstance(meta.get("walk"), str):
        return meta["walk"], int(meta.get("frame", place))
    if isinstance(meta.get("video"), str):
        return meta["video"], place
    return (str(Path(scene.scene_id).parent), place) if "pose" in meta else ("", 0)


def _times(metas: Sequence[dict[str, Any]], numbers: Sequence[int]) -> dict[str, Any]:
    """When the frames were taken, as in a question's meta; {} where that is not known."""
    given = (meta.get("time") for meta in metas)
    times = [float(t) for t in given if isinstance(t, (int, float)) and math.isfinite(t)]
    if len(times) < len(metas) or sorted(times) != times:
        return {}
    rate = metas[0].get("fps")
    if "walk" not in metas[0]:
        return {"times": [t - times[0] for t in times]}
    if not isinstance(rate, (int, float)) or not 0 < rate < 1e4:
        return {}
    total = int(metas[0].get("frames", 0))
    return {"fps": float(rate), "indices": list(numbers), "total": max(total, numbers[-1] + 1)}


def walk_room(clip: str, facts: dict[str, Any], frames: list[SceneRecord], metas: list[dict[str, Any]]) -> Room:
    """The room of a rendered walk as these frames show it: categories of which every instance is shown clearly by one
    of them; its floor's area where each room's corners are seen. MetadataError, KeyError, ValueError.
    """
    whole = parse_room(clip, facts)
    seen = _sightings(metas, frames)
    objects: dict[str, list[Instance]] = {}
    first: dict[str, tuple[int, int]] = {}
    for name, boxes in facts["object_bbox"].items():
        found = [seen[str(box["id"])] for box in boxes if str(box["id"]) in seen]
        clear = [f.clear for f in found if f.clear >= 0]
        if clear:
            first[name] = (min(f.glimpse for f in found), min(clear))
        if len(clear) == len(boxes):
            objects[name] = [
                _with_surface(instance, box["solids"], f.whole)
                for instance, box, f in zip(whole.objects[name], boxes, found)
            ]
    polygons = [np.asarray(p, np.float64) for p in facts.get("polygons") or []]
    poses = [np.asarray(meta["pose"], np.float64).reshape(4, 4) for meta in metas]
    shown = bool(polygons) and all(_corners_seen(p, frames, poses) >= min(CORNERS, len(p)) for p in polygons)
    size = whole.room_size if shown else float("nan")
    counts = {name: len(found) for name, found in objects.items()}
    ways = _ways(facts, polygons)
    shows = [
        {number for number, (pixels, share) in meta["seen"].items() if _is_clear(pixels, share, scene)}
        for scene, meta in zip(frames, metas)
    ]
    look = functools.partial(read_sights, facts, frames, poses, shows, ways)
    return Room(clip, whole.dataset, objects, counts, size, None, first, ways, look, known_from="rendered walk")


class Seen:
    """Of an instance over frames: the first that shows a pixel of it, the first that shows it clearly (-1: none), the
    largest share that one shows.
    """

    def __init__(self, frame: int):
        self.glimpse, self.clear, self.whole = frame, -1, 0.0


def _is_clear(pixels: float, share: float, scene: SceneRecord) -> bool:
    return pixels >= SHOWN_PIXELS * scene.width * scene.height and share >= SHOWN_SHARE


def _sightings(metas: Sequence[dict[str, Any]], frames: Sequence[SceneRecord]) -> dict[str, Seen]:
    out: dict[str, Seen] = {}
    for k, (meta, scene) in enumerate(zip(metas, frames)):
        for number, (pixels, share) in meta["seen"].items():
            found = out.setdefault(number, Seen(k))
            found.whole = max(found.whole, float(share))
            if found.clear < 0 and _is_clear(pixels, share, scene):
                found.clear = k
    return out


def _with_surface(instance: Instance, solids: Sequence[Sequence[Any]], whole: float) -> Instance:
    points = surface_points(solids) @ instance.axes + instance.centroid
    return Instance(instance.centroid, instance.lengths, instance.axes, None, points, whole)


def _ways(facts: dict[str, Any], polygons: list[np.ndarray]) -> Ways | None:
    if not polygons:
        return None
    prints = []
    for boxes in facts["object_bbox"].values():
        for box in boxes:
            center, sides = np.asarray(box["centroid"]), np.asarray(box["axesLengths"])
            bottom, top = center[2] - sides[2] / 2, center[2] + sides[2] / 2
            if top > FLAT and bottom < ABOVE:
                along = np.asarray(box["normalizedAxes"], np.float64)[:2]
                prints.append(Footprint(center[:2], sides[:2] / 2, along, str(box["id"])))
    return Ways(polygons, [np.asarray(d, np.float64) for d in facts.get("doorways") or []], prints)


def _corners_seen(polygon: np.ndarray, frames: Sequence[SceneRecord], poses: Sequence[np.ndarray]) -> int:
    """How many of a room's corners lie in the view of a frame that was taken inside the room."""
    low, high = polygon.min(0), polygon.max(0)
    seen = np.zeros(len(polygon), bool)
    for scene, pose in zip(frames, poses):
        if not ((pose[:2, 3] > low) & (pose[:2, 3] < high)).all():
            continue
        corners = np.column_stack([polygon, np.full(len(polygon), 1.4)])
        local = (corners - pose[:3, 3]) @ pose[:3, :3]
        fx, fy, cx, cy = scene.intrinsics
        z = np.maximum(local[:, 2], 1e-6)
        u, v = fx * local[:, 0] / z + cx, fy * local[:, 1] / z + cy
        seen |= (local[:, 2] > 0.1) & (u > 0) & (u < scene.width) & (v > 0) & (v < scene.height)
    return int(seen.sum())

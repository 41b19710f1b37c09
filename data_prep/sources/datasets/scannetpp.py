"""ScanNet++ as it is downloaded: data/SCENE with scans/ (mesh, segments), iphone/ and dslr/.

iphone/ has the walk as rgb.mp4 (or .mkv) and depth.bin, or as the folders rgb and depth after its toolkit extracted
them. The mesh is level (z up); `aligned_pose` of pose_intrinsic_imu.json takes an iPhone frame's points (x right, y
down, z ahead) to it, `intrinsic` is of the colour picture; rows of an obb's normalizedAxes are its axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_prep.sources.base import BadItem
from data_prep.sources.datasets.depth_stream import DepthStream
from data_prep.sources.datasets.dslr import Still, read_stills, straighten
from data_prep.sources.datasets.folder import read_bytes, read_json
from data_prep.sources.datasets.ply import read_vertices
from data_prep.sources.datasets.scans import (
    NO_OBJECTS,
    Scan,
    ScanFolder,
    Shot,
    clean_name,
    instance_of,
    metres,
    resized,
    scaled,
)
from data_prep.sources.depth_files import read_depth
from spatial_jax.media import ClipError, clip_frames, clip_timing, encode_picture, open_clip, upright

RATE = 60.0  # frames a second of the iPhone's video


class Film:
    """Frames of a video one at a time, uint8 [h, w, 3]; best asked for in order. ClipError."""

    def __init__(self, path: Path):
        self.path, self.count = path, len(clip_timing(path).times)
        self._frames: Iterator[Any] = iter(())
        self._next = 0

    def frame(self, number: int) -> np.ndarray:
        """Frame `number`, the first is 0."""
        if number < self._next or self._next == 0:
            self._container = open_clip(self.path)
            self._frames, self._next = iter(clip_frames(self._container)), 0
        for frame in self._frames:
            self._next += 1
            if self._next == number + 1:
                return upright(frame)
        raise ClipError(f"{self.path.name} ends after {self._next} frames")


class ScanNetPP(ScanFolder):
    """iPhone frames at the depth's size; of a scene without them its DSLR pictures, straightened and without depth."""

    name = dataset = "scannetpp"
    title = "ScanNet++"
    looked_for = "SCENE/scans/segments_anno.json with SCENE/iphone/ or SCENE/dslr/, here or in data/"

    def scan_ids(self) -> list[str]:
        for top in (self.root, self.root / "data"):
            found = [p for p in sorted(top.iterdir()) if p.is_dir()] if top.is_dir() else []
            ids = [p.name for p in found if (p / "scans" / "segments_anno.json").exists()]
            if ids:
                self.top = top
                self._frames: dict[str, list[str]] = {}
                self._poses: dict[str, dict[str, Any]] = {}
                self._films: dict[str, Film] = {}
                self._depths: dict[str, DepthStream] = {}
                self._stills: dict[str, list[Still]] = {}
                return ids
        return []

    def files_of(self, item: str) -> list[Any]:
        folder = self.top / item.rpartition("#")[0]
        files = [folder / "scans" / name for name in ("segments_anno.json", "segments.json", "mesh_aligned_0.05.ply")]
        files += [folder / "iphone" / name for name in ("pose_intrinsic_imu.json", "depth.bin")]
        return [p for p in [*files, folder / "dslr" / "colmap" / "images.txt"] if p.exists()]

    def scan(self, scan_id: str) -> Scan:
        folder = self.top / scan_id / "scans"
        groups = read_json(folder / "segments_anno.json", "labels").get("segGroups") or []
        segments = read_json(folder / "segments.json", "segments").get("segIndices")
        try:
            points = read_vertices(read_bytes(folder / "mesh_aligned_0.05.ply", "mesh"))
        except ValueError as error:
            raise BadItem(f"mesh mesh_aligned_0.05.ply: {error}") from None
        index = np.asarray(segments if isinstance(segments, list) else [], np.int64)
        if len(index) != len(points):
            raise BadItem(f"its segments name {len(index)} vertices, its mesh has {len(points)}")
        out = Scan(scan_id, [], points, np.full(len(points), -1))
        assert out.owner is not None
        for group in groups:
            try:
                name = clean_name(group["label"])
                inside = np.isin(index, np.asarray(group["segments"], np.int64))
            except (KeyError, TypeError, ValueError):
                out.told.left_out("an instance without label or segments")
                continue
            if name in NO_OBJECTS:
                out.told.left_out(f"class {name or 'without a name'} is no object")
            elif (instance := instance_of(name, points[inside])) is None:
                out.told.left_out("an instance of too few vertices")
            else:
                out.owner[inside] = len(out.instances)
                out.instances.append(instance)
        return out

    def _names(self, scan_id: str) -> list[str]:
        """Names of the iPhone's frames: of the extracted pictures, else of the frames of its video."""
        if scan_id not in self._frames:
            folder = self.top / scan_id / "iphone"
            listed = (folder / "rgb").iterdir() if (folder / "rgb").is_dir() else ()
            names = sorted(p.stem for p in listed if p.suffix.lower() == ".jpg")
            video = self._video(scan_id)
            if not names and video is not None:
                try:
                    self._films = {scan_id: Film(video)}
                except ClipError as error:
                    raise BadItem(f"{video.name}: {error}") from None
                names = [f"frame_{i:06d}" for i in range(self._films[scan_id].count)]
            self._frames[scan_id] = names
        return self._frames[scan_id]

    def _video(self, scan_id: str) -> Path | None:
        folder = self.top / scan_id / "iphone"
        return next((p for p in (folder / "rgb.mp4", folder / "rgb.mkv") if p.exists()), None)

    def stills(self, scan_id: str) -> list[Still]:
        """The DSLR pictures of a scene without iPhone frames; [] where there are none."""
        if scan_id not in self._stills:
            folder = self.top / scan_id / "dslr" / "colmap"
            self._stills[scan_id] = read_stills(folder) if folder.is_dir() else []
        return self._stills[scan_id]

    def walk(self, scan_id: str) -> tuple[int, float]:
        names = self._names(scan_id)
        if not names:
            count = len(self.stills(scan_id))
            return (count, 1 / self.every) if count else (0, 0.0)  # stills are all taken
        numbers = [int(n.rpartition("_")[2]) for n in names if n.rpartition("_")[2].isdigit()]
        step = (numbers[-1] - numbers[0]) / (len(numbers) - 1) if len(numbers) > 1 else 1.0
        return len(names), RATE / max(step, 1e-6)

    def shot(self, scan_id: str, number: int) -> Shot:
        if not self._names(scan_id):
            return self._still(scan_id, number)
        folder, name = self.top / scan_id / "iphone", self._names(scan_id)[number]
        if scan_id not in self._poses:
            self._poses = {scan_id: read_json(folder / "pose_intrinsic_imu.json", "poses")}
        facts = self._poses[scan_id].get(name) or {}
        try:
            pose = np.asarray(facts["aligned_pose"], np.float64).reshape(4, 4)
            k = np.asarray(facts["intrinsic"], np.float64).reshape(3, 3)
        except (KeyError, TypeError, ValueError):
            raise BadItem(f"pose_intrinsic_imu.json has no aligned pose and camera of {name}") from None
        depth = self._depth(scan_id, name)
        size = (256, 192) if depth is None else (depth.shape[1], depth.shape[0])
        rgb, encoded, before = resized(self._picture(scan_id, name), size)
        return Shot(rgb, encoded, depth, scaled(k, before, size), pose)

    def _picture(self, scan_id: str, name: str) -> bytes:
        """The encoded picture of an iPhone frame."""
        folder = self.top / scan_id / "iphone"
        if (folder / "rgb").is_dir():
            return read_bytes(folder / "rgb" / f"{name}.jpg", "picture")
        try:
            video = self._video(scan_id)
            if scan_id not in self._films and video is not None:  # one is open at a time, and it may be another's
                self._films = {scan_id: Film(video)}
            return encode_picture(Image.fromarray(self._films[scan_id].frame(int(name.rpartition("_")[2]))), "PNG")
        except ClipError as error:
            raise BadItem(str(error)) from None

    def _depth(self, scan_id: str, name: str) -> np.ndarray | None:
        """Depth of an iPhone frame, metres: the extracted file, else its place in depth.bin."""
        folder = self.top / scan_id / "iphone"
        file, stream = folder / "depth" / f"{name}.png", folder / "depth.bin"
        if file.exists():
            return metres(read_depth(read_bytes(file, "depth"), file.name, 1 / 1000), 1.0)
        if not stream.exists():
            return None
        try:
            if scan_id not in self._depths:
                self._depths = {scan_id: DepthStream(str(stream))}
            depth = self._depths[scan_id].frame(int(name.rpartition("_")[2]))
        except (ValueError, OSError) as error:
            raise BadItem(f"depth.bin {error}") from None
        return metres(np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0), 1.0)

    def _still(self, scan_id: str, number: int) -> Shot:
        still, folder = self.stills(scan_id)[number], self.top / scan_id / "dslr"
        places = [folder / name / still.name for name in ("resized_images", "original_images")]
        file = next((p for p in places if p.exists()), places[0])
        rgb, camera = straighten(still, read_bytes(file, "picture"))
        return Shot(rgb, b"", None, camera, still.pose)

"""ScanNet++ as it is downloaded: data/SCENE with scans/ (mesh, segments) and iphone/ (frames after extraction).

The mesh is level (z up); `aligned_pose` of pose_intrinsic_imu.json takes an iPhone frame's points (x right, y down, z
ahead) to it, `intrinsic` is of the colour picture; rows of an obb's normalizedAxes are its axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from data_prep.sources.base import BadItem
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

RATE = 60.0  # frames a second of the iPhone's video


class ScanNetPP(ScanFolder):
    """iPhone frames, from iphone/rgb and iphone/depth as the toolkit extracts them, at the depth's size."""

    name = dataset = "scannetpp"
    title = "ScanNet++"
    looked_for = "SCENE/scans/segments_anno.json with SCENE/iphone/, here or in data/"

    def scan_ids(self) -> list[str]:
        for top in (self.root, self.root / "data"):
            found = [p for p in sorted(top.iterdir()) if p.is_dir()] if top.is_dir() else []
            ids = [p.name for p in found if (p / "scans" / "segments_anno.json").exists()]
            if ids:
                self.top = top
                self._frames: dict[str, list[str]] = {}
                self._poses: dict[str, dict[str, Any]] = {}
                return ids
        return []

    def files_of(self, item: str) -> list[Any]:
        folder = self.top / item.rpartition("#")[0]
        files = [folder / "scans" / name for name in ("segments_anno.json", "segments.json", "mesh_aligned_0.05.ply")]
        return [p for p in [*files, folder / "iphone" / "pose_intrinsic_imu.json"] if p.exists()]

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
        if scan_id not in self._frames:
            folder = self.top / scan_id / "iphone" / "rgb"
            self._frames[scan_id] = sorted(p.stem for p in folder.iterdir()) if folder.is_dir() else []
        return self._frames[scan_id]

    def walk(self, scan_id: str) -> tuple[int, float]:
        names = self._names(scan_id)
        numbers = [int(n.rpartition("_")[2]) for n in names if n.rpartition("_")[2].isdigit()]
        step = (numbers[-1] - numbers[0]) / (len(numbers) - 1) if len(numbers) > 1 else 1.0
        return (len(names), RATE / max(step, 1e-6)) if names else (0, 0.0)

    def shot(self, scan_id: str, number: int) -> Shot:
        folder, name = self.top / scan_id / "iphone", self._names(scan_id)[number]
        if scan_id not in self._poses:
            self._poses = {scan_id: read_json(folder / "pose_intrinsic_imu.json", "poses")}
        facts = self._poses[scan_id].get(name) or {}
        try:
            pose = np.asarray(facts["aligned_pose"], np.float64).reshape(4, 4)
            k = np.asarray(facts["intrinsic"], np.float64).reshape(3, 3)
        except (KeyError, TypeError, ValueError):
            raise BadItem(f"pose_intrinsic_imu.json has no aligned pose and camera of {name}") from None
        file = folder / "depth" / f"{name}.png"
        depth = metres(read_depth(read_bytes(file, "depth"), file.name, 1 / 1000), 1.0) if file.exists() else None
        data = read_bytes(folder / "rgb" / f"{name}.jpg", "picture")
        size = (256, 192) if depth is None else (depth.shape[1], depth.shape[0])
        rgb, encoded, before = resized(data, size)
        return Shot(rgb, encoded, depth, scaled(k, before, size), pose)

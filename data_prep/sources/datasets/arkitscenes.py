"""ARKitScenes' 3DOD set as it is downloaded: Training/VIDEO with its annotation, mesh and VIDEO_frames.

A .traj line is a time, an axis-angle and a translation that take the world's points (z up) to the camera's (x right, y
down, z ahead); rows of a box's normalizedAxes are its axes, axesLengths its full sides (threedod/benchmark_scripts).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from data_prep.sources.base import BadItem
from data_prep.sources.datasets.boxes import is_box
from data_prep.sources.datasets.folder import read_bytes, read_json, read_numbers
from data_prep.sources.datasets.ply import read_vertices
from data_prep.sources.datasets.scans import NO_OBJECTS, Scan, ScanFolder, ScanInstance, Shot, clean_name, metres
from data_prep.sources.depth_files import read_depth
from data_prep.sources.pictures import open_picture

APART = 0.05  # seconds: a pose as near in time as this is the frame's own


class ARKitScenes(ScanFolder):
    """Low-resolution frames (lowres_wide with lowres_depth), turned upright."""

    name = dataset = "arkitscenes"
    title = "ARKitScenes"
    looked_for = "VIDEO/VIDEO_3dod_annotation.json with VIDEO_frames/, here or in Training/ and Validation/"

    def scan_ids(self) -> list[str]:
        self.folders = {}
        tops = [self.root, *(self.root / p for p in ("Training", "Validation", "3dod/Training", "3dod/Validation"))]
        if (self.root / f"{self.root.name}_3dod_annotation.json").exists():
            self.folders[self.root.name] = self.root
        for top in tops:
            for folder in sorted(top.iterdir()) if top.is_dir() else ():
                if (folder / f"{folder.name}_3dod_annotation.json").exists():
                    self.folders[folder.name] = folder
        self._times: dict[str, list[float]] = {}
        self._poses: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        return sorted(self.folders)

    def _frames(self, scan_id: str) -> Any:
        inside = self.folders[scan_id] / f"{scan_id}_frames"
        return inside if inside.is_dir() else self.folders[scan_id]

    def files_of(self, item: str) -> list[Any]:
        scan_id = item.rpartition("#")[0]
        folder = self.folders[scan_id]
        return [folder / f"{scan_id}_3dod_annotation.json", self._frames(scan_id) / "lowres_wide.traj"]

    def scan(self, scan_id: str) -> Scan:
        folder = self.folders[scan_id]
        data = read_json(folder / f"{scan_id}_3dod_annotation.json", "labels")
        out = Scan(scan_id, [])
        for label in data.get("data") or []:
            name = clean_name(label.get("label") if isinstance(label, dict) else "")
            try:
                box = label["segments"]["obbAligned"]
                axes = np.asarray(box["normalizedAxes"], np.float64).reshape(3, 3).T
                sides = np.asarray(box["axesLengths"], np.float64).reshape(3)
                center = np.asarray(box["centroid"], np.float64).reshape(3)
            except (KeyError, TypeError, ValueError):
                out.told.left_out("an instance without its box")
                continue
            if name in NO_OBJECTS:
                out.told.left_out(f"class {name or 'without a name'} is no object")
            elif not is_box(center, sides, axes):
                out.told.left_out("an instance without its box")
            else:
                out.instances.append(ScanInstance(name, center, sides, axes))
        mesh = folder / f"{scan_id}_3dod_mesh.ply"
        if mesh.exists():
            try:
                out.points = read_vertices(read_bytes(mesh, "mesh"))
            except ValueError:
                out.told["scan whose mesh cannot be read"] += 1
        return out

    def times(self, scan_id: str) -> list[float]:
        """Time stamps of the frames, as their names tell them."""
        if scan_id not in self._times:
            folder = self._frames(scan_id) / "lowres_wide"
            stamps = []
            for path in folder.iterdir() if folder.is_dir() else ():
                try:
                    stamps.append(path.stem.rpartition("_")[2] if path.suffix == ".png" else "")
                    float(stamps[-1])
                except ValueError:
                    stamps.pop()
            self._stamps = {**getattr(self, "_stamps", {}), scan_id: sorted(stamps, key=float)}
            self._times[scan_id] = [float(s) for s in self._stamps[scan_id]]
        return self._times[scan_id]

    def walk(self, scan_id: str) -> tuple[int, float]:
        times = self.times(scan_id)
        if not times:
            return 0, 0.0
        return len(times), (len(times) - 1) / max(1e-6, times[-1] - times[0]) if len(times) > 1 else 1.0

    def shot(self, scan_id: str, number: int) -> Shot:
        time = self.times(scan_id)[number]
        frames, base = self._frames(scan_id), f"{scan_id}_{self._stamps[scan_id][number]}"
        picture = open_picture(read_bytes(frames / "lowres_wide" / f"{base}.png", "picture"))
        height, width = picture.rgb.shape[:2]
        k = self._camera(frames, scan_id, time)
        if (round(k[0]), round(k[1])) != (width, height):
            raise BadItem(f"its camera is of {k[0]:g}x{k[1]:g} pixels, the picture {width}x{height}")
        depth, file = None, frames / "lowres_depth" / f"{base}.png"
        if file.exists():
            depth = metres(read_depth(read_bytes(file, "depth"), file.name, 1 / 1000), 1.0)
            if depth.shape != (height, width):
                raise BadItem(f"depth is {depth.shape[1]}x{depth.shape[0]}, the picture {width}x{height}")
        camera = (float(k[2]), float(k[3]), float(k[4]), float(k[5]))
        return Shot(picture.rgb, picture.encoded, depth, camera, self._pose(frames, scan_id, time))

    def _camera(self, frames: Any, scan_id: str, time: float) -> np.ndarray:
        """width, height, fx, fy, cx, cy of a frame; its file may be named a millisecond off."""
        folder = frames / "lowres_wide_intrinsics"
        for off in (0.0, -0.001, 0.001):
            path = folder / f"{scan_id}_{time + off:.3f}.pincam"
            if path.exists():
                return read_numbers(path, "camera", 6)
        raise BadItem(f"its camera {scan_id}_{time:.3f}.pincam is missing")

    def _pose(self, frames: Any, scan_id: str, time: float) -> np.ndarray:
        """Camera to world [4, 4] of the pose nearest in time."""
        if scan_id not in self._poses:
            text = read_bytes(frames / "lowres_wide.traj", "poses").decode("utf-8", "replace")
            rows = [line.split() for line in text.splitlines() if line.strip()]
            try:
                table = np.array([[float(v) for v in row] for row in rows])
                if table.ndim != 2 or table.shape[1] != 7:
                    raise ValueError
            except ValueError:
                raise BadItem("poses lowres_wide.traj has lines that are not seven numbers") from None
            self._poses[scan_id] = (table[:, 0], table[:, 1:])
        stamps, values = self._poses[scan_id]
        nearest = int(np.abs(stamps - time).argmin())
        if abs(stamps[nearest] - time) > APART:
            raise BadItem(f"no pose within {APART:g} s of it")
        pose = np.eye(4)
        turn = axis_angle(values[nearest, :3])  # world to camera
        pose[:3, :3], pose[:3, 3] = turn.T, -turn.T @ values[nearest, 3:]
        return pose


def axis_angle(vector: np.ndarray) -> np.ndarray:
    """[3, 3] rotation about `vector` [3] by its length in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross

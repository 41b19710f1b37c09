"""KITTI's object detection set as it is unpacked: training/image_2, calib, label_2 and velodyne.

Labels stand in the rectified frame of camera 0 (x right, y down, z ahead): height, width, length, the middle of the
box's floor, and the turn about y. The pictures are camera 2's, which P2 moves by K^-1 P2[:, 3] (devkit, readme.txt).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from data_prep.sources.base import BadItem, DepthNoise, Frame, ObjectDraft
from data_prep.sources.conventions import CONVENTIONS
from data_prep.sources.datasets.boxes import GivenBox, Intrinsics, draft_of, is_box, name_apart
from data_prep.sources.datasets.folder import DatasetFolder, Tally, pixels, read_bytes, read_picture
from data_prep.sources.datasets.lidar import sparse_depth
from data_prep.sources.registration import check_intrinsics

SIGMA = (0.10, 0.10)  # metres: boxes were drawn into lidar sweeps
SEEN = {0: 1.0, 1: 0.6, 2: 0.3, 3: 0.5}  # occlusion level -> share that is seen; 3: unknown
NAMES = {
    "Car": "car",
    "Van": "van",
    "Truck": "truck",
    "Pedestrian": "pedestrian",
    "Person_sitting": "sitting person",
    "Cyclist": "cyclist",
    "Tram": "tram",
}
LEVEL = {"pitch": 0.02, "roll": 0.02}  # radians: the boxes stand upright on a road that is taken to be level


class KittiObjects(DatasetFolder):
    """Frames of KITTI's object set; depth from the lidar sweep where there is one."""

    name = "kitti"
    title = "KITTI's object set"
    looked_for = "image_2/*.png beside calib/*.txt and label_2/*.txt, here or in training/"

    def find(self) -> list[str]:
        self.top = next((t for t in (self.root / "training", self.root) if (t / "image_2").is_dir()), self.root)
        if not (self.top / "image_2").is_dir():
            return []
        stems = sorted(p.stem for p in (self.top / "image_2").iterdir() if p.suffix in (".png", ".jpg"))
        self._sweeps = (self.top / "velodyne").is_dir()
        if not (self.top / "calib").is_dir():
            self.left_out.append("calib/ is missing")
            return []
        if stems and not (self.top / "label_2").is_dir():
            self.said.append("no label_2/: frames have no objects")
        if stems and not self._sweeps:
            self.said.append("no velodyne/: depth is known from the labelled boxes alone")
        return stems

    def _file(self, folder: str, item: str, suffix: str) -> Any:
        return self.top / folder / f"{item}{suffix}"

    def files_of(self, item: str) -> list[Any]:
        parts = [("image_2", ".png"), ("calib", ".txt"), ("label_2", ".txt")]
        return [self._file(folder, item, suffix) for folder, suffix in parts]

    def load(self, index: int) -> Frame:
        item = self.items[index]
        found = self._file("image_2", item, ".png")
        picture, told = read_picture(found if found.exists() else found.with_suffix(".jpg")), Tally()
        height, width = picture.rgb.shape[:2]
        calibration = _matrices(read_bytes(self._file("calib", item, ".txt"), "calibration"), item)
        p2 = calibration["P2"].reshape(3, 4)
        camera = check_intrinsics((p2[0, 0], p2[1, 1], p2[0, 2], p2[1, 2]), item, (width, height))
        moved = np.linalg.solve(p2[:, :3], p2[:, 3])  # from camera 0 to camera 2
        depth = self._depth(item, calibration, moved, camera, (width, height), picture.notes)
        drafts = self._objects(item, (width, height), camera, moved, told)
        return Frame(
            item,
            self.name,
            pixels(picture),
            picture.encoded,
            f"{self.root.name}/{item}",
            depth,
            "metric",
            self.noise or CONVENTIONS["kitti"].noise if depth is not None else DepthNoise(),
            camera,
            "sensor",
            np.array([0.0, 1.0, 0.0]),
            dict(LEVEL),
            objects=drafts,
            tags=("photo", "outdoor", "driving"),
            notes=picture.notes,
            provenance={"depth": "KITTI's lidar" if depth is not None else "none", "gravity": "camera held level"},
            told=dict(told),
        )

    def _depth(
        self,
        item: str,
        calibration: dict[str, np.ndarray],
        moved: np.ndarray,
        camera: Intrinsics,
        size: tuple[int, int],
        notes: list[str],
    ) -> np.ndarray | None:
        if not self._sweeps:
            return None
        file = self._file("velodyne", item, ".bin")
        if not file.exists():
            notes.append("no lidar sweep: kept without depth")
            return None
        data = read_bytes(file, "lidar sweep")
        if len(data) % 16 or not data:
            raise BadItem(f"lidar sweep {file.name} is cut off: {len(data)} bytes are no whole points")
        points = np.frombuffer(data, np.float32).reshape(-1, 4)[:, :3].astype(np.float64)
        to_camera = calibration["Tr_velo_to_cam"].reshape(3, 4)
        rectified = (points @ to_camera[:, :3].T + to_camera[:, 3]) @ calibration["R0_rect"].reshape(3, 3).T
        return sparse_depth(rectified + moved, camera, size)

    def _objects(
        self, item: str, size: tuple[int, int], camera: Intrinsics, moved: np.ndarray, told: Tally
    ) -> list[ObjectDraft]:
        file = self._file("label_2", item, ".txt")
        if not file.exists():
            if (self.top / "label_2").is_dir():
                told["frame without its file in label_2"] += 1
            return []
        drafts, others = [], []
        for line in file.read_text().splitlines():
            fields = line.split()
            try:
                name, (cut, hidden), box, box3d = fields[0], fields[1:3], fields[4:8], fields[8:15]
                rect = tuple(float(v) for v in box)
                given = None if name == "DontCare" else _box(name, float(cut), int(float(hidden)), box3d, moved)
            except (ValueError, IndexError):
                if fields:
                    told.left_out("a line that is no label")
                continue
            if len(rect) != 4:
                told.left_out("a line that is no label")
            elif name not in NAMES:
                others.append(("", rect))
                told.left_out(f"class {name} is no name" if name == "Misc" else f"{name}: nobody labelled it")
            elif given is None or not is_box(given.center, given.extent, given.axes):
                others.append((NAMES[name], rect))
                told.left_out("its 3-D box is not known")
            elif draft := draft_of(given, size, camera, box=rect):
                draft.visible_fraction = min(draft.visible_fraction, 1 - float(cut))
                drafts.append(draft)
            else:
                told.left_out("its 3-D box is not in view")
        return name_apart(drafts, size[0], others)


def _box(name: str, cut: float, hidden: int, numbers: list[str], moved: np.ndarray) -> GivenBox:
    """The box of a label line in camera 2's frame: h, w, l, x, y, z (middle of its floor), turn about y."""
    h, w, l, x, y, z, turn = (float(v) for v in numbers)  # noqa: E741
    c, s = math.cos(turn), math.sin(turn)
    axes = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])  # its length runs along x, its width along z
    center = np.array([x, y - h / 2, z]) + moved
    return GivenBox(NAMES.get(name, name), center, np.array([l, h, w]), axes, SIGMA, SEEN.get(hidden, 0.5))


def _matrices(data: bytes, item: str) -> dict[str, np.ndarray]:
    """Numbers of a calibration file by their names. BadItem where one that is needed is missing."""
    out = {}
    for line in data.decode("utf-8", "replace").splitlines():
        name, _, rest = line.partition(":")
        try:
            out[name.strip()] = np.array([float(v) for v in rest.split()])
        except ValueError:
            continue
    out["R0_rect"] = out.get("R0_rect", out.get("R_rect", np.eye(3).ravel()))
    out["Tr_velo_to_cam"] = out.get("Tr_velo_to_cam", out.get("Tr_velo_cam", np.zeros(0)))
    for name, count in (("P2", 12), ("R0_rect", 9), ("Tr_velo_to_cam", 12)):
        if len(out.get(name, ())) != count or not np.isfinite(out[name]).all():
            raise BadItem(f"calibration {item}.txt holds no {count} numbers of {name}")
    return out

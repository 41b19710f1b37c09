"""nuScenes as it is unpacked: v1.0-mini (or -trainval) with its tables, samples/CAM_* and samples/LIDAR_TOP.

Boxes stand in the global frame of the log's map (z up): centre, size as width, length, height, and a quaternion (w, x,
y, z) whose x axis is the box's length, y its width. ego_pose takes the car's vectors to the map's, calibrated_sensor
the sensor's (a camera's x right, y down, z ahead) to the car's (docs/schema_nuscenes.md of the devkit).
"""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from data_prep.sources.base import BadItem, DepthNoise, Frame, ObjectDraft, SourceError
from data_prep.sources.datasets.boxes import GivenBox, Intrinsics, draft_of, is_box, name_apart
from data_prep.sources.datasets.folder import DatasetFolder, Tally, pixels, read_bytes, read_picture
from data_prep.sources.datasets.lidar import sparse_depth
from data_prep.sources.registration import check_intrinsics
from spatial_jax.reading import parse_json

SIGMA = (0.10, 0.10)  # metres
NOISE = DepthNoise(0.03, 0.002, 0.0, 0.003, 1)
SEEN = {"1": 0.2, "2": 0.5, "3": 0.7, "4": 0.9}  # visibility's token: 0-40, 40-60, 60-80, 80-100 %
TABLES = ("sample", "sample_data", "sample_annotation", "ego_pose", "calibrated_sensor", "sensor", "instance")
NAMES = {
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "child",
    "human.pedestrian.construction_worker": "construction worker",
    "human.pedestrian.personal_mobility": "person on a scooter",
    "human.pedestrian.police_officer": "police officer",
    "human.pedestrian.stroller": "stroller",
    "human.pedestrian.wheelchair": "wheelchair",
    "animal": "animal",
    "movable_object.barrier": "barrier",
    "movable_object.trafficcone": "traffic cone",
    "static_object.bicycle_rack": "bicycle rack",
    "vehicle.bicycle": "bicycle",
    "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus",
    "vehicle.car": "car",
    "vehicle.construction": "construction vehicle",
    "vehicle.emergency.ambulance": "ambulance",
    "vehicle.emergency.police": "police car",
    "vehicle.motorcycle": "motorcycle",
    "vehicle.trailer": "trailer",
    "vehicle.truck": "truck",
}
Pose = tuple[np.ndarray, np.ndarray]  # rotation [3, 3] and translation [3] to the frame above


class NuScenes(DatasetFolder):
    """Key frames of the six cameras; depth from the lidar sweep of the same moment where it is there."""

    name = "nuscenes"
    title = "nuScenes"
    looked_for = "v1.0-mini/*.json (or v1.0-trainval, v1.0-test) beside samples/"

    def find(self) -> list[str]:
        places = [self.root, *(p for p in sorted(self.root.iterdir()) if p.is_dir() and p.name.startswith("v1.0-"))]
        tables = next((p for p in places if (p / "sample_data.json").exists()), None)
        if tables is None:
            return []
        self.base = tables.parent if (tables.parent / "samples").is_dir() else self.root
        read = {name: _table(tables, name) for name in (*TABLES, "category")}
        by_token = {name: {row["token"]: row for row in rows} for name, rows in read.items()}
        self.rows = by_token
        category = by_token["category"]
        self.classes = {
            row["token"]: str(category.get(row["category_token"], {}).get("name", "")) for row in read["instance"]
        }
        self.labels: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
        for row in read["sample_annotation"]:
            self.labels[row["sample_token"]].append(row)
        self.sweeps: dict[str, dict[str, Any]] = {}
        self.pictures: dict[str, dict[str, Any]] = {}
        absent = 0
        for row in read["sample_data"]:
            if not row["is_key_frame"]:
                continue
            channel = self._channel(row)
            if channel == "LIDAR_TOP":
                self.sweeps[row["sample_token"]] = row
            elif channel.startswith("CAM_"):
                if (self.base / row["filename"]).exists():
                    self.pictures[row["filename"]] = row
                else:
                    absent += 1
        if absent:
            line = f"{absent} of its {absent + len(self.pictures)} key frames' pictures are not there"
            (self.said if self.pictures else self.left_out).append(line)
        return sorted(self.pictures, key=lambda name: (self.pictures[name]["timestamp"], name))

    def _channel(self, row: dict[str, Any]) -> str:
        sensor = self.rows["calibrated_sensor"].get(row["calibrated_sensor_token"], {}).get("sensor_token", "")
        return str(self.rows["sensor"].get(sensor, {}).get("channel", ""))

    def files_of(self, item: str) -> list[Any]:
        sweep = self.sweeps.get(self.pictures[item]["sample_token"])
        return [self.base / item, *([self.base / sweep["filename"]] if sweep else [])]

    def config(self) -> dict[str, Any]:
        import hashlib

        said = repr([(item, self.labels.get(self.pictures[item]["sample_token"], [])) for item in self.items])
        return {**super().config(), "labels": hashlib.sha256(said.encode()).hexdigest()[:16]}

    def load(self, index: int) -> Frame:
        item = self.items[index]
        row, told = self.pictures[item], Tally()
        picture = read_picture(self.base / item)
        height, width = picture.rgb.shape[:2]
        sensor = self._row("calibrated_sensor", row["calibrated_sensor_token"])
        k = np.asarray(sensor["camera_intrinsic"], np.float64)
        if k.shape != (3, 3):
            raise BadItem("its camera_intrinsic is no 3 x 3 matrix")
        camera = check_intrinsics((k[0, 0], k[1, 1], k[0, 2], k[1, 2]), item, (width, height))
        chain = [_pose(sensor), _pose(self._row("ego_pose", row["ego_pose_token"]))]
        down = _down(np.array([0.0, 0.0, -1.0]), chain)
        depth = self._depth(row, chain, camera, (width, height), picture.notes)
        drafts = self._objects(row, (width, height), camera, chain, down, told)
        sample = self._row("sample", row["sample_token"])
        return Frame(
            item,
            self.name,
            pixels(picture),
            picture.encoded,
            f"{self.root.name}/{sample.get('scene_token', '')}",
            depth,
            "metric",
            self.noise or NOISE if depth is not None else DepthNoise(),
            camera,
            "sensor",
            down,
            {"pitch": 0.02, "roll": 0.02},
            objects=drafts,
            tags=("photo", "outdoor", "driving"),
            notes=picture.notes,
            provenance={"depth": "nuScenes' lidar" if depth is not None else "none", "gravity": "dataset"},
            told=dict(told),
        )

    def _row(self, table: str, token: str) -> dict[str, Any]:
        try:
            return self.rows[table][token]
        except KeyError:
            raise BadItem(f"{table}.json has no row {token}") from None

    def _depth(
        self, row: dict[str, Any], chain: list[Pose], camera: Intrinsics, size: tuple[int, int], notes: list[str]
    ) -> np.ndarray | None:
        sweep = self.sweeps.get(row["sample_token"])
        if sweep is None or not (self.base / sweep["filename"]).exists():
            notes.append("no lidar sweep: kept without depth")
            return None
        data = read_bytes(self.base / sweep["filename"], "lidar sweep")
        if len(data) % 20 or not data:
            raise BadItem(f"lidar sweep {sweep['filename']} is cut off: {len(data)} bytes are no whole points")
        points = np.frombuffer(data, np.float32).reshape(-1, 5)[:, :3].astype(np.float64)
        points = points[np.linalg.norm(points, axis=1) > 1.5]  # the car itself
        for place in (
            self._row("calibrated_sensor", sweep["calibrated_sensor_token"]),
            self._row("ego_pose", sweep["ego_pose_token"]),
        ):
            turn, origin = _pose(place)
            points = points @ turn.T + origin
        return sparse_depth(_points_down(points, chain), camera, size)

    def _objects(
        self,
        row: dict[str, Any],
        size: tuple[int, int],
        camera: Intrinsics,
        chain: list[Pose],
        down: np.ndarray,
        told: Tally,
    ) -> list[ObjectDraft]:
        drafts = []
        for label in self.labels.get(row["sample_token"], []):
            kind = self.classes.get(label["instance_token"], "")
            try:
                width, length, height = (float(v) for v in label["size"])
                turn, middle = _pose(label)
            except (BadItem, KeyError, TypeError, ValueError):
                told.left_out("a 3-D box without sides or place")
                continue
            center = _points_down(middle[None], chain)[0]
            axes = np.stack([_down(turn[:, i], chain) for i in range(3)], -1)
            sides = np.array([length, width, height])
            if not is_box(center, sides, axes):
                told.left_out("a 3-D box without sides or place")
                continue
            given = GivenBox(
                NAMES.get(kind, ""), center, sides, axes, SIGMA, SEEN.get(str(label.get("visibility_token")), 0.5)
            )
            draft = draft_of(given, size, camera, -down)
            if draft is None:
                continue  # labels are of the whole moment: most are behind this camera
            if not given.name:
                told.left_out(f"class {kind or 'that is in no table'} is no name")
                continue
            drafts.append(draft)
        return name_apart(drafts, size[0])


def _table(folder: Any, name: str) -> list[dict[str, Any]]:
    path = folder / f"{name}.json"
    try:
        rows = parse_json(path.read_text())
        if not isinstance(rows, list) or not all(isinstance(r, dict) and "token" in r for r in rows):
            raise ValueError("it is no list of rows with tokens")
        return rows
    except OSError:
        raise SourceError(f"nuScenes' table {path} is missing: unpack the whole {folder.name}") from None
    except ValueError as error:
        raise SourceError(f"nuScenes' table {path} cannot be read: {' '.join(str(error).split())[:120]}") from None


def quaternion_matrix(values: Any) -> np.ndarray:
    """[3, 3] rotation of a quaternion w, x, y, z. ValueError where it has no length."""
    w, x, y, z = (float(v) for v in values)
    length = w * w + x * x + y * y + z * z
    if not 1e-6 < length < float("inf"):
        raise ValueError("a quaternion without length")
    s = 2 / length
    return np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
            [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
            [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
        ]
    )


def _pose(row: dict[str, Any]) -> Pose:
    try:
        origin = np.asarray(row["translation"], np.float64).reshape(3)
        return quaternion_matrix(row["rotation"]), origin
    except (KeyError, TypeError, ValueError) as error:
        raise BadItem(f"a pose is not usable: {error}") from None


def _points_down(points: np.ndarray, chain: list[Pose]) -> np.ndarray:
    """Points [n, 3] of the map in the camera's frame; `chain` leads from the camera upwards."""
    for turn, origin in reversed(chain):
        points = (points - origin) @ turn
    return points


def _down(direction: np.ndarray, chain: list[Pose]) -> np.ndarray:
    """A direction [3] of the map in the camera's frame."""
    for turn, _ in reversed(chain):
        direction = direction @ turn
    return direction

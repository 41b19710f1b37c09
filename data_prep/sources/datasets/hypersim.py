"""Hypersim as it is unpacked: ai_VVV_NNN/images (previews, depth and instances in HDF5) and _detail (cameras, boxes).

Positions and boxes are in asset units, depth_meters is the distance along the ray, and cameras look along -z with y up;
metadata_scene.csv tells the metres of a unit, metadata_camera_parameters.csv (of the code repository) the lens.
"""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import numpy as np

from data_prep.sources.base import BadItem, DepthNoise, Frame, ObjectDraft
from data_prep.sources.datasets.boxes import GivenBox, Intrinsics, draft_of, is_box, name_apart, seen_share
from data_prep.sources.datasets.folder import DatasetFolder, Tally, pixels, read_bytes, read_picture

NOISE = DepthNoise(0.001, 0.0005, 0.0, 0.0, 1)
BOX = "metadata_semantic_instance_bounding_box_object_aligned_2d_{}.hdf5"
LENSES = "metadata_camera_parameters.csv"
PREVIEW = re.compile(r"frame\.(\d+)\.tonemap\.jpg$")
LEAST_PIXELS = 60
FLIP = np.array([1.0, -1.0, -1.0])  # x right, y up, z back -> x right, y down, z ahead
# NYU's forty classes, by number from 1; those that name no object are left out.
CLASSES = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture"),
    *("counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes"),
    *("ceiling", "books", "refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard"),
    *("person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag"),
    *("otherstructure", "otherfurniture", "otherprop"),
)
NO_OBJECTS = {"wall", "floor", "ceiling", "otherstructure", "otherfurniture", "otherprop"}


class Hypersim(DatasetFolder):
    """Previews with depth, masks of semantic instances and their boxes."""

    name = "hypersim"
    title = "Hypersim"
    looked_for = "ai_VVV_NNN/images/scene_cam_XX_final_preview/frame.IIII.tonemap.jpg with _detail/cam_XX"

    def find(self) -> list[str]:
        tops = [self.root.parent] if self.root.name.startswith("ai_") else [self.root, self.root / "scenes"]
        self.top = next((t for t in tops if t.is_dir() and any(t.glob("ai_*"))), self.root)
        scenes = [self.root] if self.root.name.startswith("ai_") else sorted(self.top.glob("ai_*"))
        out = []
        for scene in scenes:
            for folder in sorted((scene / "images").glob("scene_cam_*_final_preview")):
                camera = folder.name.removeprefix("scene_").removesuffix("_final_preview")
                numbers = sorted(m.group(1) for p in folder.iterdir() if (m := PREVIEW.search(p.name)))
                out += [f"{scene.name}/{camera}/{number}" for number in numbers]
        self._lenses = self._lens_table()
        if out and not self._lenses:
            self.said.append(
                "cameras are taken to see 60 degrees: there is no metadata_camera_parameters.csv"
                " (scenes with a tilted lens are then not told apart)"
            )
        self._scene: tuple[str, dict[str, Any]] = ("", {})
        return out

    def _lens_table(self) -> dict[str, np.ndarray]:
        files = [place / LENSES for place in (self.root, self.top, self.top.parent)]
        file = next((p for p in files if p.exists()), None)
        if file is None:
            return {}
        out = {}
        for row in csv.DictReader(io.StringIO(file.read_text())):
            try:
                values = [float(row[f"M_cam_from_uv_{i}{j}"]) for i in range(3) for j in range(3)]
                out[str(row["scene_name"])] = np.array(values).reshape(3, 3)
            except (KeyError, TypeError, ValueError):
                continue
        return out

    def _files(self, item: str) -> tuple[Any, Any, str]:
        """(the scene's folder, its images/scene_cam_XX, frame.IIII) of an item."""
        scene, camera, number = item.split("/")
        return self.top / scene, self.top / scene / "images" / f"scene_{camera}", f"frame.{number}"

    def _geometry(self, item: str, kind: str) -> Any:
        _, stem, frame = self._files(item)
        return stem.parent / f"{stem.name}_geometry_hdf5" / f"{frame}.{kind}.hdf5"

    def files_of(self, item: str) -> list[Any]:
        _, stem, frame = self._files(item)
        preview = stem.parent / f"{stem.name}_final_preview" / f"{frame}.tonemap.jpg"
        return [preview, *(self._geometry(item, kind) for kind in ("depth_meters", "semantic_instance"))]

    def load(self, index: int) -> Frame:
        item = self.items[index]
        scene, camera_name, number = item.split("/")
        picture, told = read_picture(self.files_of(item)[0]), Tally()
        height, width = picture.rgb.shape[:2]
        camera = self._camera(scene, (width, height))
        facts = self._facts(scene, camera_name)
        frame = int(number)
        if frame >= len(facts["positions"]):
            raise BadItem(f"its camera has {len(facts['positions'])} poses, none for frame {frame}")
        turn, origin = facts["orientations"][frame], facts["positions"][frame]
        depth = self._depth(item, camera, (height, width), picture.notes)
        down = FLIP * (turn.T @ np.array([0.0, 0.0, -1.0]))
        drafts = self._objects(item, facts, turn, origin, depth, camera, (width, height), told)
        return Frame(
            item,
            self.name,
            pixels(picture),
            picture.encoded,
            f"hypersim/{scene}",
            depth,
            "metric",
            self.noise or NOISE if depth is not None else DepthNoise(),
            camera,
            "sensor",
            down,
            objects=drafts,
            tags=("indoor", "rendered-by-others"),
            notes=picture.notes,
            provenance={"depth": "Hypersim" if depth is not None else "none", "gravity": "dataset"},
            told=dict(told),
        )

    def _camera(self, scene: str, size: tuple[int, int]) -> Intrinsics:
        width, height = size
        lens = self._lenses.get(scene)
        if lens is None:
            side = np.tan(np.pi / 6)
            lens = np.diag([side, side * height / width, -1.0])
        lens = lens / -lens[2, 2]
        off = np.abs(lens[[0, 1, 2, 2], [1, 0, 0, 1]]).max()
        if off > 1e-3:
            raise BadItem("its lens is tilted or shifted so that it is no pinhole camera")
        fx, fy = width / (2 * lens[0, 0]), height / (2 * lens[1, 1])
        return fx, fy, (width - 1) / 2 - lens[0, 2] * fx, (height - 1) / 2 + lens[1, 2] * fy

    def _facts(self, scene: str, camera: str) -> dict[str, Any]:
        """Poses of a camera and boxes of its scene, metres; read once a camera. BadItem."""
        key = f"{scene}/{camera}"
        if self._scene[0] != key:
            detail = self.top / scene / "_detail"
            unit = _unit(read_bytes(detail / "metadata_scene.csv", "scene's facts").decode("utf-8", "replace"))
            facts: dict[str, Any] = {
                "positions": unit * _array(detail / camera / "camera_keyframe_positions.hdf5", 2),
                "orientations": _array(detail / camera / "camera_keyframe_orientations.hdf5", 3),
            }
            for part in ("positions", "extents", "orientations"):
                path = detail / "mesh" / BOX.format(part)
                value = _array(path, 3 if part == "orientations" else 2) if path.exists() else None
                facts[f"box_{part}"] = value if value is None or part == "orientations" else unit * value
            self._scene = (key, facts)
        return self._scene[1]

    def _depth(self, item: str, camera: Intrinsics, shape: tuple[int, int], notes: list[str]) -> np.ndarray | None:
        """Depth along the optical axis, of the distances along the rays."""
        path = self._geometry(item, "depth_meters")
        if not path.exists():
            notes.append("no depth file: kept without depth")
            return None
        along = _array(path, 2)
        if along.shape != shape:
            raise BadItem(f"depth is {along.shape[1]}x{along.shape[0]}, the picture {shape[1]}x{shape[0]}")
        fx, fy, cx, cy = camera
        x, y = (np.arange(shape[1]) - cx) / fx, (np.arange(shape[0]) - cy) / fy
        depth = along / np.sqrt(1 + x[None] ** 2 + y[:, None] ** 2)
        return np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)

    def _objects(
        self,
        item: str,
        facts: dict[str, Any],
        turn: np.ndarray,
        origin: np.ndarray,
        depth: np.ndarray | None,
        camera: Intrinsics,
        size: tuple[int, int],
        told: Tally,
    ) -> list[ObjectDraft]:
        paths = [self._geometry(item, kind) for kind in ("semantic_instance", "semantic")]
        if not all(p.exists() for p in paths):
            told["frame without its instances"] += 1
            return []
        owner, kinds = (_array(p, 2).astype(np.int64) for p in paths)
        if not owner.shape == kinds.shape == size[::-1]:
            raise BadItem(f"instances are {owner.shape[1]}x{owner.shape[0]}, the picture {size[0]}x{size[1]}")
        up = FLIP * (turn.T @ np.array([0.0, 0.0, 1.0]))
        drafts = []
        for index in np.unique(owner[owner > 0]).tolist():
            mask = owner == index
            if mask.sum() < LEAST_PIXELS:
                continue
            number = int(np.bincount(kinds[mask].clip(0, 40), minlength=41).argmax())
            name = CLASSES[number - 1] if number else ""
            if not name or name in NO_OBJECTS:
                told.left_out(f"class {name or 'without a name'} is no object")
                continue
            given = _box(name, index, facts, turn, origin)
            if given is None:
                told.left_out("its 3-D box is not known")
                drafts.append(ObjectDraft(name, name, mask, mask_sigma=0.5, provenance={"mask": "dataset"}))
                continue
            given.visible = 1.0 if depth is None else seen_share(given, depth, camera)
            draft = draft_of(given, size, camera, up, mask)
            if draft is not None:
                draft.mask_sigma = 0.5
                drafts.append(draft)
        return name_apart(drafts, size[0])


def _box(name: str, index: int, facts: dict[str, Any], turn: np.ndarray, origin: np.ndarray) -> GivenBox | None:
    parts = [facts[f"box_{part}"] for part in ("positions", "extents", "orientations")]
    if any(part is None or index >= len(part) for part in parts):
        return None
    center, sides, axes = (np.asarray(part[index], np.float64) for part in parts)
    if not is_box(center, sides, axes):
        return None
    return GivenBox(name, FLIP * (turn.T @ (center - origin)), sides, FLIP[:, None] * (turn.T @ axes), (0.01, 0.01))


def _unit(text: str) -> float:
    """Metres of an asset unit, from metadata_scene.csv (parameter_name, parameter_value)."""
    for row in csv.reader(io.StringIO(text)):
        if len(row) == 2 and row[0].strip() == "meters_per_asset_unit":
            return float(row[1])
    raise BadItem("metadata_scene.csv does not tell meters_per_asset_unit")


def _array(path: Any, dimensions: int) -> np.ndarray:
    """The array "dataset" of an HDF5 file whose values are its own. BadItem."""
    import h5py

    try:
        with h5py.File(io.BytesIO(read_bytes(path, "file")), "r") as file:
            own = "dataset" in file and file.id.links.get_info(b"dataset").type == h5py.h5l.TYPE_HARD
            stored = file["dataset"] if own else None
            if not isinstance(stored, h5py.Dataset) or stored.external or stored.is_virtual:
                raise BadItem(f"{path.name} holds no array named dataset of its own")
            values = np.asarray(stored[()], np.float64)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadItem(f"{path.name} cannot be read: {' '.join(str(error).split())[:80]}") from None
    if values.ndim != dimensions:
        raise BadItem(f"{path.name} has {values.ndim} dimensions, not {dimensions}")
    return values

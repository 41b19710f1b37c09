"""SUN RGB-D as it is unpacked: SCENE/image, depth with rotated bits, intrinsics.txt, extrinsics, and its annotations.

Boxes stand in a frame that is turned level: x right, y ahead, z up (the toolbox's), or x right, y down, z ahead (the
annotation files'). The rotation of extrinsics/*.txt takes camera vectors to the latter (SUNRGBDtoolbox,
readframeSUNRGBD.m: Rtilt = F E F^-1 with F (x, y, z) = (x, z, -y)).
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

import numpy as np

from data_prep.sources.base import BadItem, DepthNoise, Frame, ObjectDraft
from data_prep.sources.conventions import CONVENTIONS
from data_prep.sources.datasets.boxes import (
    GivenBox,
    Intrinsics,
    clip,
    draft_of,
    iou,
    is_box,
    name_apart,
    outline,
    share_inside,
)
from data_prep.sources.datasets.folder import (
    DatasetFolder,
    Tally,
    first_file,
    pixels,
    read_bytes,
    read_json,
    read_numbers,
    read_picture,
)
from data_prep.sources.depth_files import read_depth
from data_prep.sources.labels import fill_polygon
from data_prep.sources.listing import walk
from data_prep.sources.registration import check_intrinsics

BOXES_FILE = "SUNRGBDMeta3DBB_v2.mat"
SIGMA = (0.05, 0.08)  # metres: boxes were drawn by hand into clouds of one view
# An outline and a box of one class are one object where most of the outline's rectangle lies in the box's projection,
# and their common area is so much of both.
INSIDE, SAME = 0.7, 0.25
NO_OBJECTS = {"wall", "floor", "ceiling", "unknown", "object", "objects", "room", ""}
LEVEL_TO_CAMERA = np.array(
    [[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]
)  # (x right, y ahead, z up) to (x right, y down, z ahead)


class SunRgbd(DatasetFolder):
    """Frames of SUN RGB-D. Boxes come from SUNRGBDMeta3DBB_v2.mat where it lies in the folder or the one above, else
    from annotation3Dfinal; masks from the polygons of annotation2Dfinal that have the same name and place.
    """

    name = "sunrgbd"
    title = "SUN RGB-D"
    looked_for = "SCENE/intrinsics.txt beside SCENE/image/*.jpg, at any depth"

    def find(self) -> list[str]:
        found = []
        names = {name for name, _ in walk(self.root, left_out=self.left_out)}
        pictures = {posixpath.dirname(posixpath.dirname(n)) for n in names if posixpath.dirname(n).endswith("image")}
        for name in sorted(names):
            folder, base = posixpath.split(name)
            if base == "intrinsics.txt" and folder in pictures:
                found.append(folder)
        places = (self.root / BOXES_FILE, self.root.parent / BOXES_FILE)
        self._table = next((p for p in places if p.exists()), None)
        self._boxes: dict[str, Any] | None = None
        if found and self._table is None:
            self.said.append(f"boxes are those of annotation3Dfinal: there is no {BOXES_FILE} in {self.path}")
        return found

    def files_of(self, item: str) -> list[Any]:
        folder = self.root / item
        labels = [folder / f"annotation{kind}final" / "index.json" for kind in ("2D", "3D")]
        found = [first_file(folder / part, (".jpg", ".png")) for part in ("image", "depth", "depth_bfx")]
        return [p for p in [*found, *labels, folder / "intrinsics.txt", self._table] if p is not None]

    def load(self, index: int) -> Frame:
        item = self.items[index]
        folder = self.root / item
        file = first_file(folder / "image", (".jpg", ".png"))
        if file is None:
            raise BadItem("no picture in its folder image")
        picture, told = read_picture(file), Tally()
        height, width = picture.rgb.shape[:2]
        k = read_numbers(folder / "intrinsics.txt", "camera", 9)
        camera = check_intrinsics((k[0], k[4], k[2], k[5]), item, (width, height))
        depth, depth_file = self._depth(folder, (height, width), picture.notes)
        level = self._level(folder)
        drafts = self._objects(item, folder, (width, height), camera, level, told)
        where = item.split("/")
        sequence = "/".join(where[:-1]) if "sun3ddata" in where else re.sub(r"_rgbf\d+.*$", "", item)
        return Frame(
            item,
            self.name,
            pixels(picture),
            picture.encoded,
            f"{self.root.name}/{sequence}",
            depth,
            "metric",
            self.noise or CONVENTIONS["sunrgbd"].noise if depth is not None else DepthNoise(),
            camera,
            "sensor",
            None if level is None else level.T @ np.array([0.0, 1.0, 0.0]),
            {} if level is None else {"pitch": 0.02, "roll": 0.02},
            objects=drafts,
            tags=("photo", "indoor"),
            notes=picture.notes,
            provenance={"depth": "SUN RGB-D" if depth_file else "none", "depth_file": depth_file, "gravity": "dataset"},
            told=dict(told),
        )

    def _depth(self, folder: Any, shape: tuple[int, int], notes: list[str]) -> tuple[np.ndarray | None, str]:
        """Depth as it was measured; depth_bfx, whose holes are filled with guesses, where there is no other."""
        found = first_file(folder / "depth", (".png",)) or first_file(folder / "depth_bfx", (".png",))
        if found is None:
            notes.append("no depth file: kept without depth")
            return None, ""
        depth = read_depth(read_bytes(found, "depth"), found.name, 1 / 1000, encoding="rotated", notes=notes)
        depth[depth > CONVENTIONS["sunrgbd"].most] = 0
        if depth.shape != shape:
            raise BadItem(f"depth {found.name} is {depth.shape[1]}x{depth.shape[0]}, not {shape[1]}x{shape[0]}")
        return depth, f"{found.parent.name}/{found.name}"

    def _level(self, folder: Any) -> np.ndarray | None:
        """[3, 3] from camera vectors to those of the level annotation frame; None without a file."""
        file = first_file(folder / "extrinsics", (".txt",))
        if file is None:
            return None
        turn = read_numbers(file, "camera's tilt", 12).reshape(3, 4)[:, :3]
        if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-2):
            raise BadItem(f"camera's tilt {file.name} is no rotation")
        return turn

    def _objects(
        self,
        item: str,
        folder: Any,
        size: tuple[int, int],
        camera: Intrinsics,
        level: np.ndarray | None,
        told: Tally,
    ) -> list[ObjectDraft]:
        polygons = self._polygons(folder, size, told)
        boxes = self._labelled_boxes(item, folder, level, told)
        up = None if level is None else level.T @ np.array([0.0, -1.0, 0.0])
        drafts, used = [], set()
        for given in boxes:
            seen = outline(given.corners(), camera)
            rects = {i: p[2] for i, p in enumerate(polygons) if seen and p[0] == given.name and i not in used}
            seen = clip(seen, *size) if seen else None
            fits = [(iou(seen, rect), i) for i, rect in rects.items() if seen and share_inside(rect, seen) >= INSIDE]
            best = max(fits, default=(0.0, -1))
            mask = polygons[best[1]][1] if best[0] >= SAME else None
            used |= {best[1]} if mask is not None else set()
            if draft := draft_of(given, size, camera, up, mask):
                drafts.append(draft)
            else:
                told.left_out("its 3-D box is not in view")
        for i, (name, mask, _) in enumerate(polygons):
            if i not in used:
                drafts.append(
                    ObjectDraft(name, name, mask, provenance={"mask": "dataset", "caption": "class of the dataset"})
                )
        return name_apart(drafts, size[0])

    def _polygons(
        self, folder: Any, size: tuple[int, int], told: Tally
    ) -> list[tuple[str, np.ndarray, tuple[float, float, float, float]]]:
        """(class, mask, rectangle) of each drawn outline."""
        file = folder / "annotation2Dfinal" / "index.json"
        if not file.exists():
            return []
        try:
            data = read_json(file, "labels")
        except BadItem:
            told.left_out("annotation2Dfinal/index.json cannot be read")
            return []
        names, out = data.get("objects") or [], []
        frames = data.get("frames") or [{}]
        for drawn in (frames[0] or {}).get("polygon") or []:
            try:
                name = class_name(names[int(drawn["object"])]["name"])
                mask = fill_polygon(list(zip(drawn["x"], drawn["y"])), *size)
            except (KeyError, TypeError, ValueError, IndexError):
                told.left_out("an outline without a class or without corners")
                continue
            if name in NO_OBJECTS:
                told.left_out(f"class {name or 'without a name'} is no object")
            elif mask.sum() >= 16:
                columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
                rect = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
                out.append((name, mask, rect))
        return out

    def _labelled_boxes(self, item: str, folder: Any, level: np.ndarray | None, told: Tally) -> list[GivenBox]:
        """The scene's 3-D boxes in the camera frame."""
        if level is None:
            return []
        if self._table is not None:
            found = self._from_table(item)
            if found is not None:
                return [b for b in (_table_box(row, level) for row in found) if _kept(b, told)]
        file = folder / "annotation3Dfinal" / "index.json"
        if not file.exists():
            return []
        try:
            objects = read_json(file, "labels").get("objects") or []
        except BadItem:
            told.left_out("annotation3Dfinal/index.json cannot be read")
            return []
        boxes = [_drawn_box(thing, level) for thing in objects if thing]
        return [b for b in boxes if _kept(b, told)]

    def _from_table(self, item: str) -> list[Any] | None:
        """Rows of the toolbox's table for a scene, None where it does not know it."""
        if self._boxes is None:
            from scipy.io import loadmat

            table = loadmat(str(self._table), squeeze_me=True, struct_as_record=False)["SUNRGBDMeta"]
            self._boxes = {str(row.sequenceName).strip("/"): row.groundtruth3DBB for row in np.atleast_1d(table)}
        name = next((n for n in (item, f"SUNRGBD/{item}", item.removeprefix("SUNRGBD/")) if n in self._boxes), None)
        return None if name is None else list(np.atleast_1d(self._boxes[name]))


def class_name(raw: str) -> str:
    """A class as a question may say it: "night_stand:occluded" -> "night stand"."""
    return " ".join(str(raw).split(":")[0].replace("_", " ").lower().split())


def _kept(box: GivenBox | None, told: Tally) -> bool:
    if box is None:
        told.left_out("a 3-D box without sides or corners")
        return False
    if box.name in NO_OBJECTS:
        told.left_out(f"class {box.name or 'without a name'} is no object")
        return False
    return True


def _table_box(row: Any, level: np.ndarray) -> GivenBox | None:
    """A box of the toolbox's table: rows of `basis` are its axes, `coeffs` half its sides, level frame (x, y, z up)."""
    try:
        axes = np.asarray(row.basis, np.float64).reshape(3, 3).T
        axes = axes / np.linalg.norm(axes, axis=0)
        sides = 2 * np.abs(np.asarray(row.coeffs, np.float64).reshape(3))
        center = np.asarray(row.centroid, np.float64).reshape(3)
        name = class_name(row.classname)
    except (AttributeError, TypeError, ValueError):
        return None
    turn = level.T @ LEVEL_TO_CAMERA
    axes = turn @ axes
    return GivenBox(name, turn @ center, sides, axes, SIGMA) if is_box(center, sides, axes) else None


def _drawn_box(thing: dict[str, Any], level: np.ndarray) -> GivenBox | None:
    """A box of annotation3Dfinal: four corners of its floor (X, Z) and the heights Ymin and Ymax, y down."""
    try:
        drawn = thing["polygon"][0]
        x, z = np.asarray(drawn["X"], np.float64), np.asarray(drawn["Z"], np.float64)
        low, high = sorted((float(drawn["Ymin"]), float(drawn["Ymax"])))
        first, second = np.array([x[1] - x[0], 0, z[1] - z[0]]), np.array([x[2] - x[1], 0, z[2] - z[1]])
        sides = np.array([np.linalg.norm(first), np.linalg.norm(second), high - low])
        center = np.array([(x[0] + x[2]) / 2, (low + high) / 2, (z[0] + z[2]) / 2])
        axes = np.stack([first / sides[0], second / sides[1], np.array([0.0, 1.0, 0.0])], -1)
        name = class_name(thing["name"])
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    return GivenBox(name, level.T @ center, sides, level.T @ axes, SIGMA) if is_box(center, sides, axes) else None

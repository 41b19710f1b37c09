"""Omni3D's JSON: pictures of six datasets with boxes in one camera frame (x right, y down, z ahead), metres.

bbox3D_cam holds the box's corners: 0 to 1 is one side, 0 to 3 another, 0 to 4 the third (DATA.md of Omni3D).
"""

from __future__ import annotations

import collections
import hashlib
import posixpath
import re
from typing import Any

import numpy as np

from data_prep.sources.base import BadItem, Frame, SourceError
from data_prep.sources.datasets.boxes import GivenBox, draft_of, is_box, name_apart
from data_prep.sources.datasets.folder import DatasetFolder, Tally, pixels, read_picture
from data_prep.sources.registration import check_intrinsics
from spatial_jax.reading import parse_object

SIGMA = {"hypersim": (0.02, 0.02), "kitti": (0.10, 0.10), "nuscenes": (0.10, 0.10)}  # metres; others: drawn by hand
DRAWN = (0.06, 0.08)
IGNORED = {
    "dontcare",
    "ignore",
    "void",
    "unknown",
    "object",
    "objects",
    "otherprop",
    "otherstructure",
    "otherfurniture",
}
SCENE = re.compile(r"(ai_\d+_\d+|(?<=ARKitScenes/)[^/]+/\d+|(?<=objectron/)\w+)")


class Omni3D(DatasetFolder):
    """Pictures of Omni3D's JSON files. Files lie in PATH or PATH/Omni3D, pictures where file_path says from PATH."""

    name = "omni3d"
    title = "Omni3D"
    looked_for = "*.json with images, categories and annotations (bbox3D_cam), here or in Omni3D/"

    def find(self) -> list[str]:
        places = [p for p in (self.root, self.root / "Omni3D") if p.is_dir()]
        self.images: dict[str, dict[str, Any]] = {}
        self.labels: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
        read, absent, first = 0, 0, ""
        for file in sorted(f for place in places for f in place.iterdir() if f.suffix == ".json"):
            try:
                data = parse_object(file.read_text())
            except (OSError, ValueError) as error:
                self.left_out.append(f"{file.name}: cannot be read ({' '.join(str(error).split())[:80]})")
                continue
            if not all(isinstance(data.get(key), list) for key in ("images", "annotations")):
                continue
            read += 1
            by_id: dict[Any, str] = {}
            for image in data["images"]:
                path = self._path(str(image.get("file_path", "")))
                if path:
                    by_id[image.get("id")] = path
                    info = data.get("info")
                    part = info.get("name", file.stem) if isinstance(info, dict) else file.stem
                    self.images[path] = {**image, "from": str(part)}
                else:
                    absent, first = absent + 1, first or str(image.get("file_path"))
            for label in data["annotations"]:
                if label.get("image_id") in by_id:
                    self.labels[by_id[label["image_id"]]].append(label)
        if absent and not self.images:
            raise SourceError(
                f"{self.path}: none of the {absent} pictures of its {read} JSON files is there, e.g. {first}"
            )
        if absent:
            self.said.append(f"{absent} of {absent + len(self.images)} pictures are not there, e.g. {first}")
        return sorted(self.images)

    def _path(self, named: str) -> str:
        """A picture's path from the root, "" where it is not there; nothing above the root is opened."""
        named = posixpath.normpath(named)
        if named.startswith(("/", "..")) or named == ".":
            return ""
        return named if (self.root / named).exists() else ""

    def files_of(self, item: str) -> list[Any]:
        return [self.root / item]

    def config(self) -> dict[str, Any]:
        said = repr([(self.images[item], self.labels[item]) for item in self.items])
        return {**super().config(), "labels": hashlib.sha256(said.encode()).hexdigest()[:16]}

    def load(self, index: int) -> Frame:
        item = self.items[index]
        image, told = self.images[item], Tally()
        picture = read_picture(self.root / item)
        height, width = picture.rgb.shape[:2]
        stated = (image.get("width"), image.get("height"))
        if stated != (width, height):
            raise BadItem(f"is {width}x{height}, its list says {stated[0]}x{stated[1]}")
        try:
            k = np.asarray(image["K"], np.float64).reshape(3, 3)
        except (KeyError, TypeError, ValueError):
            raise BadItem("its list has no camera K of 3 x 3 numbers") from None
        camera = check_intrinsics((k[0, 0], k[1, 1], k[0, 2], k[1, 2]), item, (width, height))
        drafts, others = [], []
        origin = str(image["from"]).lower()
        sigma = next((v for key, v in SIGMA.items() if key in origin), DRAWN)
        for label in self.labels[item]:
            given, why = _box(label, sigma)
            if given is None:
                told.left_out(why)
                others += _rectangle(label)
            elif draft := draft_of(given, (width, height), camera, box=next((r for _, r in _rectangle(label)), None)):
                drafts.append(draft)
            else:
                told.left_out("its 3-D box is not in view")
        scene = SCENE.search(item)
        return Frame(
            item,
            self.name,
            pixels(picture),
            picture.encoded,
            f"{self.root.name}/{scene.group(1) if scene else item}",
            None,
            "metric",
            intrinsics=camera,
            intrinsics_source="sensor",
            objects=name_apart(drafts, width, others),
            tags=("photo",),
            notes=picture.notes,
            provenance={"depth": "none", "part": str(image["from"])},
            told=dict(told),
        )


def _rectangle(label: dict[str, Any]) -> list[tuple[str, tuple[float, ...]]]:
    """The label's own rectangle with its class, if it has one: what was drawn around what is seen, else projected."""
    for key in ("bbox2D_tight", "bbox2D_trunc"):
        box = label.get(key)
        if isinstance(box, list) and len(box) == 4 and box[2] > box[0] >= -1 and box[3] > box[1] and box != [-1] * 4:
            return [(str(label.get("category_name", "")), tuple(float(v) for v in box))]
    return []


def _box(label: dict[str, Any], sigma: tuple[float, float]) -> tuple[GivenBox | None, str]:
    """(the label's box, why it is none)."""
    name = " ".join(str(label.get("category_name") or "").replace("_", " ").lower().split())
    if not name or name in IGNORED:
        return None, f"class {name or 'without a name'} is no object"
    if not label.get("valid3D", True) or label.get("behind_camera") is True:
        return None, "its 3-D box is not valid"
    try:
        corners = np.asarray(label["bbox3D_cam"], np.float64).reshape(8, 3)
        sides = np.stack([corners[1] - corners[0], corners[3] - corners[0], corners[4] - corners[0]])
        extent = np.linalg.norm(sides, axis=1)
        axes = (sides / np.maximum(extent, 1e-9)[:, None]).T
        center = corners.mean(0)
        stated = np.asarray(label.get("dimensions", extent), np.float64).reshape(3)
    except (KeyError, TypeError, ValueError):
        return None, "its 3-D box is not known"
    if not is_box(center, extent, axes):
        return None, "its 3-D box is not known"
    if not np.allclose(np.sort(stated), np.sort(extent), rtol=0.02, atol=0.01):
        return None, "its corners contradict its dimensions"
    seen = float(label.get("visibility", -1) or -1)
    return GivenBox(name, center, extent, axes, sigma, seen if 0 < seen <= 1 else 1.0), ""

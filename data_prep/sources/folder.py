"""Folders of pictures, and the photos that come inside the scikit-image and scikit-learn packages."""

from __future__ import annotations

import importlib.util
import posixpath
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from data_prep.sources.base import BadItem, Frame, SourceError
from data_prep.sources.fingerprint import fingerprint
from data_prep.sources.frame_list import Entry, Paths, file_reader, is_list, read_lists, said_of_frame
from data_prep.sources.labels import labelled_objects
from data_prep.sources.listing import left_out_text, walk
from data_prep.sources.pictures import EXIF_SIGMA, EXTENSIONS, Picture, open_picture
from data_prep.sources.registration import (
    REGISTERED,
    check_intrinsics,
    scale_object,
    turn_intrinsics,
    turn_object,
)
from spatial_jax.media import decode_picture

# The photos among the pictures that the packages carry (the rest are test patterns, microscope slides and scanned
# text).
PACKAGES = {
    "skimage": (
        "skimage",
        "data",
        (
            "astronaut.png",
            "camera.png",
            "chelsea.png",
            "coffee.png",
            "motorcycle_left.png",
            "motorcycle_right.png",
            "rocket.jpg",
        ),
    ),
    "sklearn": ("sklearn", "datasets/images", ("china.jpg", "flower.jpg")),
}


def _package_files(names: str) -> list[tuple[str, Any]]:
    found = []
    for name in names.split(","):
        if name not in PACKAGES:
            raise SourceError(f"no photos known in package {name!r}: choose of {', '.join(PACKAGES)}")
        module, folder, files = PACKAGES[name]
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise SourceError(f"package {module} is not installed: pip install 'spatial_jax[prep]'")
        root = Path(spec.submodule_search_locations[0]) / folder
        found += [(f"{name}/{file}", epath.Path(root / file)) for file in files if (root / file).exists()]
    return found


def list_pictures(path: str, left_out: list[str] | None = None) -> list[tuple[str, Any]]:
    """(id, path) of every picture file under `path`, in the order of the numbers in their names; ids are paths relative
    to it, `left_out` as in `walk`. Raises SourceError.
    """
    root = epath.Path(path).expanduser()
    if not root.exists():
        raise SourceError(f"no such folder: {path}")
    if not root.is_dir():
        raise SourceError(f"not a folder: {path}")
    left = [] if left_out is None else left_out
    found = walk(root, EXTENSIONS, left)
    if not found:
        raise SourceError(
            f"no pictures in {path} (looked for {' '.join(EXTENSIONS)} at any depth)"
            + (f"; {left_out_text(left)}" if left else "")
        )
    return found


class PictureFolder:
    """Every picture under a folder (local or gs://), or `package:skimage,sklearn`. Photos that are pixel for pixel the
    same share a split. A list of frames (frames.json, as RgbdFolder reads it) gives photos their labels and camera;
    masks and depth files that it names are no photos, nor is what lies in a folder whose name holds one of `labels`.
    """

    name = "folder"

    def __init__(self, path: str, max_side: int = 0, count: int = 0, labels: tuple[str, ...] = ()):
        self.path, self.max_side = path, max_side
        self.left_out: list[str] = []
        self.files = (
            _package_files(path.removeprefix("package:"))
            if path.startswith("package:")
            else list_pictures(path, self.left_out)
        )
        drawn = {name for name, _ in self.files if any(word in posixpath.dirname(name) for word in labels)}
        self.left_out += [f"{name}: labels drawn as a picture, no photo" for name, _ in self.files if name in drawn]
        self.files = [(name, file) for name, file in self.files if name not in drawn]
        if not self.files:
            raise SourceError(f"no photos in {path}: {left_out_text(self.left_out)}")
        self.listed: dict[str, Entry] = {}
        if not path.startswith("package:"):
            self._read_lists()
        if count:
            self.files = self.files[:count]

    def _read_lists(self) -> None:
        """Labels of the folder's own lists of frames; masks and depth files that they name are no photos."""
        self.root, self.said = epath.Path(self.path).expanduser(), list[str]()
        # Photos may lie beside annotations of another form (COCO's): only frames.json is surely ours.
        known = [n for n, _ in walk(self.root) if not is_list(n) or n.rpartition("/")[2] == "frames.json"]
        if not any(map(is_list, known)):
            return
        self.paths, photos = Paths(known), {name for name, _ in self.files}
        self.listed = read_lists(self.root, self.path, known, self.said, photos.__contains__)
        named = set()
        for entry in self.listed.values():
            labels = entry.fields.get("objects") or []
            masks = [x.get("mask") for x in labels if isinstance(x, dict)] if isinstance(labels, list) else []
            for name in filter(None, [entry.fields.get("depth"), *masks]):
                named.add(self.paths.find(str(name), entry.folder, f"{self.path}/{entry.file}"))
        self.files = [(name, file) for name, file in self.files if name not in named]

    def __len__(self) -> int:
        return len(self.files)

    def item_id(self, index: int) -> str:
        return self.files[index][0]

    def config(self) -> dict[str, Any]:
        listing = fingerprint(self.files)
        listed = {file: entry.fields for file, entry in self.listed.items()}
        labels = {"labels": listed} if listed else {}
        return {"source": self.name, "path": self.path, "max_side": self.max_side, "files": listing, **labels}

    def load(self, index: int) -> Frame:
        item, path = self.files[index]
        try:
            picture = open_picture(path.read_bytes(), max_side=self.max_side)
        except OSError as error:
            raise BadItem(f"cannot be read: {error.strerror or error}") from None
        key = item.removesuffix("_left.png").removesuffix("_right.png") if self.path.startswith("package:") else ""
        frame = Frame(
            item,
            self.name,
            stored_pixels(picture.rgb, picture.encoded),
            picture.encoded,
            key,
            tags=("photo",),
            notes=picture.notes,
            provenance={"path": str(path)},
        )
        intrinsics = picture.exif_intrinsics()
        if intrinsics is not None:
            frame.intrinsics, frame.intrinsics_source, frame.focal_sigma = intrinsics, "exif", EXIF_SIGMA
            frame.provenance["intrinsics"] = f"EXIF 35-mm-equivalent focal length {picture.focal_35mm:g} mm"
        if item in self.listed:
            self._add_labels(frame, picture, self.listed[item])
        return frame

    def _add_labels(self, frame: Frame, picture: Picture, entry: Entry) -> None:
        """Objects, completeness and camera that the list states, in pixels of the picture as it is kept."""
        turn, stored = picture.orientation, picture.stored_size
        labels, camera = entry.fields.get("objects", []), entry.fields.get("cam_in")
        frame.meta |= said_of_frame(entry)
        if not labels and not camera:
            return
        if turn != 1 and entry.fields.get("registered") not in REGISTERED:
            raise BadItem(
                f"{frame.item_id} is turned by its EXIF (orientation {turn}): say in {entry.file} which pixels its"
                ' labels and camera belong to, "registered": "stored" or "upright"'
            )
        as_stored = turn != 1 and entry.fields["registered"] == "stored"
        upright = stored[::-1] if turn >= 5 else stored
        width, height = stored if as_stored else upright
        objects = labelled_objects(labels, width, height, file_reader(self.root, self.paths, entry))
        if camera:
            unit = str(entry.fields.get("cam_in_unit", "pixels"))
            frame.intrinsics = check_intrinsics(camera, frame.item_id, (width, height), unit)
            frame.intrinsics_source, frame.provenance["intrinsics"] = "sensor", "frame list"
            frame.focal_sigma = 0.0
        if as_stored:
            objects = [turn_object(thing, turn, stored) for thing in objects]
            frame.intrinsics = frame.intrinsics and turn_intrinsics(frame.intrinsics, turn, stored)
        scale = frame.width / upright[0], frame.height / upright[1]
        frame.objects = [scale_object(thing, scale, (frame.width, frame.height)) for thing in objects]
        if camera and frame.intrinsics:
            fx, fy, cx, cy = frame.intrinsics
            frame.intrinsics = fx * scale[0], fy * scale[1], cx * scale[0], cy * scale[1]


def stored_pixels(rgb: np.ndarray, encoded: bytes) -> np.ndarray:
    """The pixels that a reader of `encoded` will see: a picture that had to be encoded again as JPEG is decoded
    back.
    """
    if not encoded.startswith(b"\xff\xd8"):
        return rgb
    return np.asarray(decode_picture(encoded).image)

"""Folders of pictures, and the photos that come inside the scikit-image and scikit-learn packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from data_prep.sources.base import BadItem, Frame, SourceError
from data_prep.sources.fingerprint import fingerprint
from data_prep.sources.listing import left_out_text, walk
from data_prep.sources.pictures import EXTENSIONS, open_picture
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
    same share a split.
    """

    name = "folder"

    def __init__(self, path: str, max_side: int = 0, count: int = 0):
        self.path, self.max_side = path, max_side
        self.left_out: list[str] = []
        self.files = (
            _package_files(path.removeprefix("package:"))
            if path.startswith("package:")
            else list_pictures(path, self.left_out)
        )
        if count:
            self.files = self.files[:count]

    def __len__(self) -> int:
        return len(self.files)

    def item_id(self, index: int) -> str:
        return self.files[index][0]

    def config(self) -> dict[str, Any]:
        listing = fingerprint(self.files)
        return {"source": self.name, "path": self.path, "max_side": self.max_side, "files": listing}

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
            frame.intrinsics, frame.intrinsics_source = intrinsics, "exif"
            frame.provenance["intrinsics"] = f"EXIF 35-mm-equivalent focal length {picture.focal_35mm:g} mm"
        return frame


def stored_pixels(rgb: np.ndarray, encoded: bytes) -> np.ndarray:
    """The pixels that a reader of `encoded` will see: a picture that had to be encoded again as JPEG is decoded
    back.
    """
    if not encoded.startswith(b"\xff\xd8"):
        return rgb
    return np.asarray(decode_picture(encoded).image)

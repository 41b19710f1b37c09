"""ScanNet++'s DSLR pictures: stills through a fisheye lens, posed by COLMAP in the frame of the mesh.

dslr/colmap/cameras.txt has the lens (OPENCV_FISHEYE, or PINHOLE), images.txt each picture's quaternion and translation
from the mesh's frame to the camera (x right, y down, z ahead). COLMAP counts pixels from the picture's corner.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from data_prep.sources.base import BadItem
from data_prep.sources.conventions import Intrinsics
from data_prep.sources.datasets.folder import read_bytes
from data_prep.sources.pictures import open_picture

LONGEST = 1024  # pixels of the straightened picture
PARAMETERS = {"OPENCV_FISHEYE": 8, "PINHOLE": 4}


@dataclasses.dataclass(frozen=True)
class Still:
    """A posed picture: file `name`, `pose` [4, 4] camera to the mesh's frame, its lens: `model`, `size` (width,
    height), `parameters` fx, fy, cx, cy and of a fisheye k1 to k4.
    """

    name: str
    pose: np.ndarray
    model: str
    size: tuple[int, int]
    parameters: tuple[float, ...]


def _rows(path: Any, what: str) -> list[list[str]]:
    text = read_bytes(path, what).decode("utf-8", "replace")
    return [line.split() for line in text.splitlines() if not line.startswith("#")]


def read_stills(folder: Any) -> list[Still]:
    """The posed pictures of a scene's dslr/colmap folder, by name. BadItem for files that cannot be read."""
    cameras: dict[str, tuple[str, tuple[int, int], tuple[float, ...]]] = {}
    try:
        for row in filter(None, _rows(folder / "cameras.txt", "lens")):
            if row[1] not in PARAMETERS or len(row) != 4 + PARAMETERS[row[1]]:
                raise BadItem(f"cameras.txt has a lens of model {row[1]}, which is not read ({', '.join(PARAMETERS)})")
            cameras[row[0]] = row[1], (int(row[2]), int(row[3])), tuple(float(v) for v in row[4:])
        out = []
        # Every second line holds the points of the picture before it, and may be empty.
        for row in _rows(folder / "images.txt", "poses")[::2]:
            if not row:
                continue
            w, x, y, z = (float(v) for v in row[1:5])
            turn = np.array(
                [
                    [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                    [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                    [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
                ]
            )
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = turn.T, -turn.T @ np.array([float(v) for v in row[5:8]])
            out.append(Still(row[9], pose, *cameras[row[8]]))
    except (ValueError, IndexError, KeyError) as error:
        raise BadItem(f"cameras.txt or images.txt cannot be read ({error!r})") from None
    return sorted(out, key=lambda s: s.name)


def straighten(still: Still, data: bytes) -> tuple[np.ndarray, Intrinsics]:
    """(uint8 [h, w, 3], camera) of an encoded picture as a lens without distortion sees it, of the same focal length:
    the rim of a fisheye picture is cut away.
    """
    from scipy.ndimage import map_coordinates

    rgb = open_picture(data).rgb
    before = (rgb.shape[1], rgb.shape[0])
    if abs(before[0] * still.size[1] - before[1] * still.size[0]) > max(before):
        raise BadItem(f"{still.name} is {before[0]}x{before[1]}, its lens was measured at {still.size}")
    scale = before[0] / still.size[0]  # the original pictures are larger than those that COLMAP saw
    fx, fy, cx, cy = (v * scale for v in still.parameters[:4])
    small = min(1.0, LONGEST / max(before))
    width, height = round(before[0] * small), round(before[1] * small)
    camera = (fx * small, fy * small, cx * small - 0.5, cy * small - 0.5)
    x = (np.arange(width)[None] - camera[2]) / camera[0] + np.zeros((height, 1))
    y = (np.arange(height)[:, None] - camera[3]) / camera[1] + np.zeros((1, width))
    if still.model == "OPENCV_FISHEYE":
        radius = np.maximum(np.hypot(x, y), 1e-9)
        angle = np.arctan(radius)
        k = still.parameters[4:8]
        bent = angle * (1 + sum(c * angle ** (2 * i) for i, c in enumerate(k, 1)))
        x, y = x * bent / radius, y * bent / radius
    places = np.stack([y * fy + cy - 0.5, x * fx + cx - 0.5])
    out = [map_coordinates(rgb[..., c], places, order=1, mode="nearest", output=np.float32) for c in range(3)]
    return np.rint(np.stack(out, -1)).astype(np.uint8), camera

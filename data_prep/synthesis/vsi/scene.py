"""Scene metadata in VSI-Bench's form (ScanNet-like): counts, oriented boxes, room size, and optionally the scene's
point cloud. Metres, z up.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.synthesis.vsi.sights import Sights
from data_prep.synthesis.vsi.ways import Ways
from spatial_jax.reading import parse_json


class MetadataError(ValueError):
    """Metadata that cannot be used; the message is one line naming scene and field."""


@dataclasses.dataclass(frozen=True)
class Instance:
    """One object: oriented box (rows of `axes` are its unit axes, `lengths` full sides) and, where known, its points
    [n, 3]; `surface` [n, 3]: points of its closed form, from which nearest points are told and nothing else; `whole`:
    the largest share of it that one frame shows.
    """

    centroid: np.ndarray
    lengths: np.ndarray
    axes: np.ndarray
    points: np.ndarray | None = None
    surface: np.ndarray | None = None
    whole: float = 1.0

    @functools.cached_property
    def tree(self) -> Any:
        """scipy's cKDTree of its surface, or of its points; None where neither is known."""
        from scipy.spatial import cKDTree

        known = self.points if self.surface is None else self.surface
        return None if known is None else cKDTree(known)

    @property
    def center(self) -> np.ndarray:
        """Geometric centre of the points where known (VSI-100k's definition), else of the box."""
        return self.centroid if self.points is None else self.points.mean(0)

    @property
    def longest(self) -> float:
        return float(self.lengths.max())


@dataclasses.dataclass(frozen=True)
class Room:
    """A scanned room: instances a category, floor area in m2 (nan: unknown) and, where known, the scene's points [n,
    3]; of a walk also, for each category, the first frame that shows anything of it and the first that shows it
    clearly, where one can go, and (`look`) what tells what each frame shows where. `known_from`: what says all this.
    """

    scene_id: str
    dataset: str
    objects: dict[str, list[Instance]]
    counts: dict[str, int]
    room_size: float = math.nan
    points: np.ndarray | None = None
    first: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    ways: Ways | None = None
    look: Callable[[], Sights] | None = None
    metric: bool = True  # else its scale is free: no lengths are asked
    known_from: str = "room metadata"

    @functools.cached_property
    def sights(self) -> Sights | None:
        """What each frame of a walk shows where; read when first asked, for few questions need it."""
        return None if self.look is None else self.look()

    def single(self) -> list[str]:
        """Categories with exactly one instance and one box: the only ones that a text can refer to without
        ambiguity.
        """
        return [name for name, count in self.counts.items() if count == 1 and len(self.objects.get(name, [])) == 1]


def _instance(scene: str, name: str, box: dict[str, Any]) -> Instance:
    try:
        points = np.asarray(box["points"], np.float64).reshape(-1, 3) if "points" in box else None
        item = Instance(
            np.asarray(box["centroid"], np.float64).reshape(3),
            np.asarray(box["axesLengths"], np.float64).reshape(3),
            np.asarray(box["normalizedAxes"], np.float64).reshape(3, 3),
            points,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MetadataError(f"scene {scene}, object {name}: box is not usable ({error})") from error
    if not (
        np.isfinite(item.centroid).all()
        and (item.lengths > 0).all()
        and np.allclose(item.axes @ item.axes.T, np.eye(3), atol=1e-3)
    ):
        raise MetadataError(
            f"scene {scene}, object {name}: box has no size, is not finite, or its axes are not orthonormal"
        )
    return item


def parse_room(scene_id: str, meta: dict[str, Any], points: np.ndarray | None = None) -> Room:
    """One scene's metadata; objects with unusable boxes raise MetadataError."""
    if not isinstance(meta.get("object_bbox"), dict):
        raise MetadataError(f"scene {scene_id}: object_bbox is missing")
    objects = {name: [_instance(scene_id, name, b) for b in boxes] for name, boxes in meta["object_bbox"].items()}
    counts = {name: int(n) for name, n in meta.get("object_counts", {}).items()} or {
        name: len(v) for name, v in objects.items()
    }
    return Room(scene_id, str(meta.get("dataset", "")), objects, counts, float(meta.get("room_size", math.nan)), points)


def load_rooms(path: str, clouds: str = "") -> tuple[list[Room], list[str]]:
    """(rooms, problems) of a metadata JSON {scene: {...}}; `clouds`: a folder with SCENE.npy point clouds [n, 3]."""
    try:
        data = parse_json(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise MetadataError(f"{path}: cannot be read as JSON ({error}); give a file of {{scene: metadata}}") from error
    if not isinstance(data, dict):
        raise MetadataError(f"{path}: must hold an object of scene -> metadata")
    rooms, problems = [], []
    for scene_id, meta in data.items():
        cloud = Path(clouds, f"{scene_id}.npy") if clouds else None
        try:
            points = np.load(cloud, allow_pickle=False)[:, :3] if cloud and cloud.is_file() else None
            rooms.append(parse_room(scene_id, meta, points))
        except (MetadataError, ValueError, IndexError, OSError) as error:
            problems.append(" ".join(str(error).split())[:200])
        except (TypeError, AttributeError, KeyError, ArithmeticError) as error:
            problems.append(f"{scene_id}: metadata has an unexpected form ({type(error).__name__})"[:200])
    return rooms, problems

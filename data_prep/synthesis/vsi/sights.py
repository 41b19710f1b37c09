"""What the frames of a rendered walk show, and where: each instance's box in each frame that shows it clearly, and the
places of the floor that a frame sees.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_prep.synthesis.vsi.ways import Ways
from spatial_jax.data.records import SceneRecord

Box = tuple[float, float, float, float]
Point = tuple[float, float]
FloorWay = tuple[int, Point, Point]  # frame (from 0), where the way begins and ends in it
NEAR = 0.3  # metres before the camera from which on a place counts
EDGE = 2.0  # pixels that a place keeps from the frame's edge


@dataclasses.dataclass(frozen=True)
class Solids:
    """Every instance's oriented box: `places`: instance -> row; middles [n, 3], half sides [n, 3], axes [n, 3, 3]
    (rows).
    """

    places: dict[str, int]
    middles: np.ndarray
    halves: np.ndarray
    axes: np.ndarray

    def middle(self, instance: str) -> np.ndarray:
        """Its middle [2] seen from above."""
        return self.middles[self.places[instance], :2]

    def hide(self, eye: np.ndarray, places: np.ndarray) -> bool:
        """Whether the straight line from the eye [3] to any of the places [m, 3] passes through a box before it is
        there.
        """
        a = np.einsum("nij,nj->ni", self.axes, eye - self.middles)[:, None]
        step = np.einsum("nij,mj->nmi", self.axes, places - eye)
        step = np.where(np.abs(step) < 1e-12, 1e-12, step)
        ends = np.stack([(-self.halves[:, None] - a) / step, (self.halves[:, None] - a) / step])
        first, last = ends.min(0).max(-1), ends.max(0).min(-1)
        return bool(((first <= last) & (last > 0) & (first < 1)).any())


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame: the boxes of what it shows clearly by instance, and its camera (pose [4, 4] to the world)."""

    boxes: dict[str, Box]
    size: tuple[int, int]
    intrinsics: tuple[float, float, float, float]
    pose: np.ndarray

    def pixel(self, place: np.ndarray) -> Point | None:
        """Where a place [3] of the world lies in the frame; None outside it."""
        x, y, z = (place - self.pose[:3, 3]) @ self.pose[:3, :3]
        if z < NEAR:
            return None
        fx, fy, cx, cy = self.intrinsics
        u, v = float(fx * x / z + cx), float(fy * y / z + cy)
        inside = EDGE <= u <= self.size[0] - EDGE and EDGE <= v <= self.size[1] - EDGE
        return (u, v) if inside else None


@dataclasses.dataclass(frozen=True)
class Sights:
    """The frames of a walk in their order; `names`: of each category its instances."""

    frames: list[Frame]
    names: dict[str, list[str]]
    solids: Solids
    ways: Ways | None
    found: dict[tuple[str, str], FloorWay | None] = dataclasses.field(default_factory=dict)  # ways asked for before

    def shown(self, instance: str) -> list[int]:
        """Frames (from 0) that show it clearly, the one that shows most of it first."""
        found = [k for k, frame in enumerate(self.frames) if instance in frame.boxes]
        return sorted(found, key=lambda k: -_area(self.frames[k].boxes[instance]))

    def together(self, instances: Sequence[str]) -> int | None:
        """The frame that shows all of these clearly, the smallest as large as can be; None where none does."""
        found = [k for k, frame in enumerate(self.frames) if all(i in frame.boxes for i in instances)]
        return max(found, key=lambda k: min(_area(self.frames[k].boxes[i]) for i in instances), default=None)

    def floor_way(self, start: str, goal: str) -> FloorWay | None:
        """The free floor between two things, from the edge of the one to that of the other, in a frame that shows both
        and all of the way; None where none does.
        """
        if (start, goal) not in self.found:
            self.found[start, goal] = self._floor_way(start, goal)
        return self.found[start, goal]

    def _floor_way(self, start: str, goal: str) -> FloorWay | None:
        ends = self._edges(start, goal)
        if ends is None:
            return None
        steps = np.linspace(ends[0], ends[1], 9)
        for k, frame in enumerate(self.frames):
            if start not in frame.boxes or goal not in frame.boxes:
                continue
            pixels = [frame.pixel(place) for place in steps]
            first, last = pixels[0], pixels[-1]
            if first and last and all(pixels) and self._sees(frame, steps):
                return k, first, last
        return None

    def _edges(self, start: str, goal: str) -> tuple[np.ndarray, np.ndarray] | None:
        """The ends [3], on the floor, of the straight way between two things' edges."""
        if self.ways is None or not {start, goal} <= self.solids.places.keys():
            return None
        a, b = self.solids.middle(start), self.solids.middle(goal)
        leave, arrive = 0.0, 1.0
        for thing in self.ways.footprints:
            if thing.holds(a):
                leave = max(leave, 1.0 - thing.enter(b, a))
            if thing.holds(b):
                arrive = min(arrive, thing.enter(a, b))
        if not 0.0 <= leave < arrive <= 1.0:
            return None
        return tuple(np.append(a + share * (b - a), 0.0) for share in (leave, arrive))  # type: ignore[return-value]

    def _sees(self, frame: Frame, places: np.ndarray) -> bool:
        """Whether nothing stands between the camera and any of the places [m, 3]: no wall, no box of a thing (a box is
        more than the thing, so what is called seen is seen).
        """
        eye = frame.pose[:3, 3]
        near = eye + 0.98 * (places - eye)  # what a place itself lies on or beside does not hide it
        ways = self.ways
        return not self.solids.hide(eye, near) and (ways is None or not any(ways.walled(eye[:2], p[:2]) for p in near))


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def read_sights(
    facts: dict[str, Any],
    frames: Sequence[SceneRecord],
    poses: Sequence[np.ndarray],
    clear: Sequence[set[str]],
    ways: Ways | None,
) -> Sights:
    """Of a walk's `facts` (its room record) and frames with their poses [4, 4]; `clear`: instances that each frame
    shows.
    """
    names = {name: [str(box["id"]) for box in boxes] for name, boxes in facts["object_bbox"].items()}
    boxes = [box for found in facts["object_bbox"].values() for box in found]
    solids = Solids(
        {str(box["id"]): row for row, box in enumerate(boxes)},
        np.array([box["centroid"] for box in boxes], np.float64),
        np.array([box["axesLengths"] for box in boxes], np.float64) / 2,
        np.array([box["normalizedAxes"] for box in boxes], np.float64).reshape(-1, 3, 3),
    )
    read = []
    for scene, pose, shown in zip(frames, poses, clear):
        places = {}
        for o in scene.objects:
            number = o.json_field("provenance").get("instance")
            if str(number) in shown:
                places[str(number)] = (float(o.box[0]), float(o.box[1]), float(o.box[2]), float(o.box[3]))
        fx, fy, cx, cy = scene.intrinsics
        read.append(Frame(places, (scene.width, scene.height), (fx, fy, cx, cy), pose))
    return Sights(read, names, solids, ways)

"""Scanned rooms with a camera that walked through them: what ScanNet, ScanNet++ and ARKitScenes have in common.

A scan has labelled instances in a level frame (z up, metres) and frames with depth and pose. As pictures its frames
become scene records with the instances that are in view; as rooms its instances become VSI topics.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import numpy as np

from data_prep.sources.base import BadItem, DepthNoise, Frame, ObjectDraft
from data_prep.sources.datasets.boxes import GivenBox, Intrinsics, draft_of, name_apart, seen_share
from data_prep.sources.datasets.folder import DatasetFolder, Tally
from data_prep.sources.folder import stored_pixels
from data_prep.sources.pictures import open_picture
from spatial_jax.media import encode_picture

SIGMA = (0.04, 0.05)  # metres: instances were marked on a reconstructed surface
NOISE = DepthNoise(0.005, 0.0, 0.003, 0.005, 5)
FAR = 10.0  # metres
LEAST_SEEN = 0.25  # share of a box's rays that are not blocked before it
NEAR_SURFACE = 0.06  # metres from a depth point to the instance's surface
LEAST_PIXELS = 40
NEIGHBOURS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
LOST = "its pose was lost while it was scanned"
NO_OBJECTS = {"", "wall", "floor", "ceiling", "unknown", "object", "objects", "remove", "split", "otherprop"}
NO_OBJECTS |= {"otherfurniture", "otherstructure", "unlabelled", "unannotated", "window frame", "door frame"}


@dataclasses.dataclass
class ScanInstance:
    """A labelled instance: oriented box (`axes` [3, 3], columns; the third up) in the scan's level frame, and the
    vertices [n, 3] of its surface where they are known.
    """

    name: str
    center: np.ndarray
    extent: np.ndarray
    axes: np.ndarray
    points: np.ndarray | None = None


@dataclasses.dataclass
class Scan:
    """`points`: [n, 3] of the whole room, None where there is no mesh; `owner` [n]: index of the instance of each, -1
    for none, None where instances have boxes alone.
    """

    scan_id: str
    instances: list[ScanInstance]
    points: np.ndarray | None = None
    owner: np.ndarray | None = None
    told: Tally = dataclasses.field(default_factory=Tally)


@dataclasses.dataclass
class Shot:
    """One frame of a walk: uint8 `rgb` [h, w, 3], `depth` [h, w] metres (0 unknown), `pose` [4, 4] camera (x right, y
    down, z ahead) to the level frame.
    """

    rgb: np.ndarray
    encoded: bytes
    depth: np.ndarray | None
    camera: Intrinsics
    pose: np.ndarray


def instance_of(name: str, points: np.ndarray) -> ScanInstance | None:
    """The smallest upright box around an instance's vertices [n, 3] (z up); None where they make none."""
    turn = _footprint(points[:, :2].astype(np.float64)) if len(points) >= 8 else None
    if turn is None:
        return None
    local = points.astype(np.float64) @ turn
    low, high = local.min(0), local.max(0)
    if not (high - low > 1e-3).all():
        return None
    return ScanInstance(name, turn @ ((low + high) / 2), high - low, turn, points)


def _footprint(flat: np.ndarray) -> np.ndarray | None:
    """[3, 3], columns the axes of the smallest rectangle around points [n, 2]: one side lies along their hull."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        hull = flat[ConvexHull(flat).vertices]
    except QhullError:
        return None
    edges = np.roll(hull, -1, 0) - hull
    angles = np.arctan2(edges[:, 1], edges[:, 0])
    c, s = np.cos(angles), np.sin(angles)
    area = np.ptp(hull @ np.stack([c, s]), 0) * np.ptp(hull @ np.stack([-s, c]), 0)
    best = int(area.argmin())
    return np.array([[c[best], -s[best], 0], [s[best], c[best], 0], [0, 0, 1.0]])


class ScanFolder(DatasetFolder):
    """Frames of scans as pictures. A subclass lists its scans (`scan_ids`), reads one (`scan`), says how many frames a
    walk has and at what rate (`walk`), and reads one frame (`shot`).
    """

    dataset = ""

    def __init__(
        self, path: str, limit: int = 0, noise: DepthNoise | None = None, every: float = 1.0, *, rooms: bool = False
    ):
        self.rooms = rooms  # the items are the scans themselves, whether they have frames or not
        super().__init__(path, limit, noise, every)

    @abc.abstractmethod
    def scan_ids(self) -> list[str]:
        """Ids of the scans below the root, in a fixed order."""

    @abc.abstractmethod
    def scan(self, scan_id: str) -> Scan:
        """Labels of a scan. BadItem where they cannot be read."""

    @abc.abstractmethod
    def walk(self, scan_id: str) -> tuple[int, float]:
        """(frames, frames a second) of a scan's walk; (0, 0.0) where its frames are not there. BadItem."""

    @abc.abstractmethod
    def shot(self, scan_id: str, number: int) -> Shot:
        """One frame. BadItem where it cannot be used."""

    def find(self) -> list[str]:
        self._scans: dict[str, Scan] = {}
        self.scan_list, out = self.scan_ids(), list[str]()
        if self.rooms:
            return [f"{scan_id}#" for scan_id in self.scan_list]
        without = 0
        for scan_id in self.scan_list:
            try:
                count, rate = self.walk(scan_id)
            except (BadItem, ValueError, OSError) as error:
                self.left_out.append(f"{scan_id}: {error}")
                continue
            without += not count
            step = max(1, round(self.every * rate))
            out += [f"{scan_id}#{number:06d}" for number in range(0, count, step)]
        if without and out:
            self.said.append(f"{without} of {len(self.scan_list)} scans have no frames")
        if self.scan_list and not out:
            self.left_out.append(f"its {len(self.scan_list)} scans have no frames (--rooms reads them as rooms)")
        return out

    def posed_shot(self, scan_id: str, number: int) -> Shot:
        """One frame whose pose is one. BadItem, or what a broken file raises."""
        shot = self.shot(scan_id, number)
        if not np.isfinite(shot.pose).all() or abs(np.linalg.det(shot.pose[:3, :3]) - 1) > 1e-2:
            raise BadItem(LOST)
        return shot

    def _scan(self, scan_id: str) -> Scan:
        if scan_id not in self._scans:
            self._scans.clear()  # frames come scan by scan
            self._scans[scan_id] = self.scan(scan_id)
        return self._scans[scan_id]

    def load(self, index: int) -> Frame:
        item = self.items[index]
        scan_id, _, number = item.rpartition("#")
        scan = self._scan(scan_id)
        told = Tally(scan.told) if int(number) == 0 else Tally()  # a scan's labels are told once
        shot = self.posed_shot(scan_id, int(number))
        shot = turned(shot, quarter_turns(shot) or 0)
        height, width = shot.rgb.shape[:2]
        down = shot.pose[:3, :3].T @ np.array([0.0, 0.0, -1.0])
        notes = [] if shot.depth is not None else ["no depth: kept without depth"]
        return Frame(
            item,
            self.name,
            shot.rgb,
            shot.encoded,
            f"{self.dataset}/{scan_id}",
            shot.depth,
            "metric",
            self.noise or NOISE if shot.depth is not None else DepthNoise(),
            shot.camera,
            "sensor",
            down,
            {"pitch": 0.01, "roll": 0.01},
            objects=self._objects(scan, shot, down, (width, height)),
            tags=("photo", "indoor", "scan"),
            notes=notes,
            provenance={"depth": self.title if shot.depth is not None else "none", "gravity": "dataset"},
            meta={"scan": scan_id, "frame": int(number)},
            told=dict(told),
        )

    def _objects(self, scan: Scan, shot: Shot, down: np.ndarray, size: tuple[int, int]) -> list[ObjectDraft]:
        """Instances in view: with masks where the scan's surface is known, else by what depth leaves of their boxes.
        Without depth nothing tells what hides them, so there are none.
        """
        if shot.depth is None:
            return []
        turn, origin = shot.pose[:3, :3], shot.pose[:3, 3]
        masks = _masks(scan, shot)
        drafts = []
        for index, instance in enumerate(scan.instances):
            if masks is not None and index not in masks:
                continue
            given = GivenBox(
                instance.name, turn.T @ (instance.center - origin), instance.extent, turn.T @ instance.axes, SIGMA
            )
            if given.center[2] < 0.1:
                continue
            given.visible = seen_share(given, shot.depth, shot.camera)
            if given.visible < LEAST_SEEN:
                continue
            draft = draft_of(given, size, shot.camera, -down, None if masks is None else masks[index])
            if draft is not None:
                drafts.append(draft)
        return name_apart(drafts, size[0])


def _masks(scan: Scan, shot: Shot) -> dict[int, np.ndarray] | None:
    """Mask of each instance in view: the pixels whose depth lies on its surface; None where no surface is known."""
    if scan.points is None or scan.owner is None or shot.depth is None:
        return None
    from scipy.spatial import cKDTree

    if "tree" not in scan.__dict__:
        scan.__dict__["tree"] = cKDTree(scan.points)
    rows, columns = np.nonzero((shot.depth > 0) & (shot.depth < FAR))
    fx, fy, cx, cy = shot.camera
    z = shot.depth[rows, columns].astype(np.float64)
    points = np.stack([(columns - cx) / fx * z, (rows - cy) / fy * z, z], -1) @ shot.pose[:3, :3].T + shot.pose[:3, 3]
    away, nearest = scan.__dict__["tree"].query(points, distance_upper_bound=NEAR_SURFACE)
    found = np.full(len(points), -1)
    hit = np.isfinite(away)
    found[hit] = scan.owner[nearest[hit]]
    out = {}
    for index in np.unique(found[found >= 0]).tolist():
        if (found == index).sum() >= LEAST_PIXELS:
            mask = np.zeros(shot.depth.shape, bool)
            mask[rows[found == index], columns[found == index]] = True
            out[index] = mask
    return out


def quarter_turns(shot: Shot) -> int | None:
    """How many quarter turns against the clock bring down to the frame's lower edge: phones are held sideways while
    they scan. None of a frame that looks straight down.
    """
    down = shot.pose[:3, :3].T @ np.array([0.0, 0.0, -1.0])
    if abs(down[2]) > 0.9:
        return None
    if down[1] >= abs(down[0]):
        return 0
    return 2 if abs(down[0]) < -down[1] else 1 if down[0] < 0 else 3


def turned(shot: Shot, times: int) -> Shot:
    """The frame turned by so many quarter turns against the clock."""
    for _ in range(times):
        shot = _quarter(shot)
    return dataclasses.replace(shot, encoded=b"") if times else shot


def _quarter(shot: Shot) -> Shot:
    """Turned by a quarter against the clock: the right edge comes to the top."""
    (fx, fy, cx, cy), width = shot.camera, shot.rgb.shape[1]
    turn = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # old camera vectors in the new frame
    pose = shot.pose.copy()
    pose[:3, :3] = shot.pose[:3, :3] @ turn.T
    depth = None if shot.depth is None else np.ascontiguousarray(np.rot90(shot.depth))
    return Shot(np.ascontiguousarray(np.rot90(shot.rgb)), b"", depth, (fy, fx, cy, width - 1 - cx), pose)


def resized(data: bytes, size: tuple[int, int]) -> tuple[np.ndarray, bytes, tuple[int, int]]:
    """(pixels [h, w, 3], JPEG bytes of them, size before) of an encoded picture brought to `size` (width, height)."""
    from PIL import Image

    picture = open_picture(data)
    before = (picture.rgb.shape[1], picture.rgb.shape[0])
    if before == size:
        return stored_pixels(picture.rgb, picture.encoded), picture.encoded, before
    encoded = encode_picture(Image.fromarray(picture.rgb).resize(size, Image.Resampling.LANCZOS), "JPEG")
    return stored_pixels(np.zeros((1, 1, 3), np.uint8), encoded), encoded, before


def scaled(k: np.ndarray, before: tuple[int, int], size: tuple[int, int]) -> Intrinsics:
    """fx, fy, cx, cy for a picture of `before` (width, height) that was resized; pixel centres at whole numbers."""
    x, y = size[0] / before[0], size[1] / before[1]
    return (
        float(k[0, 0] * x),
        float(k[1, 1] * y),
        float((k[0, 2] + 0.5) * x - 0.5),
        float((k[1, 2] + 0.5) * y - 0.5),
    )


def through(depth: np.ndarray, from_k: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """Depth [h, w] of a camera `from_k` seen by another at the same place with `camera`, same size: nearest pixels."""
    height, width = depth.shape
    fx, fy, cx, cy = camera
    column = np.rint((np.arange(width) - cx) / fx * from_k[0, 0] + from_k[0, 2]).astype(int)
    row = np.rint((np.arange(height) - cy) / fy * from_k[1, 1] + from_k[1, 2]).astype(int)
    inside = ((row >= 0) & (row < height))[:, None] & ((column >= 0) & (column < width))[None]
    return np.where(inside, depth[row.clip(0, height - 1)][:, column.clip(0, width - 1)], 0)


def reproject(depth: np.ndarray, from_k: np.ndarray, camera: Intrinsics, move: np.ndarray) -> np.ndarray:
    """Depth [h, w] of a camera `from_k` seen by one that stands elsewhere (`move` [4, 4] takes points to it), same
    size: the nearest of the points that fall on a pixel, and on one that none falls on the farthest of its neighbours'
    where most of them have one (surfaces are stretched a little; what shows between two stays hidden).
    """
    height, width = depth.shape
    rows, columns = np.nonzero(depth > 0)
    z = depth[rows, columns].astype(np.float64)
    points = np.stack([(columns - from_k[0, 2]) / from_k[0, 0] * z, (rows - from_k[1, 2]) / from_k[1, 1] * z, z], -1)
    points = points @ move[:3, :3].T + move[:3, 3]
    points = points[points[:, 2] > 1e-3]
    fx, fy, cx, cy = camera
    column = np.rint(points[:, 0] / points[:, 2] * fx + cx).astype(int)
    row = np.rint(points[:, 1] / points[:, 2] * fy + cy).astype(int)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    out = np.full((height, width), np.inf, np.float32)
    np.minimum.at(out, (row[inside], column[inside]), points[inside, 2].astype(np.float32))
    out[np.isinf(out)] = 0
    padded = np.pad(out, 1)
    around = np.stack([padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] for dy, dx in NEIGHBOURS])
    fill = (out == 0) & ((around > 0).sum(0) >= 5)
    return np.where(fill, around.max(0), out)


def metres(counts: np.ndarray, a_metre: float) -> np.ndarray:
    """float32 depth of counts, 0 where nothing was measured or it lies beyond what the sensor sees."""
    depth = counts.astype(np.float32) / np.float32(a_metre)
    depth[depth > FAR] = 0
    return depth


def clean_name(label: Any) -> str:
    """A label as a question may say it."""
    return " ".join(str(label or "").replace("_", " ").lower().split())

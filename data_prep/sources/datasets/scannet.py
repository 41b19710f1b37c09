"""ScanNet as it is downloaded: scans/SCENE with .sens, _vh_clean_2.ply, .aggregation.json, its segments, and SCENE.txt.

The mesh and the poses stand in the scan's own frame, which axisAlignment (row by row) of SCENE.txt brings level and
along its walls. An aggregation names segments, the segs file says which segment each vertex belongs to.
"""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import numpy as np

from data_prep.sources.base import BadItem
from data_prep.sources.datasets.folder import read_bytes, read_json
from data_prep.sources.datasets.ply import read_vertices
from data_prep.sources.datasets.scans import (
    LOST,
    NO_OBJECTS,
    Scan,
    ScanFolder,
    Shot,
    clean_name,
    instance_of,
    metres,
    reproject,
    resized,
    scaled,
    through,
)
from data_prep.sources.datasets.sens import SensFile

RATE = 30.0  # frames a second of the scanning app
TABLE = "scannetv2-labels.combined.tsv"


class ScanNet(ScanFolder):
    """Scans of ScanNet v2. Classes are the `category` of scannetv2-labels.combined.tsv where it lies in the folder or
    above it, else as they were typed. Pictures are brought to the depth's size, depth into the colour camera, also
    where that stands beside the depth camera (of which the poses then are).
    """

    name = dataset = "scannet"
    title = "ScanNet"
    looked_for = "sceneNNNN_NN/*.aggregation.json with its .sens, here or in scans/"

    def scan_ids(self) -> list[str]:
        for top in (self.root, self.root / "scans", self.root.parent):
            if top == self.root.parent and not list(self.root.glob("*.aggregation.json")):
                continue
            found = [p for p in sorted(top.iterdir()) if p.is_dir()] if top.is_dir() else []
            found = [p for p in found if top != self.root.parent or p == self.root]
            ids = [p.name for p in found if self._part(p, ".aggregation.json") or self._part(p, ".sens")]
            if ids:
                self.top, self.categories = top, self._table()
                self._sens: dict[str, SensFile] = {}
                return ids
        return []

    def _part(self, folder: Any, suffix: str) -> Any:
        path = folder / f"{folder.name}{suffix}"
        return path if path.exists() else None

    def _table(self) -> dict[str, str]:
        for place in (self.root, self.root.parent, self.root.parent.parent):
            if (place / TABLE).exists():
                rows = csv.DictReader(io.StringIO((place / TABLE).read_text()), delimiter="\t")
                return {clean_name(r.get("raw_category")): clean_name(r.get("category")) for r in rows}
        self.said.append(f"classes as they were typed: there is no {TABLE}")
        return {}

    def files_of(self, item: str) -> list[Any]:
        folder = self.top / item.rpartition("#")[0]
        suffixes = (".aggregation.json", "_vh_clean_2.0.010000.segs.json", "_vh_clean_2.ply", ".txt", ".sens")
        return [p for p in (self._part(folder, s) for s in suffixes) if p]

    def alignment(self, scan_id: str) -> np.ndarray:
        """[4, 4] from the scan's own frame to the level one; none stated: it is level. BadItem without SCENE.txt."""
        path = self.top / scan_id / f"{scan_id}.txt"
        text = read_bytes(path, "scan's facts").decode("utf-8", "replace")
        match = re.search(r"^axisAlignment\s*=\s*(.+)$", text, re.MULTILINE)
        if match is None:
            return np.eye(4)  # scans of the test split are not aligned: they stand level as they were scanned
        values = np.array([float(v) for v in match.group(1).split()])
        if len(values) != 16:
            raise BadItem(f"axisAlignment of {path.name} holds {len(values)} numbers, not 16")
        return values.reshape(4, 4)

    def scan(self, scan_id: str) -> Scan:
        folder, align = self.top / scan_id, self.alignment(scan_id)
        groups = read_json(folder / f"{scan_id}.aggregation.json", "labels").get("segGroups") or []
        segments = read_json(folder / f"{scan_id}_vh_clean_2.0.010000.segs.json", "segments").get("segIndices")
        try:
            points = read_vertices(read_bytes(folder / f"{scan_id}_vh_clean_2.ply", "mesh"))
        except ValueError as error:
            raise BadItem(f"mesh {scan_id}_vh_clean_2.ply: {error}") from None
        index = np.asarray(segments if isinstance(segments, list) else [], np.int64)
        if len(index) != len(points):
            raise BadItem(f"its segments name {len(index)} vertices, its mesh has {len(points)}")
        points = points @ align[:3, :3].T.astype(np.float32) + align[:3, 3].astype(np.float32)
        out = Scan(scan_id, [], points, np.full(len(points), -1))
        assert out.owner is not None
        for group in groups:
            try:
                raw = clean_name(group["label"])
                inside = np.isin(index, np.asarray(group["segments"], np.int64))
            except (KeyError, TypeError, ValueError):
                out.told.left_out("an instance without label or segments")
                continue
            name = self.categories.get(raw, raw) or raw
            if name in NO_OBJECTS:
                out.told.left_out(f"class {name or 'without a name'} is no object")
            elif (instance := instance_of(name, points[inside])) is None:
                out.told.left_out("an instance of too few vertices")
            else:
                out.owner[inside] = len(out.instances)
                out.instances.append(instance)
        return out

    def _file(self, scan_id: str) -> SensFile | None:
        path = self._part(self.top / scan_id, ".sens")
        if path is None:
            return None
        if scan_id not in self._sens:
            try:
                self._sens[scan_id] = SensFile(str(path))
            except (ValueError, OSError) as error:
                raise BadItem(f"{path.name}: {error}") from None
        return self._sens[scan_id]

    def walk(self, scan_id: str) -> tuple[int, float]:
        file = self._file(scan_id)
        return (0, 0.0) if file is None else (file.count, RATE)

    def shot(self, scan_id: str, number: int) -> Shot:
        file = self._file(scan_id)
        assert file is not None
        try:
            colour, counts, pose = file.frame(number)
        except (ValueError, OSError) as error:
            raise BadItem(str(error)) from None
        size = (int(file.depth_size[0]), int(file.depth_size[1]))
        rgb, encoded, before = resized(colour, size)
        camera = scaled(file.colour_k, before, size)
        depth, between = metres(counts, file.shift), np.linalg.inv(file.colour_place) @ file.depth_place
        if np.allclose(between, np.eye(4), atol=1e-3):
            depth = through(depth, file.depth_k, camera)
        else:
            depth, pose = reproject(depth, file.depth_k, camera, between), pose @ np.linalg.inv(between)
        if not np.isfinite(pose).all():
            raise BadItem(LOST)
        return Shot(rgb, encoded, depth, camera, self.alignment(scan_id) @ pose)

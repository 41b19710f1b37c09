"""Folders of colour and depth pictures in the conventions of TUM, NYU, KITTI and DIODE, or any other by options."""

from __future__ import annotations

import collections
import dataclasses
import fnmatch
import hashlib
import json
import posixpath
import re
from functools import partial
from typing import Any

import numpy as np
from etils import epath

from data_prep.sources.base import ESTIMATED_BIAS, ESTIMATED_NOISE, BadItem, DepthNoise, Frame, SourceError
from data_prep.sources.conventions import CONVENTIONS, Convention, Intrinsics
from data_prep.sources.depth_files import ARRAYS, ASSUMED_METRES, ASSUMED_MILLIMETRES, ENCODINGS, read_depth
from data_prep.sources.fingerprint import fingerprint
from data_prep.sources.folder import stored_pixels
from data_prep.sources.frame_list import Entry, Paths, file_reader, read_lists, said_of_frame
from data_prep.sources.labels import labelled_objects
from data_prep.sources.listing import walk
from data_prep.sources.pictures import EXIF_SIGMA, open_picture
from data_prep.sources.registration import check_intrinsics, registration_of, turn_intrinsics, turn_object
from data_prep.sources.sequences import associate, kitti_intrinsics, read_stamps
from spatial_jax.media import turn_array

DEPTH_FROM = ("sensor", "estimated")


class RgbdFolder:
    """Colour and depth files under `path` (local or gs://), paired by `convention`.

    `intrinsics` and `depth_scale` (metres a count) override the convention's; a list of frames in `*annotations*.json`
    or `frames.json` ({"files": [{"rgb", "depth", "cam_in", "cam_in_unit", "depth_scale" (counts a metre),
    "depth_encoding", "depth_from", "registered", "complete", "objects" (as `labelled_objects` reads them)}]}, paths
    from the list's folder) overrides both and names what is in the pictures. `relative`: depth is only up to scale.
    `encoding`: one of depth_files.ENCODINGS; `registered`, `intrinsics_unit`: one of registration.REGISTERED and UNITS.
    TUM's rgb.txt and depth.txt pair files by time; KITTI's camera comes from its calibration files. Frames of one
    folder share a split, so that a sequence never stands on both sides; with `by_frame` each frame is split by itself.
    """

    name = "rgbd"

    def __init__(
        self,
        path: str,
        convention: str = "generic",
        intrinsics: Intrinsics | None = None,
        depth_scale: float = 0.0,
        relative: bool = False,
        count: int = 0,
        by_frame: bool = False,
        *,
        encoding: str = "",
        registered: str = "",
        intrinsics_unit: str = "pixels",
        depth_from: str = "",
        noise: DepthNoise | None = None,
    ):
        if convention not in CONVENTIONS:
            raise SourceError(f"no convention named {convention!r}: choose one of {', '.join(CONVENTIONS)}")
        self.root = epath.Path(path).expanduser()
        if not self.root.is_dir():
            raise SourceError(f"no such folder: {path}")
        self.path, self.kind, self.convention = path, convention, CONVENTIONS[convention]
        self.intrinsics, self.depth_scale, self.by_frame = intrinsics, depth_scale, by_frame
        self.relative = relative or self.convention.relative
        self.encoding, self.registered, self.intrinsics_unit = encoding, registered, intrinsics_unit
        self.depth_from, self.noise = depth_from, noise
        self.left_out: list[str] = []
        self.said: list[str] = []
        files = [name for name, _ in walk(self.root, left_out=self.left_out)]
        self.paths, self.known = Paths(files), set(files)
        self._in_folder: dict[str, list[str]] = collections.defaultdict(list)
        for file in files:
            self._in_folder[posixpath.dirname(file)].append(file)
        self.listed = read_lists(self.root, path, files, self.said, lambda f: bool(self._usual_depth(f)))
        self.stamped = self._depth_by_stamp(files)
        pairs = self._pair(files)
        if not pairs:
            raise SourceError(
                f"no colour picture with depth in {path} (convention {convention}:"
                f" {' or '.join(self.convention.colour)} with {' or '.join(self.convention.depth)})"
            )
        self.pairs = pairs[:count] if count else pairs
        if self.convention.pairs_all:
            seen = {name for pair in pairs for name in pair} | {text.partition(": ")[0] for text in self.left_out}
            for file in (f for f in files if f not in seen):
                if any(map(partial(_matches, file), self.convention.colour)):
                    self.left_out.append(f"{file}: no depth file")
                elif file.endswith(ARRAYS) and not any(file.endswith(m.format(stem="")) for m in self.convention.mask):
                    self.left_out.append(f"{file}: no picture of this depth")

    def _pair(self, files: list[str]) -> list[tuple[str, str]]:
        """(colour, depth) files; of two pictures with one depth file the first, unless a list pairs them so."""
        pairs, owners = list[tuple[str, str]](), dict[str, str]()
        for file in files:
            if file not in self.listed and not any(_matches(file, p) for p in self.convention.colour):
                continue
            if depth := self._depth_of(file):
                first = owners.setdefault(depth, file)
                if first == file or file in self.listed or file in self.stamped:
                    pairs.append((file, depth))
                else:
                    self.left_out.append(f"{file}: its depth file is that of {first}")
        return pairs

    def _depth_of(self, colour: str) -> str:
        """Depth file of a colour file: by time stamps, by the list of frames, else by the convention; "" for none."""
        if colour in self.stamped:
            return self.stamped[colour]
        entry = self.listed.get(colour)
        if entry and entry.fields.get("depth"):
            here = posixpath.dirname(colour)
            near = (here, posixpath.dirname(here))

            def fits(file: str) -> bool:
                place = posixpath.dirname(file)
                return not self._usual_depth(file) and (place in near or posixpath.dirname(place) == near[1])

            found = self.paths.find(entry.fields["depth"], entry.folder, f"{self.path}/{entry.file}", fits)
            if found and found != colour:
                return found
        return self._usual_depth(colour)

    def _usual_depth(self, colour: str) -> str:
        """The depth file that the convention puts to a colour file, "" for none."""
        folder, base = posixpath.split(colour)
        stem = posixpath.splitext(base)[0]
        names = {
            "stem": stem,
            "tail": stem.partition("_")[2],
            "head": base.partition(".")[0],
            "swap": re.sub("(?<![A-Z])(image|img|rgb|color)", "depth", stem, count=1),
        }
        for pattern in self.convention.depth:
            wanted = posixpath.normpath(posixpath.join(folder, pattern.format(**names)))
            found = self._only_one(wanted) if "*" in wanted else wanted
            if found in self.known and found != colour:
                return found
        return ""

    def _only_one(self, pattern: str) -> str:
        """The one file of a folder that fits, "" for none or several."""
        found = [f for f in self._in_folder[posixpath.dirname(pattern)] if fnmatch.fnmatch(f, pattern)]
        return found[0] if len(found) == 1 else ""

    def _depth_by_stamp(self, files: list[str]) -> dict[str, str]:
        """Depth file of each colour file by TUM's lists of time stamps, for every sequence below the folder that has
        them.
        """
        out: dict[str, str] = {}
        for name in files:
            folder, base = posixpath.split(name)
            partner = posixpath.join(folder, "depth.txt")
            if base == "rgb.txt" and partner in self.known:
                pairs = associate(
                    read_stamps((self.root / name).read_text()), read_stamps((self.root / partner).read_text())
                )
                out.update({posixpath.join(folder, c): posixpath.join(folder, d) for c, d in pairs.items()})
        return {c: d for c, d in out.items() if d in self.known}

    def _calibration(self, colour: str) -> Intrinsics | None:
        """KITTI's camera of a frame: its own intrinsics file, else the calib_cam_to_cam.txt of its folder or the
        nearest one above.
        """
        folder, base = posixpath.split(colour)
        stem = posixpath.splitext(base)[0]
        places = [
            posixpath.normpath(posixpath.join(folder, p))
            for p in (
                f"../intrinsics/{stem}.txt",
                "../intrinsics.txt",
                "calib_cam_to_cam.txt",
                "../calib_cam_to_cam.txt",
                "../../calib_cam_to_cam.txt",
                "../../../calib_cam_to_cam.txt",
            )
        ]
        found = next((p for p in places if p in self.known), "")
        return (
            kitti_intrinsics((self.root / found).read_text(), "03" if "image_03" in colour else "02") if found else None
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def item_id(self, index: int) -> str:
        return self.pairs[index][0]

    def config(self) -> dict[str, Any]:
        listed = {file: entry.fields for file, entry in self.listed.items()}
        parts = [*(f"{c} {d}" for c, d in self.pairs), json.dumps(listed, sort_keys=True)]
        parts.append(fingerprint([(name, self.root / name) for pair in self.pairs for name in pair]))
        listing = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        return {
            "source": self.name,
            "path": self.path,
            "convention": self.kind,
            "intrinsics": self.intrinsics,
            "depth_scale": self.depth_scale,
            "relative": self.relative,
            "files": listing,
            "by_frame": self.by_frame,
            "reading": [self.encoding, self.registered, self.intrinsics_unit, self.depth_from],
            "noise": dataclasses.asdict(self.noise) if self.noise else None,
        }

    def _depth(self, data: bytes, mask: bytes | None, name: str, entry: Entry | None, notes: list[str]) -> np.ndarray:
        """float32 depth [h, w] as its file, the list of frames, the options and the convention say, in this order."""
        rule, listed = self.convention, entry.fields.get("depth_scale") if entry else None
        stated = bool(listed or self.depth_scale)
        try:
            scale = 1 / float(listed) if listed else self.depth_scale or rule.scale
        except (TypeError, ValueError, ZeroDivisionError):
            scale = 0.0
        if not 0 < scale < float("inf"):
            raise BadItem(f"depth_scale of {name} is no positive number: {listed or self.depth_scale!r}")
        encoding = (entry.fields.get("depth_encoding") if entry else "") or self.encoding or rule.encoding
        if listed and float(listed) < 1 and encoding != "inverse":
            raise BadItem(f"depth_scale of {name} in its list counts values a metre: {listed} is none; 1000 for mm")
        if encoding not in ENCODINGS:
            raise BadItem(f"depth_encoding of {name} is {encoding!r}: use one of {', '.join(ENCODINGS)}")
        depth = read_depth(
            data, name, scale, mask, encoding=encoding, stated=stated, relative=self.relative, notes=notes
        )
        beyond = float((depth > rule.most).sum()) / max(int((depth > 0).sum()), 1)
        if beyond > 0.1:
            notes.append(f"{beyond:.0%} of its depth lies beyond the {rule.most:g} m that {rule.source}'s camera sees")
        depth[depth > rule.most] = 0
        if rule.border:
            edge = np.zeros_like(depth, bool)
            edge[rule.border : -rule.border, rule.border : -rule.border] = True
            depth = np.where(edge, depth, 0)
        if not (depth > 0).any():
            raise BadItem(f"{name} has no valid depth{f' ({notes[-1]})' if beyond > 0.1 else ''}")
        return depth

    def _camera(self, entry: Entry | None, width: int, height: int, item: str) -> Intrinsics | None:
        size, fields = (width, height), entry.fields if entry else {}
        if fields.get("cam_in"):
            unit = str(fields.get("cam_in_unit", self.intrinsics_unit))
            return check_intrinsics(fields["cam_in"], item, size, unit)
        if self.intrinsics:
            return check_intrinsics(self.intrinsics, item, size, self.intrinsics_unit)
        rule = self.convention
        if self.kind in ("kitti", "sunrgbd") and (calibrated := self._calibration(item)):
            return check_intrinsics(calibrated, item, size)
        if rule.intrinsics is None or rule.size is None:
            return None
        if abs(width / height - rule.size[0] / rule.size[1]) > 0.01:
            raise BadItem(
                f"{width}x{height} has not the shape of {self.kind}'s camera ({rule.size[0]}x{rule.size[1]}): give"
                " --intrinsics"
            )
        return tuple(v * width / rule.size[0] for v in rule.intrinsics)  # type: ignore[return-value]

    def load(self, index: int) -> Frame:
        colour, depth_name = self.pairs[index]
        rule: Convention = self.convention
        entry = self.listed.get(colour)
        try:
            picture = open_picture((self.root / colour).read_bytes())
            data = (self.root / depth_name).read_bytes()
            stem = posixpath.splitext(colour)[0]
            mask = next((m for m in (p.format(stem=stem) for p in rule.mask) if m in self.known), "")
            mask_data = (self.root / mask).read_bytes() if mask else None
            if rule.mask and not mask and not depth_name.endswith(".npz"):  # which may hold one
                picture.notes.append("it has no mask file: all of its depth is taken as measured")
        except OSError as error:
            raise BadItem(f"cannot be read: {error.strerror or error}") from None
        depth = self._depth(data, mask_data, depth_name, entry, picture.notes)
        turn, stored = picture.orientation, picture.stored_size
        stated = str((entry.fields.get("registered") if entry else "") or self.registered)
        frame_of = registration_of(stated, turn, stored, depth, colour)
        height, width = picture.rgb.shape[:2] if frame_of == "upright" else stored[::-1]
        if depth.shape != (height, width):
            raise BadItem(
                f"depth is {depth.shape[1]}x{depth.shape[0]}, the picture {width}x{height}: they must be registered to"
                " each other"
            )
        objects = labelled_objects(
            entry.fields.get("objects", []) if entry else [], width, height, file_reader(self.root, self.paths, entry)
        )
        intrinsics = self._camera(entry, width, height, colour)
        # The lens of the picture beside which the depth lies, where nobody gave a camera; as it stands upright.
        lens = picture.exif_intrinsics() if intrinsics is None else None
        if frame_of == "stored":
            depth = turn_array(depth, turn)
            objects = [turn_object(thing, turn, stored) for thing in objects]
            intrinsics = intrinsics and turn_intrinsics(intrinsics, turn, stored)
        depth_from = str((entry.fields.get("depth_from") if entry else "") or self.depth_from or "sensor")
        if depth_from not in DEPTH_FROM:
            raise BadItem(f"depth_from of {colour} is {depth_from!r}: use one of {', '.join(DEPTH_FROM)}")
        key = f"{self.root.name}/{colour if self.by_frame else posixpath.dirname(colour)}"
        listed_camera = bool(entry and entry.fields.get("cam_in"))
        camera_from = "frame list" if listed_camera else "option" if self.intrinsics else rule.source
        camera_from = f"EXIF 35-mm-equivalent focal length {picture.focal_35mm:g} mm" if lens else camera_from
        return Frame(
            colour,
            self.name,
            stored_pixels(picture.rgb, picture.encoded),
            picture.encoded,
            key,
            depth,
            "relative" if self.relative else "metric",
            self._noise(depth_from, depth),
            intrinsics or lens,
            "sensor" if intrinsics else "exif" if lens else "none",
            focal_sigma=EXIF_SIGMA if lens else 0.0,
            objects=objects,
            tags=("photo", *rule.tags),
            meta=said_of_frame(entry),
            notes=picture.notes,
            provenance={
                "depth": rule.source or "file",
                "depth_file": depth_name,
                "depth_scale": self._said_scale(depth_name, entry),
                "depth_from": depth_from,
                "intrinsics": camera_from,
            },
        )

    def _noise(self, depth_from: str, depth: np.ndarray) -> DepthNoise:
        """A sensor's error is the convention's; that of a model is far larger and shared by the whole picture."""
        if self.noise is not None:
            return self.noise
        if depth_from == "sensor":
            return self.convention.noise
        return DepthNoise(
            linear=ESTIMATED_NOISE, bias=ESTIMATED_BIAS, correlation=max(1.0, min(depth.shape) * 14 / 518)
        )

    def _said_scale(self, name: str, entry: Entry | None) -> str:
        """Who said what a count of the depth file is."""
        if entry and entry.fields.get("depth_scale"):
            return "frame list"
        if self.depth_scale:
            return "option"
        return self.convention.source or (ASSUMED_METRES if name.endswith(ARRAYS) else ASSUMED_MILLIMETRES)


def _matches(path: str, pattern: str) -> bool:
    """Whether a relative path ends as the pattern says, folder by folder and in either case (MegaDepth has .JPG too);
    `**/` stands for any depth.
    """
    path, pattern = path.lower(), pattern.lower()
    parts, wanted = path.split("/"), pattern.removeprefix("**/").split("/")
    return len(parts) >= len(wanted) and all(fnmatch.fnmatch(p, w) for p, w in zip(parts[-len(wanted) :], wanted))

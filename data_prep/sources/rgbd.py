"""Folders of colour and depth pictures in the conventions of TUM, NYU, KITTI and DIODE, or any other by options."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import posixpath
import re
from typing import Any

import numpy as np
from etils import epath

from data_prep.sources.base import BadItem, Frame, SourceError
from data_prep.sources.conventions import CONVENTIONS, Convention, Intrinsics
from data_prep.sources.fingerprint import fingerprint
from data_prep.sources.folder import stored_pixels
from data_prep.sources.labels import labelled_objects
from data_prep.sources.listing import walk
from data_prep.sources.pictures import open_picture
from data_prep.sources.sequences import associate, kitti_intrinsics, read_stamps
from spatial_jax.media import open_image


def read_depth(data: bytes, name: str, scale: float, mask: bytes = b"") -> np.ndarray:
    """float32 depth [h, w] in metres (0 invalid) of PNG, NPY, NPZ ("depth_m" or "depth", optional "mask") or HDF5
    ("depth") bytes.
    """
    try:
        if name.endswith(".npz"):
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                key = next((k for k in ("depth_m", "depth") if k in file.files), None)
                if key is None:
                    raise BadItem(f"{name} holds {', '.join(file.files)}, but no array named depth")
                values = np.where(file["mask"] > 0, file[key], 0) if "mask" in file.files else file[key]
        elif name.endswith(".npy"):
            values = np.load(io.BytesIO(data), allow_pickle=False)
        elif name.endswith((".h5", ".hdf5")):
            import h5py

            with h5py.File(io.BytesIO(data), "r") as file:
                if "depth" not in list(file):
                    raise BadItem(f"{name} holds {', '.join(file)}, but no data set named depth")
                values = _own_values(file, name)
        else:
            image = open_image(data)
            if image.mode in ("RGB", "RGBA", "P", "1"):
                raise BadItem(f"{name} is a colour picture ({image.mode}), not depth")
            values = np.asarray(image)
        values = np.asarray(values, np.float32)
        if mask:
            values = np.where(_flat(np.load(io.BytesIO(mask), allow_pickle=False)) > 0, _flat(values), 0)
    except BadItem:
        raise
    except Exception as error:
        raise BadItem(
            f"{name} cannot be decoded: {' '.join(str(error).split())[:120] or type(error).__name__}"
        ) from None
    values = _flat(values)
    if values.ndim != 2:
        raise BadItem(f"{name} has shape {values.shape}, not height x width")
    depth = values * np.float32(scale)
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)


def _own_values(file: Any, name: str) -> np.ndarray:
    """The "depth" of an HDF5 file, whose values must be its own: links, external and virtual storage name files of
    other folders, which HDF5 opens.
    """
    import h5py

    own = file.id.links.get_info(b"depth").type == h5py.h5l.TYPE_HARD  # asking by name would follow the link
    stored = file["depth"] if own else None
    if not isinstance(stored, h5py.Dataset) or stored.external or stored.is_virtual:
        raise BadItem(f"{name}: its depth is kept in another file or is no data set; store the values themselves")
    return stored[()]


def _flat(values: np.ndarray) -> np.ndarray:
    """[h, w] of [h, w, 1]; anything else as it is."""
    return values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values


def _check(intrinsics: Any, where: str) -> Intrinsics:
    try:
        fx, fy, cx, cy = (float(v) for v in intrinsics)
    except (TypeError, ValueError):
        raise BadItem(f"intrinsics of {where} must be fx,fy,cx,cy, not {intrinsics!r}") from None
    if not (np.isfinite([fx, fy, cx, cy]).all() and fx > 0 and fy > 0):
        raise BadItem(f"intrinsics of {where} have a focal length that is not positive: {fx:g}, {fy:g}")
    return fx, fy, cx, cy


class RgbdFolder:
    """Colour and depth files under `path` (local or gs://), paired by `convention`.

    `intrinsics` and `depth_scale` (metres a count) override the convention's; a list of frames in `*annotations*.json`
    or `frames.json` ({"files": [{"rgb", "depth", "cam_in", "depth_scale" (counts a metre), "objects" (as
    `labelled_objects` reads them)}]}) overrides both and names what is in the pictures. `relative`: depth is only up to
    scale. TUM's rgb.txt and depth.txt pair files by time; KITTI's camera comes from its calibration files. Frames of
    one folder share a split, so that a sequence never stands on both sides; with `by_frame` each frame is split by
    itself.
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
    ):
        if convention not in CONVENTIONS:
            raise SourceError(f"no convention named {convention!r}: choose one of {', '.join(CONVENTIONS)}")
        self.root = epath.Path(path).expanduser()
        if not self.root.is_dir():
            raise SourceError(f"no such folder: {path}")
        self.path, self.kind, self.convention = path, convention, CONVENTIONS[convention]
        self.intrinsics, self.depth_scale, self.relative, self.by_frame = intrinsics, depth_scale, relative, by_frame
        files = [name for name, _ in walk(self.root)]
        self.known = set(files)
        self.listed = self._listed(files)
        self.stamped = self._stamped(files)
        pairs = [
            (f, d) for f in files if any(_matches(f, p) for p in self.convention.colour) and (d := self._depth_of(f))
        ]
        if not pairs:
            raise SourceError(
                f"no colour picture with depth in {path} (convention {convention}:"
                f" {' or '.join(self.convention.colour)} with {' or '.join(self.convention.depth)})"
            )
        self.pairs = pairs[:count] if count else pairs

    def _listed(self, files: list[str]) -> dict[str, dict[str, Any]]:
        """Entries of the folder's own list of frames, by the colour file's name."""
        out: dict[str, dict[str, Any]] = {}
        for name in files:
            if (
                fnmatch.fnmatch(posixpath.basename(name), "*annotations*.json")
                or posixpath.basename(name) == "frames.json"
            ):
                try:
                    for entry in json.loads((self.root / name).read_text())["files"]:
                        out[posixpath.basename(entry["rgb"])] = entry
                        out[posixpath.basename(entry["rgb"]).replace(".png", ".rgb.png")] = entry
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise SourceError(
                        f"{self.path}/{name} is not a list of frames: {type(error).__name__} {error}"
                    ) from None
        return out

    def _depth_of(self, colour: str) -> str:
        if colour in self.stamped:
            return self.stamped[colour]
        folder, base = posixpath.split(colour)
        stem = posixpath.splitext(base)[0]
        names = {
            "stem": stem,
            "tail": stem.partition("_")[2],
            "head": base.partition(".")[0],
            "swap": re.sub("(?<![A-Z])(image|img|rgb|color)", "depth", stem, count=1),
        }
        named = self.listed.get(base, {}).get("depth", "")
        candidates = [posixpath.join(folder, posixpath.basename(named))] if named else []
        candidates += [posixpath.normpath(posixpath.join(folder, p.format(**names))) for p in self.convention.depth]
        return next((c for c in candidates if c in self.known and c != colour), "")

    def _stamped(self, files: list[str]) -> dict[str, str]:
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
        parts = [*(f"{c} {d}" for c, d in self.pairs), json.dumps(self.listed, sort_keys=True) if self.listed else ""]
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
        }

    def _scale(self, entry: dict[str, Any]) -> float:
        if entry.get("depth_scale"):
            return 1 / float(entry["depth_scale"])
        return self.depth_scale or self.convention.scale

    def _camera(self, entry: dict[str, Any], width: int, height: int, item: str) -> Intrinsics | None:
        if entry.get("cam_in"):
            return _check(entry["cam_in"], item)
        if self.intrinsics:
            return _check(self.intrinsics, item)
        rule = self.convention
        if self.kind == "kitti" and (calibrated := self._calibration(item)):
            return _check(calibrated, item)
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
        entry = self.listed.get(posixpath.basename(colour), {})
        try:
            picture = open_picture((self.root / colour).read_bytes())
            data = (self.root / depth_name).read_bytes()
            stem = posixpath.splitext(colour)[0]
            mask = next((m for m in (p.format(stem=stem) for p in rule.mask) if m in self.known), "")
            mask_data = (self.root / mask).read_bytes() if mask else b""
            objects = labelled_objects(
                entry.get("objects", []),
                picture.rgb.shape[1],
                picture.rgb.shape[0],
                lambda name: (self.root / name).read_bytes(),
            )
        except OSError as error:
            raise BadItem(f"cannot be read: {error.strerror or error}") from None
        scale = 1.0 if depth_name.endswith((".npy", ".npz", ".h5")) and not self.depth_scale else self._scale(entry)
        depth = read_depth(data, depth_name, scale, mask_data)
        height, width = picture.rgb.shape[:2]
        if depth.shape != (height, width):
            raise BadItem(
                f"depth is {depth.shape[1]}x{depth.shape[0]}, the picture {width}x{height}: they must be registered to"
                " each other"
            )
        depth[depth > rule.most] = 0
        if rule.border:
            edge = np.zeros_like(depth, bool)
            edge[rule.border : -rule.border, rule.border : -rule.border] = True
            depth = np.where(edge, depth, 0)
        if not (depth > 0).any():
            raise BadItem(f"{depth_name} has no valid depth")
        intrinsics = self._camera(entry, width, height, colour)
        key = f"{self.root.name}/{colour if self.by_frame else posixpath.dirname(colour)}"
        camera_from = "frame list" if entry.get("cam_in") else "option" if self.intrinsics else rule.source
        return Frame(
            colour,
            self.name,
            stored_pixels(picture.rgb, picture.encoded),
            picture.encoded,
            key,
            depth,
            "relative" if self.relative else "metric",
            rule.noise,
            intrinsics,
            "sensor" if intrinsics else "none",
            objects=objects,
            tags=("photo", *rule.tags),
            notes=picture.notes,
            provenance={"depth": rule.source or "file", "depth_file": depth_name, "intrinsics": camera_from},
        )


def _matches(path: str, pattern: str) -> bool:
    """Whether a relative path ends as the pattern says, folder by folder; `**/` stands for any depth."""
    parts, wanted = path.split("/"), pattern.removeprefix("**/").split("/")
    return len(parts) >= len(wanted) and all(fnmatch.fnmatch(p, w) for p, w in zip(parts[-len(wanted) :], wanted))

"""Depth out of files: PNG, TIFF, NPY, NPZ and HDF5 to metres (or to a relative unit), and what must not be taken for a
distance.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from data_prep.sources.base import BadItem
from spatial_jax.media import open_image

# "depth": value times scale is the distance. "inverse": 1 / (value times scale) is it, near things are bright.
# "rotated": SUN RGB-D's PNG files, 16 bits rotated to the left by three.
ENCODINGS = ("depth", "inverse", "rotated")
ASSUMED_METRES, ASSUMED_MILLIMETRES = "floats taken as metres", "counts taken as millimetres"  # nobody said
ARRAYS = (".npy", ".npz", ".h5", ".hdf5")
# The largest value of a 16-bit file after a tool has turned counts into millimetres, centimetres, metres or floats.
_SATURATED = (65535.0, 6553.5, 655.35, 65.535)
_LONE_FACTOR = (
    5.0  # a largest value that many pixels share, this many times beyond all others, means "nothing measured"
)
_MANY_DISTINCT = 64
_MEDIAN_MOST = 500.0  # metres; floats whose median is above are in another unit


def read_depth(
    data: bytes,
    name: str,
    scale: float,
    mask: bytes | None = None,
    *,
    encoding: str = "depth",
    stated: bool = True,
    relative: bool = False,
    notes: list[str] | None = None,
) -> np.ndarray:
    """float32 depth [h, w] in metres (0 invalid) of PNG, NPY, NPZ ("depth_m" or "depth", optional "mask") or HDF5
    ("depth") bytes.

    `scale`: metres a count, or whatever `encoding` (one of ENCODINGS) says; `stated`: somebody gave it for these files,
    it is not a convention's default (then floats are metres already, and values that can be no distances are refused);
    `relative`: only the order and ratio of the values is claimed. `notes` gets what was taken for "no depth" by its
    look. Raises BadItem with one line that names the setting to give.
    """
    values, metres = _values(data, name)
    if values.dtype.kind == "b":
        raise BadItem(f"{name} says yes or no of each pixel: a mask, not depth")
    if not stated:
        _refuse_unstated(values, name, encoding, relative, metres)
    elif metres and scale != 1.0 and not relative:
        raise BadItem(f"{name} says that its values are metres, depth_scale that one is {scale:g} m: drop one of them")
    if mask is not None:
        kept = _values(mask, f"the mask of {name.removesuffix('.npy')}.npy")[0]
        if kept.shape != values.shape:  # one that numpy would stretch, too
            raise BadItem(f"the mask of {name} has shape {kept.shape}, its depth {values.shape}")
        values = np.where(kept > 0, values, values.dtype.type(0))
    if values.ndim != 2:
        raise BadItem(f"{name} has shape {values.shape}, not height x width")
    if encoding == "rotated" and values.dtype != np.uint16:
        raise BadItem(f"{name} holds {values.dtype} values: only 16-bit files have rotated bits")
    counts = values.dtype.kind in "iu"
    depth = distances(values, scale if counts or stated else 1.0, encoding, notes)
    if not (stated or relative) and (depth > 0).any() and np.median(depth[depth > 0]) > _MEDIAN_MOST:
        raise BadItem(
            f"{name} has a median of {np.median(depth[depth > 0]):g}: metres can hardly be meant; say"
            " --depth_scale=0.001 for millimetres (1 for metres), or --relative"
        )
    return depth


def distances(values: np.ndarray, scale: float, encoding: str = "depth", notes: list[str] | None = None) -> np.ndarray:
    """float32 [h, w] depth, 0 where nothing was measured, of stored values; arguments as of `read_depth`."""
    values = values if values.dtype.kind in "iu" else values.astype(np.float32)
    missing = _missing(values, encoding)
    if encoding == "rotated":
        values = (values >> 3) | (values << 13)
    depth = values.astype(np.float64) * scale
    if encoding == "inverse":
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = 1 / depth
    depth = np.where(missing | ~np.isfinite(depth) | (depth <= 0), 0, depth).astype(np.float32)
    return without_lone_top(depth, notes)


def _values(data: bytes, name: str) -> tuple[np.ndarray, bool]:
    """(stored values as they are, whether the file itself says that they are metres)."""
    try:
        if name.endswith(".npz"):
            values, metres = _npz(data, name)
        elif name.endswith(".npy"):
            values, metres = np.load(io.BytesIO(data), allow_pickle=False), False
        elif name.endswith((".h5", ".hdf5")):
            values, metres = _hdf5(data, name)
        else:
            image = open_image(data)
            if image.mode in ("RGB", "RGBA", "P", "PA", "LA", "1", "CMYK"):
                raise BadItem(f"{name} is a colour picture ({image.mode}), not depth")
            values, metres = np.asarray(image), False
        values = _flat(np.asarray(values))
        if values.dtype.kind not in "biuf":
            raise BadItem(f"{name} holds values of type {values.dtype}, not numbers")
        return (values if values.dtype.kind in "biu" else values.astype(np.float32)), metres
    except BadItem:
        raise
    except Exception as error:
        raise BadItem(
            f"{name} cannot be decoded: {' '.join(str(error).split())[:120] or type(error).__name__}"
        ) from None


def _npz(data: bytes, name: str) -> tuple[np.ndarray, bool]:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        key = next((k for k in ("depth_m", "depth") if k in file.files), None)
        if key is None:
            raise BadItem(f"{name} holds {', '.join(file.files)}, but no array named depth")
        values = file[key]
        if "mask" in file.files:
            kept, values = _flat(file["mask"]), _flat(values)
            if kept.shape != values.shape:
                raise BadItem(f"the mask of {name} has shape {kept.shape}, its depth {values.shape}")
            values = np.where(kept > 0, values, values.dtype.type(0))
        return values, key == "depth_m"


def _hdf5(data: bytes, name: str) -> tuple[np.ndarray, bool]:
    """The "depth" of an HDF5 file, whose values must be its own: links, external and virtual storage name files of
    other folders, which HDF5 opens.
    """
    import h5py

    with h5py.File(io.BytesIO(data), "r") as file:
        if "depth" not in list(file):
            raise BadItem(f"{name} holds {', '.join(file)}, but no data set named depth")
        own = file.id.links.get_info(b"depth").type == h5py.h5l.TYPE_HARD  # asking by name would follow the link
        stored = file["depth"] if own else None
        if not isinstance(stored, h5py.Dataset) or stored.external or stored.is_virtual:
            raise BadItem(f"{name}: its depth is kept in another file or is no data set; store the values themselves")
        unit: Any = stored.attrs.get("units", stored.attrs.get("unit", ""))
        unit = unit.decode("utf-8", "replace") if isinstance(unit, bytes) else unit
        return stored[()], str(unit).strip().lower() in ("m", "meter", "meters", "metre", "metres")


def _refuse_unstated(values: np.ndarray, name: str, encoding: str, relative: bool, metres: bool) -> None:
    """BadItem for values whose unit nobody gave and that would be taken for metres without being any."""
    if values.dtype.itemsize == 1 and encoding == "depth":
        raise BadItem(
            f"{name} holds 8-bit values: a picture of depth, not distances; say --depth_encoding=inverse --relative"
            " where near things are bright, --depth_scale=METRES where a count is so many metres, or store 16 bits"
        )
    if encoding == "inverse" and not relative:
        raise BadItem(
            f"{name}: inverse depth gives metres only with --depth_scale (1 / metres a count); say --relative"
        )
    if name.endswith((".h5", ".hdf5")) and not (metres or relative):
        raise BadItem(
            f"{name} does not say what its values are (MegaDepth's are known only up to scale): say --relative, or"
            " --depth_scale=1 for metres"
        )
    if values.dtype == np.uint16 and encoding == "depth":
        kept = np.unique(values[values > 0])
        if len(kept) >= _MANY_DISTINCT and not (kept % 8).any():
            raise BadItem(
                f"{name} holds multiples of 8 only, as SUN RGB-D's rotated bits do: say --convention=sunrgbd or"
                " --depth_encoding=rotated, or --depth_scale=METRES if they are counts"
            )


def _missing(values: np.ndarray, encoding: str) -> np.ndarray:
    """bool [h, w]: values that formats keep for "no depth", beside zero, negative and not finite ones."""
    if encoding == "inverse":
        return values <= 0
    if values.dtype.kind in "iu":
        tops = {int(np.iinfo(values.dtype).max), *((65535,) if values.dtype.itemsize > 2 else ())}
        return np.isin(values, list(tops)) | (values <= 0)
    top = values[np.isfinite(values)].max(initial=0)
    saturated = any(np.isclose(top, t, rtol=1e-6) for t in _SATURATED) or top > 1e6
    return ~np.isfinite(values) | ((values == top) & saturated) | (values > 1e6)


def without_lone_top(depth: np.ndarray, notes: list[str] | None = None) -> np.ndarray:
    """The depth with 0 at its largest value, where at least one in 2,000 valid pixels has exactly it and it lies five
    times beyond everything else: a background value, not a wall.
    """
    valid = depth[depth > 0]
    if len(valid) < 2:
        return depth
    top = valid.max()
    rest = valid[valid < top]
    if not len(rest) or len(valid) - len(rest) < max(2, len(valid) / 2000) or top < _LONE_FACTOR * rest.max():
        return depth
    if notes is not None:
        notes.append(f"{(len(valid) - len(rest)) / depth.size:.0%} of its depth is {top:g}, taken for 'no depth'")
    return np.where(depth == top, 0, depth)


def _flat(values: np.ndarray) -> np.ndarray:
    """[h, w] of [h, w, 1]; anything else as it is."""
    return values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values

"""Reading and writing safetensors files tensor by tensor, with errors that name the file. No other weight format is
read.
"""

from __future__ import annotations

import json
import logging
import math
import os
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np

from spatial_jax.models.hub import checkpoint_json
from spatial_jax.reading import parse_json

DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(bool),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
log = logging.getLogger(__name__)


class SafetensorsFile:
    """One file: its header is checked against the file's size on opening; tensors are read one at a time."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        size = self.path.stat().st_size
        with open(self.path, "rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
            if length < 2 or 8 + length > size:
                raise ValueError(f"{self.path}: not a whole safetensors file ({size} bytes); download or copy it again")
            try:
                header = parse_json(file.read(length))
                self._check(header)
            except ValueError as error:
                raise ValueError(
                    f"{self.path}: its safetensors header is corrupt ({error}); download or copy it again"
                ) from None
        self.metadata = header.pop("__metadata__", {})
        self.entries: dict[str, tuple[np.dtype, tuple[int, ...], int]] = {}
        end = 0
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            first, last = entry["data_offsets"]
            if first != end:  # as safetensors' own reader: one tensor's bytes are no other's
                raise ValueError(
                    f"{self.path}: tensor {name} begins at byte {first}, where the one before ends at {end}; the file"
                    " is corrupt, download or copy it again"
                )
            if entry["dtype"] not in DTYPES:
                raise ValueError(
                    f"{self.path}: tensor {name} has type {entry['dtype']}, which is not supported; convert it to BF16"
                    " or F32"
                )
            dtype, shape = DTYPES[entry["dtype"]], tuple(entry["shape"])
            if last - first != dtype.itemsize * math.prod(shape):
                raise ValueError(
                    f"{self.path}: tensor {name} has {last - first} bytes, which do not fit shape {shape}; the file is"
                    " corrupt"
                )
            self.entries[name] = (dtype, shape, 8 + length + first)
            end = last
        if 8 + length + end != size:
            raise ValueError(
                f"{self.path}: {size} bytes, but its header promises {8 + length + end}; it is truncated, download or"
                " copy it again"
            )

    @staticmethod
    def _check(header: object) -> None:
        """ValueError unless the header is a table of tensors with a type, a shape and two offsets each."""
        if not isinstance(header, dict):
            raise ValueError(f"a {type(header).__name__} where a table of tensors should be")
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            parts = [entry.get(key) for key in ("shape", "data_offsets")] if isinstance(entry, dict) else [None]
            numbers = all(isinstance(part, list) and all(type(n) is int and n >= 0 for n in part) for part in parts)
            if not numbers or not isinstance(entry.get("dtype"), str) or len(entry["data_offsets"]) != 2:
                raise ValueError(f"the entry of tensor {name!r} is not a type, a shape and two offsets")

    def read(self, name: str) -> np.ndarray:
        """The tensor, in memory of its own."""
        dtype, shape, offset = self.entries[name]
        return np.fromfile(self.path, dtype, int(np.prod(shape, dtype=np.int64)), offset=offset).reshape(shape)


WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin", "adapter_config.json")


class Checkpoint:
    """The safetensors files of a directory that transformers would load, as one set of tensors: the file or index that
    config.json names under `transformers_weights`; else model.safetensors; else the shards of
    model.safetensors.index.json. Where none of them is there (transformers refuses that), all other *.safetensors.

    FileNotFoundError when a file is missing; ValueError when a tensor stands in two of the files. An adapter beside the
    weights is never applied, and named by a warning.
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(directory)
        if not self.directory.is_dir():
            raise FileNotFoundError(
                f"{self.directory}: no such directory; give a folder with config.json and *.safetensors"
            )
        adapters = [name for name in ADAPTER_FILES if (self.directory / name).is_file()]
        files = self._files()
        if not files:
            raise FileNotFoundError(
                f"{self.directory}: holds {' and '.join(adapters)} but no weights; merge the adapter into its base"
                if adapters
                else f"{self.directory}: holds no *.safetensors file; other weight formats are not read"
            )
        if adapters:
            log.warning(
                "%s: %s beside the weights: the adapter is not applied; merge it, or remove it if it is merged already",
                self.directory,
                " and ".join(adapters),
            )
        self._where: dict[str, SafetensorsFile] = {}
        for file in map(SafetensorsFile, files):
            for name in file.entries:
                if name in self._where:
                    raise ValueError(
                        f"{self.directory}: tensor {name} stands in {self._where[name].path.name} and in"
                        f" {file.path.name}; remove the file of the older checkpoint"
                    )
                self._where[name] = file

    def _files(self) -> list[Path]:
        config, folder = self.directory / "config.json", self.directory
        named = checkpoint_json(config).get("transformers_weights")
        if named is not None:
            if not _is_base_name(named) or not named.endswith((".safetensors", ".safetensors.index.json")):
                raise ValueError(f"{config}: transformers_weights {named!r} is no safetensors file or index beside it")
            if not (folder / named).is_file():
                raise FileNotFoundError(f"{folder}: config.json names the weights {named}, not there; download it")
            return _shards(folder / named) if named.endswith(".json") else [folder / named]
        shards = _files_of_index(folder / INDEX) if (folder / INDEX).is_file() else []
        if (folder / WHOLE).is_file():
            if shards:
                log.warning("%s: %s is used, as in transformers; %s and its shards are left", folder, WHOLE, INDEX)
            return [folder / WHOLE]
        if shards:
            return _shards(folder / INDEX)
        return [path for path in sorted(folder.glob("*.safetensors")) if path.name not in ADAPTER_FILES]

    def names(self) -> list[str]:
        return list(self._where)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._where[name].entries[name][1]

    def dtype(self, name: str) -> np.dtype:
        return self._where[name].entries[name][0]

    def read(self, name: str) -> np.ndarray:
        return self._where[name].read(name)


def _is_base_name(name: object) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and name == os.path.basename(name)


def _files_of_index(index: Path) -> list[str]:
    """The names of the files that an index lists, sorted; ValueError for anything but an index of files beside it."""
    weight_map = checkpoint_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{index}: not an index of tensors (no weight_map); download or copy it again")
    if not all(_is_base_name(name) for name in weight_map.values()):
        raise ValueError(f"{index}: names files outside its folder; download it again")
    return sorted(set(weight_map.values()))


def _shards(index: Path) -> list[Path]:
    names = _files_of_index(index)
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        raise FileNotFoundError(f"{index.parent}: {index.name} lists {', '.join(missing)}, not there; download them")
    return [index.parent / name for name in names]


def write_safetensors(
    path: str | os.PathLike, entries: list[tuple[str, tuple[int, ...], np.dtype]], tensors: Iterator[np.ndarray]
) -> None:
    """Writes one file in the order of `entries` (name, shape, type), taking the tensors one at a time; complete or
    absent, never half.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape, dtype in entries:
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": _NAMES[np.dtype(dtype)], "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    # A name of its own: two processes may write the same file, such as the features of a picture that both see.
    partial = Path(f"{path}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for (name, shape, dtype), tensor in zip(entries, tensors, strict=True):
                if tensor.shape != shape or tensor.dtype != dtype:
                    told = f"tensor {name} is {tensor.dtype}{tensor.shape}, announced as {dtype}{shape}"
                    raise ValueError(f"{path}: {told}")
                np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).tofile(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise

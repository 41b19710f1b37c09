"""Reading and writing safetensors files tensor by tensor, with errors that name the file. No other weight format is
read.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np

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
                header = json.loads(file.read(length))
                self._check(header)
            except (ValueError, RecursionError) as error:
                raise ValueError(
                    f"{self.path}: its safetensors header is corrupt ({error}); download or copy it again"
                ) from None
        self.metadata = header.pop("__metadata__", {})
        self.entries: dict[str, tuple[np.dtype, tuple[int, ...], int]] = {}
        end = 0
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            if entry["dtype"] not in DTYPES:
                raise ValueError(
                    f"{self.path}: tensor {name} has type {entry['dtype']}, which is not supported; convert it to BF16"
                    " or F32"
                )
            dtype, shape = DTYPES[entry["dtype"]], tuple(entry["shape"])
            if last - first != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
                raise ValueError(
                    f"{self.path}: tensor {name} has {last - first} bytes, which do not fit shape {shape}; the file is"
                    " corrupt"
                )
            self.entries[name] = (dtype, shape, 8 + length + first)
            end = max(end, last)
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


class Checkpoint:
    """All safetensors files of a directory (by its index file if there is one) as one set of tensors."""

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(directory)
        if not self.directory.is_dir():
            raise FileNotFoundError(
                f"{self.directory}: no such directory; give a folder with config.json and *.safetensors"
            )
        index = self.directory / "model.safetensors.index.json"
        if index.is_file():
            try:
                names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{index}: not an index of tensors ({type(error).__name__}: {error}); download or copy it again"
                ) from None
            if not all(isinstance(name, str) and name == os.path.basename(name) for name in names):
                raise ValueError(f"{index}: names files outside its folder; download it again")
            if missing := [name for name in names if not (self.directory / name).is_file()]:
                raise FileNotFoundError(
                    f"{self.directory}: {index.name} lists {', '.join(missing)}, not there; download them"
                )
            files = [self.directory / name for name in names]
        else:
            files = sorted(self.directory.glob("*.safetensors"))
        if not files:
            raise FileNotFoundError(f"{self.directory}: holds no *.safetensors file; other weight formats are not read")
        self._where = {name: file for file in map(SafetensorsFile, files) for name in file.entries}

    def names(self) -> list[str]:
        return list(self._where)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._where[name].entries[name][1]

    def dtype(self, name: str) -> np.dtype:
        return self._where[name].entries[name][0]

    def read(self, name: str) -> np.ndarray:
        return self._where[name].read(name)


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
    partial = Path(f"{path}.partial")
    with open(partial, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for (name, shape, dtype), tensor in zip(entries, tensors, strict=True):
            if tensor.shape != shape or tensor.dtype != dtype:
                raise ValueError(f"{path}: tensor {name} is {tensor.dtype}{tensor.shape}, announced as {dtype}{shape}")
            np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).tofile(file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)

"""ScanNet's .sens files: colour, depth and pose of every frame of a walk (ScanNet's SensReader, version 4)."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

_FRAME = struct.Struct("<16f4Q")  # camera to world, two time stamps, bytes of colour and of depth
_COLOUR, _DEPTH = {1: "PNG", 2: "JPEG"}, {0: "raw", 1: "zlib"}


class SensFile:
    """`colour_k`, `depth_k` [4, 4] intrinsics; `colour_place`, `depth_place` [4, 4]: from each camera to a common
    frame, that of the colour camera where its own is the identity; `colour_size`, `depth_size` (width, height), `shift`
    counts a metre, `count` frames. ValueError or OSError, one line, for a file that is none or has none of the known
    packings.
    """

    def __init__(self, path: str):
        self.path = path
        with open(path, "rb") as file:
            self.size = file.seek(0, 2)
            file.seek(0)
            version, length = struct.unpack("<IQ", self._read(file, 12))
            if version != 4 or length > 1 << 16:
                raise ValueError("no .sens file of version 4")
            self._read(file, length)
            matrices = np.frombuffer(self._read(file, 256), "<f4").reshape(4, 4, 4).astype(np.float64)
            self.colour_k, self.colour_place, self.depth_k, self.depth_place = matrices
            packed = struct.unpack("<2i4IfQ", self._read(file, 36))
            self.colour_size, self.depth_size = packed[2:4], packed[4:6]
            self.shift, self.count = float(packed[6]), int(packed[7])
            self._next = file.tell()
        if packed[0] not in _COLOUR or packed[1] not in _DEPTH:
            raise ValueError(f"its colour or depth is packed in a way that is not read ({packed[0]}, {packed[1]})")
        self._packing = _DEPTH[packed[1]]
        self._places: list[int] = []  # where each frame that was passed begins

    def _read(self, file: Any, length: int) -> bytes:
        data = file.read(length)
        if len(data) != length:
            raise ValueError("the .sens file is cut off")
        return data

    def frame(self, number: int) -> tuple[bytes, np.ndarray, np.ndarray]:
        """(encoded colour picture, uint16 depth [h, w] in counts, camera to world [4, 4]) of a frame."""
        with open(self.path, "rb") as file:
            while len(self._places) <= number:
                file.seek(self._next)
                sizes = _FRAME.unpack(self._read(file, _FRAME.size))[-2:]
                self._places.append(self._next)
                self._next += _FRAME.size + sizes[0] + sizes[1]
                if self._next > self.size:
                    self._places.pop()
                    self._next -= _FRAME.size + sizes[0] + sizes[1]
                    raise ValueError(f"the .sens file is cut off after {len(self._places)} of {self.count} frames")
            file.seek(self._places[number])
            head = _FRAME.unpack(self._read(file, _FRAME.size))
            colour, depth = self._read(file, head[18]), self._read(file, head[19])
        try:
            raw = zlib.decompress(depth) if self._packing == "zlib" else depth
            counts = np.frombuffer(raw, "<u2").reshape(self.depth_size[1], self.depth_size[0])
        except (zlib.error, ValueError):
            raise ValueError(f"depth of frame {number} cannot be unpacked") from None
        return colour, counts, np.array(head[:16], np.float64).reshape(4, 4)

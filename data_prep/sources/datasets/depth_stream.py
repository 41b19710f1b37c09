"""ScanNet++'s depth.bin: the depths of an iPhone's walk in one file, frame after frame.

Two packings are in use: the whole stream as raw deflate of float32 metres, and frames each with its length before it
(32 bit, little-endian), an LZ4 block of uint16 millimetres or raw deflate of float32 metres.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

WIDTH, HEIGHT = 256, 192
CHUNK = 1 << 20


class DepthStream:
    """Depth of one frame at a time, float32 [192, 256] metres; frames are best asked for in order, as a stream that is
    packed as a whole has to be unpacked up to the frame. ValueError or OSError, one line, for what cannot be read.
    """

    def __init__(self, path: str):
        self.path = path
        with open(path, "rb") as file:
            self._places = self._frame_places(file)
        self._rewind()

    def _frame_places(self, file: Any) -> list[tuple[int, int]]:
        """(where, bytes) of each frame; empty where lengths do not lead exactly to the file's end: one stream."""
        whole, places = file.seek(0, 2), []
        at = 0
        while at + 4 <= whole:
            file.seek(at)
            (size,) = struct.unpack("<I", file.read(4))
            places.append((at + 4, size))
            at += 4 + size
        return places if at == whole and all(size > 0 for _, size in places) else []

    def _rewind(self) -> None:
        self._unpack, self._offset, self._next, self._rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0, b""

    def frame(self, number: int) -> np.ndarray:
        """Frame `number`."""
        if self._places:
            if number >= len(self._places):
                raise ValueError(f"holds {len(self._places)} frames, none of number {number}")
            with open(self.path, "rb") as file:
                file.seek(self._places[number][0])
                return self._packed(file.read(self._places[number][1]), number)
        if number < self._next:
            self._rewind()
        while self._next <= number:
            data = self._read(4 * WIDTH * HEIGHT)
            self._next += 1
        return np.frombuffer(data, "<f4").reshape(HEIGHT, WIDTH)

    def _packed(self, data: bytes, number: int) -> np.ndarray:
        import lz4.block

        try:
            counts = np.frombuffer(lz4.block.decompress(data, uncompressed_size=2 * WIDTH * HEIGHT), "<u2")
            return (counts / np.float32(1000)).astype(np.float32).reshape(HEIGHT, WIDTH)
        except (lz4.block.LZ4BlockError, ValueError):  # the latter: a block of fewer bytes
            pass
        try:
            return np.frombuffer(zlib.decompress(data, -zlib.MAX_WBITS), "<f4").reshape(HEIGHT, WIDTH)
        except (zlib.error, ValueError):
            raise ValueError(f"frame {number} is neither an LZ4 block nor deflate of {WIDTH}x{HEIGHT} depths") from None

    def _read(self, size: int) -> bytes:
        """The next `size` bytes of a stream that is packed as a whole."""
        parts, found = [self._rest], len(self._rest)
        with open(self.path, "rb") as file:
            while found < size:
                file.seek(self._offset)
                data = file.read(CHUNK)
                self._offset += len(data)
                try:
                    plain = self._unpack.decompress(data) if data else b""
                except zlib.error as error:
                    raise ValueError(f"cannot be unpacked ({error})") from None
                if not data:
                    raise ValueError(f"ends after {self._next} frames")
                parts.append(plain)
                found += len(plain)
        joined = b"".join(parts)
        self._rest = joined[size:]
        return joined[:size]

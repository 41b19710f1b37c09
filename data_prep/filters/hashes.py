"""Perceptual signatures of pictures that survive resizing, recompression and slight changes of light."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

_SIDE, _LOW = 32, 8
_THUMB = 6


def _cosines() -> np.ndarray:
    steps = np.arange(_SIDE)
    return np.cos(np.pi * (steps[None, :] + 0.5) * steps[: _LOW + 1, None] / _SIDE)


_DCT = _cosines()


@dataclasses.dataclass(frozen=True)
class Print:
    """`bits`: 64-bit hash of the lowest frequencies of luma (pHash); `colors`: uint8 [108], a 6 x 6 thumbnail, against
    hashes that agree by chance.
    """

    bits: int
    colors: bytes

    def pack(self) -> str:
        return f"{self.bits:016x}{self.colors.hex()}"

    @staticmethod
    def unpack(text: str) -> Print:
        return Print(int(text[:16], 16), bytes.fromhex(text[16:]))


def fingerprint(rgb: np.ndarray) -> Print:
    """Of a picture uint8 [h, w, 3]."""
    image = Image.fromarray(rgb)
    luma = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64)
    low = (_DCT @ luma @ _DCT.T)[:_LOW, 1 : _LOW + 1]
    bits = (low > np.median(low)).ravel()
    return Print(
        int("".join("01"[int(b)] for b in bits), 2),
        np.asarray(image.resize((_THUMB, _THUMB), Image.Resampling.BOX)).tobytes(),
    )


class Prints:
    """Fingerprints to compare with; grows."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._bits, self._colors = np.zeros(64, np.uint64), np.zeros((64, _THUMB * _THUMB * 3), np.int16)

    def add(self, name: str, one: Print) -> None:
        n = len(self.names)
        if n == len(self._bits):
            self._bits, self._colors = (
                np.concatenate([self._bits, self._bits]),
                np.concatenate([self._colors, self._colors]),
            )
        self._bits[n], self._colors[n] = one.bits, np.frombuffer(one.colors, np.uint8)
        self.names.append(name)

    def nearest(self, one: Print, most_bits: int, most_color: float) -> tuple[str, int]:
        """(name, differing bits) of the nearest print within both limits (`most_color`: mean absolute difference of
        thumbnails after their means are made equal, of 255), or ("", 65).
        """
        n = len(self.names)
        distance = np.bitwise_count(self._bits[:n] ^ np.uint64(one.bits))
        close = np.flatnonzero(distance <= most_bits)
        if len(close):
            gap = (self._colors[close] - np.frombuffer(one.colors, np.uint8).astype(np.int16)).astype(np.float64)
            gap -= gap.mean(1, keepdims=True)
            close = close[np.abs(gap).mean(1) <= most_color]
        if not len(close):
            return "", 65
        best = int(close[np.argmin(distance[close])])
        return self.names[best], int(distance[best])

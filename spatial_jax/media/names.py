"""Order of file names: numbers in them compare as numbers, so frame 2 comes before frame 10."""

from __future__ import annotations

import os
import re
from pathlib import Path

_DIGITS = re.compile(r"([0-9]+)")
Key = tuple[tuple[tuple[tuple[int, int, str], ...], ...], str]


def natural_key(path: str | os.PathLike[str]) -> Key:
    """Sort key of a name or path: folder by folder, runs of digits as whole numbers, the rest by code point; names that
    differ only in leading zeros (7, 07) keep the order of their texts. In every folder numbers come before other text.
    """
    text = os.fspath(path)
    return tuple(tuple(_parts(part)) for part in text.split("/")), text


def _parts(name: str) -> list[tuple[int, int, str]]:
    """A run of digits is (0, number of digits, digits) without its leading zeros: no number is too long to compare."""
    out = []
    for k, piece in enumerate(_DIGITS.split(name)):
        if k % 2:
            digits = piece.lstrip("0")
            out.append((0, len(digits), digits))
        elif piece:
            out.append((1, 0, piece))
    return out


def printable_name(name: str | os.PathLike[str]) -> str:
    """The name as it can be printed and stored: bytes that are no UTF-8 come as \\xNN."""
    return os.fspath(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def picture_files(folder: str | os.PathLike[str], suffixes: tuple[str, ...]) -> list[Path]:
    """The regular visible files of a folder that end in one of `suffixes` (lower case), in `natural_key`'s order."""
    found = [
        Path(folder, name)
        for name in os.listdir(folder)
        if name.lower().endswith(suffixes) and not name.startswith(".") and os.path.isfile(os.path.join(folder, name))
    ]
    return sorted(found, key=lambda path: natural_key(path.name))

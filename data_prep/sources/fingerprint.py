"""What the files of a source hold, told in a moment: a dataset half made from other files under the same names is not
finished with these.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
from collections.abc import Sequence
from typing import Any

BLOCK = 1 << 14


def fingerprint(files: Sequence[tuple[str, Any]]) -> str:
    """A short digest of (name, epath) pairs: of each file its name, its size, and its first, middle and last 16 kB
    (whole where it is small). Of files in an object store size and time of upload, which change with every upload.
    """
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(_part, files))
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _part(entry: tuple[str, Any]) -> str:
    name, path = entry
    try:
        if "://" in str(path):
            found = path.stat()
            return f"{name} {found.length} {found.mtime}"
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            digest = hashlib.sha256()
            for start in sorted({0, max(0, size // 2 - BLOCK // 2), max(0, size - BLOCK)}):
                file.seek(start)
                digest.update(file.read(BLOCK))
        return f"{name} {size} {digest.hexdigest()[:32]}"
    except OSError as error:
        return f"{name} {type(error).__name__}"  # the item itself will say what is wrong with the file

"""Features of pictures in a folder, for runs that see the same pictures through the same frozen tower."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from spatial_jax.models import VisionFeatures, leaf_paths
from spatial_jax.models.safetensors_io import SafetensorsFile, write_safetensors

log = logging.getLogger(__name__)


@dataclasses.dataclass
class _Count:
    held: int


class FeatureFiles:
    """A safetensors file a picture, in `root` under a folder of the tower's own. Nothing is written beyond `most_bytes`
    of `root`, those of other towers and of other runs that share it included: a locked file counts them. A file that
    cannot be read, or of another shape than `width` says, is made again and told.
    """

    def __init__(self, root: str | Path, tower: str, width: int, most_bytes: int):
        self.root, self.width, self.most_bytes = Path(root), width, most_bytes
        self.folder = self.root / tower
        self.folder.mkdir(parents=True, exist_ok=True)
        self._full = False
        with self._count() as count:  # anew: files may have been removed since
            sizes = {path: path.stat().st_size for path in self.root.glob("*/*.safetensors")}
            count.held = sum(sizes.values())
        if others := sum(size for path, size in sizes.items() if path.parent != self.folder):
            log.warning(
                "%s holds %.2f GiB of other towers, of the %.2f GiB that features may take; remove folders beside %s"
                " that no run needs",
                *(self.root, others / 2**30, most_bytes / 2**30, tower),
            )

    def read(self, key: bytes) -> VisionFeatures | None:
        """The picture's features; None where they are not there."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            file = SafetensorsFile(path)
            host: Any = VisionFeatures  # NumPy arrays stand where device arrays will
            features = host(file.read("features"), file.read("deepstack") if "deepstack" in file.entries else None)
        except (ValueError, KeyError, OSError) as error:
            log.warning("features are made again: %s", error)
            return None
        if features.features.ndim != 2 or features.features.shape[1] != self.width:
            log.warning("features are made again: %s has shape %s", path, features.features.shape)
            return None
        return features

    def write(self, key: bytes, features: VisionFeatures) -> None:
        """Keeps the picture's features, where there is room. What cannot be written is told once."""
        leaves = {"features": features.features, "deepstack": features.deepstack}
        arrays = {name: np.asarray(leaf) for name, leaf in leaves.items() if leaf is not None}
        size = sum(array.nbytes for array in arrays.values())
        if self._full:
            return
        entries = [(name, array.shape, array.dtype) for name, array in arrays.items()]
        path = self._path(key)
        try:
            with self._count() as count:
                before = path.stat().st_size if path.exists() else 0
                if count.held + size - before > self.most_bytes:
                    self._full = True
                    log.warning(
                        "%s is full (%.2f GiB): later pictures are not kept there", self.root, count.held / 2**30
                    )
                    return
                write_safetensors(path, entries, iter(arrays.values()))
                count.held += path.stat().st_size - before
        except OSError as error:
            self._full = True
            log.warning("features of pictures are no longer kept on disk: %s", error)

    @contextlib.contextmanager
    def _count(self) -> Iterator[_Count]:
        """Bytes of features in `root`, which no other run changes meanwhile; what they are afterwards is written."""
        with open(self.root / "held", "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            text = file.read().strip()
            count = _Count(int(text) if text.isdigit() else 0)
            yield count
            file.truncate(0)
            file.write(b"%d\n" % count.held)

    def _path(self, key: bytes) -> Path:
        return self.folder / f"{key.hex()}.safetensors"


def tower_digest(params: Any, computed: str) -> str:
    """Hex digest of a tower's weights and of how its features are `computed` (type, normalisation)."""
    digest = hashlib.sha256(computed.encode())
    for path, leaf in sorted(leaf_paths(params)):
        if path[0] == "vision":
            digest.update("/".join(map(str, path)).encode())
            digest.update(np.ascontiguousarray(jax.device_get(leaf)).tobytes())
    return digest.hexdigest()[:32]

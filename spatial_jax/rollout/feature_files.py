"""Features of pictures in a folder, for runs that see the same pictures through the same frozen tower."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import jax
import numpy as np

from spatial_jax.models import VisionFeatures, leaf_paths
from spatial_jax.models.safetensors_io import SafetensorsFile, write_safetensors

log = logging.getLogger(__name__)


class FeatureFiles:
    """A safetensors file a picture, under a folder of the tower's own; nothing is written beyond `most_bytes` of it. A
    file that cannot be read, or of another shape than `width` says, is made again and told.
    """

    def __init__(self, folder: str | Path, tower: str, width: int, most_bytes: int):
        self.folder, self.width, self.most_bytes = Path(folder) / tower, width, most_bytes
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held = sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))
        self._full = False

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
        if self._held + size > self.most_bytes:
            self._full = True
            log.warning("%s is full (%.1f GiB): later pictures are not kept there", self.folder, self._held / 2**30)
            return
        entries = [(name, array.shape, array.dtype) for name, array in arrays.items()]
        try:
            write_safetensors(self._path(key), entries, iter(arrays.values()))
        except OSError as error:
            self._full = True
            log.warning("features of pictures are no longer kept on disk: %s", error)
            return
        self._held += size

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

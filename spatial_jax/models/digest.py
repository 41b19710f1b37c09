"""Whether the files of a checkpoint are still the ones that a run began with, without reading all of them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_HEAD, _BLOCK, _BLOCKS = 1 << 16, 1 << 12, 64
_WHOLE = ("config.json", "tokenizer.json", "preprocessor_config.json", "chat_template.json", "chat_template.jinja")


def checkpoint_digest(directory: str | os.PathLike) -> str:
    """Hex digest of a folder in Hugging Face layout: small files whole; of each safetensors file its size, its head
    (names, types and shapes) and 64 blocks over its length. Any training changes all weights, so a few blocks show it.
    """
    directory = Path(directory)
    digest = hashlib.sha256()
    for name in _WHOLE:
        if (directory / name).is_file():
            digest.update(name.encode() + hashlib.sha256((directory / name).read_bytes()).digest())
    for path in sorted(directory.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            digest.update(file.read(_HEAD))
            for block in range(_BLOCKS):
                file.seek(block * max(size - _BLOCK, 0) // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()

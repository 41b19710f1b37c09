"""Where a checkpoint's files are: a local directory, or a hub name that is downloaded first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from spatial_jax.reading import read_optional
from spatial_jax.shipped import shipped_path

# Weights are safetensors only, and nothing in a checkpoint is ever run.
WANTED = ("*.json", "*.safetensors", "*.txt", "*.jinja")


def checkpoint_directory(name: str | os.PathLike) -> Path:
    """The local directory of `name`: itself, a shipped policy (configs/quickstart_policy), or the downloaded files of a
    hub name ("owner/name"). FileNotFoundError when none of them.
    """
    path = shipped_path(name)
    if path.is_dir():
        return path
    text = str(name)
    if text.count("/") != 1 or text.startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"{text}: no such folder; give a checkpoint's folder in the Hugging Face layout, or a hub name (owner/name)"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(text, allow_patterns=list(WANTED)))
    except Exception as error:  # offline, unknown, gated: the hub's client has an exception for each
        raise FileNotFoundError(
            f"{text}: neither a local folder nor to be had from the hub ({type(error).__name__}); "
            "check the name and the network, or download it and give the folder"
        ) from error


def checkpoint_json(path: Path) -> dict[str, Any]:
    """The object in a checkpoint's JSON file, {} when there is no such file. ValueError names a file that holds
    anything else.
    """
    return read_optional(path, "download or export the checkpoint again")

"""Files of the package `configs`: recipes and the quickstart's policy, wherever a command is started."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path


def shipped_path(name: str | os.PathLike) -> Path:
    """`name` itself; where the current folder has no such file or folder and it begins with configs/, the installed
    one.
    """
    path = Path(name)
    if path.exists() or not path.parts or path.parts[0] != "configs":
        return path
    spec = importlib.util.find_spec("configs")
    places = (spec.submodule_search_locations if spec else None) or ()
    found = (Path(place, *path.parts[1:]) for place in places)
    return next((place for place in found if place.exists()), path)

"""Frames of a scanned scene as pictures of its questions: FOLDER/SCENE/*.jpg, evenly spread."""

from __future__ import annotations

from pathlib import Path

from data_prep.synthesis.importers.rows import BadRow, pictures
from spatial_jax.media import picture_files
from spatial_jax.pages import say

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
SHOWN = 5  # scenes without frames that are named
_told: set[Path] = set()
_taken: dict[Path, str] = {}  # folders found by a scene's last name alone, and the scene that has them


def frames_of(folder: str, scene_id: str, count: int = 16) -> list[tuple[bytes, int, int]]:
    """(encoded picture, width, height) of at most `count` frames in the order of the numbers in their names, first and
    last included. The scene's folder is FOLDER/SCENE with the scene's own folders, else with its last name alone, which
    two scenes must not share. [] where there is neither, which is printed. BadRow for a folder that two scenes name or
    that holds no readable frame.
    """
    place = _place(Path(folder), scene_id)
    if place is None:
        missing = Path(folder, scene_id)
        if missing not in _told and len(_told) <= SHOWN:
            more = "; more like this are not told" if len(_told) == SHOWN else ""
            say(f"no frames of scene {scene_id} in {folder}: its questions have no picture{more}")
        _told.add(missing)
        return []
    names = [path.name for path in picture_files(place, SUFFIXES)]
    last = len(names) - 1
    picked = [names[round(i * last / max(count - 1, 1))] for i in range(count)] if len(names) > count else names
    frames = []
    for name in picked:
        try:
            frames += pictures(name, place)
        except BadRow as error:
            say(f"skipped frame {place / name}: {error}")
    if not frames:
        raise BadRow("the scene's folder holds no readable frame")
    return frames


def _place(folder: Path, scene_id: str) -> Path | None:
    whole, short = folder / scene_id, folder / scene_id.rpartition("/")[2]
    for place in (whole, short):
        try:
            if not place.is_dir() or not place.resolve().is_relative_to(folder.resolve()) or place == folder:
                continue
        except (OSError, ValueError):
            continue
        if place != whole and _taken.setdefault(place.resolve(), scene_id) != scene_id:
            raise BadRow(
                f"frames of {short.name} could be of {_taken[place.resolve()]} or of {scene_id}: keep their folders"
            )
        return place
    return None

"""Frames of a scanned scene as pictures of its questions: FOLDER/SCENE/*.jpg, evenly spread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_prep.synthesis.importers.rows import BadRow, pictures
from spatial_jax.media import picture_files
from spatial_jax.pages import say

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
SHOWN = 5  # scenes without frames that are named
_told: set[Path] = set()
_taken: dict[Path, str] = {}  # folders found by a scene's last name alone, and the scene that has them


class SceneFrames(list[tuple[bytes, int, int]]):
    """(encoded picture, width, height) of a scene's frames; `video`: when they were taken, as in a record's meta;
    `lost`: how many that were chosen cannot be used.
    """

    video: dict[str, Any]
    lost = 0


def spread(total: int, count: int) -> list[int]:
    """At most `count` of `total` numbers, evenly spread, first and last among them."""
    return [round(i * (total - 1) / max(count - 1, 1)) for i in range(count)] if total > count else list(range(total))


def frames_of(folder: str, scene_id: str, count: int = 16, fps: float = 0.0) -> SceneFrames:
    """At most `count` frames of the `fps` a second (0: unknown) that the folder holds, in the order of the numbers in
    their names, first and last included. The scene's folder is FOLDER/SCENE with the scene's own folders, else with its
    last name alone, which two scenes must not share. [] where there is neither, which is printed. BadRow for a folder
    that two scenes name or that holds no readable frame.
    """
    frames = SceneFrames()
    frames.video = {}
    place = _place(Path(folder), scene_id)
    if place is None:
        missing = Path(folder, scene_id)
        if missing not in _told and len(_told) <= SHOWN:
            more = "; more like this are not told" if len(_told) == SHOWN else ""
            say(f"no frames of scene {scene_id} in {folder}: its questions have no picture{more}")
        _told.add(missing)
        return frames
    # First and last included: what is asked about may be seen at either end of the walk alone.
    names = [path.name for path in picture_files(place, SUFFIXES)]
    total, indices = len(names), []
    for index in spread(total, count):
        try:
            frames += pictures(names[index], place)
            indices.append(index)
        except BadRow as error:
            say(f"skipped frame {place / names[index]}: {error}")
            frames.lost += 1
    if not frames:
        raise BadRow("the scene's folder holds no readable frame")
    if fps:
        frames.video = {"fps": fps, "indices": indices, "total": total}
    elif Path() not in _told:
        _told.add(Path())
        say("frames of scenes say no times: models are told 24 a second; --fps=RATE of the folders' frames says it")
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

"""Frames of a scanned scene as pictures of its questions: FOLDER/SCENE/*.jpg, evenly spread."""

from __future__ import annotations

from pathlib import Path

from data_prep.synthesis.importers.rows import BadRow, pictures
from spatial_jax.media import picture_files, printable_name

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def frames_of(folder: str, scene_id: str, count: int = 16) -> list[tuple[bytes, int, int]]:
    """(encoded picture, width, height) of at most `count` frames in the order of the numbers in their names, first and
    last included; [] where the scene has no folder, which is printed. BadRow for a folder without a readable frame.
    """
    place = Path(folder, scene_id)
    if not place.is_dir() or not place.resolve().is_relative_to(Path(folder).resolve()):
        print(f"no frames of scene {printable_name(scene_id)} in {folder}: its questions have no picture", flush=True)
        return []
    names = [path.name for path in picture_files(place, SUFFIXES)]
    last = len(names) - 1
    picked = [names[round(i * last / max(count - 1, 1))] for i in range(count)] if len(names) > count else names
    frames = []
    for name in picked:
        try:
            frames += pictures(name, place)
        except BadRow as error:
            print(f"skipped frame {printable_name(place / name)}: {error}", flush=True)
    if not frames:
        raise BadRow("the scene's folder holds no readable frame")
    return frames

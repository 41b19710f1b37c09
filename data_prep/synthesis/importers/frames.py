"""Frames of a scanned scene as pictures of its questions: FOLDER/SCENE/*.jpg, evenly spread."""

from __future__ import annotations

from pathlib import Path

from data_prep.synthesis.importers.rows import BadRow, pictures


def frames_of(folder: str, scene_id: str, count: int = 16) -> list[tuple[bytes, int, int]]:
    """(encoded picture, width, height) of at most `count` frames in the order of their names, first and last included;
    [] if there are none.
    """
    place = Path(folder, scene_id)
    if not place.is_dir() or not place.resolve().is_relative_to(Path(folder).resolve()):
        return []
    names = sorted(p.name for p in place.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    picked = [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)] if len(names) > count else names
    frames = []
    for name in picked:
        try:
            frames += pictures(name, place)
        except BadRow as error:
            print(f"skipped frame {place / name}: {error}", flush=True)
    return frames

"""The gallery of a run: groups of answers with their pictures, small enough to keep, written while training goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spatial_jax.media import decode_picture, mode_to_rgb, natural_key, read_file
from spatial_jax.metrics.rows import as_plain, read_rows, strict
from spatial_jax.metrics.writer import is_primary

MAX_SIDE = 640
_BYTES = (bytes, bytearray, memoryview)


def write_gallery(
    workdir: str | os.PathLike, step: int, entries: Iterable[Mapping[str, Any]], *, primary: bool | None = None
) -> Path | None:
    """Writes `workdir/gallery/step_XXXXXX.jsonl` (atomically) and the pictures beside it; on process 0 only. Returns
    its path.

    Each entry is a group: {"record": QuestionRecord.as_dict(), "answers": [{"text", "reward", "advantage", "correct",
    "finish_reason", "length", "drawn": pictures, optional}, ...], "phase": str, "images": optional}. Pictures come from
    `images` (encoded bytes, PIL or uint8 [h, w, 3]) or from record["images"]; bytes never reach the JSON, and equal
    pictures are stored once. The record's coordinates must be those of the picture at `model_size` [width, height]
    where given (else of the stored picture).
    """
    if not (is_primary() if primary is None else primary):
        return None
    folder = Path(workdir) / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for entry in entries:
        record = dict(entry["record"])
        images = entry.get("images")
        pictures = images if images is not None else record.get("images", ())
        names = [_store(folder, picture) for picture in pictures]
        record["images"] = []
        answers = [
            {**answer, "drawn": [_store(folder, picture) for picture in answer.get("drawn", ())]}
            for answer in entry["answers"]
        ]
        row = {**entry, "record": record, "images": names, "answers": answers}
        lines.append(json.dumps(strict(as_plain(_without_bytes(row))), ensure_ascii=False))
    path = folder / f"step_{step:06d}.jsonl"
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    os.replace(temporary, path)
    return path


def read_gallery(workdir: str | os.PathLike, problems: list[str] | None = None) -> list[dict[str, Any]]:
    """Entries of all steps, oldest first, each with its "step" and with "images" as paths that exist; damaged lines are
    left out and counted in `problems`.
    """
    out = []
    for path in sorted((Path(workdir) / "gallery").glob("step_*.jsonl"), key=natural_key):
        step = int(path.stem.split("_")[1]) if path.stem.split("_")[1].isdigit() else 0
        rows, damaged = read_rows(path)
        for entry in rows:
            try:
                entry["images"] = _existing(Path(workdir), entry.get("images", []))
                entry["record"], entry["answers"] = dict(entry["record"]), list(entry["answers"])
                for answer in entry["answers"]:
                    if isinstance(answer, dict):
                        answer["drawn"] = _existing(Path(workdir), answer.get("drawn", []))
            except (ValueError, KeyError, TypeError):
                damaged += 1
                continue
            out.append({**entry, "step": step})
        if damaged and problems is not None:
            problems.append(f"{path}: {damaged} lines are no gallery entries; left out")
    return out


def _existing(workdir: Path, names: Iterable[str]) -> list[str]:
    """Paths inside `workdir` (a gallery line cannot make a page read other files)."""
    root = workdir.resolve()
    found = []
    for name in names:
        path = next(
            (p for p in ((root / str(name)).resolve(), (root / "gallery" / str(name)).resolve()) if p.is_file()), None
        )
        if path is not None and root in path.parents:
            found.append(str(path))
    return found


def _store(folder: Path, picture: Any) -> str:
    """Saves a picture under the hash of its content (at most MAX_SIDE pixels a side); returns its path relative to the
    run.
    """
    from PIL import Image

    if isinstance(picture, (str, os.PathLike)):
        picture = read_file(picture)
    if isinstance(picture, _BYTES):
        image = decode_picture(bytes(picture)).image
    else:
        image = mode_to_rgb(picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).copy()
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    name = hashlib.sha256(image.tobytes() + repr(image.size).encode()).hexdigest()[:16]
    # Photos as JPEG, small synthetic pictures without loss.
    suffix, options = (".png", {}) if max(image.size) <= 256 else (".jpg", {"quality": 85})
    path = folder / (name + suffix)
    if not path.exists():
        temporary = path.with_name(f"{name}.{os.getpid()}.tmp")
        image.save(temporary, "PNG" if suffix == ".png" else "JPEG", **options)
        os.replace(temporary, path)
    return f"gallery/{path.name}"


def _without_bytes(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_bytes(item) for key, item in value.items() if not isinstance(item, _BYTES)}
    if isinstance(value, (list, tuple)):
        return [_without_bytes(item) for item in value if not isinstance(item, _BYTES)]
    return value

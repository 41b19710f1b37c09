"""Choices by perceptual hash: near-duplicates among the pictures, and pictures that also serve in an evaluation."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.filters.hashes import Print, Prints, fingerprint
from data_prep.sources.base import BadItem, Frame, SourceError
from data_prep.sources.listing import walk
from data_prep.sources.pictures import EXTENSIONS, open_picture
from data_prep.sources.video import EXTENSIONS as VIDEOS
from data_prep.sources.video import VideoFrames


@dataclasses.dataclass
class DuplicateSettings:
    """Two pictures are near-duplicates when their hashes differ in at most `most_bits` of 64 and their thumbnails by at
    most `most_color` of 255; the first stays.
    """

    most_bits: int = 6
    most_color: float = 12.0


class NearDuplicates:
    """Selector: leaves out what nearly equals an earlier picture."""

    name = "duplicates"

    def __init__(self, settings: DuplicateSettings):
        self.settings = settings

    def config(self) -> dict[str, Any]:
        return {"selector": self.name, **dataclasses.asdict(self.settings)}

    def signature(self, frame: Frame) -> str:
        return fingerprint(frame.rgb).pack()

    def choose(self, ids: list[str], signatures: list[Any]) -> list[str]:
        kept, out = Prints(), []
        for item, packed in zip(ids, signatures, strict=True):
            one = Print.unpack(packed)
            like, bits = kept.nearest(one, self.settings.most_bits, self.settings.most_color)
            out.append(f"near-duplicate | of {like}, {bits} of 64 bits differ" if like else "")
            if not like:
                kept.add(item, one)
        return out


@dataclasses.dataclass
class LeakageSettings:
    """`pictures`: folders (separated by semicolons) that hold evaluation pictures at any depth: picture files, videos
    (a frame every `every` seconds) and parquet files with pictures in them. Limits as for near-duplicates, wider, and
    mirrored pictures count too.
    """

    pictures: tuple[str, ...] = ()
    every: float = 2.0
    most_bits: int = 10
    most_color: float = 18.0


class Leakage:
    """Selector: leaves out what nearly equals an evaluation picture or its mirror image. Raises SourceError where there
    is nothing to compare with.
    """

    name = "leakage"

    def __init__(self, settings: LeakageSettings):
        self.settings, self.files = settings, [pair for root in settings.pictures for pair in _files(root)]
        if not self.files:
            raise SourceError("leakage: no evaluation pictures: name their folders with --set=leakage.pictures=DIR;DIR")

    def config(self) -> dict[str, Any]:
        listing = hashlib.sha256("\n".join(f"{p.name} {p.stat().st_size}" for _, p in self.files).encode()).hexdigest()[
            :16
        ]
        return {
            "selector": self.name,
            **dataclasses.asdict(self.settings),
            "pictures": list(self.settings.pictures),
            "files": listing,
        }

    def signature(self, frame: Frame) -> str:
        return fingerprint(frame.rgb).pack()

    def choose(self, ids: list[str], signatures: list[Any]) -> list[str]:
        known = Prints()
        for root, path in self.files:
            for name, rgb in _pictures(path, self.settings.every):
                known.add(f"{path.relative_to(root)}{name}", fingerprint(rgb))
                known.add(f"{path.relative_to(root)}{name} (mirrored)", fingerprint(np.ascontiguousarray(rgb[:, ::-1])))
        if not known.names:
            raise SourceError(
                f"leakage: none of the {len(self.files)} files in {'; '.join(self.settings.pictures)} holds a readable"
                " picture"
            )
        out = []
        for packed in signatures:
            like, bits = known.nearest(Print.unpack(packed), self.settings.most_bits, self.settings.most_color)
            out.append(f"an evaluation picture | {like}, {bits} of 64 bits differ" if like else "")
        return out


def _files(root: str) -> list[tuple[Path, Path]]:
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise SourceError(f"leakage: no folder {root}")
    return [(folder, path) for _, path in walk(folder, (*EXTENSIONS, *VIDEOS, ".parquet"))]


def _pictures(path: Path, every: float) -> Iterator[tuple[str, np.ndarray]]:
    """(name inside the file, picture) of everything readable in one file; what is not is passed over."""
    if path.suffix.lower() in EXTENSIONS:
        data: Iterator[tuple[str, bytes]] = iter([("", path.read_bytes())])
    elif path.suffix.lower() == ".parquet":
        data = _in_parquet(path)
    else:
        frames = VideoFrames(str(path), every)
        for i in range(len(frames)):
            try:
                yield f"#{frames.item_id(i).rpartition('#')[2]}", frames.load(i).rgb
            except BadItem:
                continue
        return
    for name, content in data:
        try:
            yield name, open_picture(content, max_side=256, least_side=1).rgb
        except BadItem:
            continue


def _in_parquet(path: Path) -> Iterator[tuple[str, bytes]]:
    """(row and column, bytes) of every picture in a parquet file: columns of bytes, of {"bytes": ...}, or of lists of
    either.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        first = 0
        for group in file.iter_batches(batch_size=64):
            for column in group.schema.names:
                kind = str(group.schema.field(column).type)
                if "binary" not in kind:
                    continue
                for row, value in enumerate(group.column(column).to_pylist()):
                    for item in value if isinstance(value, list) else [value]:
                        content = item.get("bytes") if isinstance(item, dict) else item
                        if isinstance(content, bytes) and content:
                            yield f"#{first + row}.{column}", content
            first += group.num_rows
    except (pyarrow.ArrowException, OSError):
        return

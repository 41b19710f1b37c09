"""What the readers of datasets share: finding their items, saying what was looked for, and reading files that may not
be there.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import hashlib
from typing import Any

import numpy as np
from etils import epath

from data_prep.sources.base import BadItem, DepthNoise, Frame, SourceError
from data_prep.sources.fingerprint import fingerprint
from data_prep.sources.folder import stored_pixels
from data_prep.sources.pictures import Picture, open_picture
from spatial_jax.reading import parse_object


class DatasetFolder(abc.ABC):
    """A dataset below `path` (local or gs://). A subclass names it (`name`, `title`), says what its folder holds
    (`looked_for`), finds the items (`find`: ids in a fixed order), the files of one (`files_of`) and reads it (`load`).
    `limit`: only the first so many items; `noise` replaces what the dataset's depth is taken to be unsure of.
    """

    name = ""
    title = ""
    looked_for = ""
    said: list[str]

    def __init__(self, path: str, limit: int = 0, noise: DepthNoise | None = None, every: float = 1.0):
        self.root = epath.Path(path).expanduser()
        if not self.root.is_dir():
            raise SourceError(f"no such folder: {path}")
        if not 0 < every < float("inf"):
            raise SourceError(f"--every must be a positive number of seconds, not {every:g}")
        self.path, self.noise, self.every = path, noise, every
        self.left_out: list[str] = []
        self.said = []
        items = self.find()
        if not items:
            left = f"; {self.left_out[0]}" if self.left_out else ""
            raise SourceError(f"{path} holds nothing of {self.title}: looked for {self.looked_for}{left}")
        self.items = items[:limit] if limit else items

    @abc.abstractmethod
    def find(self) -> list[str]:
        """Ids of the items below the root."""

    @abc.abstractmethod
    def files_of(self, item: str) -> list[Any]:
        """Files that an item is made of, for the dataset's identity."""

    @abc.abstractmethod
    def load(self, index: int) -> Frame:
        """The frame of an item; raises BadItem."""

    def __len__(self) -> int:
        return len(self.items)

    def item_id(self, index: int) -> str:
        return self.items[index]

    def config(self) -> dict[str, Any]:
        files = list({str(file): file for item in self.items for file in self.files_of(item)}.items())
        listing = hashlib.sha256("\n".join([*self.items, fingerprint(files)]).encode()).hexdigest()[:16]
        noise = dataclasses.asdict(self.noise) if self.noise else None
        return {"source": self.name, "path": self.path, "files": listing, "every": self.every, "noise": noise}


def read_bytes(path: Any, what: str) -> bytes:
    """A file's bytes. BadItem names what is missing."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadItem(f"{what} {path.name} cannot be read: {error.strerror or error}") from None


def read_picture(path: Any) -> Picture:
    """The picture of a file, which no EXIF may turn: boxes and depth belong to its pixels as stored. BadItem."""
    picture = open_picture(read_bytes(path, "picture"))
    if picture.orientation != 1:
        raise BadItem(f"{path.name} is turned by its EXIF, its labels are not: save it without EXIF")
    return picture


def pixels(picture: Picture) -> np.ndarray:
    """uint8 [h, w, 3] as a reader of the stored bytes sees them."""
    return stored_pixels(picture.rgb, picture.encoded)


def read_json(path: Any, what: str) -> dict[str, Any]:
    """The JSON object of a file. BadItem for a missing or half-written one."""
    try:
        return parse_object(read_bytes(path, what))
    except ValueError as error:
        raise BadItem(f"{what} {path.name} cannot be read: {' '.join(str(error).split())[:120]}") from None


def read_numbers(path: Any, what: str, count: int) -> np.ndarray:
    """float64 [count]: the numbers of a text file, however they are broken into lines. BadItem."""
    text = read_bytes(path, what).decode("utf-8", "replace").replace(",", " ")
    try:
        values = np.array([float(v) for v in text.split()])
    except ValueError:
        values = np.zeros(0)
    if len(values) != count or not np.isfinite(values).all():
        raise BadItem(f"{what} {path.name} holds no {count} numbers")
    return values


def first_file(folder: Any, suffixes: tuple[str, ...]) -> Any:
    """The first file of a folder that ends in one of the suffixes, None where there is none."""
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes)
    except OSError:
        return None
    return found[0] if found else None


class Tally(collections.Counter[str]):
    """What is counted over all pictures and told at the end: labels that were left out, and why."""

    def left_out(self, why: str) -> None:
        """One more label that is not used."""
        self[f"label left out: {why}"] += 1

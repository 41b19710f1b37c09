"""A first pass over rows and pictures: which rows share a picture (they share a split), and one digest of all of it (a
resume with other data is refused).
"""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.synthesis.importers.build import scene_of
from data_prep.synthesis.importers.columns import Found
from data_prep.synthesis.importers.rows import BadRow, Bases, encode_item, picture_items

if TYPE_CHECKING:
    from data_prep.synthesis.importers.read import Import


_COLUMNS = ("images", "image_path")  # of the published forms
PicturesOf = Callable[[dict[str, Any], Found], list[Any]]


class _Groups:
    """Sets of rows that share a key, joined as keys come (union-find)."""

    def __init__(self) -> None:
        self.parents: dict[str, str] = {}

    def root(self, key: str) -> str:
        self.parents.setdefault(key, key)
        while self.parents[key] != key:
            self.parents[key] = self.parents[self.parents[key]]
            key = self.parents[key]
        return key

    def join(self, keys: Sequence[str]) -> None:
        roots = sorted({self.root(key) for key in keys})
        for root in roots[1:]:
            self.parents[root] = roots[0]


class Survey:
    """Splits by row number, a `digest` of rows and pictures, and `lines` that say how the split was made."""

    def __init__(self, splits: list[str], digest: str, lines: list[str]):
        self._splits, self.digest, self.lines = splits, digest, lines

    def split(self, number: int) -> str:
        return self._splits[number]


def survey(rows: Import, heldout_percent: int, pictures_of: PicturesOf | None) -> Survey:
    """Goes once over all rows. `pictures_of`: how a row's pictures are found; None: in the columns of that name."""
    groups, firsts, stated = _Groups(), [], []
    whole, seen = hashlib.sha256(), dict[Any, str]()
    for number, file, row in rows.rows():
        keys = (
            [f"row {number}"]
            if isinstance(row, BadRow)
            else _keys(row, number, rows, rows.bases(file), pictures_of, seen)
        )
        text = {} if isinstance(row, BadRow) else {k: v for k, v in row.items() if not _holds_bytes(v)}
        whole.update(f"{file.path.name} {text!r} {keys}".encode("utf-8", "surrogatepass"))
        # Rows that share a picture or a scene are one group: cut between them, training would show held-out pictures.
        groups.join(keys)
        firsts.append(keys[0])
        stated.append(file.split)
    roots = [groups.root(key) for key in firsts]
    digest = whole.hexdigest()[:16]
    # The files say themselves what is held out.
    if "heldout" in stated:
        crossing = {r for r, s in zip(roots, stated) if s == "heldout"} & {
            r for r, s in zip(roots, stated) if s != "heldout"
        }
        lines = [f"held out: the {stated.count('heldout')} rows of the test and validation files, as their names say"]
        if crossing:
            lines.append(f"note: {len(crossing)} pictures (or scenes) stand in training and held-out files alike")
        return Survey([s or "train" for s in stated], digest, lines)
    chosen = choose_heldout(collections.Counter(roots), heldout_percent)
    splits = ["heldout" if root in chosen else "train" for root in roots]
    said = f"held out: {splits.count('heldout')} rows of {len(chosen)} of {len(set(roots))} pictures (scenes, rows)"
    lines = [f"{said}, by --heldout_percent={heldout_percent}"] if heldout_percent else []
    return Survey(splits, digest, lines)


def choose_heldout(sizes: Mapping[str, int], percent: int) -> set[str]:
    """About `percent` of the keys, by their hash; of two keys or more at least one and not all (0 and 100 percent are
    kept to). `sizes`: rows of each key; one with more than a quarter of all rows is no fit sample and stays in
    training.
    """
    shares = {key: int(hashlib.sha1(key.encode("utf-8", "surrogatepass")).hexdigest()[:8], 16) for key in sizes}
    ranked = sorted(sizes, key=lambda key: shares[key])
    chosen = {key for key in ranked if shares[key] % 100 < percent}
    if len(ranked) > 1 and 0 < percent < 100:
        fit = [key for key in ranked if sizes[key] <= max(1, sum(sizes.values()) // 4)] or ranked[:1]
        chosen = chosen & set(fit) or {fit[0]}
        if len(chosen) == len(ranked):
            chosen.discard(ranked[-1])
    return chosen


def _keys(
    row: dict[str, Any], number: int, rows: Import, bases: Bases, pictures_of: PicturesOf | None, seen: dict[Any, str]
) -> list[str]:
    """Digests of the row's pictures, and its scene; the row itself where it has neither."""
    if pictures_of is not None:
        items = pictures_of(row, Found(rows.found.chosen))
    else:
        items = [item for column in _COLUMNS for item in picture_items(row.get(column))]
    keys = [key for key in (_digest(item, bases, seen) for item in items) if key]
    scene = scene_of(row, [])
    return keys + ([f"scene {scene}"] if scene != "unknown" else []) or [f"row {number}"]


def _digest(item: Any, bases: Bases, seen: dict[Any, str]) -> str:
    """sha1 of an encoded picture, "" where it cannot be read; a file is read once."""
    name = (
        (item, bases)
        if isinstance(item, str) and len(item) < 1000 and (bases is None or isinstance(bases, (Path, tuple)))
        else None
    )
    if name is not None and name in seen:
        return seen[name]
    try:
        found = hashlib.sha1(encode_item(item, bases)).hexdigest()
    except (BadRow, OSError):
        found = ""
    if name is not None:
        seen[name] = found
    return found


def _holds_bytes(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_bytes(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return any(_holds_bytes(v) for v in value[:4])
    return isinstance(value, (bytes, bytearray))

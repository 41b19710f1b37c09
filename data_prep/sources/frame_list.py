"""Lists of frames that come with a folder (frames.json, *annotations*.json): which entry belongs to which file. Files
are found by path; a name that could mean two of them is refused.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import posixpath
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from data_prep.sources.base import BadItem, SourceError
from spatial_jax.reading import parse_object


@dataclasses.dataclass(frozen=True)
class Entry:
    """`fields`: what the list says of a frame; `folder`: the list's own, relative to the source's; `file`: the list."""

    fields: dict[str, Any]
    folder: str
    file: str


class Paths:
    """Files of a source by the paths that a list uses for them."""

    def __init__(self, files: list[str]):
        self.known = set(files)
        self._by_base: dict[str, list[str]] = defaultdict(list)
        for file in files:
            self._by_base[posixpath.basename(file)].append(file)

    def find(self, named: str, folder: str, file: str, fits: Callable[[str], bool] | None = None) -> str:
        """The file that `named` in a list of `folder` means, "" for none: below the list's folder, below the source's,
        else the one whose whole path ends the name, or is ended by it. SourceError where several are (of those that
        `fits`, if any).
        """
        named = posixpath.normpath(str(named).replace("\\", "/"))
        for exact in (posixpath.normpath(posixpath.join(folder, named)), named):
            if exact in self.known:
                return exact
        same = self._by_base.get(posixpath.basename(named), [])
        shorter = [f for f in same if f"/{named}".endswith(f"/{f}") or f"/{named}".endswith(f"/{_below(f, folder)}")]
        if shorter:
            return max(shorter, key=len)
        longer = [f for f in same if f.endswith(f"/{named}")]
        longer = [f for f in longer if f.startswith(f"{folder}/")] or longer
        longer = [f for f in longer if fits is None or fits(f)] or longer
        if len(longer) > 1:
            raise SourceError(
                f"{file or 'the frame list'}: {named} could be {longer[0]} or {longer[1]}: write its path from the"
                " list's folder"
            )
        return longer[0] if longer else ""


def _below(file: str, folder: str) -> str:
    return file.removeprefix(f"{folder}/") if folder else file


def is_list(file: str) -> bool:
    base = posixpath.basename(file)
    return fnmatch.fnmatch(base, "*annotations*.json") or base == "frames.json"


def read_lists(
    root: Any, where: str, files: list[str], said: list[str], is_colour: Callable[[str], bool]
) -> dict[str, Entry]:
    """Entry of each listed colour file below `root` (an epath; `where`: how the user wrote it); `is_colour` decides
    between files of one name. Entries whose picture is not there are told in `said`. SourceError for what is no list,
    for a name that means two files and for two entries of one.
    """
    paths = Paths(files)
    out: dict[str, Entry] = {}
    rgb_of: dict[str, str] = {}
    for name in filter(is_list, files):
        folder, absent, entries = posixpath.dirname(name), [], _entries(root, where, name)
        for entry in entries:
            rgb = str(entry["rgb"])
            found = paths.find(rgb, folder, f"{where}/{name}", is_colour)
            # KITTI's demo files were renamed when they were put into one folder.
            found = found or paths.find(rgb.removesuffix(".png") + ".rgb.png", folder, f"{where}/{name}", is_colour)
            if not found:
                absent.append(rgb)
            elif found in out and out[found].fields != entry:
                raise SourceError(
                    f"{where}: {rgb_of[found]} and {rgb} in {name} both mean {found} and say different things of it:"
                    " write their paths from the list's folder"
                )
            else:
                out[found], rgb_of[found] = Entry(entry, folder, name), rgb
        if absent and len(absent) == len(entries):
            raise SourceError(f"{where}/{name}: none of its {len(absent)} pictures is there, e.g. {absent[0]}")
        if absent:
            said.append(f"{name}: {len(absent)} of its {len(entries)} pictures are not there, e.g. {absent[0]}")
    return out


def _entries(root: Any, where: str, name: str) -> list[dict[str, Any]]:
    try:
        entries = parse_object((root / name).read_text())["files"]
        if not all(isinstance(entry["rgb"], str) for entry in entries):
            raise TypeError("rgb is no text")
        return list(entries)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{where}/{name} is not a list of frames: {type(error).__name__} {error}") from None


def file_reader(root: Any, paths: Paths, entry: Entry | None) -> Callable[[str], bytes]:
    """Reads a file that an entry names, found as its picture was. FileNotFoundError for what is not in the folder."""

    def read(name: str) -> bytes:
        found = paths.find(name, entry.folder if entry else "", entry.file if entry else "")
        if not found:
            raise FileNotFoundError(f"{name} is not in the folder")
        return (root / found).read_bytes()

    return read


def said_of_frame(entry: Entry | None) -> dict[str, Any]:
    """What goes into the record's meta: {"complete": true} where the list says that every object is labelled, which
    counting needs. BadItem for another value.
    """
    complete = entry.fields.get("complete", False) if entry else False
    if not isinstance(complete, bool):
        raise BadItem(
            f"complete in {entry.file if entry else 'the frame list'} must be true or false, not {complete!r}"
        )
    return {"complete": True} if complete else {}

"""A folder of several files that is replaced as one: who opens it finds all of the old one or all of the new one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # Linux: renameat2(2)
_WRITING = re.compile(r"\.(?P<name>.+)\.writing-(?P<pid>[0-9]+)")


@contextlib.contextmanager
def replaced_folder(directory: str | os.PathLike, stale: Callable[[str], bool], last: str) -> Iterator[Path]:
    """Gives a fresh folder beside `directory` to write into; when the block ends well, the two change places.

    stale: whether an entry of the old folder (by name) is dropped where the new one has none of that name; everything
    else of the old folder goes over. last: the file without which nobody takes the folder for whole. A block that
    raises, or a kill, leaves the old folder as it was; what a killed one left is removed by the next. Where the file
    system cannot exchange two names (a mount point, some network disks), `last` is removed first and written last: a
    kill then leaves a folder that is refused, never a mixture.
    """
    directory = Path(directory).resolve()
    directory.parent.mkdir(parents=True, exist_ok=True)
    if directory.exists() and not directory.is_dir():
        raise NotADirectoryError(f"{directory} is a file; give a folder to write into")
    _remove_remains(directory)
    fresh = directory.with_name(f".{directory.name}.writing-{os.getpid()}")
    fresh.mkdir()
    try:
        yield fresh
        for entry in sorted(directory.iterdir()) if directory.exists() else ():
            if not (stale(entry.name) or (fresh / entry.name).exists()):
                _take_over(entry, fresh / entry.name)
        _sync(fresh)
        _put(fresh, directory, stale, last)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # of a block that failed; else it holds the old one now


def _put(fresh: Path, directory: Path, stale: Callable[[str], bool], last: str) -> None:
    if not directory.exists():
        os.rename(fresh, directory)
    elif not _exchange(fresh, directory):
        _move_within(fresh, directory, stale, last)
    _sync_names(directory.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Whether two names of one file system changed places, in one step that nobody sees half of."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0


def _move_within(fresh: Path, directory: Path, stale: Callable[[str], bool], last: str) -> None:
    (directory / last).unlink(missing_ok=True)
    _sync_names(directory)
    new = {entry.name for entry in fresh.iterdir()}
    for entry in list(directory.iterdir()):
        if entry.name not in new and stale(entry.name):
            entry.unlink()
    for name in sorted(new, key=lambda name: name == last):
        if (fresh / name).is_file():
            _copy(fresh / name, directory / name)


def _copy(source: Path, target: Path) -> None:
    """A rename, or a copy where the two are on different disks."""
    try:
        os.replace(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _take_over(entry: Path, target: Path) -> None:
    """The same file under another name; a copy where the disk has no second names."""

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError:
            shutil.copy2(source, target, follow_symlinks=False)

    if entry.is_dir() and not entry.is_symlink():
        shutil.copytree(entry, target, symlinks=True, copy_function=link)
    else:
        link(str(entry), str(target))


def _remove_remains(directory: Path) -> None:
    """What writers that are gone left beside `directory`."""
    for path in directory.parent.glob(f".{directory.name}.writing-*"):
        match = _WRITING.fullmatch(path.name)
        if match and match["name"] == directory.name and not _alive(int(match["pid"])):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return False  # this process writes one folder at a time: left by an error that could not clean up
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _sync(folder: Path) -> None:
    """Pushes every file to the disk, so that a power cut after the exchange does not show empty ones."""
    for path in folder.iterdir():
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    _sync_names(folder)


def _sync_names(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A checkpoint's manifest: every file with its size and sha256, every leaf with its shape. Written last, it makes the
checkpoint visible.

Orbax restores a flipped byte without a word, so every file is read and compared before anything is restored from it.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from etils import epath

NAME = "manifest.json"
_PART = "hashes_"
_BLOCK = 1 << 22


class CheckpointDamaged(ValueError):
    """A checkpoint's files are not those that were written; the message names the file and an intact checkpoint, if
    there is one.
    """


class CheckpointNotWritten(OSError):
    """A save failed (a full disk, a folder that is gone); the message is one line. What was saved before is intact."""


def list_files(directory: epath.Path) -> list[str]:
    """Relative names of all files of a checkpoint, sorted, without the manifest and its parts."""
    found: list[str] = []

    def walk(path: epath.Path, prefix: str) -> None:
        for child in path.iterdir():
            name = prefix + child.name
            if child.is_dir():
                walk(child, name + "/")
            elif not prefix and (child.name.startswith((NAME, _PART))):
                continue
            else:
                found.append(name)

    walk(directory, "")
    return sorted(found)


def hash_file(path: epath.Path, sync: bool = False) -> list:
    """[size in bytes, sha256]; `sync` first pushes the file from the page cache to the disk."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        if sync and "://" not in str(path):
            os.fsync(file.fileno())
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return [size, digest.hexdigest()]


def hash_files(directory: epath.Path, names: list[str], sync: bool = False, threads: int = 4) -> dict[str, list]:
    """name -> [size, sha256], on a few threads (hashing releases the interpreter lock)."""
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(names, pool.map(lambda name: hash_file(directory / name, sync), names)))


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def write_atomically(path: epath.Path, data: bytes) -> None:
    """The file appears complete or not at all."""
    if "://" in str(path):  # object stores write whole objects
        path.write_bytes(data)
        return
    temporary = f"{path}.tmp"
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(os.path.dirname(str(path)), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_part(directory: epath.Path, process: int, processes: int) -> None:
    """Hashes this process's share of the files and leaves the result for the first process."""
    names = list_files(directory)[process::processes]
    (directory / f"{_PART}{process}.json").write_text(json.dumps(hash_files(directory, names, sync=True)))


def write_manifest(directory: epath.Path, step: int, processes: int, leaves: dict[str, list]) -> None:
    """Joins the parts of all processes and makes the checkpoint visible."""
    files: dict[str, list] = {}
    for process in range(processes):
        part = directory / f"{_PART}{process}.json"
        files.update(json.loads(part.read_text()))
        part.unlink()
    body = {"version": 1, "step": step, "processes": processes, "leaves": leaves, "files": dict(sorted(files.items()))}
    write_atomically(directory / NAME, json.dumps({**body, "checksum": _digest(body)}, indent=1).encode())


def read_manifest(directory: epath.Path) -> dict[str, Any]:
    """The manifest. CheckpointDamaged when it cannot be read or its own checksum does not fit."""
    try:
        manifest = json.loads((directory / NAME).read_bytes())
        checksum = manifest.pop("checksum")
        kinds = {"files": dict, "leaves": dict, "processes": int}
        fits = checksum == _digest(manifest) and all(isinstance(manifest[key], kind) for key, kind in kinds.items())
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        fits, manifest = False, {}
    if not fits:
        raise CheckpointDamaged(f"{directory / NAME} is damaged")
    return manifest


def find_damage(directory: epath.Path, manifest: dict[str, Any], process: int = 0, processes: int = 1) -> str | None:
    """The first difference between this process's share of the files and the manifest, in words; None when there is
    none.
    """
    present, share = set(list_files(directory)), list(manifest["files"])[process::processes]
    for name in share:
        size = manifest["files"][name][0]
        if name not in present:
            return f"file {name} is missing"
        actual = (directory / name).stat().length
        if actual != size:
            return f"file {name} has {actual} bytes instead of {size}"
    for name, found in hash_files(directory, share).items():
        if found != manifest["files"][name]:
            return f"file {name} has changed since it was written (its checksum differs)"
    return None

"""Are a dataset's shards what the writer left? A damaged ArrayRecord file reads as empty without a word, so counts and
sums are compared.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spatial_jax.reading import read_object


class DatasetError(ValueError):
    """A dataset that cannot be used; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """One shard of a split: its file, its number of records by the books, and what is wrong with it ("": nothing)."""

    path: Path
    records: int
    problem: str = ""
    readable: bool = True  # False: none of its records can be read
    sha256: str = ""  # of its content; "": not asked for, or not readable


def check_shards(directory: Path, shards: list[tuple[str, int]], split: str, checksums: bool = True) -> list[Shard]:
    """Looks at every shard (file name, records) of a split: presence, size and sha256 by manifest.json where there is
    one, record count.

    A shard whose count is right but whose sum is not stays readable: its damaged records are skipped one by one."""
    try:
        listed = _manifest(directory).get("splits", {}).get(split, {}).get("shards", [])
        stated = {entry["file"]: entry for entry in listed}
    except (AttributeError, KeyError, TypeError):
        raise DatasetError(
            f"{directory}/manifest.json: its list of shards cannot be read; copy the dataset again"
        ) from None
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(
            pool.map(lambda shard: _check(directory / shard[0], shard[1], stated.get(shard[0]), checksums), shards)
        )


def _manifest(directory: Path) -> dict[str, Any]:
    path = directory / "manifest.json"
    if not path.is_file():
        return {}
    try:
        return read_object(path, "copy the dataset again or run data_prep again")
    except ValueError as error:
        raise DatasetError(str(error)) from None


def _check(path: Path, records: int, stated: dict[str, Any] | None, checksums: bool) -> Shard:
    from array_record.python import array_record_module

    if not path.is_file():
        return Shard(path, records, "is missing", False)
    size = path.stat().st_size
    if size == 0:
        return Shard(path, records, "is empty", False)
    if stated and stated.get("bytes") not in (None, size):
        return Shard(path, records, f"has {size} bytes where manifest.json says {stated['bytes']}", False)
    found = 0
    with contextlib.suppress(RuntimeError):  # a garbage file opens, and only says so when closed
        reader = array_record_module.ArrayRecordReader(str(path))
        found = reader.num_records() if reader.ok() else 0
        reader.close()
    if found != records:
        return Shard(path, records, f"holds {found} readable records where {records} were written", False)
    digest = _sha256(path) if checksums else ""
    if checksums and stated and "sha256" in stated and digest != stated["sha256"]:
        return Shard(path, records, "does not have the sha256 of manifest.json", sha256=digest)
    return Shard(path, records, sha256=digest)


def content_digest(shards: Sequence[Shard]) -> str:
    """One digest of the contents of a split: the same for the same records, wherever the dataset lies."""
    return hashlib.sha256(" ".join(shard.sha256 for shard in shards).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Files of records that a dataset is made of: sealed shards (ArrayRecord), and journals, the open shards that can be
cut anywhere and read up to there.
"""

from __future__ import annotations

import hashlib
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_HEAD = struct.Struct("<II")  # length, crc32


class WriterError(Exception):
    """The dataset cannot be written or resumed; the message is one line that says what to do."""


def write_shard(path: Path, records: Iterable[bytes]) -> int:
    """Writes an ArrayRecord file and returns its size in bytes; raises OSError when the disk does not take it."""
    from array_record.python import array_record_module

    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
    total = 0
    try:
        for record in records:
            writer.write(record)
            total += 1
    finally:
        writer.close()
    reader = array_record_module.ArrayRecordReader(str(path))
    try:
        if not reader.ok() or reader.num_records() != total:
            raise OSError(
                28,
                f"shard {path.name} came out incomplete ({reader.num_records()} of {total} records): is the disk full?",
            )
    finally:
        reader.close()
    return path.stat().st_size


def read_journal(path: Path, count: int) -> Iterator[bytes]:
    """The first `count` records of a journal; WriterError where they are not there or damaged."""
    if not path.exists():
        raise WriterError(f"{path}: the unfinished shard is gone; delete {path.parent.parent} and run again")
    with path.open("rb") as file:
        for number in range(count):
            head = file.read(_HEAD.size)
            length, crc = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, -1)
            record = file.read(length)
            if zlib.crc32(record) != crc:
                raise WriterError(
                    f"{path}: record {number} of the unfinished shard is damaged; delete {path.parent} and run again"
                )
            yield record


def pack(record: bytes) -> bytes:
    """A record as a journal holds it."""
    return _HEAD.pack(len(record), zlib.crc32(record)) + record


def write_journal(path: Path, shard: Any) -> None:
    """The records of a sealed shard (an epath) as a journal again."""
    from array_record.python import array_record_module

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        local = Path(folder, "shard")
        shard.copy(local)  # from an object store, too
        reader = array_record_module.ArrayRecordReader(str(local))
        try:
            records = reader.read_all() if reader.ok() else []
        finally:
            reader.close()
    with path.open("wb") as file:
        for record in records:
            file.write(pack(record))


def file_sha256(path: Any) -> str:
    """Hex digest of a file's bytes; `path` is anything with open("rb")."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

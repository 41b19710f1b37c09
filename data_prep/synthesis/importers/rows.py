"""What the importers share: rows out of JSON, jsonl and parquet, and pictures that rows name by path or bring as
bytes.
"""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spatial_jax.media import PictureError, decode_picture, encode_picture, read_file

MOST_PIXELS = 64_000_000
MOST_BYTES = 64 << 20
SHOWN = 3  # repairs of one kind that are printed
_told: collections.Counter[str] = collections.Counter()


class BadRow(ValueError):
    """A row that gives no question; the message is the reason, short enough to be counted by."""


def json_rows(path: Path) -> Iterator[dict[str, Any] | BadRow]:
    """Rows of a JSON list, of an object of lists ({"data": [...]}), or of jsonl; lines that do not parse come as
    BadRow.
    """
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix != ".jsonl":
        try:
            data = json.loads(text)
        except ValueError:
            data = None
        if isinstance(data, dict):
            lists = [v for v in data.values() if isinstance(v, list)]
            data = lists[0] if len(lists) == 1 else [data]
        if isinstance(data, list):
            yield from (row if isinstance(row, dict) else BadRow("row is not an object") for row in data)
            return
    for line in text.splitlines():
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError:
                yield BadRow("line is not JSON")
                continue
            yield row if isinstance(row, dict) else BadRow("row is not an object")


def parquet_rows(path: Path) -> Iterator[dict[str, Any] | BadRow]:
    """Rows of a parquet file, read in batches."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=256):
            yield from batch.to_pylist()


def text_field(row: dict[str, Any], *names: str) -> str:
    """The first of the named fields that is there, as text; raises BadRow when none is."""
    for name in names:
        value = row.get(name)
        if value is not None and not isinstance(value, (list, dict)) and str(value).strip():
            return str(value).strip()
    raise BadRow(f"field {names[0]} is missing")


def pictures(items: Any, folder: Path | None) -> list[tuple[bytes, int, int]]:
    """(encoded bytes, width, height) of pictures given as paths below `folder`, bytes, or {"bytes"/"path"}; raises
    BadRow. The bytes are upright, RGB and of one frame, as the model will see them: a JPEG or PNG that is so already is
    kept byte for byte, anything else is decoded by spatial_jax.media.decode_picture and encoded again.
    """
    items = [] if items is None else items if isinstance(items, list) else [items]
    return [_picture(item, folder) for item in items]


def _picture(item: Any, folder: Path | None) -> tuple[bytes, int, int]:
    if isinstance(item, dict):
        item = item.get("bytes") or item.get("image_bytes") or item.get("path")
    if isinstance(item, (bytes, bytearray)):
        data = bytes(item)
    elif isinstance(item, str) and item:
        data = _read(item, folder)
    else:
        raise BadRow("picture is neither path nor bytes")
    try:
        decoded = decode_picture(data, most_pixels=MOST_PIXELS)
    except PictureError as error:
        raise BadRow(f"picture {error.reason}") from error
    _tell(item if isinstance(item, str) else "a picture", decoded.notes)
    image = decoded.image
    return data if decoded.plain else encode_picture(image, decoded.format), image.width, image.height


def _tell(name: str, notes: list[str]) -> None:
    """Prints the first few repairs of each kind: what is stored then differs from the file."""
    for note in notes:
        kind = re.sub(r"\d+", "", note)
        _told[kind] += 1
        if _told[kind] <= SHOWN:
            last = "; more like this are not told" if _told[kind] == SHOWN else ""
            print(f"repaired {name}: {note}{last}", flush=True)


def _read(name: str, folder: Path | None) -> bytes:
    if folder is None:
        raise BadRow("pictures are named by path: give their folder with --images")
    base = folder.resolve()
    path = (base / name.lstrip("/")).resolve()
    if not path.is_relative_to(base):
        raise BadRow("picture path leaves the folder of pictures")
    try:
        return read_file(path, MOST_BYTES)
    except PictureError as error:
        raise BadRow(f"picture file {error.reason}") from error
    except OSError as error:
        raise BadRow("picture file is missing") from error

"""What the importers share: rows out of JSON, jsonl and parquet, and pictures that rows name by path or bring as
bytes.
"""

from __future__ import annotations

import base64
import collections
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spatial_jax.media import PictureError, decode_picture, encode_picture, read_file
from spatial_jax.pages import say
from spatial_jax.reading import lines_of, parse_json

MOST_PIXELS = 64_000_000
MOST_BYTES = 64 << 20
SHOWN = 3  # repairs of one kind that are printed
_told: collections.Counter[str] = collections.Counter()
Bases = Path | Sequence[Path] | None  # folders that picture paths start from
# What JPEG, PNG, GIF, WebP, BMP and TIFF begin with in base64; "/9j/" begins no path that is likely.
_BASE64_STARTS = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "Qk", "SUkq", "TU0A")


class BadRow(ValueError):
    """A row that gives no question; the message is the reason, short enough to be counted by."""


def json_rows(path: Path) -> Iterator[dict[str, Any] | BadRow]:
    """Rows of a JSON list, of an object of lists ({"data": [...]}), of objects by id or of columns, or of JSON lines;
    lines that do not parse come as BadRow. The text tells lines from a list, not the file's name. ValueError for a JSON
    list that is broken.
    """
    text = path.read_text(encoding="utf-8-sig")
    lines = path.suffix.lower() in (".jsonl", ".ndjson")
    if not lines or text.lstrip().startswith("["):
        try:
            data = parse_json(text)
        except ValueError as error:
            if text.lstrip().startswith("[") and not lines:
                raise ValueError(f"{path}: not valid JSON ({error}); export the file again") from None
        else:
            rows = _list_rows(data)
            if rows is not None:
                yield from (row if isinstance(row, dict) else BadRow("row is not an object") for row in rows)
                return
    for line in lines_of(text):
        if line.strip():
            try:
                row = parse_json(line)
            except ValueError:
                yield BadRow("line is not JSON")
                continue
            yield row if isinstance(row, dict) else BadRow("row is not an object")


def _list_rows(data: Any) -> list[Any] | None:
    """The rows of a whole JSON value, None where it holds none."""
    if isinstance(data, list):
        return data
    if not isinstance(data, dict):
        return None
    values = list(data.values())
    if len(values) > 1 and all(isinstance(v, dict) for v in values):
        return values
    lists = [v for v in values if isinstance(v, list)]
    if len(lists) == 1:
        return lists[0] if any(isinstance(row, dict) for row in lists[0]) else [data]
    columns = len(lists) == len(values) > 1 and len({len(v) for v in lists}) == 1
    return [dict(zip(data, row)) for row in zip(*lists)] if columns else [data]


def parquet_rows(path: Path) -> Iterator[dict[str, Any] | BadRow]:
    """Rows of a parquet file, read in batches."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=256):
            yield from batch.to_pylist()


def is_missing(value: Any) -> bool:
    """Whether a field is absent: null, or the NaN that tables write for it."""
    return value is None or (isinstance(value, float) and value != value)


def text_field(row: dict[str, Any], *names: str) -> str:
    """The first of the named fields that is there, as text; raises BadRow when none is."""
    for name in names:
        value = row.get(name)
        if not is_missing(value) and not isinstance(value, (list, dict)) and str(value).strip():
            return str(value).strip()
    raise BadRow(f"field {names[0]} is missing")


def picture_items(value: Any) -> list[Any]:
    """The pictures of a field: one, a list of them, a list in JSON, or None."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = parse_json(value)
        except ValueError:
            return [value]
    items = [] if is_missing(value) or value == "" else value if isinstance(value, list) else [value]
    return [part for item in items for part in (item if isinstance(item, list) else [item])]


def pictures(items: Any, bases: Bases) -> list[tuple[bytes, int, int]]:
    """(encoded bytes, width, height) of pictures given as paths below one of `bases`, bytes, base64 text, data URLs, or
    {"bytes"/"path"/"url"}; raises BadRow. The bytes are upright, RGB and of one frame, as the model will see them: a
    JPEG or PNG that is so already is kept byte for byte, anything else is decoded by spatial_jax.media.decode_picture
    and encoded again.
    """
    return [_picture(item, bases) for item in picture_items(items)]


def encode_item(item: Any, bases: Bases) -> bytes:
    """The encoded bytes of one picture; raises BadRow."""
    for key in ("bytes", "image_bytes", "image", "image_url", "url", "path", "file_name"):
        if isinstance(item, dict) and item.get(key):
            return encode_item(item[key], bases)
    if isinstance(item, (bytes, bytearray)):
        return bytes(item)
    if not isinstance(item, str) or not item:
        raise BadRow("picture is neither path nor bytes")
    if item.startswith("data:"):
        return _from_base64(item.partition(",")[2])
    if item.startswith(("http://", "https://")):
        raise BadRow("picture is a web address: download it and name the file")
    if item.startswith(_BASE64_STARTS) and len(item) > 60 and "." not in item:
        return _from_base64(item)
    return _read(item, bases)


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise BadRow("picture is no base64 text") from error


def _picture(item: Any, bases: Bases) -> tuple[bytes, int, int]:
    data = encode_item(item, bases)
    try:
        decoded = decode_picture(data, most_pixels=MOST_PIXELS)
    except PictureError as error:
        raise BadRow(f"picture {error.reason}") from error
    _tell(item if isinstance(item, str) and len(item) < 300 else "a picture", decoded.notes)
    image = decoded.image
    return data if decoded.plain else encode_picture(image, decoded.format), image.width, image.height


def _tell(name: str, notes: list[str]) -> None:
    """Prints the first few repairs of each kind: what is stored then differs from the file."""
    for note in notes:
        kind = re.sub(r"\d+", "", note)
        _told[kind] += 1
        if _told[kind] <= SHOWN:
            last = "; more like this are not told" if _told[kind] == SHOWN else ""
            say(f"repaired {name}: {note}{last}")


def _read(name: str, bases: Bases) -> bytes:
    folders = [bases] if isinstance(bases, Path) else list(bases or ())
    if not folders:
        raise BadRow("pictures are named by path: give their folder with --images")
    names = dict.fromkeys((name, name.replace("\\", "/")))  # some files were written on Windows
    inside = [p for n in names for p in (_below(folder.resolve(), n) for folder in folders) if p is not None]
    if not inside:
        raise BadRow("picture path leaves the folder of pictures")
    try:
        return read_file(next((p for p in inside if p.is_file()), inside[0]), MOST_BYTES)
    except PictureError as error:
        raise BadRow(f"picture file {error.reason}") from error
    except (OSError, ValueError) as error:
        raise BadRow("picture file is missing") from error


def _below(base: Path, name: str) -> Path | None:
    """The file `name` below `base` (an absolute name may lie in it, or starts from it); None where it leads out."""
    try:
        whole = Path(name.removeprefix("file://")).expanduser()
        for path in (whole, base / name.lstrip("/")):
            if path.is_absolute() and path.resolve().is_relative_to(base):
                return path.resolve()
    except (OSError, ValueError, RuntimeError):  # a zero byte, a name that is too long, links in a circle
        return None
    return None

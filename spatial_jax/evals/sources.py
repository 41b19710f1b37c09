"""Reading published benchmark files: a local directory or file, or a hub name; parquet, tsv, csv, json, jsonl.

Pictures stay encoded: bytes out of parquet or base64 columns, otherwise paths. Nothing is decoded here.
"""

from __future__ import annotations

import ast
import base64
import binascii
import csv
import fnmatch
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spatial_jax.media import natural_key
from spatial_jax.reading import lines_of, parse_json, parse_object

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
SUFFIXES = (".parquet", ".tsv", ".csv", ".jsonl", ".json")
# Files without an extension that repositories have and that hold no items.
PAPERS = ("LICENSE", "LICENCE", "NOTICE", "README", "MAKEFILE", "CITATION")
logger = logging.getLogger(__name__)
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))


class SourceError(ValueError):
    """Benchmark files that are missing or cannot be read; one line."""


def locate(source: str, hub: str = "") -> Path:
    """Directory or file of a benchmark. `source` is a path or a hub dataset name ("owner/name"); "" takes the
    benchmark's own.

    Raises SourceError naming what to do when there is neither.
    """
    if source and Path(source).exists():
        return Path(source)
    name = source or hub
    if not name:
        raise SourceError("no files given and the benchmark is not on the hub; give --data DIR")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise SourceError(
            f"{name}: no such file or directory; give --data a directory of the published files or a hub name"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, repo_type="dataset"))
    except Exception as error:
        raise SourceError(
            f"{name}: neither a local path nor to be had from the hub ({type(error).__name__}); "
            "download it where there is a network and give --data DIR"
        ) from error


def kind_of(path: Path) -> str:
    """The one of SUFFIXES that says how a file is read. A file without an extension is told by its first bytes, as
    downloads often lose their names; "" where it is no table.
    """
    if path.suffix:
        return path.suffix.lower() if path.suffix.lower() in SUFFIXES else ""
    with open(path, "rb") as file:
        head = file.read(4096)
    if head.startswith(b"PAR1"):
        return ".parquet"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"[", b"{")):
        return ".json"
    return ".tsv" if b"\t" in head.split(b"\n")[0] and b"\0" not in head else ""


def data_files(root: Path, patterns: Sequence[str] = ("*",)) -> list[Path]:
    """Data files under `root` matching the first of `patterns` that matches any; the first suffix of SUFFIXES that is
    there wins. Files without an extension that are no tables are named.
    """
    if root.is_file():
        return [root]
    files = sorted(
        (
            p
            for p in root.rglob("*")
            if p.is_file() and not any(part.startswith(".") for part in p.relative_to(root).parts)
        ),
        key=natural_key,
    )
    kinds = {p: kind_of(p) for p in files if not p.suffix or p.suffix.lower() in SUFFIXES}
    passed = [p.name for p, kind in kinds.items() if not kind and p.name.upper() not in PAPERS]
    if passed:
        some = ", ".join(passed[:3]) + (" ..." if len(passed) > 3 else "")
        logger.warning("%s: %d file(s) without an extension hold no table (%s); passed over", root, len(passed), some)
    for pattern in patterns:
        for suffix in SUFFIXES:
            chosen = [
                p
                for p, kind in kinds.items()
                if kind == suffix
                and (fnmatch.fnmatch(p.name, pattern) or fnmatch.fnmatch(str(p.relative_to(root)), pattern))
            ]
            if chosen:
                return chosen
    raise SourceError(f"{root}: no {', '.join(SUFFIXES)} file named like {' or '.join(patterns)}")


def read_rows(root: Path, patterns: Sequence[str] = ("*",)) -> list[dict[str, Any]]:
    """All rows of the chosen files, each with "_root" (for relative paths) and "_file" (its stem)."""
    rows = []
    for path in data_files(root, patterns):
        base = root if root.is_dir() else root.parent
        for row in _rows(path):
            row["_root"], row["_file"] = str(base), path.stem
            rows.append(row)
    if not rows:
        raise SourceError(f"{root}: the files hold no items")
    return rows


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        kind = kind_of(path)
        if kind == ".parquet":
            yield from _parquet(path)
        elif kind in (".tsv", ".csv"):
            with open(path, encoding="utf-8", newline="") as file:
                yield from csv.DictReader(file, delimiter="\t" if kind == ".tsv" else ",")
        elif kind == ".jsonl":
            for number, line in enumerate(lines_of(path.read_text(encoding="utf-8-sig")), 1):
                if line.strip():
                    try:
                        yield parse_object(line)
                    except ValueError as error:
                        raise SourceError(f"{path}: line {number} is not a JSON object ({error})") from None
        else:
            content = _json_or_lines(path)
            if isinstance(content, dict):
                content = next(
                    (content[k] for k in ("questions", "data", "items") if isinstance(content.get(k), list)), None
                )
            if not isinstance(content, list):
                raise SourceError(f"{path}: holds no list of items")
            yield from (row if isinstance(row, dict) else {"row": row} for row in content)
    except SourceError:
        raise
    except (ValueError, OSError, csv.Error) as error:  # pyarrow's errors are of these two
        raise SourceError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from error


def _json_or_lines(path: Path) -> Any:
    """A JSON file's value; a list where the file holds an object a line, as some published .json files do."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        return parse_json(text)
    except ValueError:
        lines = [line for line in lines_of(text) if line.strip()]
        if len(lines) < 2:
            raise
        try:
            rows = [parse_object(line) for line in lines]
        except ValueError:
            rows = []
        if not rows:
            raise
        return rows


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise SourceError(f"{path}: parquet files need pyarrow; pip install 'spatial_jax[eval]'") from error
    file = parquet.ParquetFile(path)
    for batch in file.iter_batches(batch_size=256):
        yield from batch.to_pylist()


def as_list(value: Any) -> list[Any]:
    """A list out of a list, None, or a text that holds one ("['a', 'b']", '["a"]')."""
    if value is None:
        return []
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("[") and text.endswith("]"):
            for read in (parse_json, ast.literal_eval):
                try:
                    parsed = read(text)
                    return list(parsed) if isinstance(parsed, (list, tuple)) else [value]
                except (ValueError, SyntaxError, RecursionError, MemoryError):
                    continue
        return [value] if text else []
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, (bytes, dict)) else [value]


def below(root: str, name: str, *folders: str) -> str:
    """The file `name` below `root`, tried under `folders` too: an item opens no file from elsewhere, whether by "..",
    by an absolute name or by a link. What does not exist or leads out is returned as a path that says so when it is
    opened.
    """
    base = Path(root).resolve()
    # A snapshot of the hub's cache is a folder of links into its own repository's blobs.
    allowed = base.parent.parent if base.parent.name == "snapshots" else base
    leads_out = False
    for folder in ("", *folders):
        try:
            candidate = Path(root) / folder / name
            if candidate.exists():
                places = (allowed, (base / folder).resolve()) if folder else (allowed,)  # the benchmark's own folders
                if any(candidate.resolve().is_relative_to(place) for place in places):
                    return str(candidate)
                leads_out = True
        except (OSError, ValueError, RuntimeError):  # a zero byte, a name that is too long, links in a circle
            continue
    told = name.replace("\0", "")[:200]
    outside = leads_out or Path(told).is_absolute() or ".." in Path(told).parts
    return str(Path(root) / f"(refused, it leads out of the folder) {told}") if outside else str(Path(root) / told)


def picture(value: Any, root: str, *folders: str) -> bytes | str | None:
    """Encoded bytes, or the path of a picture, out of any of the published forms: {"bytes", "path"}, bytes, base64
    text, a path relative to the files (`below`). A path that does not exist is returned as it is; opening it reports
    it.
    """
    if value is None:
        return None
    if isinstance(value, dict):
        return value.get("bytes") or picture(value.get("path"), root, *folders)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    text = str(value)
    if len(text) > 1000:
        try:
            return base64.b64decode(text, validate=False)
        except (binascii.Error, ValueError) as error:
            raise SourceError(f"a picture of {len(text)} characters is not base64") from error
    return below(root, text, *folders)


def pictures(values: Any, root: str, *folders: str) -> list[bytes | str]:
    """`picture` of each value, absent ones left out."""
    found = (picture(v, root, *folders) for v in as_list(values))
    return [f for f in found if f is not None]

"""Where the rows of a question set are: one file, a folder of shards, a Hugging Face dataset folder; parquet, Arrow,
JSON lines, JSON, TSV and CSV.
"""

from __future__ import annotations

import csv
import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.synthesis.importers.rows import BadRow, json_rows, parquet_rows
from spatial_jax.media import natural_key
from spatial_jax.reading import read_object

SUFFIXES = (".parquet", ".arrow", ".jsonl", ".ndjson", ".json", ".tsv", ".csv")
_NOT_ROWS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_SPLIT = re.compile(r"(train|test|testmini|validation|valid|val|dev|eval|heldout)(?![A-Za-z])", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class RowFile:
    """A file of rows. `split`: what its name says ("train", "heldout" for test and validation, "" where it says
    nothing); `bases`: folders that its picture paths may start from, nearest first.
    """

    path: Path
    split: str
    bases: tuple[Path, ...]


def row_files(path: str) -> list[RowFile]:
    """The files of rows at `path`, in order of their names. ValueError where there is none."""
    root = Path(path).expanduser()
    if root.is_file():
        return [RowFile(root, "", (root.parent,))]
    if not root.is_dir():
        raise ValueError(f"{path}: no such file or folder")
    if (root / "dataset_dict.json").is_file():
        splits = read_object(root / "dataset_dict.json").get("splits")
        names = [s for s in splits if isinstance(s, str)] if isinstance(splits, list) else []
        files = [(file, name) for name in names for file in _saved_files(root / Path(name).name)]
    elif (root / "state.json").is_file():
        files = [(file, "") for file in _saved_files(root)]
    else:
        files = [(file, _named_split(file, root)) for file in _find_files(root)]
    if not files:
        raise ValueError(f"{path}: no file of rows in this folder (looked for {' '.join(SUFFIXES)} at any depth)")
    chosen = [RowFile(file, _role(split), tuple(dict.fromkeys((file.parent, root)))) for file, split in files]
    if all(f.split == "heldout" for f in chosen):  # a test set alone is what its owner wants to use
        chosen = [dataclasses.replace(f, split="") for f in chosen]
    return chosen


def _saved_files(folder: Path) -> list[Path]:
    """Arrow files of a dataset folder that `save_to_disk` wrote, in their order."""
    listed = read_object(folder / "state.json", "save the dataset again").get("_data_files")
    names = [f.get("filename") for f in listed if isinstance(f, dict)] if isinstance(listed, list) else []
    return [folder / Path(name).name for name in names if isinstance(name, str)]


def _find_files(root: Path) -> list[Path]:
    files = [
        p
        for p in root.rglob("*")
        if p.suffix.lower() in SUFFIXES
        and p.name not in _NOT_ROWS
        and p.is_file()
        and not any(part.startswith(".") for part in p.relative_to(root).parts)
    ]
    files.sort(key=lambda p: natural_key(p.relative_to(root)))
    for suffix in SUFFIXES:
        chosen = [p for p in files if p.suffix.lower() == suffix]
        if chosen:
            return chosen
    return []


def _named_split(file: Path, root: Path) -> str:
    for part in reversed(file.relative_to(root).parts):
        match = _SPLIT.match(part)
        if match:
            return match.group(1)
    return ""


def _role(split: str) -> str:
    return "" if not split else "train" if split.lower() == "train" else "heldout"


def file_rows(path: Path) -> Iterator[dict[str, Any] | BadRow]:
    """The rows of one file by its ending; ValueError, naming it, where it cannot be read as what its name says."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            yield from parquet_rows(path)
        elif suffix == ".arrow":
            yield from _arrow_rows(path)
        elif suffix in (".tsv", ".csv"):
            yield from _table_rows(path, "\t" if suffix == ".tsv" else ",")
        else:
            yield from json_rows(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is no UTF-8; save the file as UTF-8") from None
    except (ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError) or str(path) in str(error):
            raise ValueError(str(error) if str(path) in str(error) else f"{path}: no such file") from None
        raise ValueError(
            f"{path}: cannot be read as {suffix[1:] or 'JSON'} ({' '.join(str(error).split())[:200]})"
        ) from None


def _arrow_rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        try:
            batches: Any = pa.ipc.open_stream(source)
        except pa.ArrowInvalid:
            found = pa.ipc.open_file(source)
            batches = (found.get_batch(i) for i in range(found.num_record_batches))
        for batch in batches:
            for start in range(0, batch.num_rows, 256):
                yield from batch.slice(start, 256).to_pylist()


def _table_rows(path: Path, delimiter: str) -> Iterator[dict[str, Any] | BadRow]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a picture may stand in a column as base64
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            for row in csv.DictReader(file, delimiter=delimiter):
                yield {k: v for k, v in row.items() if k is not None}
        except csv.Error as error:
            raise ValueError(str(error)) from None

"""Opens TFDS-format folders without running what their files name.

TFDS imports whatever module features.json names, and reads whatever file dataset_info.json's template points at. A
folder is data that others may have written: it may name TFDS's own features and files of its own, nothing else.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spatial_jax.reading import parse_json

# TFDS writes the first; the others are forms that it still reads.
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type")
# File names are made of these.
_PATH_KEYS = ("filepathTemplate", "filepath_template", "name", "fileFormat", "file_format")
_PLAIN = re.compile(r"[^/\\\x00]*")


def open_dataset_folder(folder: str | os.PathLike[str]) -> Any:
    """TFDS's read-only builder of a folder (local, or of a file system that TFDS knows, gs://...). Raises ValueError,
    one line, where the folder's files name code or files that are not its own, or cannot be read.
    """
    import tensorflow_datasets as tfds

    check_dataset_folder(folder)
    return tfds.builder_from_directory(os.fspath(folder))


def check_dataset_folder(folder: str | os.PathLike[str]) -> None:
    """Raises ValueError, one line, where features.json names a class that is not one of TFDS's own features, or where
    a field, a split or the template of file names would lead out of the folder.
    """
    known, where = _known_features(), f"{os.fspath(folder)}/features.json"
    for key, value in _entries(_read(folder, "features.json"), where):
        if key in _CLASS_KEYS and isinstance(value, str) and value not in known:
            raise ValueError(
                f"{where} names the class {value[:100]!r}, which is not one of TFDS's own features: a dataset brings"
                " no code; write it again with data_prep, or with TFDS's own features"
            )
        if not _PLAIN.fullmatch(key) or key == "..":
            raise ValueError(f"{where}: {key[:100]!r} is no name of a field")
    where = f"{os.fspath(folder)}/dataset_info.json"
    info = _read(folder, "dataset_info.json")
    splits = info.get("splits", []) if isinstance(info, dict) else None
    if not isinstance(splits, list) or not all(isinstance(entry, dict) for entry in splits):
        raise ValueError(f"{where}: not the books of a dataset; copy it again")
    for key, value in [item for entry in (info, *splits) for item in entry.items()]:
        if key in _PATH_KEYS and not (isinstance(value, str) and _PLAIN.fullmatch(value)):
            raise ValueError(
                f"{where}: {key} = {str(value)[:100]!r} leads out of the folder; a dataset's files"
                " lie beside its dataset_info.json"
            )


def check_prepared_datasets(root: str | os.PathLike[str], name: str) -> None:
    """`check_dataset_folder` for every version and config of a prepared dataset below `root`: what TFDS may open under
    that name.
    """
    for found in sorted(Path(root).expanduser().joinpath(re.split(r"[:/]", name)[0]).rglob("features.json")):
        check_dataset_folder(found.parent)


def _known_features() -> set[str]:
    """Qualified names of the features that TFDS itself brings."""
    import tensorflow_datasets as tfds

    public = (getattr(tfds.features, name) for name in tfds.features.__all__)
    return {
        f"{item.__module__}.{item.__name__}"
        for item in public
        if inspect.isclass(item) and issubclass(item, tfds.features.FeatureConnector)
    }


def _read(folder: str | os.PathLike[str], name: str) -> Any:
    from etils import epath

    path = epath.Path(os.path.expanduser(os.fspath(folder))) / name
    try:
        return parse_json(path.read_text()) if path.exists() else {}
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{path}: cannot be read ({type(error).__name__}: {reason}); copy the dataset again") from None


def _entries(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth, also inside texts that hold JSON of their own (TFDS's "jsonFeature")."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting += value.values()
            if isinstance(text := value.get("json"), str):
                try:
                    waiting.append(parse_json(text))
                except ValueError:
                    raise ValueError(f"{where}: a feature's own JSON cannot be read; copy the dataset again") from None
        elif isinstance(value, list):
            waiting += value

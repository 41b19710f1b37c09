"""Examples of a TFDS-format ArrayRecord folder, for showing: any record at random, pictures left encoded, damage
named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spatial_jax.dataset_folder import check_dataset_folder, open_dataset_folder
from spatial_jax.reading import parse_json


class ExampleFolder:
    """A finished dataset directory. `splits` maps a split to its number of readable records; `problems` names what is
    damaged in one line each (a damaged shard reads as empty without a word, so counts are compared with the books).

    Raises ValueError with one line when the folder holds no dataset."""

    def __init__(self, folder: str | Path):
        from array_record.python import array_record_module
        from tensorflow_datasets.core import example_parser

        self.folder = Path(folder)
        if not (self.folder / "dataset_info.json").is_file():
            raise ValueError(
                f"{folder}: no finished dataset (dataset_info.json is missing); give the folder that data_prep wrote"
            )
        check_dataset_folder(folder)
        try:
            info = open_dataset_folder(folder).info
        except Exception as error:
            raise ValueError(
                f"{folder}: cannot be opened as a dataset ({type(error).__name__}:"
                f" {' '.join(str(error).split())[:160]})"
            ) from None
        self.fields = set(info.features)
        self.manifest = _manifest(self.folder)
        self.problems: list[str] = []
        self._parse = example_parser.ExampleParserNp(info.features.get_serialized_info()).parse_example
        self._shards: dict[str, list[tuple[Any, int]]] = {}
        for split, entry in info.splits.items():
            for path, stated in zip(entry.filepaths, entry.shard_lengths):
                found, reader = 0, None
                if Path(path).is_file() and Path(path).stat().st_size:
                    reader = array_record_module.ArrayRecordReader(str(path))
                    found = reader.num_records() if reader.ok() else 0
                if found != stated:
                    self.problems.append(
                        f"{Path(path).name} holds {found} of {stated} records: damaged or missing, copy it again"
                    )
                if found:
                    self._shards.setdefault(split, []).append((reader, found))
        self.splits = {split: sum(count for _, count in shards) for split, shards in self._shards.items()}

    def get(self, split: str, index: int) -> dict[str, Any]:
        """The example at a position as nested NumPy; raises ValueError with one line when it cannot be read."""
        for reader, count in self._shards[split]:
            if index < count:
                try:
                    return self._parse(reader.read([index])[0])
                except Exception as error:
                    raise ValueError(f"{split} record {index} cannot be read ({type(error).__name__})") from None
            index -= count
        raise IndexError(index)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        value = parse_json((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}

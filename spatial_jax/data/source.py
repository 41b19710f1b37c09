"""Question datasets as random-access sources: TFDS-format ArrayRecord, pictures left encoded, damaged shards and
records named and counted.
"""

from __future__ import annotations

import collections
import dataclasses
import difflib
import logging
import re
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.data.integrity import DatasetError, Shard, check_shards, content_digest
from spatial_jax.data.records import QuestionRecord, check_record, check_schema, from_example
from spatial_jax.dataset_folder import open_dataset_folder
from spatial_jax.pages import one_line, plain

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Unusable:
    """Stands where a record cannot be used: which one (dataset, position) and why, in one line."""

    where: str
    reason: str


class QuestionSource:
    """Records of one split by position. `source[i]` is a QuestionRecord, or an `Unusable` that says which record is
    broken and why.

    Positions are 0 ... len - 1 over the records that are left after damaged shards, excluded records and other families
    are taken out; `indices[i]` is the record's place in the split.
    """

    def __init__(self, directory: Path, split: str, shards: list[Shard], indices: np.ndarray):
        self.directory, self.split, self.shards, self.indices = directory, split, shards, indices
        self._open: Any = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.indices)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __repr__(self) -> str:  # Grain prints it
        return f"QuestionSource({self.directory}, {self.split}, {len(self)} records)"

    @property
    def name(self) -> str:
        """The dataset's folder name, for messages and metrics."""
        return self.directory.name

    @property
    def digest(self) -> str:
        """Of the split's content: other questions under the same name and number have another one."""
        return content_digest(self.shards)

    def __getitem__(self, position: int) -> QuestionRecord | Unusable:
        index = int(self.indices[position])
        try:
            record = from_example(QuestionRecord, self._data()[index])
        except Exception as error:  # whatever a flipped bit makes of TFDS, protobuf or ArrayRecord
            told = one_line(f"{type(error).__name__}: {error}", 200)
            return Unusable(self.locate(index), f"cannot be read ({told})")
        try:
            check_record(record)
        except ValueError as error:
            return Unusable(self.locate(index), f"{one_line(record.question_id, 80)}: {error}")
        return record

    def __iter__(self) -> Iterator[QuestionRecord | Unusable]:
        return (self[i] for i in range(len(self)))

    def locate(self, index: int) -> str:
        """ "FILE record N" of the record at `index` of the split."""
        for shard in self.shards:
            if index < shard.records:
                return f"{shard.path} record {index}"
            index -= shard.records
        return f"{self.directory} split {self.split} record {index}"

    def without(self, positions: Collection[int]) -> QuestionSource:
        """The source with the records at `positions` taken out."""
        return QuestionSource(self.directory, self.split, self.shards, np.delete(self.indices, list(positions)))

    def of_families(self, families: Collection[str]) -> QuestionSource:
        """The source with only the records of these question families. Raises DatasetError naming the families there
        are.
        """
        found = self.column("family")
        keep = np.isin(found, list(families))
        if not keep.any():
            there = ", ".join(sorted(set(found)))
            raise DatasetError(
                f"{self.directory}: no record of {', '.join(sorted(families))} in split {self.split}; there are {there}"
            )
        return QuestionSource(self.directory, self.split, self.shards, self.indices[keep])

    def column(self, field: str) -> np.ndarray:
        """One text field of every record, in order ("" where a record cannot be read). Nothing else of the records is
        parsed.
        """
        return np.asarray([self._text(position, field) for position in range(len(self))], dtype=object)

    def _text(self, position: int, field: str) -> str:
        from tensorflow_datasets.proto import tf_example_pb2

        try:
            raw = self._data().data_source[int(self.indices[position])]
            return tf_example_pb2.Example.FromString(raw).features.feature[field].bytes_list.value[0].decode()
        except (
            Exception
        ):  # whatever a flipped bit makes of protobuf or ArrayRecord; reading the record itself names the damage
            return ""

    def _data(self) -> Any:
        if self._open is None:
            with self._lock:
                if self._open is None:
                    self._open = _builder(self.directory).as_data_source(self.split, decoders=left_encoded())
        return self._open


def open_questions(
    directory: str | Path, split: str = "train", *, families: Collection[str] = (), checksums: bool = True
) -> QuestionSource:
    """Opens a question dataset. Damaged shards are named in the log and left out; `checksums=False` skips the sha256
    comparison.

    Raises DatasetError when the folder holds no dataset, not this split, or nothing readable."""
    path = Path(directory)
    builder = _builder(path)
    info = builder.info.splits.get(split)
    if info is None or not info.num_examples:
        raise DatasetError(f"{path}: no split {split!r}; there are {', '.join(builder.info.splits) or 'none'}")
    if "question" not in builder.info.features:
        fields = ", ".join(list(builder.info.features)[:6])
        raise DatasetError(
            f"{path}: not a question dataset (fields {fields}); give one that data_prep.synthesize wrote"
        )
    try:
        told = check_schema(builder.info, QuestionRecord)
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from None
    if told:
        log.warning("%s: %s", path, told)
    names = [Path(file).name for file in info.filenames] if hasattr(info, "filenames") else []
    shards = check_shards(path, sorted(zip(names, info.shard_lengths)), split, checksums)
    good, start = [], 0
    for shard in shards:
        if shard.problem:
            log.warning(
                "%s: shard %s %s; %s",
                path,
                shard.path.name,
                shard.problem,
                (
                    "its damaged records are skipped"
                    if shard.readable
                    else f"its {shard.records} records are left out, copy it again"
                ),
            )
        if shard.readable:
            good.append(np.arange(start, start + shard.records))
        start += shard.records
    if not good:
        raise DatasetError(
            f"{path}: no shard of split {split} can be read ({shards[0].path.name} {shards[0].problem}); copy the"
            " dataset again"
        )
    source = QuestionSource(path, split, shards, np.concatenate(good))
    return source.of_families(families) if families else source


def open_mixture(
    directories: Sequence[str | Path], split: str = "train", families: Collection[str] = ()
) -> list[QuestionSource]:
    """`open_questions` of several datasets. A family need not be in each of them: one that has none of them is left
    out, which is said. DatasetError names a family that none of them has.
    """
    sources = [open_questions(directory, split) for directory in directories]
    if not families:
        return sources
    columns = [set(source.column("family")) for source in sources]
    check_families(families, set().union(*columns), split)
    for source, found in zip(sources, columns):
        if not found & set(families):
            log.warning("%s: left out, no record of %s in split %s", source.directory, ", ".join(families), split)
    return [s.of_families(families) for s, found in zip(sources, columns) if found & set(families)]


def check_families(asked: Collection[str], there: Collection[str], split: str) -> None:
    """DatasetError where one of the asked families has no record; it names the nearest that has."""
    for family in asked:
        if family not in there:
            close = difflib.get_close_matches(family, there, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(there))}"
            raise DatasetError(f"families: no record of {family!r} in split {split}; {hint}")


def _builder(path: Path) -> Any:
    if not (path / "dataset_info.json").is_file():
        raise DatasetError(
            f"{path}: no dataset here (dataset_info.json is missing); give a folder that data_prep.synthesize finished"
        )
    try:
        return open_dataset_folder(path)
    except ValueError as error:
        raise DatasetError(" ".join(str(error).split())[:400]) from None


def left_encoded() -> dict[str, Any]:
    """TFDS decoders that leave a question's pictures encoded."""
    import tensorflow_datasets as tfds

    class LeftEncoded(tfds.decode.SkipDecoding):
        """TFDS's SkipDecoding lacks the NumPy path for a sequence of pictures."""

        def decode_batch_example_np(self, serialized_example: Any) -> Any:
            return serialized_example

    return {"images": LeftEncoded()}


def reason_kind(reason: str) -> str:
    """What a reason is counted by: without the record's id before it, and what follows a bracket or a colon."""
    whole = re.sub(r"^\S*/\S*: ", "", reason)
    return re.split(r"[(:]", whole, maxsplit=1)[0].strip() or reason


class SkipCounter:
    """Counts unusable records by reason, logs the first few of each reason."""

    def __init__(self, shown: int = 5):
        self.counts: collections.Counter[str] = collections.Counter()
        self._shown, self._seen = shown, set[str]()

    def add(self, item: Unusable) -> None:
        """Counts one record (once, however many epochs meet it)."""
        if item.where in self._seen:
            return
        self._seen.add(item.where)
        self.counts[reason_kind(item.reason)] += 1
        if self.total <= self._shown:
            log.warning("skipped %s: %s", plain(item.where), one_line(item.reason, 500))

    @property
    def total(self) -> int:
        """Number of different records skipped."""
        return len(self._seen)

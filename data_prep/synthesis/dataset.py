"""Reading scene datasets and writing question datasets."""

from __future__ import annotations

import collections
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from etils import epath

from data_prep.pipeline import Outcome
from data_prep.synthesis.priors import format_table
from data_prep.writer import DatasetWriter, Serializer, WriterError
from spatial_jax.data.records import (
    QuestionRecord,
    SceneRecord,
    check_record,
    check_schema,
    from_example,
    question_features,
    to_example,
)
from spatial_jax.dataset_folder import open_dataset_folder
from spatial_jax.pages import one_line, say
from spatial_jax.reading import read_object


class DatasetError(Exception):
    """A dataset that cannot be read; the message is one line that says what to do."""


class SceneDataset:
    """The scenes of a dataset directory, split after split ("train" first), by position; pictures stay encoded."""

    def __init__(self, directory: str):
        import tensorflow_datasets as tfds

        if "://" not in directory and not Path(directory, "dataset_info.json").is_file():
            raise DatasetError(
                f"{directory}: no finished scene dataset there (no dataset_info.json); make one with python -m"
                " data_prep.annotate"
            )
        try:
            builder = open_dataset_folder(directory)
            told = check_schema(builder.info, SceneRecord)
            splits = sorted(builder.info.splits, key=lambda s: (s != "train", s))
            decoders = {"image": tfds.decode.SkipDecoding()}
            self._parts = [(s, builder.as_data_source(s, decoders=decoders)) for s in splits]
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise DatasetError(f"{directory}: cannot be opened as a scene dataset ({reason})") from error
        if told:
            say(f"{directory}: {told}")
        self.digest = dataset_digest(directory)
        self.skipped: collections.Counter[str] = collections.Counter()

    def __len__(self) -> int:
        return sum(len(source) for _, source in self._parts)

    def get(self, index: int) -> SceneRecord | str:
        """The scene at a position, or one line that says why it cannot be read."""
        for split, source in self._parts:
            if index < len(source):
                try:
                    scene = from_example(SceneRecord, source[index])
                    check_record(scene)
                    return scene
                except Exception as error:
                    return one_line(f"{split} scene {index}: {type(error).__name__}: {error}", 200)
            index -= len(source)
        raise IndexError(index)

    def __iter__(self) -> Iterator[SceneRecord]:
        """All readable scenes; the others are counted in `skipped` and named on the console."""
        for index in range(len(self)):
            scene = self.get(index)
            if isinstance(scene, str):
                say(f"skipped {scene}")
                self.skipped["damaged scene record"] += 1
            else:
                yield scene


def dataset_digest(directory: str) -> str:
    """What a finished dataset holds, as a short digest of its shards' sums (of its info file where no manifest says
    them): a resume on other scenes under the same name is told by it.
    """
    root = epath.Path(directory)
    try:
        told: Any = read_object(root / "manifest.json")["splits"]
    except (OSError, ValueError, KeyError):
        told = (root / "dataset_info.json").read_text()
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


class QuestionWriter:
    """Writes question records in order. A run that was stopped is repeated from its seed; what is on disk already is
    passed over.
    """

    def __init__(self, out: str, config: dict[str, Any], shard_records: int = 1000, name: str = "questions"):
        features = self.features()
        self._writer = DatasetWriter(out, name, features, config, shard_records)
        self._serialize = Serializer(features)
        self._index = 0
        self.resumed = self._writer.next_index

    @staticmethod
    def features() -> Any:
        """The dataset's TFDS features."""
        return question_features()

    @property
    def complete(self) -> bool:
        return self._writer.complete

    def write(self, record: QuestionRecord) -> None:
        """Appends one record."""
        self._append(
            lambda index: Outcome(
                index, record.question_id, "record", record.split, example=self._serialize(self.example(record))
            )
        )

    def example(self, record: QuestionRecord) -> dict[str, Any]:
        """What is written of a question."""
        return to_example(record)

    def skip(self, item_id: str, stage: str, reason: str) -> None:
        """Notes an item that gave no question, with the reason."""
        self._append(lambda index: Outcome(index, item_id, "dropped", stage=stage, reason=reason))

    def _append(self, make: Any) -> None:
        if self._index >= self._writer.next_index:
            self._writer.append(make(self._index))
        self._index += 1

    def finish(self, report: dict[str, Any]) -> dict[str, Any]:
        """Closes the dataset with `report.json` (counts, tables) in it and returns the manifest; WriterError where no
        question came out.
        """
        return self._writer.finish({"report.json": json.dumps(report, indent=1, sort_keys=True)})

    def abandon(self) -> None:
        """Gives the folder back as it was found; for a dataset without a record."""
        self._writer.abandon()

    def close(self) -> None:
        self._writer.close()


def write_questions(out: str, config: dict[str, Any], records: Iterable[QuestionRecord]) -> dict[str, Any]:
    """Writes records as a question dataset in one go; returns the manifest."""
    writer = QuestionWriter(out, config)
    try:
        for record in records:
            writer.write(record)
        return writer.finish({})
    finally:
        writer.close()


def print_report(
    out: str,
    manifest: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    reasons: collections.Counter[str],
    seconds: float,
) -> None:
    """What a verb says at its end: the table of answer priors, why questions were not asked, and how many were
    written.
    """
    say(format_table(rows))
    if reasons:
        say("not asked: " + "; ".join(f"{reason} {n}" for reason, n in reasons.most_common(20)))
    counts = ", ".join(f"{split} {entry['records']}" for split, entry in manifest["splits"].items())
    say(f"{out}: {counts} ({seconds:.1f} s)")


__all__ = ["DatasetError", "QuestionWriter", "SceneDataset", "WriterError", "print_report", "write_questions"]

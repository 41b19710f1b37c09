"""Writes TFDS-format ArrayRecord datasets that can be stopped at any record and finished later with the same bytes.

Layout of a dataset directory:

    NAME-SPLIT.array_record-00000   shards; each appears whole, under its final name, or not at all
    dataset_info.json, features.json   what `tfds.builder_from_directory` needs
    skipped.jsonl                   one line for every item that was dropped, failed or repaired, with the reason
    manifest.json                   counts, sha256 of every shard, config, generator version; written last: it marks the
    dataset complete _work/                          only while unfinished: the log of items done and the records of the
    shards still open

An item counts as done once its line is in the log; whatever lies behind the last whole line is cut off on resume.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from data_prep.remote import WorkFolder
from data_prep.shards import WriterError, file_sha256, pack, read_journal, write_journal, write_shard
from spatial_jax.data.records import GENERATOR_VERSION, SCHEMA_VERSION
from spatial_jax.reading import parse_object, read_object

FORMAT = "array_record"


class Serializer:
    """Bytes of an example (nested dict) under TFDS features; equal examples give equal bytes in every process (TFDS's
    own serializer leaves the order of a protobuf map to chance).
    """

    def __init__(self, features: Any):
        from tensorflow_datasets.core import example_serializer

        self._features = features
        self._serializer = example_serializer.ExampleSerializer(features.get_serialized_info())

    def __call__(self, example: dict[str, Any]) -> bytes:
        return self._serializer.get_tf_example(self._features.encode_example(example)).SerializeToString(
            deterministic=True
        )


def _differences(a: Any, b: Any, path: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        return [d for k in sorted({*a, *b}) for d in _differences(a.get(k), b.get(k), f"{path}.{k}" if path else k)]
    return [] if a == b else [f"{path} was {json.dumps(a)}, is {json.dumps(b)}"]


def _identity(name: str, config: dict[str, Any], shard_records: int) -> dict[str, Any]:
    return {
        "name": name,
        "generator_version": GENERATOR_VERSION,
        "shard_records": shard_records,
        "config": json.loads(json.dumps(config)),
    }


def _check(folder: WorkFolder, made: Any, identity: dict[str, Any]) -> None:
    if not isinstance(made, dict):
        raise WriterError(f"{folder.out}: its identity cannot be read; choose another --out or delete it")
    differences = _differences(made, identity)
    if differences:
        listed = "; ".join(differences)[:300]
        raise WriterError(
            f"{folder.out} holds a dataset of other settings ({listed}); choose another --out or delete it"
        )


def _object(path: Any) -> dict[str, Any]:
    """A file of the writer's own; WriterError where it is damaged."""
    try:
        return read_object(path, "choose another --out or delete the folder")
    except ValueError as error:
        raise WriterError(str(error)) from None


def is_complete(out: str, name: str, config: dict[str, Any], shard_records: int = 1000) -> bool:
    """Whether `out` holds the finished dataset of these settings; claims and writes nothing. WriterError where it holds
    one of other settings, finished or not.
    """
    folder, identity = WorkFolder(out), _identity(name, config, shard_records)
    manifest = folder.out / "manifest.json"
    if manifest.exists():
        _check(folder, _object(manifest).get("identity"), identity)
        return True
    if begun := _unfinished_identity(folder):
        _check(folder, begun, identity)
    return False


def _unfinished_identity(folder: WorkFolder) -> dict[str, Any]:
    """Identity of the unfinished dataset in a folder; {} where there is none, or not one item of it was done yet."""
    identity, log = folder.work / "identity.json", folder.work / "log.jsonl"
    if not identity.exists() or not log.exists() or not log.stat().st_size or not identity.read_text().strip():
        return {}
    return _object(identity)


class DatasetWriter:
    """Appends outcomes in the order of their indices.

    `out`: the dataset's directory, local or gs://. `config`: JSON-ready; a resume with another config is refused.
    `name`: file prefix ("scenes", "questions"). After construction `next_index` is the first item still to be done and
    `complete` tells whether nothing is. Use as a context manager; `finish()` writes manifest and info files. Raises
    WriterError, OSError (disk full).
    """

    def __init__(self, out: str, name: str, features: Any, config: dict[str, Any], shard_records: int = 1000):
        self.name, self.features, self.shard_records = name, features, shard_records
        if shard_records < 1:
            raise WriterError(f"shard_records = {shard_records}: a shard holds at least one record")
        self.identity = _identity(name, config, shard_records)
        self.folder = WorkFolder(out)
        self.counts: dict[str, int] = {}  # split -> records
        self.tally: dict[str, dict[str, int]] = {}  # stage -> reason -> items
        self.next_index, self.complete, self.items = (
            0,
            False,
            {"record": 0, "dropped": 0, "failed": 0, "notes": 0, "objects": 0},
        )
        self.told: dict[str, int] = {}  # what the items' outcomes count for the summary
        self._journals: dict[str, Any] = {}
        self._log: Any = None
        self._sizes: dict[str, list[tuple[int, int]]] = {}
        self._lock: Any = None
        try:
            self.folder.make()
        except OSError as error:
            raise WriterError(f"cannot write to {out}: {error.strerror or error}; choose another --out") from error
        except ImportError:
            raise WriterError(f"cannot reach {out}: pip install gcsfs") from None
        self._resume()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, *unused: Any) -> None:
        self.close()

    # resuming

    def _resume(self) -> None:
        manifest = self.folder.out / "manifest.json"
        if manifest.exists():
            made = _object(manifest)
            _check(self.folder, made.get("identity"), self.identity)
            if self.folder.work.exists():  # killed between the manifest and the end of the clean-up
                self.folder.remove_work()
            self.complete, self.items, self.counts = (
                True,
                made["items"],
                {k: v["records"] for k, v in made["splits"].items()},
            )
            self.told = made.get("told", {})
            self.tally, self.next_index = made["reasons"], sum(self.items[k] for k in ("record", "dropped", "failed"))
            return
        self.folder.open_work()
        work = self.folder.work
        try:
            self._lock = self.folder.lock()
        except BlockingIOError as error:
            raise WriterError(str(error.strerror)) from None
        if begun := _unfinished_identity(self.folder):
            _check(self.folder, begun, self.identity)
        else:  # not one item is done: whatever lies there is of a command that failed, or of other inputs
            for path in work.iterdir():
                if path.is_file() and path.name != "lock":
                    path.unlink()
            temporary = work / "identity.tmp"
            temporary.write_text(json.dumps(self.identity))
            temporary.replace(work / "identity.json")
        log = work / "log.jsonl"
        kept = 0
        if log.exists():
            for line in log.open("rb"):
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    if line.endswith(b"\n"):
                        self._count(parse_object(line))
                        kept += len(line)
                        continue
                break
            os.truncate(log, kept)
        self._log = log.open("ab")
        for split, count in self.counts.items():
            self._reopen(split, count)

    def _reopen(self, split: str, count: int) -> None:
        shard, pending = divmod(count, self.shard_records)
        if pending == 0:
            if not self._shard_path(split, shard - 1).exists():
                self._seal(split, shard - 1, self.shard_records)
            return
        path, sealed = self._journal_path(split, shard), self._shard_path(split, shard)
        if not path.exists() and sealed.exists():  # killed while the last shards were sealed: open this one again
            temporary = path.with_suffix(".tmp")
            write_journal(temporary, sealed)
            temporary.replace(path)
        if sealed.exists():
            sealed.unlink()
        size = 0
        for record in read_journal(path, pending):
            size += len(pack(record))
        os.truncate(path, size)
        self._journals[split] = path.open("ab")

    # appending

    def _shard_path(self, split: str, shard: int) -> Any:
        return self.folder.out / f"{self.name}-{split}.{FORMAT}-{shard:05d}"

    def _journal_path(self, split: str, shard: int) -> Path:
        return self.folder.work / f"{split}-{shard:05d}.journal"

    def _count(self, line: dict[str, Any]) -> None:
        self.next_index = line["index"] + 1
        self.items[line["kind"]] += 1
        self.items["objects"] += line.get("objects", 0)
        self.items["notes"] += len(line.get("notes", ()))
        for what, count in line.get("told", {}).items():
            self.told[what] = self.told.get(what, 0) + count
        if line["kind"] == "record":
            self.counts[line["split"]] = self.counts.get(line["split"], 0) + 1
            self._sizes.setdefault(line["split"], []).append((line["records_bytes"], 1))
        else:
            reasons = self.tally.setdefault(line["stage"], {})
            reason = line["kind"] + ": " + line["reason"].partition(" | ")[0]
            reasons[reason] = reasons.get(reason, 0) + 1

    def append(self, outcome: Any) -> None:
        """Adds one item's outcome (data_prep.pipeline.Outcome); indices must come in order."""
        if outcome.index != self.next_index:
            raise ValueError(f"item {outcome.index} came where {self.next_index} was due")
        line: dict[str, Any] = {"index": outcome.index, "item": outcome.item_id, "kind": outcome.kind}
        if outcome.kind == "record":
            split = outcome.split
            line.update(split=split, objects=outcome.objects, records_bytes=len(outcome.example))
            shard = self.counts.get(split, 0) // self.shard_records
            if split not in self._journals:
                self._journals[split] = self._journal_path(split, shard).open("wb")
            file = self._journals[split]
            file.write(pack(outcome.example))
            file.flush()
        else:
            line.update(stage=outcome.stage, reason=outcome.reason)
        if outcome.notes:
            line["notes"] = list(outcome.notes)
        if getattr(outcome, "told", None):
            line["told"] = outcome.told
        self._log.write(json.dumps(line).encode() + b"\n")
        self._log.flush()
        self._count(line)
        if outcome.kind == "record" and self.counts[outcome.split] % self.shard_records == 0:
            self._seal(outcome.split, shard, self.shard_records)

    def _seal(self, split: str, shard: int, count: int) -> None:
        """Turns a journal of `count` records into a shard under its final name."""
        file = self._journals.pop(split, None)
        if file:
            file.close()
        journal = self._journal_path(split, shard)
        temporary = journal.with_suffix(".shard")
        write_shard(temporary, read_journal(journal, count))
        self.folder.publish(temporary, self._shard_path(split, shard))
        journal.unlink()
        self.folder.sync()

    # finishing

    def finish(self, beside: dict[str, str] | None = None) -> dict[str, Any]:
        """Seals the open shards, writes info files, the files `beside` (name -> text) and the manifest, removes the
        work folder; returns the manifest. WriterError where there is not one record; nothing is left of the attempt.
        """
        manifest_path = self.folder.out / "manifest.json"
        if self.complete:
            return _object(manifest_path)
        if not self.items["record"]:
            self.abandon()
            raise WriterError(f"{self.folder.out}: nothing came out, no dataset is written; {self.reasons_line()}")
        for split, count in sorted(self.counts.items()):
            shard, pending = divmod(count, self.shard_records)
            if pending and not self._shard_path(split, shard).exists():
                self._seal(split, shard, pending)
        splits = {split: self._split_entry(split, count) for split, count in sorted(self.counts.items())}
        self._write_info()
        self._write_skipped()
        for name, text in (beside or {}).items():
            local = self.folder.work / name
            local.write_text(text)
            self.folder.publish(local, self.folder.out / name)
        reasons = {stage: dict(sorted(found.items())) for stage, found in sorted(self.tally.items())}
        manifest = {"identity": self.identity, "items": self.items, "splits": splits, "reasons": reasons}
        if self.told:
            manifest["told"] = dict(sorted(self.told.items()))
        local = self.folder.work / "manifest.json"
        local.write_text(json.dumps(manifest, indent=1))
        self.folder.publish(local, manifest_path)
        self.close()
        self.folder.remove_work()
        self.complete = True
        return manifest

    def _split_entry(self, split: str, count: int) -> dict[str, Any]:
        shards = []
        for shard in range(-(-count // self.shard_records)):
            path = self._shard_path(split, shard)
            records = min(self.shard_records, count - shard * self.shard_records)
            shards.append(
                {"file": path.name, "records": records, "bytes": path.stat().length, "sha256": file_sha256(path)}
            )
        return {"records": count, "shards": shards}

    def _write_info(self) -> None:
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import dataset_info, file_adapters, naming

        local = self.folder.work / "info"
        local.mkdir(exist_ok=True)
        identity = dataset_info.DatasetIdentity(
            name=self.name, version=tfds.core.Version(f"{SCHEMA_VERSION}.0.0"), data_dir=str(local), module_name=""
        )
        info = tfds.core.DatasetInfo(
            builder=identity, features=self.features, description=f"{self.name} written by data_prep"
        )
        info.set_file_format(file_adapters.FileFormat.ARRAY_RECORD)
        entries = []
        for split, count in sorted(self.counts.items()):
            lengths = [min(self.shard_records, count - s) for s in range(0, count, self.shard_records)]
            template = naming.ShardedFileTemplate(
                dataset_name=self.name,
                data_dir=local,
                split=split,
                filetype_suffix=FORMAT,
                template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",
            )
            size = sum(n for n, _ in self._sizes.get(split, []))
            entries.append(
                tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=size, filename_template=template)
            )
        info.set_splits(tfds.core.SplitDict(entries))
        info.write_to_directory(str(local))
        for path in sorted(local.iterdir()):
            self.folder.publish(path, self.folder.out / path.name)

    def _write_skipped(self) -> None:
        local = self.folder.work / "skipped.jsonl"
        with (self.folder.work / "log.jsonl").open("rb") as log, local.open("wb") as out:
            for raw in log:
                line = json.loads(raw)
                if line["kind"] != "record" or line.get("notes"):
                    out.write(raw)
        self.folder.publish(local, self.folder.out / "skipped.jsonl")

    def reasons_line(self) -> str:
        """Why items gave no record, the likeliest first, on one line."""
        counts = {f"{stage}: {r}": n for stage, found in self.tally.items() for r, n in found.items()}
        ranked = sorted(counts.items(), key=lambda entry: -entry[1])
        return "; ".join(f"{n} x {reason}" for reason, n in ranked[:4]) or "there was no item"

    def abandon(self) -> None:
        """Gives --out back as it was found, so that the next command may use it; for a dataset without a record."""
        self.close()
        self.folder.remove_work()
        if self.folder.local:
            with contextlib.suppress(OSError):  # it holds files of someone else
                os.rmdir(str(self.folder.out))

    def close(self) -> None:
        """Closes the open files; nothing that was appended is lost."""
        for file in [*self._journals.values(), self._log, self._lock]:
            if file:
                file.close()
        self._journals, self._log, self._lock = {}, None, None


__all__ = ["DatasetWriter", "Serializer", "WriterError", "file_sha256", "is_complete"]

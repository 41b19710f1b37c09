"""Compares a dataset with its manifest: ArrayRecord's own reader reports a truncated or empty shard as a shard of no
records.
"""

from __future__ import annotations

import sys

from etils import epath

from data_prep.shards import file_sha256
from spatial_jax.ending import leave
from spatial_jax.reading import read_object


def verify(directory: str, hashes: bool = True) -> list[str]:
    """One line for each thing wrong with a dataset directory (local or gs://), empty when all is well. `hashes=False`
    compares sizes only.
    """
    root = epath.Path(directory)
    manifest = root / "manifest.json"
    if not manifest.exists():
        unfinished = (root / "_work").exists()
        return [
            f"{directory} has no manifest.json: "
            + ("it is unfinished, run its command again" if unfinished else "not a dataset of data_prep")
        ]
    try:
        splits = read_object(manifest)["splits"]
        listed = [shard for split in splits.values() for shard in split["shards"]]
        stated = [(root / str(s["file"]), s["bytes"], s["sha256"], s["records"]) for s in listed]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{manifest} cannot be read ({type(error).__name__}: {error}): make the dataset again"]
    problems = []
    for path, size, sha256, records in stated:
        if not path.exists():
            problems.append(f"{path} is missing ({records} records): make the dataset again")
        elif path.stat().length != size:
            told = f"is {path.stat().length} bytes, should be {size}"
            problems.append(f"{path} {told} ({records} records): make the dataset again")
        elif hashes and file_sha256(path) != sha256:
            problems.append(f"{path} holds other bytes than were written ({records} records): make the dataset again")
    problems += [
        f"{root / name} is missing: make the dataset again"
        for name in ("dataset_info.json", "features.json")
        if not (root / name).exists()
    ]
    return problems


def main(arguments: list[str]) -> int:
    """python -m data_prep.verify DATASET...: prints what is wrong; exit code 1 when anything is."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(
            "usage: python -m data_prep.verify DATASET...\n"
            "Compares each dataset's shards with its manifest (size, sha256) and names what is damaged."
        )
        return 0 if arguments else 2
    problems = [line for directory in arguments for line in verify(directory)]
    for line in problems:
        print(line)
    if not problems:
        print(f"{len(arguments)} dataset{'s' if len(arguments) > 1 else ''} as written")
    return 1 if problems else 0


if __name__ == "__main__":
    leave(lambda: main(sys.argv[1:]), "verify")

"""A run whose folder is in a bucket: its small files are written on a local disk and copied there, for a bucket has no
appending.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from etils import epath

from spatial_jax.checkpoints.aside import EARLIER, MARK
from spatial_jax.checkpoints.run_lock import NAME as LOCK
from spatial_jax.metrics import is_primary
from spatial_jax.models.policy import of_checkpoint

ELSEWHERE = ("checkpoints", "export", "compiled", LOCK, MARK)  # in the bucket only
_LAST = "export/config.json"


class Mirror:
    """Copies between `remote` (gs:// or any folder) and `local`; process 0 only. Checkpoints are not its business: they
    are written to `remote` by all processes.
    """

    def __init__(self, remote: str, local: Path):
        self.remote, self.local = epath.Path(remote), local
        self._copied: dict[str, tuple[int, int]] = {}  # size and time of what `remote` holds already

    def _files(self) -> dict[str, tuple[int, int]]:
        found = {}
        for folder, _, names in os.walk(self.local):
            for name in names:
                path = Path(folder) / name
                status = path.stat()
                found[path.relative_to(self.local).as_posix()] = (status.st_size, status.st_mtime_ns)
        return found

    def pull(self) -> None:
        """What an earlier start of the run left in `remote`, so that its log goes on; a local copy that another start
        left is dropped. Exports stay where they are.
        """
        if not is_primary():
            return
        for name in self._files():
            (self.local / name).unlink()
        self.local.mkdir(parents=True, exist_ok=True)
        self._take("")
        self._copied = self._files()

    def _take(self, folder: str) -> None:
        here = self.remote / folder if folder else self.remote
        if not here.exists():
            return
        for entry in here.iterdir():
            name = f"{folder}/{entry.name}" if folder else entry.name
            if name in ELSEWHERE or name.startswith(EARLIER):
                continue
            if entry.is_dir():
                self._take(name)
            else:
                (self.local / name).parent.mkdir(parents=True, exist_ok=True)
                (self.local / name).write_bytes(entry.read_bytes())

    def push(self) -> None:
        """Everything that is new or longer since the last push. Lists go after the pictures that they name. A bucket
        cannot exchange an export as a whole: its config.json is removed first and written last, so that what a kill
        leaves of it is refused by who loads it.
        """
        if not is_primary():
            return
        files = self._files()
        changed = {name for name, state in files.items() if self._copied.get(name) != state}
        if any(name.startswith("export/") for name in changed):
            self._drop_stale(self.remote / "export", set(files))
            changed.add(_LAST)
        for name in sorted(changed, key=lambda name: (name == _LAST, name.endswith(".jsonl"), name)):
            target = self.remote / name
            target.parent.mkdir(parents=True, exist_ok=True)
            epath.Path(self.local / name).copy(target, overwrite=True)
            self._copied[name] = files[name]

    @staticmethod
    def _drop_stale(export: epath.Path, files: set[str]) -> None:
        (export / "config.json").unlink(missing_ok=True)
        for entry in export.iterdir() if export.exists() else ():
            if of_checkpoint(entry.name) and f"export/{entry.name}" not in files:
                entry.unlink()


def mirror_of(workdir: str) -> Mirror | None:
    """The mirror of a run in a bucket, None for one on a disk. Local copies lie in the user's cache, by the name of the
    run.
    """
    if "://" not in workdir:
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = f"{workdir.rstrip('/').rsplit('/', 1)[-1]}-{hashlib.sha256(workdir.encode()).hexdigest()[:8]}"
    return Mirror(workdir, cache / "spatial_jax" / "runs" / name)

"""A dataset directory, local or on gs:// (etils.epath), and the local folder where its unfinished parts are kept."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

from etils import epath


class WorkFolder:
    """`out` is the dataset's directory; `work` a local folder for what is unfinished: out/_work when `out` is local,
    else a folder of this machine that is copied to out/_work whenever a shard is done, so that another machine can go
    on from there.
    """

    def __init__(self, out: str):
        self.local = "://" not in str(out)
        self.out: Any = epath.Path(os.path.abspath(os.path.expanduser(out)) if self.local else out)
        if self.local:
            self.work = Path(str(self.out)) / "_work"
        else:
            root = Path(
                os.environ.get("SPATIAL_JAX_WORK", Path(tempfile.gettempdir()) / f"spatial_jax_work_{os.getuid()}")
            )
            self.work = root / hashlib.sha256(str(out).encode()).hexdigest()[:16]

    def make(self) -> None:
        """Makes the directory and proves that it can be written to; raises OSError."""
        self.out.mkdir(parents=True, exist_ok=True)
        probe = self.out / ".probe"
        probe.write_text("")
        probe.unlink()

    def open_work(self) -> None:
        """Makes the work folder; fetches it from gs:// when this machine has none. PermissionError where its place
        belongs to someone else.
        """
        if not self.local and "SPATIAL_JAX_WORK" not in os.environ:
            self._own_root()
        if not self.local and not self.work.exists() and (self.out / "_work").exists():
            self.work.mkdir(parents=True)
            for path in (self.out / "_work").iterdir():
                path.copy(self.work / path.name, overwrite=True)
        self.work.mkdir(parents=True, exist_ok=True)

    def _own_root(self) -> None:
        """Makes the folder for unfinished parts of remote datasets, readable by its owner alone; PermissionError where
        someone else made it first (its name in the shared temporary folder can be guessed).
        """
        root = self.work.parent
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = root.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            told = f"{root} is not this user's alone; set SPATIAL_JAX_WORK to a folder that is"
            raise PermissionError(errno.EPERM, told)

    def lock(self) -> Any:
        """Holds the folder for this process; raises BlockingIOError when another one writes to it."""
        file = (self.work / "lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise BlockingIOError(error.errno, f"another process is writing to {self.out}") from None
        return file

    def publish(self, local: Path, target: Any) -> None:
        """Moves a finished local file to its final name, whole or not at all."""
        if self.local:
            with local.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(local, str(target))
        else:  # an object store shows an object only once its upload is complete
            epath.Path(local).copy(target, overwrite=True)
            local.unlink()

    def sync(self) -> None:
        """Copies the work folder to gs://; nothing to do for a local directory."""
        if self.local:
            return
        remote = self.out / "_work"
        remote.mkdir(parents=True, exist_ok=True)
        names = {p.name for p in self.work.iterdir() if p.is_file() and p.name != "lock"}
        for path in remote.iterdir():
            if path.name not in names:
                path.unlink()
        for name in sorted(names):
            epath.Path(self.work / name).copy(remote / name, overwrite=True)

    def remove_work(self) -> None:
        """Removes what was only needed to finish."""
        shutil.rmtree(self.work, ignore_errors=True)
        if not self.local and (self.out / "_work").exists():
            (self.out / "_work").rmtree()

"""A run's folder from claiming it to giving it free: whose it is, which run is in it, and a bucket's local copy."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from spatial_jax.checkpoints import CheckpointManager, PreemptionGuard, RunLock
from spatial_jax.checkpoints.aside import begin_anew, finish_move, forget
from spatial_jax.metrics import is_primary
from spatial_jax.training.identity import (
    Changes,
    changed_inputs,
    changed_settings,
    merge_changes,
    run_name,
    settings_of,
)
from spatial_jax.training.mirror import Mirror, mirror_of
from spatial_jax.training.settings import RunConfig


@dataclasses.dataclass
class RunFolder:
    """`root`: the folder, or gs://; `local`: where small files are written (`root`, or the copy that `mirror` brings
    there).
    """

    root: str
    local: Path
    mirror: Mirror | None
    lock: RunLock

    def check(self) -> None:
        """Raises FolderTaken when the folder was deleted, or taken over by another run."""
        if is_primary():
            self.lock.check()

    def keep_config(self, run: RunConfig) -> None:
        """Writes config.json; one of other settings stays beside as config.N.json."""
        if not is_primary():
            return
        path, text = self.local / "config.json", json.dumps(settings_of(run), indent=1)
        if path.exists():
            if path.read_bytes() == text.encode():
                return
            number = 1
            while (older := self.local / f"config.{number}.json").exists():
                number += 1
            os.replace(path, older)
        fresh = path.with_suffix(".json.tmp")
        fresh.write_text(text)
        os.replace(fresh, path)

    def push(self) -> None:
        """Brings what is new to a bucket."""
        if self.mirror is not None:
            self.mirror.push()

    def finish(self) -> None:
        """The run is finished."""
        self.push()
        if is_primary():
            forget(epath.Path(self.root))


@contextlib.contextmanager
def claim_folder(run: RunConfig, workdir: str | Path, guard: PreemptionGuard, *, resume: bool) -> Iterator[RunFolder]:
    """Claims `workdir` for this run; unless `resume`, an older run in it is put aside. Raises FolderTaken, OSError."""
    root, mirror = str(workdir), mirror_of(str(workdir))
    folder = RunFolder(root, mirror.local if mirror else Path(workdir), mirror, RunLock(root))

    def begin() -> None:
        folder.lock.acquire()
        guard.last = folder.lock.release
        finish_move(epath.Path(root))
        if not resume and (done := begin_anew(epath.Path(root), run_name(run))):
            print(done, flush=True)
        if mirror:
            mirror.pull()
        folder.local.mkdir(parents=True, exist_ok=True)

    try:
        by_the_first(begin, f"process 0 could not begin in {root}")
        yield folder
    finally:
        if is_primary():
            folder.lock.release()


def by_the_first(action: Callable[[], None], failed: str) -> None:
    """Process 0 does it while the others wait; where it cannot, all of them raise."""
    error: Exception | None = None
    if is_primary():
        try:
            action()
        except (ValueError, OSError) as caught:
            error = caught
    bad = error is not None
    if jax.process_count() > 1:
        bad = bool(np.any(multihost_utils.process_allgather(np.array(bad))))
    if bad:
        raise error or ValueError(f"{failed}; its own message says why")


def changes_at_a_glance(manager: CheckpointManager, run: RunConfig, root: str, *, allowed: bool) -> None:
    """Refuses other settings before a model is loaded, as far as the newest checkpoint tells them: ValueError."""
    host = manager.glance()
    saved = host.get("run") if isinstance(host, dict) else None
    if isinstance(saved, dict) and not allowed:
        changed_settings(saved.get("settings"), run).refuse(root)


def compare_run(run: RunConfig, inputs: dict[str, Any], host: Any, root: str, *, allowed: bool) -> Changes:
    """What differs between the run that a checkpoint's host state is of and `run`, which reads `inputs` (digests); told
    on the console. Raises ValueError where it is another run and that was not allowed.
    """
    saved = saved_run(host, root)
    settings = saved.get("settings")
    changes = merge_changes(
        [changed_settings(settings, run), changed_inputs(saved.get("inputs"), settings, inputs, run)]
    )
    if not allowed:
        changes.refuse(root)
    for line in changes.harmless if is_primary() else ():
        print(f"{root} goes on with another setting: {line}", flush=True)
    for line in changes.breaking if is_primary() else ():
        print(f"{root} goes on as another run (--allow_changes): {line}", flush=True)
    return changes


def saved_run(host: Any, root: str) -> dict[str, Any]:
    """The settings and contents that a checkpoint's host state was made with; {} of older code, which kept none."""
    saved = host.get("run") if isinstance(host, dict) else None
    if isinstance(saved, dict):
        return saved
    if is_primary():
        print(f"{root}: the checkpoint does not say with what settings it was made; they are not compared", flush=True)
    return {}

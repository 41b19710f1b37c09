"""Saves and restores everything a resume needs, in one place. A save is complete or invisible; a restore is exact or a
named error.

A checkpoint is a directory `checkpoints/STEP` (or `STEP.ATTEMPT` when a step is saved again): `state/` is Orbax's,
`host/` holds each process's JSON, and `manifest.json`, written last, makes it visible.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from spatial_jax.checkpoints.host_state import decode_host_state, encode_host_state
from spatial_jax.checkpoints.leaves import (
    describe_leaves,
    everything,
    from_leaves,
    match_leaves,
    restore_arguments,
    to_leaves,
)
from spatial_jax.checkpoints.manifest import (
    NAME,
    CheckpointDamaged,
    CheckpointNotWritten,
    find_damage,
    read_manifest,
    write_atomically,
    write_manifest,
    write_part,
)

_STEP = re.compile(r"([0-9]{8,})(?:\.([0-9]+))?")
_FULL = re.compile(
    r"No space left on device( \([^)]*MB[^)]*\))?|Disk quota exceeded|File too large|Read-only file system"
)
_COMPRESSED = 0.85  # size of a saved state over its size in memory, at the least: weights hardly compress
_BARRIERS = itertools.count()
log = logging.getLogger(__name__)


class CheckpointManager:
    """Checkpoints of a run, under `workdir`/checkpoints (a local or shared folder, or gs://).

    keep: how many of the newest stay; keep_every: steps divisible by it stay for ever (0: none). asynchronous: `save`
    returns once the arrays are copied from the devices and the rest happens on a thread; an error there is raised by
    the next save, wait or close. With several processes every method is called by all of them, on a folder they
    share.
    """

    def __init__(
        self, workdir: str, *, keep: int = 3, keep_every: int = 0, asynchronous: bool = True, timeout: float = 1200.0
    ):
        if keep < 1:
            raise ValueError(f"keep = {keep}; at least one checkpoint must be kept")
        self.directory = epath.Path(workdir).expanduser().resolve() / "checkpoints"
        self.keep, self.keep_every, self.asynchronous, self.timeout = keep, keep_every, asynchronous, timeout
        self._process, self._processes = jax.process_index(), jax.process_count()
        self._orbax: ocp.AsyncCheckpointer | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._cleaned = False
        self.last_save: dict[str, float] = {}

    # ---- what there is

    def _attempts(self) -> list[tuple[int, int, epath.Path, bool]]:
        """(step, attempt, path, visible) of every checkpoint directory, in order."""
        found = []
        for path in self.directory.iterdir() if self.directory.exists() else ():
            match = _STEP.fullmatch(path.name)
            if match and path.is_dir():
                found.append((int(match.group(1)), int(match.group(2) or 0), path, (path / NAME).exists()))
        return sorted(found, key=lambda entry: entry[:2])

    def all_steps(self) -> list[int]:
        """Steps with a complete checkpoint, ascending."""
        return sorted({step for step, _, _, visible in self._attempts() if visible})

    def latest(self) -> int | None:
        """The newest step with a complete checkpoint, None when there is none."""
        steps = self.all_steps()
        return steps[-1] if steps else None

    def path(self, step: int) -> epath.Path:
        """Directory of a step's complete checkpoint. FileNotFoundError, naming the steps there are."""
        paths = [path for found, _, path, visible in self._attempts() if visible and found == step]
        if not paths:
            raise FileNotFoundError(
                f"no checkpoint of step {step} in {self.directory}; complete ones: {self.all_steps() or 'none'}"
            )
        return paths[-1]

    def problem(self, step: int) -> str | None:
        """What is damaged in a step's checkpoint, None when every byte is as it was written. Reads all of it, each
        process its share.
        """
        try:
            found = find_damage(self.path(step), read_manifest(self.path(step)), self._process, self._processes)
        except CheckpointDamaged as error:
            found = str(error)
        if self._processes > 1 and found is None and np.any(multihost_utils.process_allgather(np.array(False))):
            return "another process found a damaged file"
        if self._processes > 1 and found is not None:
            multihost_utils.process_allgather(np.array(True))
        return found

    def glance(self) -> Any:
        """The first process's host state of the newest checkpoint, unchecked; None where there is none to read. For
        what can be told before a model is loaded; `restore` is what to go by.
        """
        step = self.latest()
        try:
            return None if step is None else decode_host_state((self.path(step) / _host_name(0)).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None

    # ---- saving

    def save(self, step: int, state: Any, host_state: Any = None, *, wait: bool = False) -> None:
        """Saves `state` (pytree of jax or NumPy arrays, typed PRNG keys, numbers) and this process's `host_state` (JSON
        values and bytes). Donating the arrays right afterwards is safe. An earlier save that still runs is waited
        for.
        """
        began = time.monotonic()
        self.wait()
        encoded = encode_host_state(host_state)
        leaves = to_leaves(state)
        described = describe_leaves(leaves)
        try:
            self._check_room(sum(leaf.nbytes for leaf in leaves.values()))
            directory = self._new_directory(step)
            self._start_orbax().save(directory / "state", args=ocp.args.PyTreeSave(leaves))
        except Exception as error:  # of the disk: each of the libraries below has its own kind
            raise self._not_written(error) from error
        self.last_save = {"step": step, "blocked_s": time.monotonic() - began}
        self._thread = threading.Thread(
            target=self._finish_quietly, args=(step, directory, encoded, described), name=f"checkpoint-{step}"
        )
        self._thread.start()
        if wait or not self.asynchronous:
            self.wait()

    def wait(self) -> None:
        """Returns when the running save is complete and visible; raises what it raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise self._not_written(error) from error

    def close(self) -> None:
        """Waits for the running save and frees Orbax's threads."""
        try:
            self.wait()
        finally:
            if self._orbax is not None:
                with contextlib.suppress(Exception):  # it says again what `wait` said
                    self._orbax.close()
                self._orbax = None

    def __enter__(self) -> CheckpointManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _barrier(self) -> None:
        if self._processes > 1:
            key = f"spatial_jax_checkpoint_{next(_BARRIERS)}"
            ocp.multihost.get_barrier_sync_fn()(key=key, timeout_ms=int(self.timeout * 1000))

    def _start_orbax(self) -> ocp.AsyncCheckpointer:
        if self._orbax is None:
            self._orbax = ocp.AsyncCheckpointer(
                ocp.PyTreeCheckpointHandler(use_ocdbt=True), timeout_secs=int(self.timeout)
            )
        return self._orbax

    def _check_room(self, needed: int) -> None:
        """OSError where a disk has clearly too little room: better than to find out in the middle of it."""
        if "://" in str(self.directory):
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.directory).free
        if free < _COMPRESSED * needed:
            raise OSError(f"No space left on device ({free / 1e6:,.0f} MB free, {needed / 1e6:,.0f} MB to save)")

    def _not_written(self, error: BaseException) -> CheckpointNotWritten:
        """The error of a save in one line; libraries tell of a full disk in ten."""
        text = " ".join(str(error).split()) or type(error).__name__
        full = _FULL.search(text)
        why, newest = full[0] if full else text[:300], self.latest()
        kept = "there is none before it" if newest is None else f"step {newest} is intact"
        return CheckpointNotWritten(
            f"a checkpoint in {self.directory} could not be written: {why}; {kept}: make room or put the folder right,"
            " and run the same command again"
        )

    def _new_directory(self, step: int) -> epath.Path:
        """A fresh directory for this save. Remains of saves that were killed go first: one writer, so nothing of them
        is in use.
        """
        self._barrier()
        attempts = self._attempts()
        number = 1 + max((attempt for found, attempt, _, _ in attempts if found == step), default=-1)
        directory = self.directory / (f"{step:08d}.{number}" if number else f"{step:08d}")
        self._barrier()
        if self._process == 0:
            if not self._cleaned:
                for _, _, path, visible in attempts:
                    if not visible:
                        log.warning("removing %s, left incomplete by a save that was interrupted", path)
                        path.rmtree()
            (directory / "host").mkdir(parents=True)
        self._cleaned = True
        self._barrier()
        return directory

    def _finish_quietly(self, step: int, directory: epath.Path, *args: Any) -> None:
        began = time.monotonic()
        try:
            self._finish(step, directory, *args)
        except BaseException as error:
            self._error = error
            if self._process == 0:
                with contextlib.suppress(Exception):  # half a checkpoint would keep a full disk full
                    if not (directory / NAME).exists():
                        directory.rmtree()
        self.last_save["background_s"] = time.monotonic() - began

    def _finish(self, step: int, directory: epath.Path, encoded: bytes, described: dict[str, list]) -> None:
        """Waits for Orbax, adds this process's host state, hashes the files together, and makes the checkpoint
        visible.
        """
        assert self._orbax is not None
        self._orbax.wait_until_finished()
        write_atomically(directory / _host_name(self._process), encoded)
        self._barrier()
        write_part(directory, self._process, self._processes)
        self._barrier()
        if self._process == 0:
            write_manifest(directory, step, self._processes, described)
            self._drop_old(step, directory)
        self._barrier()

    def _drop_old(self, step: int, directory: epath.Path) -> None:
        """Applies `keep` and `keep_every`. The manifest goes first, so what a kill leaves of a removal is invisible."""
        kept = set(self.all_steps()[-self.keep :]) | {step}
        for found, _, path, visible in self._attempts():
            forever = self.keep_every and found % self.keep_every == 0
            superseded = found == step and path != directory
            if visible and (superseded or not (found in kept or forever)):
                (path / NAME).unlink()
                path.rmtree()

    # ---- restoring

    def restore(
        self,
        step: int | None = None,
        like: Any = None,
        *,
        partial: bool = False,
        fallback: bool = False,
        any_processes: bool = False,
    ) -> tuple[Any, Any]:
        """(state, host_state) of `step` (None: the newest), after every file was compared with its checksum.

        like: pytree of arrays or jax.ShapeDtypeStruct; a leaf with a sharding comes back on it, whatever mesh it was
        saved from, any other leaf as NumPy. None gives a flat dict name -> np.ndarray. partial: `like` may hold only
        some of the leaves (evaluation needs the parameters alone). fallback: go back to the newest intact checkpoint
        instead of raising. any_processes: take the first process's host state when the number of processes has changed.
        Raises FileNotFoundError (none there), CheckpointDamaged (names the damage and an intact step), ValueError
        (another model).
        """
        self.wait()
        if step is None:
            step = self.latest()
            if step is None:
                raise FileNotFoundError(f"no complete checkpoint in {self.directory}")
        problem = self.problem(step)
        if problem is not None:
            step = self._step_after_damage(step, problem, fallback)
        directory = self.path(step)
        manifest = read_manifest(directory)
        stored = manifest["leaves"]
        if like is not None:
            match_leaves(like, stored, partial, f"checkpoint {directory}")
        item, arguments = everything(stored) if like is None else restore_arguments(like)
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=True)) as reader:
            leaves = reader.restore(
                directory / "state",
                args=ocp.args.PyTreeRestore(item=item, restore_args=arguments, partial_restore=True),
            )
        return (leaves if like is None else from_leaves(like, leaves)), self._host_state(
            directory, manifest, any_processes
        )

    def _step_after_damage(self, step: int, problem: str, fallback: bool) -> int:
        intact = next((s for s in reversed(self.all_steps()) if s < step and self.problem(s) is None), None)
        message = f"checkpoint of step {step} ({self.path(step)}) is damaged: {problem}"
        if intact is None:
            raise CheckpointDamaged(f"{message}; there is no intact checkpoint before it")
        if not fallback:
            raise CheckpointDamaged(
                f"{message}; the one before it, step {intact}, is intact: restore step {intact} or remove the"
                " damaged one"
            )
        log.warning("%s; going back to step %d", message, intact)
        return intact

    def _host_state(self, directory: epath.Path, manifest: dict[str, Any], any_processes: bool) -> Any:
        written = int(manifest["processes"])
        if written != self._processes and not any_processes:
            raise ValueError(
                f"checkpoint {directory} was written by {written} processes and this run has {self._processes}; what"
                " each keeps for itself is per process: give --any_processes (any_processes=True) to take the first"
                " one's for all"
            )
        path = directory / _host_name(self._process if written == self._processes else 0)
        try:
            return decode_host_state(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointDamaged(f"{path} is no host state ({type(error).__name__})") from None


def _host_name(process: int) -> str:
    return f"host/process_{process:05d}.json"


def restore_or_start(
    manager: CheckpointManager, like: Any, start: Callable[[], tuple[Any, Any]], **options: Any
) -> tuple[Any, Any, int | None]:
    """(state, host_state, step): the newest checkpoint, or `start()` and step None where there is none."""
    step = manager.latest()
    if step is None:
        return (*start(), None)
    return (*manager.restore(step, like, **options), step)

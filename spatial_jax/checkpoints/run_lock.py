"""A folder has one run at a time: a file names the process it belongs to; a later one asks whether that lives."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etils import epath

NAME = "run.lock"
BEAT_S = 20.0  # the owner touches its lock this often
PATIENCE_S = 90.0  # a lock of another machine that is not touched for so long belongs to nobody


class FolderTaken(ValueError):
    """Another run has the folder, or this run's folder is not its own any more; the message is one line."""


class RunLock:
    """Holds `folder`/run.lock from `acquire` to `release`. Local, network and gs:// folders.

    The lock of a dead process of this machine is taken over at once. Of a process that cannot be asked (another
    machine, another container) only the touching tells: the lock is watched for `patience` seconds, then refused or
    taken over. In a bucket, which knows no exclusive creation, the later of two writers within a second wins.
    what: the kind of run, for the messages.
    """

    def __init__(self, folder: str | os.PathLike, what: str = "training", *, beat: float = BEAT_S, patience=PATIENCE_S):
        self.folder, self.what, self.beat, self.patience = epath.Path(folder), what, beat, patience
        self.path = self.folder / NAME
        self.me = {
            **_process(),
            "token": secrets.token_hex(8),
            "since": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        }
        self._remote = "://" in str(folder)
        self._lost = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Takes the lock. Raises FolderTaken, naming the owner, or OSError where nothing can be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        watched: tuple[str, float] | None = None  # the last sign of life of a lock that cannot be asked, and since when
        while not self._taken_now(watched):
            if watched is None:
                watched = self._read()[1], time.monotonic()
                self._say(f"locked by {_who(_owner(self._read()[0]))}; watching it for {self.patience:.0f} s")
            time.sleep(min(1.0, self.patience / 5))
        if self._remote:
            time.sleep(1.0)
            self._lost = True  # until it was read
            self.check()
            self._lost = False
        self._thread = threading.Thread(target=self._keep, name="run-lock", daemon=True)
        self._thread.start()

    def _taken_now(self, watched: tuple[str, float] | None) -> bool:
        """True when the lock is ours now, False when its owner has to be watched. Raises FolderTaken."""
        with self._alone():
            text, sign = self._read()
            owner = _owner(text)
            if text is not None:
                if _askable(owner, self.me):
                    dead = not _alive(owner)
                elif watched is None or (sign == watched[0] and time.monotonic() - watched[1] < self.patience):
                    return False
                else:
                    dead = sign == watched[0]
                if not dead:
                    raise FolderTaken(self._refusal(owner))
                self._say(f"its lock was left by {_who(owner)}, which is gone: taken over")
            self._write()
            return True

    def check(self) -> None:
        """Raises FolderTaken when the folder was deleted or another run took it. A bucket is not asked: the thread that
        touches the lock has noticed.
        """
        if self._remote and not self._lost:
            return
        try:
            text, _ = self._read()
        except OSError:
            return  # a network disk that does not answer is no other owner
        if text is None:
            raise FolderTaken(
                f"{self.folder} was deleted or moved while the {self.what} was going ({NAME} is gone); stopped"
            )
        owner = _owner(text)
        if owner.get("token") != self.me["token"]:
            raise FolderTaken(f"{self.folder} was taken over by {_who(owner)}; this {self.what} has stopped")

    def release(self) -> None:
        """Gives the folder free; nothing where it is not ours any more."""
        self._stop.set()
        with contextlib.suppress(OSError):
            text, _ = self._read()
            if text is not None and _owner(text).get("token") == self.me["token"]:
                self.path.unlink()

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _say(self, text: str) -> None:
        print(f"{self.folder}: {text}", file=sys.stderr, flush=True)

    def _refusal(self, owner: dict[str, Any]) -> str:
        gone = "" if _askable(owner, self.me) else f", or delete {NAME} if you know that it is gone"
        return (
            f"{self.folder}: another {self.what} is going on here ({_who(owner)}); wait for it, stop it, or take"
            f" another folder{gone}"
        )

    def _read(self) -> tuple[str | None, str]:
        """(text, sign of life): the text is None where there is no lock."""
        try:
            text = self.path.read_text()
            return text, text if self._remote else str(os.stat(self.path).st_mtime_ns)
        except (FileNotFoundError, NotADirectoryError):
            return None, ""
        except ValueError:  # no UTF-8
            return "", str(os.stat(self.path).st_mtime_ns)

    def _write(self, beats: int = 0) -> None:
        text = json.dumps({**self.me, "beats": beats})
        if self._remote:
            self.path.write_text(text)
            return
        fresh = f"{self.path}.{self.me['token']}"
        try:
            Path(fresh).write_text(text)
            os.replace(fresh, self.path)
        except OSError:
            Path(fresh).unlink(missing_ok=True)
            raise

    def _keep(self) -> None:
        """Touches the lock. A local one is not written again: it might have become another's since it was read."""
        beats = 0
        while not self._stop.wait(self.beat):
            beats += 1
            with contextlib.suppress(OSError):
                text, _ = self._read()
                if text is None or _owner(text).get("token") != self.me["token"]:
                    self._lost = True
                    return
                if self._remote:
                    self._write(beats)
                else:
                    os.utime(self.path)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Whoever looks at the lock and takes it does both without another in between."""
        if self._remote:
            yield
            return
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # a network disk without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _process() -> dict[str, Any]:
    """Names this process for good: numbers of processes are used again, those of one boot and start are not."""

    def first(read: Any) -> str:
        try:
            return read()
        except OSError:
            return ""

    boot = first(lambda: Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    space = first(lambda: os.readlink("/proc/self/ns/pid"))
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "boot": boot,
        "space": space,
        "start": _start_of(os.getpid()),
    }


def _start_of(pid: int) -> str:
    """When a process of this machine started, in ticks since the boot; "" where that is not to be had."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def _owner(text: str | None) -> dict[str, Any]:
    try:
        owner = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _who(owner: dict[str, Any]) -> str:
    if not owner:
        return "an owner that cannot be read"
    return f"process {owner.get('pid')} on {owner.get('host')}, since {owner.get('since')}"


def _askable(owner: dict[str, Any], me: dict[str, Any]) -> bool:
    """Whether the owner's number means something here: the same machine since its last boot, the same container."""
    same = all(owner.get(key) == me[key] for key in ("host", "boot", "space"))
    return same and isinstance(owner.get("pid"), int) and owner["pid"] > 0


def _alive(owner: dict[str, Any]) -> bool:
    try:
        os.kill(owner["pid"], 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return owner.get("start") == _start_of(owner["pid"])

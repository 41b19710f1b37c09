"""A run that begins anew in a folder that holds another one: the older one is moved to a folder of its own within it.

A mark, `fresh.json`, says which run began anew and where the older one went. It makes two things certain: a move that
was killed is finished by the next start, and the command that began anew, started again after a kill, goes on with the
new run instead of putting that aside too. The mark goes when the run is finished.
"""

from __future__ import annotations

import json
import re
from typing import Any

from etils import epath

from spatial_jax.checkpoints.manifest import write_atomically

MARK = "fresh.json"
EARLIER = "earlier_"
_OF_A_RUN = re.compile(
    r"checkpoints|metrics\.jsonl|config(\.[0-9]+)?\.json|gallery|pass_rates|export|tensorboard|skipped"
    r"|eval|report\.html"
)


def begin_anew(root: epath.Path, run: str) -> str:
    """Puts an older run in `root` aside, unless `run` (a name of the command's settings) is the one that began anew
    here and is not finished. Returns what was done in one line, "" for nothing.
    """
    finish_move(root)
    mark = _mark(root)
    if mark.get("run") == run:
        return f"{root}: the run that began anew here is not finished: going on with it (delete {MARK} to begin again)"
    entries = _entries(root)
    aside = _free_name(root) if entries else ""
    _write(root, run, aside, moved=False)
    finish_move(root)
    return f"{root}: what was there is in {root / aside} now; a new run begins" if entries else ""


def finish_move(root: epath.Path) -> None:
    """Completes a move that was interrupted; nothing where there is none."""
    mark = _mark(root)
    if not mark or mark.get("moved") is True:
        return
    if mark["aside"]:
        target = root / mark["aside"]
        target.mkdir(parents=True, exist_ok=True)
        for path in _entries(root):
            _move(path, target / path.name)
    _write(root, mark["run"], mark["aside"], moved=True)


def forget(root: epath.Path) -> None:
    """The run is finished: to begin anew again is another one."""
    (root / MARK).unlink(missing_ok=True)


def _entries(root: epath.Path) -> list[epath.Path]:
    return [path for path in root.iterdir() if _OF_A_RUN.fullmatch(path.name)] if root.exists() else []


def _free_name(root: epath.Path) -> str:
    number = 1
    while (root / f"{EARLIER}{number}").exists():
        number += 1
    return f"{EARLIER}{number}"


def _mark(root: epath.Path) -> dict[str, Any]:
    """The mark, {} where there is none or what there is is none."""
    try:
        mark = json.loads((root / MARK).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    fits = isinstance(mark, dict) and isinstance(mark.get("run"), str)
    return mark if fits and re.fullmatch(rf"({EARLIER}[0-9]+)?", str(mark.get("aside"))) else {}


def _write(root: epath.Path, run: str, aside: str, *, moved: bool) -> None:
    root.mkdir(parents=True, exist_ok=True)
    write_atomically(root / MARK, json.dumps({"run": run, "aside": aside, "moved": moved}).encode())


def _move(source: epath.Path, target: epath.Path) -> None:
    """A rename; in a bucket, which has none, object by object, each copied before it is removed."""
    if "://" not in str(source):
        source.rename(target)
        return
    if source.is_dir():
        for path in source.iterdir():
            _move(path, target / path.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source.copy(target, overwrite=True)
    source.unlink()

"""Which files are below a folder: every regular file once, in the order of the numbers in their names. Links that lead
nowhere or in circles, names that cannot be stored, pipes and devices are left out, each with its reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spatial_jax.media import natural_key, printable_name

SHOWN = 5


def walk(root: Any, extensions: tuple[str, ...] = (), left_out: list[str] | None = None) -> list[tuple[str, Any]]:
    """(path relative to `root`, path) of every visible file below `root` (an epath or a Path), in `natural_key`'s
    order; `extensions` in lower case, empty for any. `left_out` gets a line for everything that was passed over.
    """
    left = [] if left_out is None else left_out
    if "://" in str(root):
        found = _walk_remote(root, extensions)
    else:
        found = [(name, root / name) for name in _walk_local(str(root), extensions, left)]
    return sorted(found, key=lambda pair: natural_key(pair[0]))


def _walk_remote(root: Any, extensions: tuple[str, ...]) -> list[tuple[str, Any]]:
    found, pending = [], [root]
    while pending:
        for entry in pending.pop().iterdir():
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                pending.append(entry)
            elif not extensions or entry.suffix.lower() in extensions:
                found.append((str(entry.relative_to(root)), entry))
    return found


def _walk_local(root: str, extensions: tuple[str, ...], left: list[str]) -> list[str]:
    """Real folders come before linked ones, so what is reached twice keeps its own name."""
    top = os.path.realpath(root)
    found, seen = [], {top}
    pending, linked = [""], list[str]()
    while pending or linked:
        if pending:
            here = pending.pop()
        else:
            here = linked.pop(0)
            real = os.path.realpath(os.path.join(root, here))
            if real in seen or Path(top).is_relative_to(real):
                left.append(f"{here}: a link to a folder that is listed already or holds this one")
                continue
            seen.add(real)
        try:
            entries = sorted(os.scandir(os.path.join(root, here)), key=lambda e: natural_key(e.name))
        except OSError as error:
            left.append(f"{here or root}: cannot be listed ({error.strerror or error})")
            continue
        for entry in entries:
            name = os.path.join(here, entry.name)
            if entry.name.startswith("."):
                continue
            if _is(entry.is_dir):
                if not _storable(entry.name):
                    left.append(f"{printable_name(name)}: a folder whose name is no UTF-8")
                elif entry.is_symlink():
                    linked.append(name)
                else:
                    seen.add(os.path.realpath(entry.path))
                    pending.append(name)
            elif not extensions or os.path.splitext(entry.name)[1].lower() in extensions:
                why = _unusable(entry)
                if why:
                    left.append(f"{printable_name(name)}: {why}")
                else:
                    found.append(name)
    return found


def _is(question: Callable[[], bool]) -> bool:
    """A link in a circle raises where one into nothing answers no."""
    try:
        return question()
    except OSError:
        return False


def _storable(name: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in name)


def _unusable(entry: os.DirEntry[str]) -> str:
    if not _storable(entry.name):
        return "its name is no UTF-8"
    if _is(entry.is_file):
        return ""
    return "a pipe, socket or device" if os.path.exists(entry.path) else "a link that leads nowhere"


def left_out_text(lines: list[str]) -> str:
    """One printable text: how much was left out, and the first few by name; "" for nothing."""
    if not lines:
        return ""
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"left out {len(lines)} of the folder's entries: {'; '.join(lines[:SHOWN])}{more}"

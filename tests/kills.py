"""A kill at the k-th file operation, without a process of its own: from then on every operation below a folder fails,
so that no clean-up runs either.
"""

import contextlib
import sys
from pathlib import Path

EVENTS = ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "shutil.copyfile")
_active = []


class Killed(BaseException):
    """Stands for kill -9."""


def _hook(event, arguments):
    if _active and event in EVENTS:
        _active[-1].count(arguments)


sys.addaudithook(_hook)  # cannot be taken away again; does nothing outside `killed_at`


class _Kill:
    def __init__(self, root: Path, at: int):
        self.root, self.at, self.seen, self.dead = str(root), at, 0, False

    def count(self, arguments) -> None:
        if arguments and str(arguments[0]).startswith(self.root):
            self.seen += 1
            self.dead = self.dead or self.seen > self.at
            if self.dead:
                raise Killed


@contextlib.contextmanager
def killed_at(root: Path, at: int):
    """Runs the block with `at` file operations below `root` allowed; gives an object that tells whether it was
    killed.
    """
    kill = _Kill(root, at)
    _active.append(kill)
    try:
        yield kill
    except Killed:
        pass
    finally:
        _active.remove(kill)

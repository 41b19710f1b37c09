"""Public names of a room that load on first use, said once, as imports that type checkers and editors read.

A room's `__init__.py` writes its public names as ordinary imports under `if TYPE_CHECKING:` and ends with

    __getattr__, __all__ = lazy_names(__name__, __file__)

So a command that wants one name of a room does not wait for JAX, Orbax or TensorStore behind the others.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def lazy_names(package: str, file: str) -> tuple[Callable[[str], Any], list[str]]:
    """(`__getattr__`, `__all__`) of a package whose `__init__.py` is `file`: every name that it imports, those under
    `if TYPE_CHECKING:` when they are first asked for. Names are what they are called where they come from.
    """
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    homes: dict[str, str] = {}
    for statement in tree.body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            for node in statement.body:
                if isinstance(node, ast.ImportFrom) and node.module:
                    homes.update({alias.name: node.module for alias in node.names})

    def __getattr__(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    return __getattr__, sorted(homes)

"""Who imports whom: no circle of modules, no arrow upwards, and torch in data_prep alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# CONTRIBUTING draws the same rooms. A module may import from its own level, and from every one further down.
LEVELS = (
    ("launch", "spatial_jax.sample", "spatial_jax.rejection"),
    ("data_prep",),
    ("spatial_jax.train", "spatial_jax.evaluate", "spatial_jax.chat", "spatial_jax.convert", "spatial_jax.report"),
    ("spatial_jax.evaluate_settings",),
    ("spatial_jax.config", "spatial_jax.config_keys", "spatial_jax.command_line"),
    ("spatial_jax.training",),
    ("spatial_jax.evals",),
    ("spatial_jax.rl", "spatial_jax.rollout", "spatial_jax.drawing.environment", "spatial_jax.rewards"),
    ("spatial_jax.checkpoints", "spatial_jax.metrics"),
    ("spatial_jax.data",),
    ("spatial_jax.forms",),
    ("spatial_jax.processing",),
    ("spatial_jax.models",),
    ("spatial_jax.ops", "spatial_jax.parallel"),
)
# Leaves, which every room may open and which open nothing but leaves. A new module at the top must stand here or above.
_TOP = ("media", "lazy", "pages", "reading", "endpoints", "dataset_folder", "ranges", "options", "renamed", "blocks")
_TOP += ("logs", "shipped", "drawing", "ending")
LEAVES = tuple(f"spatial_jax.{name}" for name in _TOP)


def modules() -> dict[str, Path]:
    names = subprocess.run(
        ["git", "ls-files", "spatial_jax/*.py", "data_prep/*.py", "launch/*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return {
        name[:-3].replace("/", ".").removesuffix(".__init__"): ROOT / name for name in names if (ROOT / name).exists()
    }


def imports(path: Path, known: set[str], deferred: bool) -> set[str]:
    """Modules of the project that a file imports; `deferred`: those inside functions, too. What only type checkers read
    is no import.
    """
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, (ast.FunctionDef, ast.Lambda)) and not deferred:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name in known)
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(inside & known or {node.module} & known)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected sets of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    out: list[list[str]] = []

    def connect(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in edges[name]:
            if other not in index:
                connect(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            part = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(part) > 1:
                out.append(sorted(part))

    for name in edges:
        if name not in index:
            connect(name)
    return out


def level(name: str) -> int:
    """The room's place in the house, counted from above; leaves are below all rooms. The longest name decides."""
    places = {room: place for place, rooms in enumerate((*LEVELS, LEAVES)) for room in rooms}
    found = [room for room in places if name == room or name.startswith(f"{room}.")]
    assert found, f"{name} stands in no room; name it in CONTRIBUTING and here"
    return places[max(found, key=len)]


# The one table that is looked up from below, inside functions: a run's settings name their method, and ask it to check
# them; the methods read those settings.
LOOKED_UP = {
    ("spatial_jax.training.settings", "spatial_jax.training.methods"),
    ("spatial_jax.training.settings", "spatial_jax.training.method"),
    ("spatial_jax.training.method", "spatial_jax.training.methods"),
}


def test_modules_form_no_circle():
    known = modules()
    loaded = {name: imports(path, set(known), False) - {name} for name, path in known.items()}
    edges = {name: imports(path, set(known), True) - {name} for name, path in known.items()}
    assert not circles(loaded) and all(b in edges[a] and b not in loaded[a] for a, b in LOOKED_UP)
    assert not circles({a: {b for b in found if (a, b) not in LOOKED_UP} for a, found in edges.items()})


def test_no_import_points_upwards():
    known = modules()
    wrong = [
        f"{name} -> {other}"
        for name, path in known.items()
        if name != "spatial_jax"
        for other in imports(path, set(known), True) - {"spatial_jax"}
        if level(other) < level(name)
    ]
    assert not wrong, wrong


def test_data_prep_knows_records_and_leaves_alone():
    known = modules()
    wrong = [
        f"{name} -> {other}"
        for name, path in known.items()
        if name.startswith("data_prep")
        for other in imports(path, set(known), True)
        if not other.startswith("data_prep") and level(other) < len(LEVELS) and other != "spatial_jax.data.records"
    ]
    assert not wrong, wrong


def test_pytorch_stays_in_data_prep():
    wrong = [
        name
        for name, path in modules().items()
        if not name.startswith("data_prep") and name != "spatial_jax.models.reference"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "torch" for alias in node.names)
    ]
    assert not wrong, wrong


def test_every_public_name_of_a_room_is_there_and_loads_nothing_before_it_is_asked_for():
    code = """
import importlib, sys
rooms = ["models", "processing", "data", "rollout", "rl", "checkpoints", "evals"]
opened = [importlib.import_module(f"spatial_jax.{room}") for room in rooms]
assert "jax" not in sys.modules and "grain" not in sys.modules and "orbax" not in sys.modules
for room in opened:
    assert room.__all__ and all(getattr(room, name) is not None for name in room.__all__)
    try:
        room.no_such_name
    except AttributeError as error:
        assert "no_such_name" in str(error)
    else:
        raise AssertionError(room)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr[-600:]

"""Parameter trees by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flax import nnx


def leaf_paths(params: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path, leaf) of a nested State or dict, in its order."""
    for key, value in params.items():
        if isinstance(value, Mapping | nnx.State):
            yield from leaf_paths(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def nest(leaves: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """{path: leaf} as nested dicts."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        node = tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = leaf
    return tree

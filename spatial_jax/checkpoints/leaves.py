"""A state as a flat dict of named arrays, and back: what is stored does not depend on the Python classes of the
tree.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _leaves_by_name(tree: Any) -> list[tuple[str, Any]]:
    """(name, leaf) in the tree's order; a name is the path joined by "/". ValueError when two leaves have one name."""
    pairs = [
        (jax.tree_util.keystr(path, simple=True, separator="/") or "value", leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    ]
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the state has two leaves named {twice!r}; rename one of them")
    return pairs


def to_leaves(state: Any) -> dict[str, Any]:
    """name -> jax.Array or np.ndarray. Typed PRNG keys become their uint32 data, Python numbers 0-d arrays."""
    leaves: dict[str, Any] = {}
    for name, leaf in _leaves_by_name(state):
        if _is_key(leaf):
            leaf = jax.random.key_data(leaf)
        elif not isinstance(leaf, jax.Array):
            leaf = np.asarray(leaf)
            if leaf.dtype == object:
                raise ValueError(f"state leaf {name!r} is not an array; put it into host_state")
        leaves[name] = leaf
    if not leaves:
        raise ValueError("the state holds no arrays; a checkpoint needs at least one")
    return leaves


def describe_leaves(leaves: dict[str, Any]) -> dict[str, list]:
    """name -> [shape, dtype name], for the manifest."""
    return {name: [list(leaf.shape), str(np.dtype(leaf.dtype))] for name, leaf in leaves.items()}


def _stored_form(leaf: Any) -> tuple[tuple[int, ...], np.dtype]:
    if _is_key(leaf):
        data = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
        return data.shape, np.dtype(data.dtype)
    if not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    return tuple(leaf.shape), np.dtype(leaf.dtype)


def match_leaves(like: Any, stored: dict[str, list], partial: bool, where: str) -> None:
    """ValueError naming the first leaf that `like` and the checkpoint (`describe_leaves`) do not agree on."""
    wanted = {name: _stored_form(leaf) for name, leaf in _leaves_by_name(like)}
    missing, extra = sorted(set(wanted) - set(stored)), sorted(set(stored) - set(wanted))
    if missing:
        raise ValueError(
            f"{where} holds no leaf {missing[0]!r} ({len(missing)} missing); restore it with the config that wrote it"
        )
    if extra and not partial:
        raise ValueError(
            f"{where} holds a leaf {extra[0]!r} that the state asked for has not ({len(extra)} of them); "
            "restore it with the config that wrote it, or pass partial=True to leave the rest"
        )
    for name, (shape, dtype) in wanted.items():
        if list(shape) != list(stored[name][0]) or str(dtype) != stored[name][1]:
            raise ValueError(
                f"{where}: leaf {name!r} is {stored[name][1]}{stored[name][0]} there and {dtype}{list(shape)} in the"
                " state asked for; restore it with the config that wrote it"
            )


def restore_arguments(like: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(item, restore_args) for Orbax: a leaf with a sharding comes back as a jax.Array with it, any other as
    np.ndarray.
    """
    item, arguments = {}, {}
    for name, leaf in _leaves_by_name(like):
        shape, dtype = _stored_form(leaf)
        sharding = None if _is_key(leaf) else getattr(leaf, "sharding", None)
        item[name] = jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
        arguments[name] = (
            ocp.ArrayRestoreArgs(sharding=sharding, global_shape=shape, dtype=dtype)
            if sharding is not None
            else ocp.RestoreArgs(restore_type=np.ndarray, dtype=dtype)
        )
    return item, arguments


def everything(stored: dict[str, list]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(item, restore_args) to read all leaves of a checkpoint as NumPy arrays."""
    item = {name: jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype)) for name, (shape, dtype) in stored.items()}
    return item, {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in stored}


def from_leaves(like: Any, leaves: dict[str, Any]) -> Any:
    """The tree of `like` filled with restored leaves: typed keys are wrapped again, Python numbers keep their type."""
    values = []
    for name, leaf in _leaves_by_name(like):
        value = leaves[name]
        if _is_key(leaf):
            value = jax.random.wrap_key_data(jax.numpy.asarray(np.asarray(value)), impl=jax.random.key_impl(leaf))
            if getattr(leaf, "sharding", None) is not None:
                value = jax.device_put(value, leaf.sharding)
        elif not hasattr(leaf, "dtype"):
            value = type(leaf)(value.item())
        values.append(value)
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(like), values)

"""Logical axes to mesh axes: one table of rules for parameters and activations, checked before anything is placed."""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Rules = Mapping[str, str | tuple[str, ...] | None]

# Parameters shard their width over fsdp and their heads, hidden units or vocabulary over tensor; activations shard the
# batch.
DEFAULT_RULES: Rules = {
    "batch": ("data", "fsdp"),
    "sequence": None,
    "activation": None,
    "patches": ("data", "fsdp"),
    "embed": "fsdp",
    "vocab": "tensor",
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "layers": None,
    "norm": None,
    "patch": None,
    "vision_embed": "fsdp",
    "vision_heads": "tensor",
    "vision_mlp": "tensor",
    "qkv": None,
    "rank": None,
}

# Copies of the model, devices that share its weights, devices that share each layer.
MESH_AXES = ("data", "fsdp", "tensor")

_in_force: contextvars.ContextVar[Rules] = contextvars.ContextVar("spatial_jax_rules", default=DEFAULT_RULES)
_active: contextvars.ContextVar[tuple[Mesh, Rules] | None] = contextvars.ContextVar("spatial_jax_mesh", default=None)


def current_rules() -> Rules:
    """The rules of the enclosing `use_rules`, or DEFAULT_RULES."""
    return _in_force.get()


@contextlib.contextmanager
def use_rules(rules: Rules) -> Iterator[None]:
    """Inside, these rules place parameters, batches and activations wherever no others are given."""
    token = _in_force.set(rules)
    try:
        yield
    finally:
        _in_force.reset(token)


def changed_rules(changes: Sequence[str]) -> Rules:
    """DEFAULT_RULES with some axes moved: "vocab=fsdp" shards the vocabulary over fsdp, "batch=data+fsdp" over both,
    "mlp=" leaves the hidden units whole on every device. ValueError, one line, names what is not known.
    """
    rules = dict(DEFAULT_RULES)
    for change in changes:
        axis, equals, target = (part.strip() for part in change.partition("="))
        names = tuple(name.strip() for name in target.split("+")) if target else ()
        if not equals or axis not in rules:
            raise ValueError(f"{change!r} must be AXIS=MESH_AXIS with one of {', '.join(rules)}")
        if unknown := [name for name in names if name not in MESH_AXES]:
            raise ValueError(f"{change!r}: {unknown[0]!r} is no axis of the mesh; it has {', '.join(MESH_AXES)}")
        rules[axis] = names or None
    return rules


def mesh_axes(axis: str, rules: Rules | None = None) -> tuple[str, ...]:
    """Mesh axes that a logical axis is cut over."""
    names = (rules or current_rules())[axis] or ()
    return (names,) if isinstance(names, str) else tuple(names)


def partition_spec(
    axes: Sequence[str | None],
    shape: Sequence[int],
    mesh: Mesh,
    rules: Rules | None = None,
    name: str = "array",
    strict: bool = True,
) -> PartitionSpec:
    """The PartitionSpec of an array with these logical axes.

    ValueError for an unknown logical or mesh axis, a mesh axis used twice, or a dimension that its mesh axes do not
    divide; with strict=False such a dimension is left unsharded instead.
    """
    rules = rules or current_rules()
    if len(axes) != len(shape):
        raise ValueError(f"{name}: {len(axes)} logical axes {tuple(axes)} for shape {tuple(shape)}")
    used: set[str] = set()
    entries: list[Any] = []
    for axis, size in zip(axes, shape):
        if axis is not None and axis not in rules:
            raise ValueError(f"{name}: no rule for logical axis {axis!r}; add it to the rules")
        chosen = mesh_axes(axis, rules) if axis is not None else ()
        if missing := [c for c in chosen if c not in mesh.shape]:
            raise ValueError(
                f"{name}: the rule of {axis!r} names mesh axis {missing[0]!r}, but the mesh has {tuple(mesh.shape)}"
            )
        chosen = tuple(c for c in chosen if mesh.shape[c] > 1)
        if repeated := used.intersection(chosen):
            raise ValueError(
                f"{name}: mesh axis {sorted(repeated)[0]!r} is used twice, for {axis!r} and before it in {tuple(axes)}"
            )
        ways = 1
        for c in chosen:
            ways *= mesh.shape[c]
        if size % ways:
            if strict:
                raise ValueError(
                    f"{name}: dimension {axis!r} of size {size} does not divide over {chosen} = {ways}; "
                    "choose another mesh shape"
                )
            chosen = ()
        used.update(chosen)
        entries.append(None if not chosen else chosen[0] if len(chosen) == 1 else chosen)
    return PartitionSpec(*entries)


def param_shardings(shapes: Any, axes: Any, mesh: Mesh, rules: Rules | None = None) -> Any:
    """NamedShardings of a parameter tree. shapes: arrays or ShapeDtypeStructs; axes: the same tree with tuples of
    logical axes.
    """

    def one(path, leaf, leaf_axes):
        return NamedSharding(
            mesh,
            partition_spec(leaf_axes, leaf.shape, mesh, rules, jax.tree_util.keystr(path, simple=True, separator=".")),
        )

    return jax.tree_util.tree_map_with_path(one, shapes, axes)


def shapes_with_shardings(shapes: Any, shardings: Any) -> Any:
    """A tree of ShapeDtypeStructs with these shardings."""
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), shapes, shardings
    )


def shard_params(params: Any, axes: Any, mesh: Mesh, rules: Rules | None = None) -> Any:
    """The parameters placed on the mesh."""
    return jax.device_put(params, param_shardings(params, axes, mesh, rules))


@contextlib.contextmanager
def use_mesh(mesh: Mesh | None, rules: Rules | None = None) -> Iterator[None]:
    """Inside, `constrain` pins activations to the mesh; wrap the traced function's body or the call that traces it. It
    goes around jax.grad, not into the function that is differentiated: backward passes of our own are traced when that
    has returned.
    """
    token = _active.set(None if mesh is None else (mesh, rules or current_rules()))
    try:
        yield
    finally:
        _active.reset(token)


def active_mesh() -> tuple[Mesh, Rules] | None:
    """The mesh and rules of the enclosing `use_mesh`, or None; for kernels that must be mapped over shards by hand."""
    return _active.get()


def constrain(x: jax.Array, axes: Sequence[str | None]) -> jax.Array:
    """x pinned to the active mesh by its logical axes; a dimension that does not divide stays free. Without a mesh: x
    itself.
    """
    active = _active.get()
    if active is None or active[0].size == 1:
        return x
    mesh, rules = active
    return jax.lax.with_sharding_constraint(
        x, NamedSharding(mesh, partition_spec(axes, x.shape, mesh, rules, strict=False))
    )


def axis_ways(axis: str, *sizes: int) -> int:
    """Parts that the active mesh cuts a logical axis into, where they divide all of these sizes; otherwise 1."""
    active = _active.get()
    if active is None:
        return 1
    ways = math.prod(active[0].shape.get(name, 1) for name in mesh_axes(axis, active[1]))
    return ways if all(size % ways == 0 for size in sizes) else 1


def sum_parts(x: jax.Array, axes: Sequence[str | None]) -> jax.Array:
    """x [batch_ways(), ...], each device's own part of a sum, to the whole, placed by the logical `axes` of what
    remains. The parts meet one mesh axis after another, the one that shards the whole (fsdp) first: it is scattered
    there, and only slices travel over the others. The collectives are written out: left to the compiler, all of the
    head's gradient crosses fsdp twice, in an all-reduce. (A TPU compiler still does so where a scatter would cut the
    last axis into other than whole tiles, as it would the embeddings' gradient.)
    """
    active = _active.get()
    if active is None or x.shape[0] == 1:
        return constrain(x.sum(axis=0), axes)
    mesh, rules = active
    names = batch_axes(rules)
    spec = partition_spec(axes, x.shape[1:], mesh, rules, strict=False)
    rest = [None if entry in names else entry for entry in spec]

    def meet(part: jax.Array) -> jax.Array:
        part = part[0]
        for name in reversed(names):
            part = (
                jax.lax.psum_scatter(part, name, scatter_dimension=spec.index(name), tiled=True)
                if name in spec
                else jax.lax.psum(part, name)
            )
        return part

    return jax.shard_map(meet, mesh=mesh, in_specs=PartitionSpec(names, *rest), out_specs=spec)(x)


def batch_axes(rules: Rules | None = None) -> tuple[str, ...]:
    """Mesh axes that a batch is cut over."""
    return mesh_axes("batch", rules)


def batch_parts(mesh: Mesh | None, rules: Rules | None = None) -> int:
    """Parts that `mesh` cuts a batch into; 1 without a mesh."""
    return 1 if mesh is None else math.prod(mesh.shape[axis] for axis in batch_axes(rules))


def batch_ways() -> int:
    """Parts that the active mesh cuts a batch into; 1 without a mesh."""
    return batch_parts(*(_active.get() or (None,)))

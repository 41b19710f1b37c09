"""What an update changes: trainable parameters and optimizer state, and how parameters split into trainable and frozen ones."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

Flat = dict[str, jax.Array]


@struct.dataclass
class TrainState:
    """step: optimizer steps taken, int32 []; params: trainable parameters by name; opt_state: the optimizer's."""

    step: jax.Array
    params: Flat
    opt_state: Any


@dataclasses.dataclass(frozen=True)
class ParamSplit:
    """The model's parameter tree as two flat dicts, trainable and frozen, by parameter name ("text.layers.q_proj.kernel")."""

    names: tuple[str, ...]
    treedef: Any
    trainable: frozenset[str]

    @classmethod
    def of(cls, params: Any, trains: Callable[[str], bool]) -> ParamSplit:
        """`params`: arrays or shapes; `trains(name)`: whether that parameter trains."""
        leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
        names = tuple(jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves)
        return cls(names, treedef, frozenset(name for name in names if trains(name)))

    def split(self, params: Any) -> tuple[Flat, Flat]:
        """(trainable, frozen)."""
        leaves = dict(zip(self.names, jax.tree.leaves(params)))
        return {n: v for n, v in leaves.items() if n in self.trainable}, {n: v for n, v in leaves.items() if n not in self.trainable}

    def join(self, trainable: Flat, frozen: Flat) -> Any:
        """The parameter tree again."""
        return jax.tree.unflatten(self.treedef, [trainable[n] if n in trainable else frozen[n] for n in self.names])

    def table(self, params: Any) -> list[tuple[str, int, int]]:
        """(part, trainable parameters, all parameters) of each top-level part, for the start of a run."""
        rows: dict[str, list[int]] = {}
        for name, leaf in zip(self.names, jax.tree.leaves(params)):
            parts = name.split(".")
            key = "vision merger" if "merger" in name else "embeddings" if parts[1] in ("embed", "head") else parts[0]
            row = rows.setdefault(key, [0, 0])
            row[0] += leaf.size if name in self.trainable else 0
            row[1] += leaf.size
        return [(key, row[0], row[1]) for key, row in rows.items()]


def init_state(trainable: Flat, optimizer: optax.GradientTransformation) -> TrainState:
    """Step 0."""
    return TrainState(jnp.zeros((), jnp.int32), trainable, jax.jit(optimizer.init)(trainable))

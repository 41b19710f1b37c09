"""Which parameters learn: groups that can be frozen, and the split that keeps the frozen ones out of gradients and
optimizer alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flax import nnx

from spatial_jax.models.trees import leaf_paths, nest

GROUPS = ("vision", "merger", "embed", "head", "text", "lora")


def group_of(path: tuple[str, ...]) -> str:
    """The group of a parameter: vision (tower without mergers), merger (with DeepStack mergers), embed, head, text
    (layers, norm), lora.
    """
    if path[-1].startswith("lora_"):
        return "lora"
    if path[0] == "vision":
        return "merger" if path[1] in ("merger", "deepstack") else "vision"
    return path[1] if path[1] in ("embed", "head") else "text"


def trainable_mask(params: Any, freeze: Iterable[str] = (), only: Iterable[str] = ()) -> nnx.State:
    """State like params with True where a parameter learns.

    freeze: groups that stay; only: if given, the groups that learn (`only=("lora",)` for LoRA). A tied head learns with
    "embed". ValueError for an unknown group.
    """
    freeze, only = set(freeze), set(only)
    if unknown := (freeze | only) - set(GROUPS):
        raise ValueError(f"trainable_mask: unknown group {sorted(unknown)[0]!r}; the groups are {', '.join(GROUPS)}")
    return nnx.State(
        nest(
            {
                path: group_of(path) not in freeze and (not only or group_of(path) in only)
                for path, _ in leaf_paths(params)
            }
        )
    )


def split_params(params: Any, mask: Any) -> tuple[nnx.State, nnx.State]:
    """(trainable, frozen): two States with the leaves of params where mask is True and False. Differentiate and
    optimise the first alone.
    """
    chosen = dict(leaf_paths(mask))
    leaves = list(leaf_paths(params))
    return (
        nnx.State(nest({path: leaf for path, leaf in leaves if chosen[path]})),
        nnx.State(nest({path: leaf for path, leaf in leaves if not chosen[path]})),
    )


def join_params(trainable: Any, frozen: Any) -> nnx.State:
    """The inverse of `split_params`."""
    return nnx.State(nest(dict(sorted([*leaf_paths(trainable), *leaf_paths(frozen)]))))

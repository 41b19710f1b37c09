"""One optimizer step from any number of micro-batches: gradients of summed losses are accumulated, divided once,
applied once.

Losses come as sums, and the global normaliser is known before the first micro-batch, so the result does not depend on
how the batch was cut or on how many devices hold it. Each bucket shape is one compiled program; `programs` counts them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from spatial_jax.models import join_params
from spatial_jax.parallel.rules import batch_axes, batch_parts, use_mesh
from spatial_jax.training.state import Coefficients, Params, TrainState
from spatial_jax.training.tower import TowerPasses, packs_of, without_pictures

# loss(model, batch, coefficients) -> {"loss": sum to minimise, name: sum or, for names that end in _max, maximum}
Loss = Callable[[Any, Any, Coefficients], dict[str, jax.Array]]


def batch_shardings(batch: Any, mesh: Mesh, batch_axis: Callable[[tuple], int | None]) -> Any:
    """Shardings of a batch's leaves (arrays or shapes): whole on each device, except those whose `batch_axis(path)`
    names the axis to cut as the rules cut a batch, where it divides.
    """
    ways = batch_parts(mesh)

    def one(path, leaf):
        axis, spec = batch_axis(path), PartitionSpec()
        if axis is not None and leaf.shape[axis] % ways == 0:
            spec = PartitionSpec(*[None] * axis, batch_axes())
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(one, batch)


def place(batch: Any, mesh: Mesh | None, batch_axis: Callable[[tuple], int | None] = lambda path: None) -> Any:
    """Host arrays on the devices, by `batch_shardings`. All processes hold the same host arrays and each takes its
    part.
    """
    if mesh is None or mesh.size == 1:
        return jax.device_put(batch)
    batch = jax.tree.map(np.asarray, batch)
    return jax.tree.map(
        lambda leaf, where: jax.make_array_from_callback(leaf.shape, where, lambda index: leaf[index]),
        batch,
        batch_shardings(batch, mesh, batch_axis),
    )


def group_axis(path: tuple) -> int | None:
    """The prompt axis of arrays inside PromptBatch, AnswerBatch and PolicyBatch: positions have it second; arrays of a
    pack of pictures have its parts, which hold a share of the prompts each, in its place.
    """
    names = [getattr(key, "name", getattr(key, "key", "")) for key in path]
    if "vision" in names:
        return 1 if names[-1] in ("tap_index", "tap_weight", "deepstack") else 0
    return 1 if names[-1] == "positions" else 0


def add_sums(total: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Both together: sums add up, names that end in _max keep the larger, names that only one has stay."""
    both = {
        name: jnp.maximum(total[name], more[name]) if name.endswith("_max") else total[name] + more[name]
        for name in total.keys() & more.keys()
    }
    return {**total, **more, **both}


class Updater:
    """Jitted accumulation and application of gradients for one loss. remat: of a tower whose pass micro-batches
    share.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        optimizer: optax.GradientTransformation,
        loss: Loss,
        mesh: Mesh | None = None,
        remat: str = "none",
    ):
        self._graphdef, self._optimizer, self._loss, self._mesh = graphdef, optimizer, loss, mesh
        self._remat = remat
        self._accumulate: Any = None
        self._apply: Any = None
        self._tower: TowerPasses | None = None

    def jit_for(self, state: TrainState) -> tuple[Any, Any]:
        """(accumulate, apply) for a state of this kind (arrays, or shapes with shardings): gradients, moments and
        parameters stay sharded as they came.
        """
        if self._accumulate is None:
            where = None if self._mesh is None else jax.tree.map(lambda leaf: leaf.sharding, state)
            self._accumulate = jax.jit(
                self._accumulate_fn, donate_argnums=(2,), out_shardings=None if where is None else (where.params, None)
            )
            self._apply = jax.jit(
                self._apply_fn, donate_argnums=(0,), out_shardings=None if where is None else (where, None)
            )
        return self._accumulate, self._apply

    def tower_for(self, state: TrainState) -> TowerPasses:
        """The passes that micro-batches on one pack of pictures share, for a state of this kind."""
        if self._tower is None:
            where = None if self._mesh is None else jax.tree.map(lambda leaf: leaf.sharding, state.params)
            self._tower = TowerPasses(self._graphdef, self._loss, self._mesh, self._remat, where)
        return self._tower

    def _accumulate_fn(
        self, trainable: Params, frozen: Params, grads: Params, batch: Any, scale: jax.Array, coefficients: Coefficients
    ):
        def total(params):
            sums = self._loss(nnx.merge(self._graphdef, join_params(params, frozen)), batch, coefficients)
            return sums["loss"] * scale, sums

        with use_mesh(self._mesh):
            new, sums = jax.grad(total, has_aux=True)(trainable)
        return jax.tree.map(lambda g, n: g + n.astype(jnp.float32), grads, new), sums

    def _apply_fn(self, state: TrainState, grads: Params) -> tuple[TrainState, dict[str, jax.Array]]:
        norm = optax.global_norm(grads)
        finite = jnp.isfinite(norm)
        updates, opt_state = self._optimizer.update(grads, state.opt_state, state.params)
        params = jax.tree.map(lambda p, u: (p + u.astype(p.dtype)).astype(p.dtype), state.params, updates)
        # A gradient that is not finite changes nothing but the step count.
        keep = functools.partial(jax.tree.map, lambda new, old: jnp.where(finite, new, old))
        state = TrainState(state.step + 1, keep(params, state.params), keep(opt_state, state.opt_state))
        return state, {"grad_norm": norm, "update_skipped": 1.0 - finite.astype(jnp.float32)}

    def __call__(
        self,
        state: TrainState,
        frozen: Params,
        batches: Sequence[Any],
        normaliser: float,
        coefficients: Coefficients | None = None,
    ) -> tuple[TrainState, dict[str, Any]]:
        """One step on `batches` (host pytrees). Returns the new state and device scalars: sums over the batches (maxima
        for names that end in _max), grad_norm, update_skipped. `normaliser`: what the summed loss is divided by.
        """
        _, apply = self.jit_for(state)
        grads = jax.tree.map(
            lambda p: jnp.zeros(p.shape, jnp.float32, device=None if self._mesh is None else p.sharding), state.params
        )
        scale = jnp.float32(1.0 / max(normaliser, 1e-8))
        total: dict[str, Any] = {}
        given = (scale, coefficients or {})
        for pack, members in packs_of(batches, state.params):
            accumulate = self._accumulate_each if pack is None else functools.partial(self._accumulate_seen, pack)
            grads, sums = accumulate(state, frozen, grads, members, given)
            total = add_sums(total, sums)
        state, info = apply(state, grads)
        return state, {**total, **info}

    def _accumulate_each(
        self, state: TrainState, frozen: Params, grads: Params, batches: Sequence[Any], given: tuple[Any, Any]
    ) -> tuple[Params, dict[str, Any]]:
        """The gradients with those of the micro-batches added, and their sums."""
        accumulate, total = self.jit_for(state)[0], dict[str, Any]()
        for batch in batches:
            grads, sums = accumulate(state.params, frozen, grads, place(batch, self._mesh, group_axis), *given)
            total = add_sums(total, sums)
        return grads, total

    def _accumulate_seen(
        self,
        pack: Any,
        state: TrainState,
        frozen: Params,
        grads: Params,
        batches: Sequence[Any],
        given: tuple[Any, Any],
    ) -> tuple[Params, dict[str, Any]]:
        """Likewise of micro-batches that all show `pack`, which passes the tower once."""
        tower, total = self.tower_for(state), dict[str, Any]()
        # Under the names that `group_axis` knows a pack by.
        seen, gathered = tower.forward(state.params, frozen, place({"vision": pack}, self._mesh, group_axis)["vision"])
        for batch in batches:
            batch = place(without_pictures(batch), self._mesh, group_axis)
            grads, gathered, sums = tower.accumulate(
                state.params, frozen, grads, gathered, seen.features, batch, *given
            )
            total = add_sums(total, sums)
        return tower.backward(state.params, frozen, grads, gathered, seen), total

    @property
    def programs(self) -> int:
        """Compiled accumulation programs so far: one a bucket shape."""
        jitted = [self._accumulate, self._tower and self._tower.accumulate]
        return sum(one._cache_size() for one in jitted if one is not None)


def step_sums(taken: list[dict[str, Any]]) -> dict[str, float]:
    """Of the optimizer steps of one step: the mean norm of their gradients, and how many were skipped."""
    if not taken:
        return {}
    return {
        "grad_norm": float(np.mean([s["grad_norm"] for s in taken])),
        "update_skipped": float(sum(s["update_skipped"] for s in taken)),
    }

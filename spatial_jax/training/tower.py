"""One pass of a tower that trains for all micro-batches of one pack of pictures: forward once, then the decoder over
each micro-batch with the gradient to the features gathered, then the tower's backward pass once.

A group whose answers are cut (`config.train.micro_answers`) shows the same pictures in each of its parts. Between the
two passes the device holds what the tower's backward pass needs (by `config.model.remat`, as inside one program), the
features, and their gradient in float32.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx, struct
from jax.sharding import Mesh

from spatial_jax.models import VisionArrays, VisionFeatures, join_params, leaf_paths, nest, split_params
from spatial_jax.parallel.rules import constrain, use_mesh
from spatial_jax.training.state import Coefficients, Params


@struct.dataclass
class Seen:
    """A pack's features, and what its backward pass needs beside the tower's parameters. `kept`: residuals that are no
    parameters; `places` and `tree` (static): where these and the parameters stand among the leaves of the pull-back.
    """

    features: VisionFeatures
    kept: list[jax.Array]
    places: tuple[int, ...] = struct.field(pytree_node=False)
    tree: Any = struct.field(pytree_node=False)


def packs_of(batches: Sequence[Any], trainable: Params) -> Iterator[tuple[Any, list[Any]]]:
    """(pack, micro-batches) of neighbours that show one pack of pictures; None for the pack of a micro-batch that
    stands alone, has no pictures, or shows those of a tower that does not train.
    """
    trains = any(path[0] == "vision" for path, _ in leaf_paths(trainable))

    def pack(batch: Any) -> Any:
        return getattr(getattr(batch, "prompts", None), "vision", None)

    for _, neighbours in itertools.groupby(batches, key=lambda batch: id(pack(batch))):
        members = list(neighbours)
        shared = trains and len(members) > 1 and isinstance(pack(members[0]), VisionArrays)
        if shared:
            yield pack(members[0]), members
        else:
            yield from ((None, [member]) for member in members)


def without_pictures(batch: Any) -> Any:
    """The micro-batch without its prompts' pack."""
    return dataclasses.replace(batch, prompts=dataclasses.replace(batch.prompts, vision=None))


class TowerPasses:
    """The three jitted programs. loss: as the Updater's; remat: of the tower's layers."""

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        loss: Callable[[Any, Any, Coefficients], dict[str, jax.Array]],
        mesh: Mesh | None,
        remat: str,
        shardings: Any = None,
    ):
        self._graphdef, self._loss, self._mesh, self._remat = graphdef, loss, mesh, remat
        of_grads: Any = {} if shardings is None else {"out_shardings": shardings}
        with_sums: Any = {} if shardings is None else {"out_shardings": (shardings, None, None)}
        self.forward = jax.jit(self._forward)
        self.accumulate = jax.jit(self._accumulate, donate_argnums=(2, 3), **with_sums)
        self.backward = jax.jit(self._backward, donate_argnums=(2,), **of_grads)

    def _forward(self, trainable: Params, frozen: Params, vision: VisionArrays) -> tuple[Seen, VisionFeatures]:
        """(what is kept of the pack's forward pass, zeros to gather the gradient to its features in)."""
        tower, rest = _cut(trainable)

        def encode(tower):
            model = nnx.merge(self._graphdef, join_params(join_params(tower, rest), frozen))
            return model.encode_vision(vision, self._remat)

        with use_mesh(self._mesh):
            features, pull = jax.vjp(encode, tower)
            features = self._pin(features)
            zeros = self._pin(jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), features))
        leaves, tree = jax.tree.flatten(pull)
        # What is a parameter is there anyway: handed out, it would be copied.
        own = {id(leaf): place for place, leaf in enumerate(jax.tree.leaves((trainable, frozen)))}
        places = tuple(own.get(id(leaf), -1) for leaf in leaves)
        return Seen(features, [leaf for leaf, place in zip(leaves, places) if place < 0], places, tree), zeros

    def _accumulate(
        self,
        trainable: Params,
        frozen: Params,
        grads: Params,
        gathered: VisionFeatures,
        features: VisionFeatures,
        batch: Any,
        scale: jax.Array,
        coefficients: Coefficients,
    ) -> tuple[Params, VisionFeatures, dict[str, jax.Array]]:
        """Both gradients with this micro-batch's added, and its sums; its prompts come without pictures."""
        tower, learns = _cut(trainable)
        if isinstance(batch.answers.vision, VisionArrays):
            # Pictures of later turns are the answers' own: they pass the tower here.
            tower, learns = nnx.State({}), trainable

        def total(learns, features):
            shown = dataclasses.replace(batch, prompts=dataclasses.replace(batch.prompts, vision=features))
            model = nnx.merge(self._graphdef, join_params(join_params(tower, learns), frozen))
            sums = self._loss(model, shown, coefficients)
            return sums["loss"] * scale, sums

        with use_mesh(self._mesh):
            (new, to_features), sums = jax.grad(total, argnums=(0, 1), has_aux=True)(learns, features)
            gathered = self._pin(jax.tree.map(lambda g, n: g + n.astype(jnp.float32), gathered, to_features))
        return add_gradients(grads, new), gathered, sums

    def _backward(
        self, trainable: Params, frozen: Params, grads: Params, gathered: VisionFeatures, seen: Seen
    ) -> Params:
        """The gradients with the tower's added."""
        given, kept = jax.tree.leaves((trainable, frozen)), iter(seen.kept)
        pull = jax.tree.unflatten(seen.tree, [next(kept) if place < 0 else given[place] for place in seen.places])
        with use_mesh(self._mesh):
            (new,) = pull(jax.tree.map(lambda g, x: g.astype(x.dtype), gathered, seen.features))
        return add_gradients(grads, new)

    def _pin(self, features: VisionFeatures) -> VisionFeatures:
        """The features' rows cut over the devices as the patches are."""
        return jax.tree.map(lambda x: constrain(x, (*[None] * (x.ndim - 2), "patches", None)), features)


def add_gradients(grads: Params, new: Params) -> Params:
    """float32 sums; those that `new` has no gradient of stay as they are."""
    found = dict(leaf_paths(new))
    return nnx.State(
        nest(
            {
                path: total + found[path].astype(jnp.float32) if path in found else total
                for path, total in leaf_paths(grads)
            }
        )
    )


def _cut(trainable: Params) -> tuple[Params, Params]:
    """(the tower's, mergers included; the others)."""
    return split_params(trainable, nest({path: path[0] == "vision" for path, _ in leaf_paths(trainable)}))

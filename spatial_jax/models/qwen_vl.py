"""QwenVL: the policy network of the three families, one set of weights for training, prefill and decode."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from spatial_jax.models import text as decoder
from spatial_jax.models import vision as tower
from spatial_jax.models.batch import VisionArrays, VisionFeatures
from spatial_jax.models.configs import ModelConfig
from spatial_jax.models.layers import Compute, lookup, merge_rows, take_parts
from spatial_jax.models.layout import ParamSpec, param_specs
from spatial_jax.models.trees import nest


def _modules(tree: dict[str, Any]) -> nnx.Dict:
    return nnx.Dict({key: _modules(value) if isinstance(value, dict) else value for key, value in tree.items()})


def _pure(module: nnx.Dict) -> dict[str, Any]:
    return nnx.to_pure_dict(nnx.state(module))


class QwenVL(nnx.Module):
    """Qwen2-VL, Qwen2.5-VL or Qwen3-VL. Layers are stacked: parameters of the decoder's layers have shape [L, ...].

    dtype: type of activations; param_dtype: type of the stored parameters. `rngs=None` makes an abstract model (shapes
    only). Every method is pure given the parameters; use `split_model` and `nnx.merge` at the edges of jit.
    """

    def __init__(
        self, config: ModelConfig, *, rngs: nnx.Rngs | None = None, dtype: Any = jnp.float32, param_dtype: Any = None
    ):
        self.config = config
        self.dtype = jnp.dtype(dtype).name
        self.lora_scale = 1.0
        param_dtype = jnp.dtype(dtype if param_dtype is None else param_dtype)
        leaves = {spec.path: nnx.Param(_initial(spec, config, rngs, param_dtype)) for spec in param_specs(config)}
        self.set_params(nest(leaves))

    def set_params(self, tree: dict[str, Any]) -> None:
        """Replaces all parameters by a nested dict of nnx.Param (adapters may stand beside kernels)."""
        self.text = _modules(tree["text"])
        self.vision = _modules(tree["vision"])

    @property
    def compute(self) -> Compute:
        return Compute(jnp.dtype(self.dtype), self.lora_scale)

    def encode_vision(self, vision: VisionArrays | VisionFeatures, remat: str = "none") -> VisionFeatures:
        """Features of all packed pictures, one row a token, in the order of the pictures; what was encoded before is
        taken as it is.
        """
        if isinstance(vision, VisionFeatures):
            return vision
        return tower.run_tower(_pure(self.vision), vision, self.config.vision, self.compute, remat)

    def embed(
        self,
        tokens: jax.Array,
        feature_index: jax.Array | None = None,
        features: VisionFeatures | jax.Array | None = None,
    ) -> jax.Array:
        """Token embeddings [..., d] of tokens [...]; where feature_index >= 0 the picture's feature takes the token's
        place.
        """
        table = self.text["embed"]["embedding"][...]
        embedded = lookup(table, tokens).astype(self.dtype)
        if features is None or feature_index is None:
            return embedded
        if not isinstance(features, VisionFeatures):
            features = VisionFeatures(features)
        return jnp.where(
            (feature_index >= 0)[..., None],
            _own_rows(features.features.astype(self.dtype), feature_index, features.parts),
            embedded,
        )

    def deepstack(self, feature_index: jax.Array, features: VisionFeatures | None) -> jax.Array | None:
        """DeepStack rows at their tokens: [k, ..., d], zero at text; None for the families without."""
        if features is None or features.deepstack is None:
            return None
        rows = jax.vmap(lambda tap: _own_rows(tap, feature_index, features.parts))(features.deepstack)
        return jnp.where((feature_index >= 0)[..., None], rows, 0)

    def run_layers(
        self,
        x: jax.Array,
        positions: jax.Array,
        attend: decoder.Attend,
        caches: Any = None,
        deepstack: jax.Array | None = None,
        remat: str = "none",
        layers: int | None = None,
        weights: Any = None,
    ) -> tuple[jax.Array, Any]:
        """All decoder layers on x [b, n, d], positions [3, b, n] -> (hidden [b, n, d] after the final norm, stacked new
        caches).

        attend(q [b, n, h, hd], k [b, n, kv, hd], v, cache of this layer) -> (out [b, n, h, hd], new cache of this
        layer); q and k come rotated. caches: pytree with a leading axis [L], or None. deepstack [k, b, n, d]. remat: a
        policy of models/remat.py. layers: only the first so many (None: all). weights: `joined_weights`, with caches as
        a list; then the new caches are one, too.
        """
        weights = _pure(self.text) if weights is None else weights
        if layers is not None:
            weights = {**weights, "layers": jax.tree.map(lambda a: a[:layers], weights["layers"])}
        return decoder.run_decoder(
            weights, x, positions, attend, caches, deepstack, self.config.text, self.compute, remat
        )

    def joined_weights(self) -> dict[str, Any]:
        """The decoder's weights layer by layer for a loop that reads them many times (see `joined_layers`)."""
        weights = _pure(self.text)
        return {
            **weights,
            "layers": decoder.joined_layers(weights["layers"], self.config.text.num_layers, self.compute),
        }

    def head(self) -> jax.Array:
        """The output matrix [d, v]: its own (with its adapter, if it has one), or a view of the embeddings when
        tied.
        """
        if self.config.tie_word_embeddings:
            return self.text["embed"]["embedding"][...].T
        head = _pure(self.text["head"])
        if "lora_a" not in head:
            return head["kernel"]
        return head["kernel"] + (head["lora_a"] @ head["lora_b"] * self.lora_scale).astype(head["kernel"].dtype)

    def logits(self, hidden: jax.Array) -> jax.Array:
        """hidden [..., d] -> [..., v] in the activations' type."""
        rows = merge_rows(hidden) if hidden.ndim == 3 else hidden
        return jnp.dot(rows, self.head().astype(self.dtype)).reshape(*hidden.shape[:-1], -1)


def _own_rows(features: jax.Array, feature_index: jax.Array, parts: int) -> jax.Array:
    """features [n, d] at feature_index [b, ...], any row where it is negative. With several parts each prompt looks in
    its own part.
    """
    index = jnp.maximum(feature_index, 0)
    if parts == 1:
        return features[index]
    first = jnp.arange(parts, dtype=index.dtype)[:, None] * (features.shape[0] // parts)
    rows = take_parts(features, jnp.maximum(index.reshape(parts, -1) - first, 0))
    return rows.reshape(*index.shape, -1)


def _initial(spec: ParamSpec, config: ModelConfig, rngs: nnx.Rngs | None, dtype) -> Any:
    if rngs is None:
        return jax.ShapeDtypeStruct(spec.full_shape, dtype)
    if spec.init == "ones":
        return jnp.ones(spec.full_shape, dtype)
    if spec.init == "zeros":
        return jnp.zeros(spec.full_shape, dtype)
    scale = (config.vision if spec.path[0] == "vision" else config.text).initializer_range
    return (jax.random.normal(rngs.params(), spec.full_shape, jnp.float32) * scale).astype(dtype)


def split_model(model: QwenVL) -> tuple[nnx.GraphDef, nnx.State]:
    """(graphdef, params): params is a nested State of plain arrays, `nnx.merge(graphdef, params)` gives the model
    back.
    """
    graphdef, state = nnx.split(model)
    return graphdef, nnx.as_pure(state)


def abstract_model(
    config: ModelConfig, dtype: Any = jnp.float32, param_dtype: Any = None
) -> tuple[nnx.GraphDef, nnx.State]:
    """(graphdef, params as ShapeDtypeStructs) without allocating anything."""
    return split_model(QwenVL(config, dtype=dtype, param_dtype=param_dtype))

"""The decoder's matrices as int8 with one scale an output channel: a copy to sample with, of half the bytes.

Symmetric, scaled by the largest magnitude of each output's weights; everything else keeps its type.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from spatial_jax.models.configs import ModelConfig
from spatial_jax.models.layout import param_specs
from spatial_jax.models.qwen_vl import QwenVL, split_model
from spatial_jax.models.trees import leaf_paths, nest

Path = tuple[str, ...]


def _matrices(config: ModelConfig) -> dict[Path, int]:
    """Paths of the decoder's stacked kernels [L, inputs..., outputs...], with the number of their input axes."""
    specs = (spec for spec in param_specs(config) if spec.path[:2] == ("text", "layers") and spec.in_axes)
    return {spec.path: spec.in_axes for spec in specs}


def quantize_layers(config: ModelConfig, params: Any) -> nnx.State:
    """The parameters with each kernel of the decoder's layers as int8, and `kernel_scale` float32 [L, outputs...]
    beside it, by which its products are multiplied. Adapters stay beside them.
    """
    leaves = dict(leaf_paths(params))
    for path, inputs in _matrices(config).items():
        kernel = leaves[path].astype(jnp.float32)
        axes = tuple(range(1, 1 + inputs))
        scale = jnp.maximum(jnp.max(jnp.abs(kernel), axis=axes, keepdims=True), 1e-30) / 127.0
        leaves[path] = jnp.round(kernel / scale).astype(jnp.int8)
        leaves[(*path[:-1], "kernel_scale")] = jnp.squeeze(scale, axes)
    return nnx.State(nest(leaves))


def quantized_graph(config: ModelConfig, graphdef: nnx.GraphDef, params: Any) -> nnx.GraphDef:
    """The graph of a model whose parameters `quantize_layers` made; `params`: before it, arrays or shapes."""
    model: QwenVL = nnx.merge(graphdef, params)
    fresh = QwenVL(config, dtype=model.dtype)
    fresh.lora_scale = model.lora_scale
    shapes = jax.eval_shape(lambda tree: quantize_layers(config, tree), params)
    fresh.set_params(nest({path: nnx.Param(leaf) for path, leaf in leaf_paths(shapes)}))
    return split_model(fresh)[0]


def quantized_shardings(config: ModelConfig, shardings: Any) -> nnx.State:
    """Where `quantize_layers` leaves what lies by `shardings`: scales beside their kernels' outputs."""
    leaves = dict(leaf_paths(shardings))
    for path, inputs in _matrices(config).items():
        where: NamedSharding = leaves[path]
        entries = list(where.spec) + [None] * 8  # a spec may leave out its last axes
        outputs = entries[1 + inputs :]
        while outputs and outputs[-1] is None:
            outputs.pop()
        leaves[(*path[:-1], "kernel_scale")] = NamedSharding(where.mesh, PartitionSpec(entries[0], *outputs))
    return nnx.State(nest(leaves))

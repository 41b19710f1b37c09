"""Logical axes of every parameter of a policy, and their placement on a mesh."""

from __future__ import annotations

import math
from typing import Any

from flax import nnx
from jax.sharding import Mesh

from spatial_jax.models.configs import ModelConfig
from spatial_jax.models.layout import param_specs
from spatial_jax.models.lora import LoraConfig, lora_specs
from spatial_jax.models.trees import nest
from spatial_jax.parallel.rules import Rules, mesh_axes, param_shardings


def param_axes(config: ModelConfig, lora: LoraConfig | None = None) -> nnx.State:
    """State like the parameters (with adapters, if given) with a tuple of logical axes at every leaf."""
    specs = param_specs(config) + (lora_specs(config, lora) if lora else [])
    return nnx.State(nest({spec.path: spec.full_axes for spec in specs}))


def tensor_ways(config: ModelConfig) -> int:
    """The largest size of a tensor axis that divides everything of the model that it shards: heads, key/value heads,
    hidden units, vocabulary.
    """
    return math.gcd(
        *(
            size
            for spec in param_specs(config)
            for axis, size in zip(spec.axes, spec.shape)
            if axis and "tensor" in mesh_axes(axis)
        )
    )


def model_shardings(
    config: ModelConfig, params: Any, mesh: Mesh, rules: Rules | None = None, lora: LoraConfig | None = None
) -> nnx.State:
    """NamedShardings of the parameters (arrays or shapes); ValueError names the parameter whose dimension does not
    divide.
    """
    return param_shardings(params, param_axes(config, lora), mesh, rules)

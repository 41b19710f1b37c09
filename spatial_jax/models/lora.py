"""LoRA on any linear layers: kernel + (alpha / rank) * A B, added as parameters beside the kernel; merged, exported and
trained alone.

Hu et al. 2021 (arXiv 2106.09685): A starts random, B at zero, so a fresh adapter changes nothing.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from spatial_jax.models.configs import ModelConfig
from spatial_jax.models.hf_weights import published_name
from spatial_jax.models.layout import ParamSpec, param_specs
from spatial_jax.models.qwen_vl import QwenVL, split_model
from spatial_jax.models.safetensors_io import write_safetensors
from spatial_jax.models.trees import leaf_paths, nest

DEFAULT_TARGETS = r"text\.layers\.(q|k|v|o|gate|up|down)_proj"


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """rank and alpha of every adapter (factor alpha / rank); targets: a regular expression over dotted names of linear
    layers, e.g. "text.layers.q_proj", "vision.blocks.qkv", "vision.merger.fc1" (full match).
    """

    rank: int = 16
    alpha: float = 32.0
    targets: str = DEFAULT_TARGETS

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


def lora_specs(config: ModelConfig, lora: LoraConfig) -> list[ParamSpec]:
    """Specs of the adapters' parameters, lora_a (inputs..., r) and lora_b (r, outputs...); ValueError when no layer
    matches.
    """
    pattern = re.compile(lora.targets)
    kernels = [spec for spec in param_specs(config) if spec.in_axes]
    chosen = [spec for spec in kernels if pattern.fullmatch(".".join(spec.path[:-1]))]
    if not chosen:
        names = ", ".join(".".join(spec.path[:-1]) for spec in kernels)
        raise ValueError(f"lora: targets {lora.targets!r} match no linear layer; the layers are {names}")
    out = []
    for spec in chosen:
        inputs, outputs = spec.shape[: spec.in_axes], spec.shape[spec.in_axes :]
        stem = spec.hf_name.removesuffix(".weight")
        a_axes, b_axes = (*spec.axes[: spec.in_axes], "rank"), ("rank", *spec.axes[spec.in_axes :])
        out.append(
            ParamSpec(
                (*spec.path[:-1], "lora_a"),
                (*inputs, lora.rank),
                a_axes,
                f"{stem}.lora_A.weight",
                (lora.rank, math.prod(inputs)),
                spec.in_axes,
                spec.stack,
            )
        )
        out.append(
            ParamSpec(
                (*spec.path[:-1], "lora_b"),
                (lora.rank, *outputs),
                b_axes,
                f"{stem}.lora_B.weight",
                (math.prod(outputs), lora.rank),
                1,
                spec.stack,
                "zeros",
            )
        )
    return out


def add_lora(
    config: ModelConfig,
    graphdef: nnx.GraphDef,
    params: Any,
    lora: LoraConfig,
    rngs: nnx.Rngs | None = None,
    dtype: Any = None,
) -> tuple[nnx.GraphDef, nnx.State]:
    """(graphdef, params) with adapters: A normal with standard deviation 1 / sqrt(inputs), B zero; dtype None takes the
    kernel's.
    """
    rngs = rngs or nnx.Rngs(0)
    leaves = dict(leaf_paths(params))
    for spec in lora_specs(config, lora):
        kernel = leaves[(*spec.path[:-1], "kernel")]
        kind = jnp.dtype(dtype or kernel.dtype)
        if spec.init == "zeros":
            leaves[spec.path] = jnp.zeros(spec.full_shape, kind)
        else:
            deviation = math.prod(spec.shape[:-1]) ** -0.5
            leaves[spec.path] = (jax.random.normal(rngs.params(), spec.full_shape, jnp.float32) * deviation).astype(
                kind
            )
    model: QwenVL = nnx.merge(graphdef, params)
    # The scale is static: it belongs to the graph, the adapters to the parameters.
    fresh = QwenVL(config, dtype=model.dtype)
    fresh.lora_scale = lora.scale
    tree = nest({path: nnx.Param(leaf) for path, leaf in leaves.items()})
    fresh.set_params(tree)
    return split_model(fresh)


def _delta(a: jax.Array, b: jax.Array, scale: float, stacked: bool) -> jax.Array:
    """scale * A B in the kernel's shape, computed in float32."""

    def product(a, b):
        return (
            jax.lax.dot_general(
                a.astype(jnp.float32), b.astype(jnp.float32), (((a.ndim - 1,), (0,)), ((), ())), precision="highest"
            )
            * scale
        )

    return jax.vmap(product)(a, b) if stacked else product(a, b)


def merge_lora(config: ModelConfig, params: Any, lora: LoraConfig) -> nnx.State:
    """Parameters with every adapter folded into its kernel (float32 sum, kernel's type) and removed: a plain checkpoint
    again.
    """
    leaves = dict(leaf_paths(params))
    for spec in lora_specs(config, lora):
        if spec.path[-1] != "lora_a":
            continue
        place = spec.path[:-1]
        kernel, a, b = leaves[(*place, "kernel")], leaves.pop((*place, "lora_a")), leaves.pop((*place, "lora_b"))
        leaves[(*place, "kernel")] = (kernel.astype(jnp.float32) + _delta(a, b, lora.scale, bool(spec.stack))).astype(
            kernel.dtype
        )
    return nnx.State(nest(leaves))


def save_lora(config: ModelConfig, params: Any, lora: LoraConfig, directory: str | os.PathLike, base: str = "") -> Path:
    """Writes the adapters in PEFT's layout (adapter_model.safetensors, adapter_config.json) in the names of
    transformers' modules.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    leaves = dict(leaf_paths(params))
    entries, arrays, modules = [], [], set()
    for spec in lora_specs(config, lora):
        for i in range(max(spec.stack, 1)):
            name = published_name(spec.hf_name.format(i=i), "v5")
            modules.add(name.rsplit(".lora_", 1)[0])
            array = np.asarray(leaves[spec.path][i] if spec.stack else leaves[spec.path])
            # PEFT stores A as [r, inputs] and B as [outputs, r], like every linear weight.
            flat = array.reshape(-1, lora.rank).T if spec.path[-1] == "lora_a" else array.reshape(lora.rank, -1).T
            entries.append((f"base_model.model.{name}", spec.hf_shape, flat.dtype))
            arrays.append(flat)
    write_safetensors(directory / "adapter_model.safetensors", entries, iter(arrays))
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "base_model_name_or_path": base,
        "target_modules": sorted(modules),
    }
    (directory / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    return directory

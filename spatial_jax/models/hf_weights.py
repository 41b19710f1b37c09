"""Hugging Face checkpoints to parameters and back, one tensor at a time.

Spellings: "v4" (`visual.*`, `model.*`: published Qwen2-VL and Qwen2.5-VL) and "v5" (`model.visual.*`,
`model.language_model.*`: Qwen3-VL and in-memory names). Both are read; both can be written, bit for bit.
"""

from __future__ import annotations

import collections
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils

from spatial_jax.models.configs import ModelConfig
from spatial_jax.models.layout import ParamSpec, param_specs
from spatial_jax.models.safetensors_io import Checkpoint, write_safetensors
from spatial_jax.models.trees import nest

# First match wins. Canonical prefixes: visual., text., lm_head.
_IMPORT = [
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^model\.visual\.", "visual."),
        (r"^visual\.", "visual."),
        (r"^model\.language_model\.", "text."),
        (r"^language_model\.model\.", "text."),
        (r"^language_model\.lm_head\.", "lm_head."),
        (r"^model\.", "text."),
    )
]
_EXPORT = {
    "v4": {"visual.": "visual.", "text.": "model."},
    "v5": {"visual.": "model.visual.", "text.": "model.language_model."},
}
SHARD_BYTES = 4 * 2**30


def canonical_name(name: str) -> str:
    """A checkpoint's tensor name in canonical spelling."""
    for pattern, prefix in _IMPORT:
        if pattern.match(name):
            return pattern.sub(prefix, name, count=1)
    return name


def published_name(canonical: str, style: str) -> str:
    """A canonical name in the "v4" or "v5" spelling."""
    for prefix, replacement in _EXPORT[style].items():
        if canonical.startswith(prefix):
            return replacement + canonical[len(prefix) :]
    return canonical


def to_layout(spec: ParamSpec, tensor: np.ndarray) -> np.ndarray:
    """A checkpoint tensor in the parameter's shape (linear weights are transposed to inputs first)."""
    if not spec.in_axes:
        return tensor.reshape(spec.shape)
    inputs = int(np.prod(spec.shape[: spec.in_axes]))
    return tensor.reshape(-1, inputs).T.reshape(spec.shape)


def from_layout(spec: ParamSpec, array: np.ndarray) -> np.ndarray:
    """The inverse of `to_layout`."""
    if not spec.in_axes:
        return array.reshape(spec.hf_shape)
    inputs = int(np.prod(spec.shape[: spec.in_axes]))
    return array.reshape(inputs, -1).T.reshape(spec.hf_shape)


def _tensor_names(spec: ParamSpec) -> list[str]:
    return [spec.hf_name.format(i=i) for i in range(spec.stack)] if spec.stack else [spec.hf_name]


def check_tensors(checkpoint: Checkpoint, config: ModelConfig) -> dict[str, str]:
    """Canonical name -> name in the files. One ValueError lists every missing, unexpected or mis-shaped tensor."""
    expected = {name: spec.hf_shape for spec in param_specs(config) for name in _tensor_names(spec)}
    found: dict[str, str] = {}
    problems = []
    for name in checkpoint.names():
        canonical = canonical_name(name)
        if canonical.endswith("rotary_emb.inv_freq") or (canonical == "lm_head.weight" and config.tie_word_embeddings):
            continue
        if canonical not in expected:
            problems.append(f"unexpected {name} {checkpoint.shape(name)}")
        elif checkpoint.shape(name) != expected[canonical]:
            problems.append(f"{name} has shape {checkpoint.shape(name)}, config.json asks for {expected[canonical]}")
        found[canonical] = name
    problems += [f"missing {name} {shape}" for name, shape in expected.items() if name not in found]
    if problems:
        raise ValueError(
            f"{checkpoint.directory}: {len(problems)} tensors do not fit config.json: " + "; ".join(problems)
        )
    return found


def load_params(checkpoint: Checkpoint, config: ModelConfig, dtype: Any = None, shardings: Any = None) -> nnx.State:
    """Parameters of a checkpoint, as a State of arrays; dtype None keeps the files' types.

    With `shardings` (a State of shardings), or on an accelerator, each tensor goes to its devices as it is read: at any
    time the host holds one tensor and its transpose besides what the devices hold. On a CPU without `shardings`, where
    both are one memory, it is one stack.
    """
    names = check_tensors(checkpoint, config)
    alone = None if jax.default_backend() == "cpu" else jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    leaves = {}
    for spec in param_specs(config):
        files = [names[name] for name in _tensor_names(spec)]
        target = np.dtype(jnp.dtype(dtype)) if dtype is not None else checkpoint.dtype(files[0])
        sharding: Any = alone if shardings is None else shardings
        for key in () if shardings is None else spec.path:
            sharding = sharding[key]
        leaves[spec.path] = (
            _load_local(spec, checkpoint, files, target)
            if sharding is None
            else _load_sharded(spec, checkpoint, files, target, sharding)
        )
    return nnx.State(nest(leaves))


def _read(spec: ParamSpec, checkpoint: Checkpoint, name: str, dtype: np.dtype) -> np.ndarray:
    return np.ascontiguousarray(to_layout(spec, checkpoint.read(name))).astype(dtype, copy=False)


def _load_local(spec: ParamSpec, checkpoint: Checkpoint, files: list[str], dtype: np.dtype) -> jax.Array:
    if not spec.stack:
        return jnp.asarray(_read(spec, checkpoint, files[0], dtype))
    buffer = np.empty(spec.full_shape, dtype)
    for i, name in enumerate(files):
        buffer[i] = to_layout(spec, checkpoint.read(name))
    return jnp.asarray(buffer)


def _load_sharded(spec: ParamSpec, checkpoint: Checkpoint, files: list[str], dtype: np.dtype, sharding) -> jax.Array:
    def place(name: str, where) -> jax.Array:
        tensor = _read(spec, checkpoint, name, dtype)
        return jax.make_array_from_callback(tensor.shape, where, lambda index: tensor[index])

    if not spec.stack:
        return place(files[0], sharding)
    layer = sharding
    if isinstance(sharding, jax.sharding.NamedSharding):
        layer = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec(*sharding.spec[1:]))
    stacked = jax.jit(lambda: jnp.zeros(spec.full_shape, dtype), out_shardings=sharding)()
    put = jax.jit(
        lambda whole, part, i: jax.lax.dynamic_update_index_in_dim(whole, part, i, 0),
        donate_argnums=0,
        out_shardings=sharding,
    )
    for i, name in enumerate(files):
        # Waiting keeps one tensor on the host at a time.
        stacked = jax.block_until_ready(put(stacked, place(name, layer), i))
    return stacked


def _export_plan(
    config: ModelConfig, params: Any, style: str, dtype: Any
) -> list[tuple[str, ParamSpec, int, np.dtype, Any]]:
    plan = []
    for spec in param_specs(config):
        leaf = params
        for key in spec.path:
            leaf = leaf[key]
        target = np.dtype(jnp.dtype(dtype)) if dtype is not None else np.dtype(leaf.dtype)
        plan += [(published_name(name, style), spec, i, target, leaf) for i, name in enumerate(_tensor_names(spec))]
    return plan


def _on_host(array: Any) -> np.ndarray:
    """All of an array, also where other processes hold parts of it."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return np.asarray(multihost_utils.process_allgather(array, tiled=True))
    return np.asarray(jax.device_get(array))


def save_params(
    directory: str | os.PathLike,
    config: ModelConfig,
    params: Any,
    style: str | None = None,
    dtype: Any = None,
    shard_bytes: int = SHARD_BYTES,
) -> list[Path]:
    """Writes model*.safetensors (several with an index when larger than `shard_bytes`); returns the files.

    style: "v4" or "v5" spelling, by default the published one of the family; dtype None keeps the parameters' types.
    Where several processes hold parts of the parameters all must call it: tensors are gathered one by one, and process
    0 writes.
    """
    style = style or ("v5" if config.family == "qwen3_vl" else "v4")
    if style not in _EXPORT:
        raise ValueError(f"save_params: style {style!r} is unknown; use v4 or v5")
    directory, writes = Path(directory), jax.process_index() == 0
    if writes:
        directory.mkdir(parents=True, exist_ok=True)
    shards: list[list] = [[]]
    used = total = 0
    for item in _export_plan(config, params, style, dtype):
        size = item[3].itemsize * int(np.prod(item[1].hf_shape, dtype=np.int64))
        if shards[-1] and used + size > shard_bytes:
            shards.append([])
            used = 0
        shards[-1].append(item)
        used, total = used + size, total + size

    def tensors(shard) -> Iterator[np.ndarray]:
        for _, spec, i, target, leaf in shard:
            array = _on_host(leaf[i] if spec.stack else leaf)
            yield from_layout(spec, array).astype(target, copy=False)

    files = []
    for number, shard in enumerate(shards, 1):
        name = "model.safetensors" if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        if writes:
            write_safetensors(
                directory / name, [(n, spec.hf_shape, target) for n, spec, _, target, _ in shard], tensors(shard)
            )
        else:
            collections.deque(tensors(shard), maxlen=0)  # its part in the gathering
        files.append(directory / name)
    index = directory / "model.safetensors.index.json"
    if writes and len(shards) > 1:
        weight_map = {item[0]: file.name for file, shard in zip(files, shards) for item in shard}
        index.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2))
    stale = [
        path
        for path in directory.glob("model*.safetensors*")
        if writes and path not in files and (path != index or len(shards) == 1)
    ]
    for path in stale:
        path.unlink()
    return files

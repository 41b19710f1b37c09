"""Hugging Face checkpoints to parameters and back, one tensor at a time.

Spellings: "v4" (`visual.*`, `model.*`: published Qwen2-VL and Qwen2.5-VL) and "v5" (`model.visual.*`,
`model.language_model.*`: Qwen3-VL and in-memory names). Both are read; both can be written, bit for bit.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import logging
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
LISTED = 30  # tensors that one error names
log = logging.getLogger(__name__)


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


def _canonical(checkpoint: Checkpoint) -> dict[str, str]:
    """Canonical name -> name in the files. ValueError when two names mean one tensor."""
    found: dict[str, str] = {}
    for name in checkpoint.names():
        canonical = canonical_name(name)
        if canonical in found:
            raise ValueError(
                f"{checkpoint.directory}: {found[canonical]} and {name} are the same tensor in two spellings;"
                " remove the older one"
            )
        found[canonical] = name
    return found


def settle_head(checkpoint: Checkpoint, config: ModelConfig) -> ModelConfig:
    """`config` with the head as the files have it, which is how transformers 5 decides: a head that config.json calls
    tied is tied only where the files have none or where it equals the embeddings; any other head is used.
    """
    found = _canonical(checkpoint)
    head, table = found.get("lm_head.weight"), found.get("text.embed_tokens.weight")
    if not config.tie_word_embeddings or head is None or table is None or _equal(checkpoint, head, table):
        return config
    log.warning(
        "%s: config.json ties the head to the embeddings, but %s differs from them; the file's head is used",
        checkpoint.directory,
        head,
    )
    return dataclasses.replace(config, tie_word_embeddings=False)


def _equal(checkpoint: Checkpoint, one: str, other: str) -> bool:
    """Whether two matrices hold the same values."""
    if checkpoint.shape(one) != checkpoint.shape(other):
        return False
    a, b = checkpoint.read(one), checkpoint.read(other)
    return all((a[i : i + 4096] == b[i : i + 4096]).all() for i in range(0, len(a), 4096))


def _check_layers(checkpoint: Checkpoint, config: ModelConfig, found: dict[str, str]) -> None:
    """ValueError when config.json and the files differ in the number of layers: before anything is made for each."""
    for field, prefix, stated in (
        ("num_hidden_layers", "text.layers.", config.text.num_layers),
        ("vision_config.depth", "visual.blocks.", config.vision.depth),
        ("deepstack_visual_indexes", "visual.deepstack_merger_list.", len(config.vision.deepstack_blocks)),
    ):
        held = {name[len(prefix) :].partition(".")[0] for name in found if name.startswith(prefix)}
        if len(held) != stated:
            raise ValueError(
                f"{checkpoint.directory}: the files hold {len(held)} of {prefix}*, config.json's {field} says {stated};"
                " the files are incomplete, or of different checkpoints"
            )


def check_tensors(checkpoint: Checkpoint, config: ModelConfig) -> dict[str, str]:
    """Canonical name -> name in the files. One ValueError lists the missing, unexpected and mis-shaped tensors.
    `config` is a settled one (`settle_head`): a head beside tied embeddings is their copy, embeddings that are missing
    beside a head are that head.
    """
    found = _canonical(checkpoint)
    _check_layers(checkpoint, config, found)
    expected = {name: spec.hf_shape for spec in param_specs(config) for name in _tensor_names(spec)}
    if config.tie_word_embeddings and "lm_head.weight" in found:
        head = found.pop("lm_head.weight")
        found.setdefault("text.embed_tokens.weight", head)
    problems = []
    for canonical, name in found.items():
        if canonical.endswith("rotary_emb.inv_freq"):
            continue
        if canonical not in expected:
            problems.append(f"unexpected {name} {checkpoint.shape(name)}")
        elif checkpoint.shape(name) != expected[canonical]:
            problems.append(f"{name} has shape {checkpoint.shape(name)}, config.json asks for {expected[canonical]}")
    problems += [f"missing {name} {shape}" for name, shape in expected.items() if name not in found]
    if problems:
        shown = [*problems[:LISTED], *([f"and {len(problems) - LISTED} more"] if len(problems) > LISTED else [])]
        raise ValueError(f"{checkpoint.directory}: {len(problems)} tensors do not fit config.json: " + "; ".join(shown))
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
        target = checkpoint.dtype(files[0]) if dtype is None else jnp.dtype(dtype)
        sharding: Any = alone if shardings is None else shardings
        for key in () if shardings is None else spec.path:
            sharding = sharding[key]
        leaves[spec.path] = (
            _load_local(spec, checkpoint, files, target)
            if sharding is None
            else _load_sharded(spec, checkpoint, files, target, sharding)
        )
    return nnx.State(nest(leaves))


def _is_finite(array: np.ndarray) -> bool:
    """Whether no element is NaN or infinite; at the speed of reading memory, without a copy of its size."""
    if not array.size or not jnp.issubdtype(array.dtype, jnp.floating):
        return True
    # As integers the positive and the negative numbers that are not finite are the largest of their sign.
    signed, unsigned = (f"{kind}{array.dtype.itemsize}" for kind in "iu")
    plus, minus = np.array([np.inf, -np.inf], array.dtype).view(unsigned)
    bits = np.ascontiguousarray(array)
    return bool(bits.view(signed).max() < np.int64(plus) and bits.view(unsigned).max() < minus)


def _check_finite(array: np.ndarray, checkpoint: Checkpoint, name: str) -> None:
    """ValueError that names the tensor when a weight, as read or in the type it is loaded in, is NaN or infinite."""
    if _is_finite(array):
        return
    bad = int(array.size - np.isfinite(array).sum())
    stored = checkpoint.dtype(name)
    how = "" if array.dtype == stored else f" as {array.dtype} (stored as {stored}: load it in a wider type)"
    raise ValueError(
        f"{checkpoint.directory}: {bad} of {array.size} weights of {name} are NaN or infinite{how}; the checkpoint is"
        " damaged or its training diverged, use another"
    )


def _read(spec: ParamSpec, checkpoint: Checkpoint, name: str, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore"):  # what does not fit is an error below
        tensor = np.ascontiguousarray(to_layout(spec, checkpoint.read(name))).astype(dtype, copy=False)
    _check_finite(tensor, checkpoint, name)
    return tensor


def _load_local(spec: ParamSpec, checkpoint: Checkpoint, files: list[str], dtype: np.dtype) -> jax.Array:
    if not spec.stack:
        return jnp.asarray(_read(spec, checkpoint, files[0], dtype))
    buffer = np.empty(spec.full_shape, dtype)
    for i, name in enumerate(files):
        with np.errstate(over="ignore"):
            buffer[i] = to_layout(spec, checkpoint.read(name))
        _check_finite(buffer[i], checkpoint, name)
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
        target = jnp.dtype(leaf.dtype if dtype is None else dtype)
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
    style = style or config.traits.weight_style
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

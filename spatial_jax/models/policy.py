"""A policy to script against: load, logits, positions, greedy, save. NumPy in and out, in the layout of transformers'
processors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from spatial_jax.models import generate
from spatial_jax.models.batch import PromptBatch
from spatial_jax.models.configs import DEFAULT_POSITION_RULE, ModelConfig
from spatial_jax.models.end_ids import pad_id
from spatial_jax.models.hf_config import config_from_hf, config_to_hf
from spatial_jax.models.hf_weights import check_tensors, load_params, save_params, settle_head
from spatial_jax.models.hub import checkpoint_directory, checkpoint_json
from spatial_jax.models.positions import batch_positions
from spatial_jax.models.qwen_vl import QwenVL, abstract_model
from spatial_jax.models.safetensors_io import Checkpoint
from spatial_jax.models.sharding import model_shardings
from spatial_jax.models.vision_plan import plan_vision
from spatial_jax.models.whole_folder import replaced_folder
from spatial_jax.parallel.rules import Rules, use_mesh

ASKING_FILE = "spatial_jax.json"  # how a policy was trained to be asked (data/asked.py)
PROCESSOR_FILES = (
    ASKING_FILE,
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "chat_template.json",
    "chat_template.jinja",
    "generation_config.json",
)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _logits(graphdef, mesh, params, batch: PromptBatch) -> jax.Array:
    model: QwenVL = nnx.merge(graphdef, params)
    with use_mesh(mesh):
        return model.logits(generate.prompt_hidden(model, batch)[0])


@functools.partial(jax.jit, static_argnums=(0, 1, 4, 7))
def _greedy(graphdef, mesh, params, batch: PromptBatch, max_new_tokens: int, banned, eos, pad_id: int) -> jax.Array:
    with use_mesh(mesh):
        return generate.greedy(nnx.merge(graphdef, params), batch, max_new_tokens, banned, eos, pad_id)


@dataclasses.dataclass
class Policy:
    """Weights with their configuration. `graphdef` and `params` are what `nnx.merge` takes; `params` is a State of
    plain arrays.
    """

    config: ModelConfig
    graphdef: nnx.GraphDef
    params: nnx.State
    directory: Path | None = None
    mesh: Mesh | None = None

    @property
    def model(self) -> QwenVL:
        return nnx.merge(self.graphdef, self.params)

    def batch(
        self,
        input_ids,
        attention_mask=None,
        pixel_values=None,
        image_grid_thw=None,
        pixel_values_videos=None,
        video_grid_thw=None,
        second_per_grid_ts=None,
        mm_token_type_ids=None,
    ) -> PromptBatch:
        """The arguments of transformers' processors as a PromptBatch with NumPy leaves (padding on either side).
        mm_token_type_ids is not needed: the token ids say it. ValueError when grids, pixels and tokens do not fit each
        other.
        """
        config = self.config
        tokens: Any = np.asarray(input_ids).astype(np.int32)  # NumPy arrays stand where device arrays will
        if tokens.ndim != 2:
            raise ValueError(f"input_ids: shape {tokens.shape}, need [batch, sequence]")
        valid: Any = np.ones(tokens.shape, bool) if attention_mask is None else np.asarray(attention_mask).astype(bool)
        images, videos = (None if g is None else np.asarray(g).reshape(-1, 3) for g in (image_grid_thw, video_grid_thw))
        positions: Any
        following: Any
        positions, following = batch_positions(tokens, config, valid, images, videos, second_per_grid_ts)
        feature_index: Any = np.full(tokens.shape, -1, np.int32)
        pixels, grids, offset = [], [], 0
        for token_id, values, grid in (
            (config.image_token_id, pixel_values, images),
            (config.video_token_id, pixel_values_videos, videos),
        ):
            if grid is None or not len(grid):
                continue
            where = (tokens == token_id) & valid
            feature_index[where] = np.arange(offset, offset + where.sum())
            offset += int(where.sum())
            pixels.append(np.asarray(values))
            grids.append(grid)
        vision = plan_vision(np.concatenate(pixels), np.concatenate(grids), config.vision) if pixels else None
        return PromptBatch(tokens, valid, positions, feature_index, following, vision)

    def logits(
        self,
        input_ids,
        attention_mask=None,
        pixel_values=None,
        image_grid_thw=None,
        pixel_values_videos=None,
        video_grid_thw=None,
        second_per_grid_ts=None,
        mm_token_type_ids=None,
    ) -> np.ndarray:
        """[b, s, v] logits, float32 (float64 for a float64 policy). Rows at padding are meaningless."""
        batch = self.batch(
            input_ids,
            attention_mask,
            pixel_values,
            image_grid_thw,
            pixel_values_videos,
            video_grid_thw,
            second_per_grid_ts,
        )
        with self._precision():
            out = np.asarray(_logits(self.graphdef, self.mesh, self.params, batch))
        return out if out.dtype == np.float64 else out.astype(np.float32)

    def positions(
        self,
        input_ids,
        attention_mask=None,
        pixel_values=None,
        image_grid_thw=None,
        pixel_values_videos=None,
        video_grid_thw=None,
        second_per_grid_ts=None,
        mm_token_type_ids=None,
    ) -> np.ndarray:
        """[3, b, s] int32 M-RoPE ids (time, height, width), 0 at padding, by the policy's position rule."""
        return batch_positions(
            input_ids, self.config, attention_mask, image_grid_thw, video_grid_thw, second_per_grid_ts
        )[0]

    def greedy(
        self,
        input_ids,
        attention_mask=None,
        pixel_values=None,
        image_grid_thw=None,
        pixel_values_videos=None,
        video_grid_thw=None,
        second_per_grid_ts=None,
        max_new_tokens: int = 32,
        banned_ids: Sequence[int] = (),
        eos_ids: Sequence[int] | None = None,
        mm_token_type_ids=None,
    ) -> np.ndarray:
        """[b, n] most likely continuations. With eos_ids a row stops at the first of them and is filled with the pad
        id.
        """
        batch = self.batch(
            input_ids,
            attention_mask,
            pixel_values,
            image_grid_thw,
            pixel_values_videos,
            video_grid_thw,
            second_per_grid_ts,
        )
        banned = np.asarray(banned_ids, np.int32) if len(banned_ids) else None
        eos = None if eos_ids is None else np.asarray(eos_ids, np.int32)
        pad = self.pad_id
        with self._precision():
            return np.asarray(_greedy(self.graphdef, self.mesh, self.params, batch, max_new_tokens, banned, eos, pad))

    def _precision(self):
        """float32 policies multiply in float32 on every backend (TPUs default to bfloat16 passes)."""
        return jax.default_matmul_precision("highest" if self.dtype in ("float32", "float64") else "default")

    @property
    def pad_id(self) -> int:
        """The id that fills what an answer leaves free, as the processor reads it from the policy's folder."""
        if self.directory is not None:
            return pad_id(self.directory, self.config)
        return self.config.pad_token_id or 0

    @property
    def dtype(self) -> str:
        """Type of the stored parameters."""
        return str(jax.tree.leaves(self.params)[0].dtype)


def read_config(directory: str | os.PathLike, position_rule: str = DEFAULT_POSITION_RULE) -> ModelConfig:
    """ModelConfig of a checkpoint directory, by its config.json. FileNotFoundError, or ValueError naming the field."""
    path = checkpoint_directory(directory) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give a checkpoint directory in Hugging Face layout")
    return config_from_hf(checkpoint_json(path), position_rule, str(path))


def default_dtype() -> str:
    """The type to run a policy in where nobody says: bfloat16, which CPUs are slow in."""
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def load_pretrained(
    directory: str | os.PathLike,
    dtype: str = "float32",
    mesh: Mesh | None = None,
    *,
    rules: Rules | None = None,
    param_dtype: str | None = None,
    position_rule: str = DEFAULT_POSITION_RULE,
) -> Policy:
    """A policy from a Hugging Face directory (config.json, *.safetensors in either key spelling), or from a hub name.

    dtype: type of activations and, unless param_dtype is given, of the parameters; mesh: where to shard the parameters,
    by `rules`; position_rule: "qwen", "4.57" or "hf5" (models/positions.py). Errors: FileNotFoundError, or ValueError
    that lists the tensors that do not fit or names one with weights that are NaN or infinite.
    """
    if "float64" in (dtype, param_dtype) and not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise ValueError(
            'load_pretrained: dtype="float64" needs jax.config.update("jax_enable_x64", True) before any array is made'
        )
    directory = checkpoint_directory(directory)
    checkpoint = Checkpoint(directory)
    config = settle_head(checkpoint, read_config(directory, position_rule))
    check_tensors(checkpoint, config)  # before anything of config.json's sizes is made
    stored = param_dtype or dtype
    graphdef, shapes = abstract_model(config, dtype, stored)
    shardings = None if mesh is None else model_shardings(config, shapes, mesh, rules)
    params = load_params(checkpoint, config, stored, shardings)
    return Policy(config, graphdef, params, directory, mesh)


def save_pretrained(
    policy: Policy | tuple[ModelConfig, Any],
    directory: str | os.PathLike,
    processor_files_from: str | os.PathLike | None = None,
    *,
    style: str | None = None,
    dtype: str | None = None,
) -> Path:
    """Writes config.json and safetensors that transformers 4.57 and 5.x load with the same logits; returns the
    directory.

    policy: a Policy or (config, params); processor_files_from: a directory whose tokenizer and processor files are
    copied (by default the one the policy came from); with several processes all call it and process 0 writes; style:
    "v4" or "v5" key spelling; dtype None keeps the parameters' type.
    """
    config, params = (policy.config, policy.params) if isinstance(policy, Policy) else policy
    source = processor_files_from or (policy.directory if isinstance(policy, Policy) else None)
    directory = Path(directory)
    stored = dtype or str(jax.tree.leaves(params)[0].dtype)
    with replaced_checkpoint(directory, processor=source is not None) as folder:
        save_params(folder, config, params, style, dtype)
        if jax.process_index() == 0:
            (folder / "config.json").write_text(json.dumps(config_to_hf(config, stored), indent=2) + "\n")
            for name in PROCESSOR_FILES:
                if source is not None and (Path(source) / name).is_file():
                    shutil.copyfile(Path(source) / name, folder / name)
    return directory


@contextlib.contextmanager
def replaced_checkpoint(directory: str | os.PathLike, processor: bool = True) -> Iterator[Path]:
    """A folder to write a checkpoint into, which takes the place of `directory` as a whole when the block ends well:
    weights, config.json and (with `processor`) the processor's files of an older checkpoint go, other files stay. With
    several processes all call it; process 0 writes and replaces, the others get `directory` itself.
    """
    if jax.process_index():
        yield Path(directory)
        return

    def stale(name: str) -> bool:
        return of_checkpoint(name) and (processor or name not in PROCESSOR_FILES)

    with replaced_folder(directory, stale, last="config.json") as folder:
        yield folder


def of_checkpoint(name: str) -> bool:
    """Whether a file of this name is one that `save_pretrained` writes."""
    return name == "config.json" or name in PROCESSOR_FILES or bool(re.fullmatch(r"model.*\.safetensors.*", name))

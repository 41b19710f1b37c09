"""A policy that starts from nothing: a tokenizer trained on the datasets' own texts and random weights, in the Hugging
Face layout.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from flax import nnx

from spatial_jax.data.prompts import PromptStyle, question_text, target_text
from spatial_jax.data.records import in_stored_pixels
from spatial_jax.data.source import Unusable, open_questions
from spatial_jax.models import (
    ModelConfig,
    QwenVL,
    TextConfig,
    VisionConfig,
    published_config,
    published_names,
    read_config,
    save_pretrained,
    split_model,
)
from spatial_jax.models.policy import replaced_checkpoint
from spatial_jax.processing import train_tokenizer


def tiny_qwen2_5_vl(vocab_size: int) -> ModelConfig:
    """A Qwen2.5-VL of about 2 M parameters for 112x112 pictures: four decoder layers, a four-layer tower whose last
    block of each pair sees the whole picture.
    """
    text = TextConfig(vocab_size, 128, 256, 6, 4, 2, 32, 1e-6, 100.0, (2, 6, 8), initializer_range=0.04)
    vision = VisionConfig(
        "qwen2_5_vl",
        4,
        128,
        320,
        4,
        128,
        "silu",
        14,
        window_size=112,
        full_attention_blocks=(1, 3),
        tokens_per_second=2.0,
        initializer_range=0.04,
    )
    return ModelConfig("qwen2_5_vl", text, vision, tie_word_embeddings=True)


SIZES = {"tiny": tiny_qwen2_5_vl}


def dataset_texts(directories: Sequence[str], style: PromptStyle, most: int = 20000) -> Iterator[str]:
    """Questions and answers of the train splits, at most `most` a dataset; and the words of the chat template, which
    every prompt holds.
    """
    yield from ["system\n", "user\n", "assistant\n"] * most
    for directory in directories:
        source = open_questions(directory, "train")
        for position in range(min(len(source), most)):
            record = source[position]
            if not isinstance(record, Unusable):
                record = in_stored_pixels(record)
                yield question_text(record, style.mode)
                yield target_text(record, style.mode)


def make_fresh(
    size: str,
    directories: Sequence[str],
    directory: str | Path,
    *,
    vocab_size: int = 512,
    mode: str = "bare",
    seed: int = 0,
    dtype: str = "float32",
) -> ModelConfig:
    """Writes a random policy with a tokenizer of its own to `directory`: a small one of SIZES, or one of a published
    shape (a rehearsal of memory and speed without the weights; its vocabulary keeps the published length). ValueError
    for an unknown size.
    """
    small = size in SIZES
    if not small and size not in published_names():
        raise ValueError(f"no fresh policy of size {size!r}; use one of {', '.join([*SIZES, *published_names()])}")
    limits = {"min_pixels": 28 * 28, "max_pixels": 112 * 112} if small else {"family": published_config(size).family}
    with replaced_checkpoint(directory) as folder:
        ids = train_tokenizer(dataset_texts(directories, PromptStyle(mode)), vocab_size, folder, **limits)
        tokens = ids.pop("vocab_size")
        config = dataclasses.replace(SIZES[size](tokens) if small else published_config(size), **ids)
        _write_random(config, folder, folder, seed, dtype)
    return config


def make_like(other: str | Path, directory: str | Path, *, seed: int = 0, dtype: str = "float32") -> ModelConfig:
    """Writes a policy of `other`'s architecture and tokenizer with random weights."""
    config = read_config(other)
    _write_random(config, directory, other, seed, dtype)
    return config


def _write_random(
    config: ModelConfig, directory: str | Path, processor_files: str | Path, seed: int, dtype: str
) -> None:
    params = split_model(QwenVL(config, rngs=nnx.Rngs(seed)))[1]
    save_pretrained((config, params), directory, processor_files_from=processor_files, dtype=dtype)

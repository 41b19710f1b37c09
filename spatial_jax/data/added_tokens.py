"""Tokens that a policy's tokenizer gets in addition, with their rows of its tables: phrases of a protocol
(phrases.py), and coordinates.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tokenizers import AddedToken, Tokenizer

from spatial_jax.models import ModelConfig, Policy, load_pretrained, save_pretrained

SIGNS = ("[", ", ")  # what stands before a coordinate: its token holds both
ALIKE = 4.0  # pixels within which two coordinates' new embeddings are alike (of a Gaussian)


def read_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer of a policy's folder."""
    return Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))


def add_coordinates(source: str, largest: int, target: str) -> ModelConfig:
    """Writes the policy of the folder `source` to `target` with a token for each of "[0", ", 0" to "[largest",
    ", largest": a box is four tokens. A new embedding is random, but near coordinates have like ones, so that what is
    learned of one pixel is half known of the next. ValueError where they are tokens already.
    """
    policy = load_pretrained(source)
    texts = [f"{sign}{number}" for sign in SIGNS for number in range(largest + 1)]
    if has_coordinates(read_tokenizer(source)):
        raise ValueError(f"--coordinates: {source}: its tokenizer has tokens for coordinates already")
    rng, width = np.random.default_rng(0), policy.config.text.hidden_size
    apart = np.arange(largest + 1)[:, None] - np.arange(largest + 1)
    smooth = np.exp(-0.5 * (apart / ALIKE) ** 2) @ rng.normal(size=(largest + 1, width))
    smooth /= smooth.std(1, keepdims=True)
    rows = np.concatenate([smooth + rng.normal(size=width) * 0.5 for _ in SIGNS])
    return add_tokens(policy, source, target, texts, policy.config.text.initializer_range * rows)


def has_coordinates(tokenizer: Tokenizer) -> bool:
    """Whether a coordinate and the sign before it are one token."""
    return all(len(tokenizer.encode(f"{sign}1", add_special_tokens=False).ids) == 1 for sign in SIGNS)


def add_tokens(policy: Policy, source: str, target: str, texts: Sequence[str], rows: np.ndarray) -> ModelConfig:
    """Writes the policy of the folder `source` to `target` with a token for each text, and rows [texts, d] for them in
    every table of the vocabulary. ValueError where the policy's tables do not fit its tokenizer.
    """
    text, tokenizer = policy.config.text, read_tokenizer(source)
    first = tokenizer.get_vocab_size(with_added_tokens=True)
    if first != text.vocab_size:
        raise ValueError(f"{source}: its vocabulary has {text.vocab_size} rows for {first} tokens")
    config = dataclasses.replace(policy.config, text=dataclasses.replace(text, vocab_size=first + len(texts)))
    save_pretrained((config, _with_rows(policy, rows)), target, source)
    tokenizer.add_tokens([AddedToken(added, special=False, normalized=False) for added in texts])
    tokenizer.save(str(Path(target) / "tokenizer.json"))
    _tell_transformers(Path(target) / "tokenizer_config.json", {first + i: added for i, added in enumerate(texts)})
    return config


def _with_rows(policy: Policy, rows: np.ndarray) -> nnx.State:
    """The parameters with `rows` more in every table of the vocabulary."""
    tokens = policy.config.text.vocab_size

    def widen(path: tuple, leaf: jax.Array) -> jax.Array:
        if tokens not in leaf.shape or not re.search("embed|head", jax.tree_util.keystr(path)):
            return leaf
        axis = leaf.shape.index(tokens)
        return jnp.concatenate([leaf, jnp.asarray(rows if axis == 0 else rows.T, leaf.dtype)], axis)

    return jax.tree_util.tree_map_with_path(widen, policy.params)


def _tell_transformers(path: Path, added: dict[int, str]) -> None:
    """The tokens in tokenizer_config.json, too, where transformers reads them."""
    config = json.loads(path.read_text())
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": False}
    known = config.setdefault("added_tokens_decoder", {})
    known.update({str(index): {"content": phrase, **flags} for index, phrase in added.items()})
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

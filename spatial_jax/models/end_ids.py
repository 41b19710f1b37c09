"""The ids that end an answer and the one that fills places, as a checkpoint's files state them: one reading for all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from spatial_jax.models.configs import ModelConfig
from spatial_jax.models.hub import checkpoint_json
from spatial_jax.reading import Fields

END_OF_TURN, END_OF_TEXT = "<|im_end|>", "<|endoftext|>"


def stated_ends(directory: str | os.PathLike, config: ModelConfig) -> tuple[int, ...]:
    """The ids that end an answer by generation_config.json, or else by config.json. ValueError names the field."""
    eos = _generation(directory).token_ids("eos_token_id")
    if eos:
        return eos
    return (config.eos_token_id,) if isinstance(config.eos_token_id, int) else config.eos_token_id or ()


def end_ids(
    directory: str | os.PathLike, config: ModelConfig, token_id: Callable[[str], int | None], closing: int | None
) -> tuple[int, ...]:
    """All ids that stop sampling. The first is the one that a target ends with: `closing`, with which the chat template
    closes an assistant's turn, else <|im_end|>, else the first stated. token_id: a token's text to its id or None.
    """
    ends = (closing, token_id(END_OF_TURN), *stated_ends(directory, config))
    ids = tuple(dict.fromkeys(i for i in ends if i is not None))
    if not ids:
        raise ValueError(f"{directory}: nothing says what ends an answer; add eos_token_id to generation_config.json")
    return ids


def pad_id(
    directory: str | os.PathLike, config: ModelConfig, token_id: Callable[[str], int | None] | None = None
) -> int:
    """The padding id: generation_config.json's, config.json's, the tokenizer's pad token, <|endoftext|>, the last id
    that ends an answer, 0. token_id: as in `end_ids`; without it the tokenizer's files are read for the added tokens.
    """
    stated = _generation(directory).token_id("pad_token_id")
    if stated is None:
        stated = config.pad_token_id
    if stated is None:
        named = checkpoint_json(Path(directory) / "tokenizer_config.json").get("pad_token")
        named = named.get("content") if isinstance(named, dict) else named
        text = named if isinstance(named, str) and named else END_OF_TEXT
        stated = token_id(text) if token_id is not None else _added_tokens(Path(directory)).get(text)
    return stated if stated is not None else next(reversed(stated_ends(directory, config)), 0)


def _generation(directory: str | os.PathLike) -> Fields:
    path = Path(directory) / "generation_config.json"
    return Fields(checkpoint_json(path), str(path))


def _added_tokens(path: Path) -> dict[str, int]:
    """Text -> id of the added tokens in tokenizer_config.json or tokenizer.json; entries of another form are left."""
    decoder = checkpoint_json(path / "tokenizer_config.json").get("added_tokens_decoder")
    if isinstance(decoder, dict) and decoder:
        entries = [(t.get("content"), i) for i, t in decoder.items() if isinstance(t, dict) and i.isdecimal()]
    else:
        added = checkpoint_json(path / "tokenizer.json").get("added_tokens")
        entries = [(t.get("content"), t.get("id")) for t in added or () if isinstance(t, dict)]
    return {text: int(i) for text, i in entries if isinstance(text, str) and isinstance(i, (int, str))}

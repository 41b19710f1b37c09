"""The checkpoint's own tokenizer and chat template, through `tokenizers` and a sandboxed jinja2.

transformers' AutoTokenizer gives the same ids (tested) but imports torch and takes seconds; worker processes start with
this instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

# The pre-tokenisation split of Qwen2's tokenizer: contractions, words, single digits, punctuation, line ends, spaces.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level(model: BPE) -> Tokenizer:
    """A Qwen-style tokenizer around `model`: NFC, Qwen's split, bytes as characters."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def read_json(path: Path) -> dict[str, Any]:
    """The parsed file, {} when it does not exist; ValueError names a file that does not parse."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); download or export the checkpoint again") from error


class ChatTokenizer:
    """Text to token ids and back, and chat messages to text."""

    def __init__(self, tokenizer: Tokenizer, chat_template: str, config: dict[str, Any]):
        self.backend = tokenizer
        self.chat_template = chat_template
        self.config = config
        self._compiled: jinja2.Template | None = None

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> ChatTokenizer:
        """Reads tokenizer.json (or vocab.json + merges.txt), tokenizer_config.json and the chat template of a
        checkpoint folder. Raises FileNotFoundError or ValueError naming the file.
        """
        path = Path(directory)
        config = read_json(path / "tokenizer_config.json")
        if (path / "tokenizer.json").is_file():
            try:
                tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
            except Exception as error:  # tokenizers raises bare Exception
                raise ValueError(
                    f"{path / 'tokenizer.json'}: not a tokenizer ({error}); download or export the checkpoint again"
                ) from error
        elif (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
            tokenizer = byte_level(BPE.from_file(str(path / "vocab.json"), str(path / "merges.txt")))
        else:
            raise FileNotFoundError(
                f"{path}: neither tokenizer.json nor vocab.json and merges.txt; copy the checkpoint's tokenizer files"
                " there"
            )
        known = tokenizer.get_added_tokens_decoder()
        for index, token in sorted((int(k), v) for k, v in config.get("added_tokens_decoder", {}).items()):
            if index not in known:
                flags = {k: token[k] for k in ("single_word", "lstrip", "rstrip", "normalized") if k in token}
                tokenizer.add_tokens([AddedToken(token["content"], special=token.get("special", False), **flags)])
        return cls(tokenizer, _read_template(path, config), config)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_compiled": None}  # compiled templates do not pickle

    def __len__(self) -> int:
        return self.backend.get_vocab_size(with_added_tokens=True)

    def token_id(self, token: str) -> int | None:
        """Id of a token's exact text, None when the vocabulary lacks it."""
        return self.backend.token_to_id(token)

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; special tokens in it become their ids."""
        return self.backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """Text of `ids`; ids without a token give nothing."""
        return self.backend.decode([int(i) for i in ids], skip_special_tokens=skip_special_tokens)

    def batch_decode(self, rows: Sequence[Iterable[int]], skip_special_tokens: bool = True) -> list[str]:
        """`decode` of every row."""
        return [self.decode(row, skip_special_tokens) for row in rows]

    def apply_chat_template(
        self, messages: Sequence[dict[str, Any]], add_generation_prompt: bool = True, **variables: Any
    ) -> str:
        """The conversation as text with one pad token for every picture or video. ValueError when the template refuses
        it.
        """
        if self._compiled is None:
            self._compiled = _environment().from_string(self.chat_template)
        special = {
            k: _content(v) for k, v in self.config.items() if k.endswith("_token") and isinstance(v, (str, dict))
        }
        try:
            return self._compiled.render(
                messages=list(messages), add_generation_prompt=add_generation_prompt, **special, **variables
            )
        except jinja2.TemplateError as error:
            raise ValueError(f"chat template: {error}; check the roles and contents of the messages") from error


def _content(token: Any) -> str:
    return token["content"] if isinstance(token, dict) else token


def _read_template(path: Path, tokenizer_config: dict[str, Any]) -> str:
    """Where transformers looks, in its order; the published Qwen2.5-VL wording when the folder has none."""
    if (path / "chat_template.jinja").is_file():
        return (path / "chat_template.jinja").read_text(encoding="utf-8")
    for source in (read_json(path / "chat_template.json"), read_json(path / "processor_config.json"), tokenizer_config):
        template = source.get("chat_template")
        if isinstance(template, list):
            template = next((t["template"] for t in template if t.get("name") == "default"), None)
        if template:
            return template
    from spatial_jax.processing.fresh import CHAT_TEMPLATE

    return CHAT_TEMPLATE


def _environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def to_json(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: Any = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    return environment

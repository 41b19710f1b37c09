"""The checkpoint's own tokenizer and chat template, through `tokenizers` and a sandboxed jinja2.

transformers' AutoTokenizer gives the same ids (tested) but imports torch and takes seconds; worker processes start with
this instead.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from spatial_jax.models.hub import checkpoint_json
from spatial_jax.processing.chat_template import ChatTemplate
from spatial_jax.processing.user_text import as_text, pieces
from spatial_jax.reading import Fields

log = logging.getLogger(__name__)

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


class ChatTokenizer:
    """Text to token ids and back, and chat messages to text."""

    def __init__(self, tokenizer: Tokenizer, chat_template: str, config: dict[str, Any]):
        self.backend = tokenizer
        self.chat_template = chat_template
        self.config = config
        self._compiled: ChatTemplate | None = None

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> ChatTokenizer:
        """Reads tokenizer.json (or vocab.json + merges.txt), tokenizer_config.json and the chat template of a
        checkpoint folder. Raises FileNotFoundError or ValueError naming the file.
        """
        path = Path(directory)
        config = checkpoint_json(path / "tokenizer_config.json")
        if (path / "tokenizer.json").is_file():
            try:
                tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
            except Exception as error:  # tokenizers raises bare Exception
                raise ValueError(
                    f"{path / 'tokenizer.json'}: not a tokenizer ({error}); download or export the checkpoint again"
                ) from error
        elif (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
            try:
                tokenizer = byte_level(BPE.from_file(str(path / "vocab.json"), str(path / "merges.txt")))
            except Exception as error:
                raise ValueError(
                    f"{path / 'vocab.json'} and merges.txt: not a tokenizer ({error}); download the checkpoint again"
                ) from error
        else:
            raise FileNotFoundError(
                f"{path}: neither tokenizer.json nor vocab.json and merges.txt; copy the checkpoint's tokenizer files"
                " there"
            )
        known = tokenizer.get_added_tokens_decoder()
        for index, token in _added_tokens(Fields(config, str(path / "tokenizer_config.json"))):
            if index not in known:
                tokenizer.add_tokens([token])
        return cls(tokenizer, _read_template(path, config), config)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_compiled": None}  # compiled templates do not pickle

    @functools.cached_property
    def digest(self) -> str:
        """Short hash of the vocabulary and its rules: tokens of one tokenizer are tokens of another of the same."""
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return self.backend.get_vocab_size(with_added_tokens=True)

    def token_id(self, token: str) -> int | None:
        """Id of a token's exact text, None when the vocabulary lacks it."""
        return self.backend.token_to_id(token)

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; special tokens in it become their ids, except where `user_text.as_text` marked them."""
        return [i for piece in pieces(text) for i in self.backend.encode(piece, add_special_tokens=False).ids]

    def encode_text(self, text: str) -> list[int]:
        """Token ids of a text from data: what looks like a control token in it stays text."""
        return self.encode(as_text(text))

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
            self._compiled = ChatTemplate(self.chat_template)
        return self._compiled.render(messages, add_generation_prompt, **{**self._special_tokens(), **variables})

    def _special_tokens(self) -> dict[str, str]:
        """The named tokens as transformers hands them to a template: those of tokenizer_config.json; what it does not
        mention is Qwen's.
        """
        named = {**dict.fromkeys(("eos_token", "unk_token", "pad_token"), "<|endoftext|>"), **self.config}
        contents = {name: _content(named[name]) for name in _NAMED if name in named}
        return {name: text for name, text in contents.items() if text is not None}

    def closing_id(self) -> int | None:
        """The token with which the chat template closes an assistant's turn; None where it writes none there.
        ValueError when the template refuses even the plainest conversation.
        """
        mark, added = "closing", self.backend.get_added_tokens_decoder()
        faults: list[ValueError] = []
        for before in ((), ("system",)):
            for form in (lambda text: text, lambda text: [{"type": "text", "text": text}]):
                turns = [{"role": role, "content": form("a")} for role in (*before, "user")]
                try:
                    text = self.apply_chat_template([*turns, {"role": "assistant", "content": form(mark)}], False)
                except ValueError as error:
                    faults.append(error)
                    continue
                if mark in text:
                    return next((i for i in self.encode(text.rpartition(mark)[2]) if i in added), None)
        if len(faults) == 4:
            raise faults[0]
        return None


_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def _content(token: Any) -> str | None:
    """The text of a token as configs spell it: itself, or an object with its content."""
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else None


def _added_tokens(config: Fields) -> list[tuple[int, AddedToken]]:
    """tokenizer_config.json's added_tokens_decoder, in the order of the ids."""
    section, found = config.section("added_tokens_decoder"), []
    for index in section.values:
        token = section.section(index)
        if not index.isdecimal() or len(index) > 9 or not token.text("content"):
            raise ValueError(
                f"{section.where}: the entry {index[:40]!r} is no token id with a content; download it again"
            )
        flags = {k: token.flag(k) for k in ("single_word", "lstrip", "rstrip", "normalized") if token.has(k)}
        found.append((int(index), AddedToken(token.text("content"), special=token.flag("special"), **flags)))
    return sorted(found, key=lambda item: item[0])


def _read_template(path: Path, tokenizer_config: dict[str, Any]) -> str:
    """Where transformers' processors look, in their order, then where its tokenizers do. ValueError without any."""
    raw = path / "chat_template.jinja"
    found: dict[str, str] = {}
    for name in ("processor_config.json", "chat_template.json", raw.name, "tokenizer_config.json"):
        stated = {"chat_template": _read_text(raw)} if name == raw.name else checkpoint_json(path / name)
        template = (tokenizer_config if name == "tokenizer_config.json" else stated).get("chat_template")
        if isinstance(template, list):  # several named ones
            template = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
        if isinstance(template, dict):
            template = template.get("default")
        if template is not None and not isinstance(template, str):
            raise ValueError(f"{path / name}: chat_template is a {type(template).__name__}, need a template's text")
        if template:
            found[name] = template
    if not found:
        raise ValueError(
            f"{path}: no chat template (chat_template.json, chat_template.jinja, or in tokenizer_config.json): a base"
            " model's folder; copy those of the instruct model of its family there"
        )
    used = next(iter(found))
    # A tokenizer's own template is another one in published folders, too: it is for text alone.
    others = [name for name, text in found.items() if text.strip() != found[used].strip() and "tokenizer" not in name]
    if others:
        log.warning("%s: the chat template of %s is used, that of %s differs", path, used, " and ".join(others))
    return found[used]


def _read_text(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error.reason}); download or export the checkpoint again") from None

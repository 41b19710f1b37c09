"""Tokens for the phrases of a conversation's protocol, added to a policy's tokenizer: a small vocabulary spells out
"Action: Object Mapper" letter by letter, and a small policy has no tokens to spare.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tokenizers import AddedToken, Tokenizer

from spatial_jax.data.prompts import question_text, target_text
from spatial_jax.data.records import QuestionRecord, in_stored_pixels
from spatial_jax.data.sampled import turns_before
from spatial_jax.data.source import Unusable, open_questions
from spatial_jax.drawing import Album, DrawingError, parse
from spatial_jax.drawing.texts import index_line, shown_turn
from spatial_jax.forms import get_form
from spatial_jax.models import ModelConfig, Policy, load_pretrained, save_pretrained

MOST_RECORDS = 2000
LEAST_SHARE = 0.01  # of the records that a phrase must occur in
_VARIES = re.compile(
    r"<\|[^<>|\s]{1,64}\|>|(?<![^\W\d])\d+(?:\.\d+)?(?!\w)"
)  # control tokens and numbers stand between phrases
_GAP = "\0"


def add_phrases(source: str, directories: Sequence[str], target: str, *, mode: str = "drawing") -> ModelConfig:
    """Writes the policy of the folder `source` to `target` with a token for each phrase of the datasets' demonstrations
    in the form `mode`. New embeddings are small random ones: the mean of what a phrase was spelled with would point
    where all letters point that a policy never wrote. ValueError where no phrase is new.
    """
    policy = load_pretrained(source)
    tokenizer = Tokenizer.from_file(str(Path(source) / "tokenizer.json"))
    spelled = [p for p in phrases(directories, mode) if len(tokenizer.encode(p, add_special_tokens=False).ids) > 1]
    if not spelled:
        raise ValueError(f"--phrases: {', '.join(directories)}: every phrase of its demonstrations is a token already")
    config = dataclasses.replace(
        policy.config,
        text=dataclasses.replace(policy.config.text, vocab_size=policy.config.text.vocab_size + len(spelled)),
    )
    first = tokenizer.get_vocab_size(with_added_tokens=True)
    if first != policy.config.text.vocab_size:
        raise ValueError(f"{source}: its vocabulary has {policy.config.text.vocab_size} rows for {first} tokens")
    save_pretrained((config, _with_rows(policy, len(spelled))), target, source)
    tokenizer.add_tokens([AddedToken(phrase, special=False, normalized=False) for phrase in spelled])
    tokenizer.save(str(Path(target) / "tokenizer.json"))
    _tell_transformers(Path(target) / "tokenizer_config.json", {first + i: phrase for i, phrase in enumerate(spelled)})
    return config


def phrases(directories: Sequence[str], mode: str) -> list[str]:
    """What stands between names, numbers and control tokens in the train splits' conversations, the longest first;
    only what LEAST_SHARE of the records hold.
    """
    counts: collections.Counter[str] = collections.Counter()
    records = 0
    for record in _records(directories):
        records += 1
        counts.update({part for text in _texts(record, mode) for part in _parts(text, record)})
    common = {phrase for phrase, count in counts.items() if count >= max(2, LEAST_SHARE * records)}
    signs = {phrase[0] for phrase in common if phrase[1:].isalpha() and not phrase[0].isspace()}
    # What ends with such a sign would keep it from the word that it begins.
    common = {p for p in common if not (p[-1] in signs and p[:-1] in common)}
    return sorted(common, key=lambda phrase: (-len(phrase), phrase))


def _records(directories: Sequence[str]) -> Iterator[QuestionRecord]:
    for directory in directories:
        source = open_questions(directory, "train")
        for position in range(min(len(source), MOST_RECORDS)):
            record = source[position]
            if not isinstance(record, Unusable):
                yield in_stored_pixels(record)


def _texts(record: QuestionRecord, mode: str) -> list[str]:
    """What is said and shown, the question's picture and its own words left out; up to the first turn that cannot be
    drawn.
    """
    sizes, said = list(zip(record.widths, record.heights)), turns_before(record)
    hint = question_text(record, mode).removeprefix(record.question)
    texts = [hint, *(index_line(i + 1, size) for i, size in enumerate(sizes)), *said, target_text(record, mode)]
    tools, album = get_form(mode).tools, Album(sizes, near=None)
    for turn in said:
        try:
            new = album.draw(parse(turn, tools), 1_000)
        except DrawingError:
            break
        shown = [album.entries[i].size for i in new]
        texts += [shown_turn(new[0] + 1, shown, last) for last in (False, True)]
    return texts


def _parts(text: str, record: QuestionRecord) -> list[str]:
    """A text cut at what varies: names with the space before them, which their tokens hold, numbers and control tokens.
    Where a sign stands before a name, the sign with the name's first word is a part of its own.
    """
    names = {name for name in _names(record) if name.strip() and not name.strip()[0].isdigit()}
    begun = list[str]()

    def cut(found: re.Match[str]) -> str:
        if found[1].strip():
            begun.append(found[1] + found[2].split()[0])
        return _GAP

    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(,? |[^\w\s\0]|)(?<!\w)({re.escape(name)})(?!\w)", cut, text)
    return [*(part for part in _VARIES.sub(_GAP, text).split(_GAP) if part), *begun]


def _names(record: QuestionRecord) -> list[str]:
    """Labels of what the record's demonstration draws, and the parts of an answer that lists several."""
    labels = re.findall(r'"label": ("(?:[^"\\]|\\.)*")', "\n".join(turns_before(record)))
    return [*(json.loads(label) for label in labels), *record.answer.split(", ")]


def _with_rows(policy: Policy, count: int) -> nnx.State:
    """The parameters with `count` rows more, as a fresh policy's, in every table of the vocabulary."""
    tokens, rng = policy.config.text.vocab_size, np.random.default_rng(0)
    deviation = policy.config.text.initializer_range

    def widen(path: tuple, leaf: jax.Array) -> jax.Array:
        if tokens not in leaf.shape or not re.search("embed|head", jax.tree_util.keystr(path)):
            return leaf
        axis = leaf.shape.index(tokens)
        shape = [count if i == axis else size for i, size in enumerate(leaf.shape)]
        return jnp.concatenate([leaf, jnp.asarray(rng.normal(0.0, deviation, shape), leaf.dtype)], axis)

    return jax.tree_util.tree_map_with_path(widen, policy.params)


def _tell_transformers(path: Path, added: dict[int, str]) -> None:
    """The tokens in tokenizer_config.json, too, where transformers reads them."""
    config = json.loads(path.read_text())
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": False}
    known = config.setdefault("added_tokens_decoder", {})
    known.update({str(index): {"content": phrase, **flags} for index, phrase in added.items()})
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

"""Tokens for the phrases of a conversation's protocol, added to a policy's tokenizer: a small vocabulary spells out
"Action: Object Mapper" letter by letter, and a small policy has no tokens to spare.
"""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from spatial_jax.data.added_tokens import add_tokens, has_coordinates, read_tokenizer
from spatial_jax.data.prompts import question_text, target_text
from spatial_jax.data.records import QuestionRecord, in_stored_pixels
from spatial_jax.data.sampled import turns_before
from spatial_jax.data.source import Unusable, open_questions
from spatial_jax.drawing import Album, DrawingError, parse
from spatial_jax.drawing.texts import index_line, shown_turn
from spatial_jax.forms import get_form
from spatial_jax.models import ModelConfig, load_pretrained

MOST_RECORDS = 2000
LEAST_SHARE = 0.01  # of the records that a phrase must occur in
# Control tokens (with the role that one opens, which the policy has read in its own tokens) and numbers stand between
# phrases; in _SIGNED numbers with the sign before them.
_VARIES, _SIGNED = (
    re.compile(rf"<\|[^<>|\s]{{1,64}}\|>(?:(?:user|assistant)\n)?|{signs}(?<![^\W\d])\d+(?:\.\d+)?(?!\w)")
    for signs in ("", r"(?:\[|, )?")
)
LEAST_SPELLED = 3  # tokens that a question's phrase takes, to become one: shorter ones are words of other questions too
_GAP = "\0"
_BEFORE = '">, '  # signs that a name's token may begin with


def add_phrases(
    source: str, directories: Sequence[str], target: str, *, mode: str = "drawing", asked: bool = False
) -> ModelConfig:
    """Writes the policy of the folder `source` to `target` with a token for each phrase of the datasets' demonstrations
    in the form `mode`, or with `asked` of their questions and answers themselves. New embeddings are small random ones:
    the mean of what a phrase was spelled with would point where all letters point that a policy never wrote. A name
    with a sign before it begins where the name is. ValueError where no phrase is new.
    """
    policy, tokenizer = load_pretrained(source), read_tokenizer(source)
    signed = has_coordinates(tokenizer)
    found = asked_phrases(directories, signed=signed) if asked else phrases(directories, mode, signed=signed)
    least = LEAST_SPELLED if asked else 2
    spelled = [phrase for phrase in found if len(tokenizer.encode(phrase, add_special_tokens=False).ids) >= least]
    if not spelled:
        what = "questions" if asked else "demonstrations"
        raise ValueError(f"--phrases: {', '.join(directories)}: every phrase of its {what} is a token already")
    text = policy.config.text
    rows = np.random.default_rng(0).normal(0.0, text.initializer_range, (len(spelled), text.hidden_size))
    (table,) = (np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(policy.params) if _is_embedding(path))
    for row, phrase in zip(rows, spelled):
        word = tokenizer.encode(" " + phrase.lstrip(_BEFORE), add_special_tokens=False).ids
        if phrase[0] in _BEFORE and phrase[-1].isalpha() and len(word) == 1:
            row += table[word[0]]  # the name is known: what copies it can go on
    return add_tokens(policy, source, target, spelled, rows)


def _is_embedding(path: Any) -> bool:
    return "embed/embedding" in "/".join(str(getattr(part, "key", part)) for part in path)


def phrases(directories: Sequence[str], mode: str, *, signed: bool = False) -> list[str]:
    """What stands between names, numbers and control tokens in the train splits' conversations, the longest first;
    only what LEAST_SHARE of the records hold. `signed`: coordinates are tokens with the sign before them.
    """
    counts: collections.Counter[str] = collections.Counter()
    records = 0
    for record in _records(directories):
        records += 1
        counts.update({part for text in _texts(record, mode) for part in _parts(text, record, signed)})
    common = {phrase for phrase, count in counts.items() if count >= max(2, LEAST_SHARE * records)}
    signs = {phrase[0] for phrase in common if phrase[1:].isalpha() and not phrase[0].isspace()}
    # What ends with such a sign would keep it from the word that it begins.
    common = {p for p in common if not (p[-1] in signs and p[:-1] in common)}
    return sorted(common, key=lambda phrase: (-len(phrase), phrase))


def asked_phrases(directories: Sequence[str], *, signed: bool = False) -> list[str]:
    """What stands between numbers in the train splits' questions, and answers without one; the longest first, only
    what LEAST_SHARE of the records hold.
    """
    counts: collections.Counter[str] = collections.Counter()
    records = 0
    for record in _records(directories):
        records += 1
        told = [record.question, *([] if re.search(r"\d", record.answer) else [record.answer])]
        counts.update(
            {p.strip() for text in told for p in (_SIGNED if signed else _VARIES).sub(_GAP, text).split(_GAP)}
        )
    common = {phrase for phrase, count in counts.items() if phrase and count >= max(2, LEAST_SHARE * records)}
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


def _parts(text: str, record: QuestionRecord, signed: bool) -> list[str]:
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
    varies = _SIGNED if signed else _VARIES
    return [*(part for part in varies.sub(_GAP, text).split(_GAP) if part), *begun]


def _names(record: QuestionRecord) -> list[str]:
    """Labels of what the record's demonstration draws, and the parts of an answer that lists several."""
    labels = re.findall(r'"label": ("(?:[^"\\]|\\.)*")', "\n".join(turns_before(record)))
    return [*(json.loads(label) for label in labels), *record.answer.split(", ")]

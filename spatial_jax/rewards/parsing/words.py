"""Short word answers ("left", "behind the sofa"), compared whole; inside a sentence only where the vocabulary is
known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from spatial_jax.rewards.parsing.cues import after_cue, is_negated
from spatial_jax.rewards.parsing.text import clean, fold

_MAX_SENTENCE_WORDS = 40
_MAX_SENTENCE = 1000  # characters
_DIRECTIONS = (
    "left",
    "right",
    "up",
    "down",
    "above",
    "below",
    "front",
    "behind",
    "back",
    "north",
    "south",
    "east",
    "west",
    "northeast",
    "northwest",
    "southeast",
    "southwest",
    "yes",
    "no",
    "closer",
    "farther",
    "upper",
    "lower",
)


def normal_word(text: str) -> str:
    """Folded text with hyphens as spaces: "Upper-Left." and "upper left" are the same word."""
    return re.sub(r"[\s\-_/]+", " ", fold(text)).strip()


def matches_word(text: str, accepted: Sequence[str], vocabulary: Sequence[str] = ()) -> bool:
    """Whether a response is one of the accepted words: as a whole, or as what follows the last "answer is", or, when it
    is a sentence of at most 40 words, as the only word of the vocabulary (plus direction words when an accepted one is
    made of them) that it mentions.
    """
    targets = {normal_word(word) for word in accepted} - {""}
    if not targets:
        return False
    text = clean(text)
    tail = after_cue(text)
    if normal_word(text) in targets:
        return True
    if tail is not None:
        first = re.split(r"[.!?\n]", tail.strip(), maxsplit=1)[0]
        if normal_word(first) in targets:
            return True
        text = first
    return _only_mention(normal_word(text), targets, {normal_word(word) for word in vocabulary} - {""})


def _only_mention(text: str, targets: set[str], vocabulary: set[str]) -> bool:
    if all(part in _DIRECTIONS for target in targets for part in target.split()):
        vocabulary = vocabulary | set(_DIRECTIONS)
    if (
        not vocabulary
        or len(text) > _MAX_SENTENCE
        or len(text.split(None, _MAX_SENTENCE_WORDS + 1)) > _MAX_SENTENCE_WORDS
    ):
        return False
    forms = sorted(vocabulary | targets, key=len, reverse=True)
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(re.escape(form) for form in forms) + r")(?!\w)")
    found = [(m.group(), is_negated(text[max(0, m.start() - 40) : m.start()])) for m in pattern.finditer(text)]
    return bool(found) and all(word in targets and not denied for word, denied in found)

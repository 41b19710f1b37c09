"""How alike two texts are: word error rate, and the mean of ROUGE-1, -2 and -L as google's rouge_score counts them
with its stemmer (Porter's, in the version that NLTK extends). SpaceR's and Video-R1's rewards of free text use them.
"""

from __future__ import annotations

import collections
import itertools
import re
from collections.abc import Sequence

# Words of an answer that are compared: the tables grow with the product of both lengths.
_MOST_WORDS = 512
_NOT_WORD = re.compile(r"[^a-z0-9]+")


def word_error_rate(reference: str, said: str) -> float:
    """Words to change, insert or leave out, over the reference's words (at least 1)."""
    right, words = reference.split(), said.split()
    if len(words) > _MOST_WORDS + len(right):
        return float(len(words) - len(right)) / max(1, len(right))
    row = list(range(len(words) + 1))
    for i, wanted in enumerate(right[:_MOST_WORDS], 1):
        before, row[0] = row[0], i
        for j, word in enumerate(words, 1):
            before, row[j] = row[j], before if word == wanted else 1 + min(before, row[j], row[j - 1])
    return row[-1] / max(1, len(right))


def rouge(reference: str, said: str) -> float:
    """Mean F of ROUGE-1, ROUGE-2 and ROUGE-L, in [0, 1]. At most 512 words of each text are compared."""
    right, words = _words(reference), _words(said)
    pairs = [_overlap(_grams(right, n), _grams(words, n)) for n in (1, 2)]
    common = _longest_common(right, words) if right and words else 0
    return (sum(pairs) + _f(common, len(words), len(right))) / 3


def _words(text: str) -> list[str]:
    words = _NOT_WORD.sub(" ", text.lower()).split()[:_MOST_WORDS]
    return [stem(word) if len(word) > 3 else word for word in words]


def _grams(words: Sequence[str], n: int) -> collections.Counter[tuple[str, ...]]:
    return collections.Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _overlap(right: collections.Counter[tuple[str, ...]], said: collections.Counter[tuple[str, ...]]) -> float:
    return _f((right & said).total(), said.total(), right.total())


def _f(common: int, said: int, right: int) -> float:
    precision, recall = common / max(said, 1), common / max(right, 1)
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _longest_common(right: Sequence[str], words: Sequence[str]) -> int:
    row = [0] * (len(words) + 1)
    for wanted in right:
        before = 0
        for j, word in enumerate(words, 1):
            before, row[j] = row[j], before + 1 if word == wanted else max(row[j], row[j - 1])
    return row[-1]


# Porter's stemmer (1980) with NLTK's extensions.

_IRREGULAR = {
    **dict.fromkeys(("sky", "skies"), "sky"),
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
    "news": "news",
    **dict.fromkeys(("innings", "inning"), "inning"),
    **dict.fromkeys(("outings", "outing"), "outing"),
    **dict.fromkeys(("cannings", "canning"), "canning"),
    "howe": "howe",
    "proceed": "proceed",
    "exceed": "exceed",
    "succeed": "succeed",
}
_SECOND = (
    *(("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("bli", "ble")),
    *(("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate")),
    *(("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al")),
    *(("iviti", "ive"), ("biliti", "ble"), ("fulli", "ful")),
)
_THIRD = (
    *(("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")),
)
_FOURTH = (
    *("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate"),
    *("iti", "ous", "ive", "ize"),
)


def stem(word: str) -> str:
    """The stem of a word in lower case."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 2:
        return word
    word = _plural(word)
    word = _past(word)
    if word.endswith("y") and len(word) > 2 and not _is_vowel(word, len(word) - 2):
        word = word[:-1] + "i"
    word = _second(word)
    word = _replace(word, _THIRD, 0)
    word = _fourth(word)
    if word.endswith("e"):
        measure = _measure(word[:-1])
        if measure > 1 or (measure == 1 and not _is_short(word[:-1])):
            word = word[:-1]
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


def _plural(word: str) -> str:
    if word.endswith("ies") and len(word) == 4:
        return word[:-1]  # dies, ties
    for end, new in (("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")):
        if word.endswith(end):
            return word[: -len(end)] + new
    return word


def _past(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for end in ("ed", "ing"):
        if word.endswith(end):
            base = word[: -len(end)]
            return _repair(base) if any(_is_vowel(base, i) for i in range(len(base))) else word
    return word


def _repair(base: str) -> str:
    """A base that lost -ed or -ing: "hop" for "hopp", "file" for "fil"."""
    if base.endswith(("at", "bl", "iz")):
        return base + "e"
    if len(base) > 1 and base[-1] == base[-2] and not _is_vowel(base, len(base) - 1):
        return base if base[-1] in "lsz" else base[:-1]
    return base + "e" if _measure(base) == 1 and _is_short(base) else base


def _second(word: str) -> str:
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _second(word[:-2])
    for end, new in _SECOND:
        if word.endswith(end):
            return word[: -len(end)] + new if _measure(word[: -len(end)]) > 0 else word
    return word[:-1] if word.endswith("logi") and _measure(word[:-3]) > 0 else word


def _fourth(word: str) -> str:
    for end in _FOURTH:
        if word.endswith(end):
            base = word[: -len(end)]
            kept = _measure(base) <= 1 or (end == "ion" and base[-1:] not in ("s", "t"))
            return word if kept else base
    return word


def _replace(word: str, rules: Sequence[tuple[str, str]], least: int) -> str:
    for end, new in rules:
        if word.endswith(end):
            return word[: -len(end)] + new if _measure(word[: -len(end)]) > least else word
    return word


def _is_vowel(word: str, i: int) -> bool:
    """y is a vowel after a consonant."""
    turned = False  # a run of y takes turns; it ends at the first sign that is no y
    while i >= 0 and word[i] == "y":
        if i == 0:
            return turned
        i, turned = i - 1, not turned
    return (word[i] in "aeiou") != turned


def _measure(word: str) -> int:
    """How often a consonant follows a vowel."""
    vowels: list[bool] = []
    for i, sign in enumerate(word):
        vowels.append(sign in "aeiou" or (sign == "y" and i > 0 and not vowels[-1]))
    return sum(a and not b for a, b in itertools.pairwise(vowels))


def _is_short(word: str) -> bool:
    """Ends in consonant, vowel, consonant (not w, x, y), or is a vowel and a consonant."""
    n = len(word)
    if n == 2:
        return _is_vowel(word, 0) and not _is_vowel(word, 1)
    return (
        n > 2
        and not _is_vowel(word, n - 3)
        and _is_vowel(word, n - 2)
        and not _is_vowel(word, n - 1)
        and word[-1] not in "wxy"
    )

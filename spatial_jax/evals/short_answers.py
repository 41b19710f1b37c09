"""Short answers as DocVQA, TextVQA, ChartQA and OCRBench score them: ANLS, VQA accuracy in three normalisations,
relaxed accuracy, containment.

They follow the published scripts, oddities included, because published numbers were made with them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ANLS_LEAST = 0.5


def levenshtein(a: str, b: str) -> int:
    """Edit distance with unit costs."""
    if len(a) < len(b):
        a, b = b, a
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def anls(response: str, accepted: Sequence[str]) -> float:
    """1 - the least normalised edit distance to an accepted answer, 0 below .5 (the RRC script). Texts are compared in
    lower case with single blanks; the length that divides is that of the texts as they came, in capitals.
    """
    best = 1.0
    said = " ".join(response.strip().lower().split())
    for gold in accepted:
        true = " ".join(gold.strip().lower().split())
        length = max(len(gold.upper()), len(response.upper()))
        if length and abs(len(true) - len(said)) / length > 1 - ANLS_LEAST:
            continue  # at least so many edits: the score would be cut to 0
        best = min(best, levenshtein(true, said) / length if length else 0.0)
    value = 1.0 - best
    return value if value >= ANLS_LEAST else 0.0


_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
# re.UNICODE stands where the count belongs in all three scripts: only the first 32 dots go.
_DOTS = 32
_ANY_DOT, _WORD_DOT = re.compile(r"\.(?!\d)"), re.compile(r"(?<!\d)\.(?!\d)")
_DIGITS = {
    word: str(value)
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
_ARTICLES = ("a", "an", "the")
_ONE = (
    "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't"
    " it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't"
    " somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's"
    " they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's"
    " where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've"
)
_TWO = (
    "couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've something'd've"
    " there'd've they'd've we'd've who'd've wouldn't've y'all'll you'd've"
)


def _contractions() -> dict[str, str]:
    table = {word.replace("'", ""): word for word in _ONE.split()}
    for word in _TWO.split():
        for place, character in enumerate(word):
            if character == "'":
                table[word[:place] + word[place + 1 :]] = word
    table |= dict.fromkeys(("yall'd've", "y'alld've", "y'all'dve"), "y'all'd've")
    table |= dict.fromkeys(("ow's'at", "'ows'at", "'ow'sat"), "'ow's'at")
    return table | {"somebody'd": "somebodyd"}


CONTRACTIONS = _contractions()


def without_punctuation(text: str, dots: re.Pattern[str] = _WORD_DOT) -> str:
    """Each mark is deleted where it touches a blank anywhere in the text (or a comma stands between digits), else
    becomes a blank; then the dots that `dots` finds go.
    """
    joined = _COMMA_IN_NUMBER.search(text) is not None
    out = text
    for mark in _PUNCTUATION:
        touches = f"{mark} " in text or f" {mark}" in text
        out = out.replace(mark, "" if touches or joined else " ")
    return dots.sub("", out, count=_DOTS)


def plain_words(text: str) -> str:
    """Lower case, number words as digits, no articles, contractions with their apostrophes."""
    words = (_DIGITS.get(word, word) for word in text.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def normalise(text: str, scoring: str) -> str:
    """An answer as the harness compares it."""
    if scoring == "lmms_eval":
        text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = _one_line(text)
    return plain_words(without_punctuation(text, _WORD_DOT if scoring == "vlmevalkit" else _ANY_DOT))


def vqa_accuracy(response: str, accepted: Sequence[str], scoring: str) -> float:
    """Mean over the accepted answers of min(1, equal ones among the others / 3). The official script normalises only
    where the accepted answers differ.
    """
    if scoring == "official":
        true, said = [_one_line(gold) for gold in accepted], _one_line(response)
        if len(set(true)) > 1:
            true, said = [normalise(gold, scoring) for gold in true], normalise(said, scoring)
    else:
        true, said = [normalise(gold, scoring) for gold in accepted], normalise(response, scoring)
    equal = [gold == said for gold in true]
    total = sum(equal)
    return sum(min(1.0, (total - own) / 3) for own in equal) / len(equal) if equal else 0.0


def _figure(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def relaxed_match(response: str, gold: str, *, swapped: bool = False) -> float:
    """ChartQA: within 5 % of a number that is not 0, else equality in lower case. `swapped`: the error is relative to
    the prediction, as Spatial-SSRL's and Qwen-VL's scripts call it.
    """
    said, true = _figure(response), _figure(gold)
    base = said if swapped else true
    if said is not None and true is not None and base:
        return float(abs(said - true) / abs(base) <= 0.05)
    return float(response.lower() == gold.lower())


_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}


def contains(response: str, accepted: Sequence[str], *, formula: bool = False, fold: bool = False) -> float:
    """OCRBench: 1 where any accepted answer occurs in the response. `formula`: blanks are deleted and case is kept,
    else lower case; `fold`: full-width letters count as plain ones.
    """

    def plain(text: str) -> str:
        if formula:
            return text.strip().replace("\n", " ").replace(" ", "")
        text = text.translate(_FULL_WIDTH) if fold else text
        return text.lower().strip().replace("\n", " ")

    said = plain(response)
    return float(any(plain(gold) in said for gold in accepted))

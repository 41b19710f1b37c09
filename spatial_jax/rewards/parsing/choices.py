"""Which option of a multiple-choice question a response picks."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from spatial_jax.rewards.parsing.text import after_cue, clean, fold, negated

_PREFIX = re.compile(r"^\s*[(\[]?([A-Za-z])[)\].:]\s+")
_ALONE = re.compile(
    r"[\s*_`\"'$({\[]{0,8}(?:(?:option|choice|answer)\s{1,3})?[(\[{]{0,2}([A-Za-z])[)\]}]{0,2}[\s.,:;!*_`\"')}$\]]{0,8}",
    re.IGNORECASE,
)
_LEADING = re.compile(
    r"[\s*_`\"'$]{0,8}(?:(?:option|choice)\s{1,3})?[(\[{]{0,2}([A-Z])(?:[)\]}.:,;]|\s*[-–]\s|\s*$|[*_`]{1,3})",
    re.IGNORECASE,
)
_LETTER = re.compile(r"(?<![A-Za-z0-9_'\-<\\/])([A-Z])(?![A-Za-z0-9_>]|'[a-z]|-[A-Za-z])")
_BOXED = re.compile(r"\\(?:boxed|text|mathrm|textbf)\{([^{}]{0,200})\}")


def strip_label(option: str) -> tuple[str | None, str]:
    """(label, text) of an option written "B. chair", "(B) chair" or "chair" (label None)."""
    match = _PREFIX.match(option)
    return (match.group(1).upper(), option[match.end() :]) if match else (None, option)


def option_labels(options: Sequence[str]) -> tuple[list[str], list[str]]:
    """The letters and the bare texts of options; letters are as written when every option has its own, else A, B, C,
    ...
    """
    split = [strip_label(option) for option in options]
    labels = [label for label, _ in split if label is not None]
    if len(set(labels)) == len(options):
        return labels, [text for _, text in split]
    return list(string.ascii_uppercase[: len(options)]), list(options)


def truth_index(answer: str, options: Sequence[str]) -> int:
    """The option that a record's answer names, by letter or by text. ValueError when it names none or several."""
    labels, texts = option_labels(options)
    exact = [i for i, option in enumerate(options) if fold(option) == fold(answer) or fold(texts[i]) == fold(answer)]
    letter = _ALONE.fullmatch(answer.strip())
    if len(exact) == 1:
        return exact[0]
    if not exact and letter and letter.group(1).upper() in labels:
        return labels.index(letter.group(1).upper())
    label, text = strip_label(answer)
    if not exact and label in labels and fold(text) == fold(texts[labels.index(label)]):
        return labels.index(label)
    raise ValueError(
        f"answer {answer!r} is not one of the options {list(options)!r}; write the option's letter or its text"
    )


def parse_choice(text: str, options: Sequence[str]) -> int | None:
    """Index of the option a response picks, None when it picks none or several ("A or B", all options, the question
    echoed). Reads, in this order: a letter alone, an option's text alone, a letter with its text, what follows the last
    "answer is", then the only letter or the only option text that is mentioned and not denied.
    """
    text = _BOXED.sub(r" \1 ", clean(text)).strip()
    if not text or len(options) == 0:
        return None
    labels, texts = option_labels(options)
    direct = _direct(text, labels, texts)
    if direct is not None:
        return direct
    tail = after_cue(text)
    if tail is not None and tail.strip():
        picked = _direct(tail.strip(), labels, texts)
        if picked is None:
            first = re.split(r"[.!?](?:\s|$)|\n|,?\s{1,4}(?:because|since|as)\s", tail.strip(), maxsplit=1)[0]
            picked = _direct(first.strip(), labels, texts)
            picked = picked if picked is not None else _mentioned(first, labels, texts)
        if picked is not None:
            return picked if _agrees(tail, picked, labels) else None
    return _mentioned(text, labels, texts)


def _direct(text: str, labels: list[str], texts: list[str]) -> int | None:
    """The pick when the whole text is a letter, an option, or a letter followed by its own option's text."""
    alone = _ALONE.fullmatch(text)
    if alone and alone.group(1).upper() in labels:
        return labels.index(alone.group(1).upper())
    folded = fold(text)
    same = [i for i, option in enumerate(texts) if fold(option) == folded]
    if len(same) == 1:
        return same[0]
    leading = _LEADING.match(text)
    if leading and leading.group(1).upper() in labels:
        index = labels.index(leading.group(1).upper())
        if fold(text[leading.end() :]) == fold(texts[index]):
            return index
    return None


def _agrees(tail: str, picked: int, labels: list[str]) -> bool:
    """No other option's letter stands beside the pick right after the cue ("the answer is A or B")."""
    head = tail[:24]
    letters = {
        m.group(1)
        for m in _LETTER.finditer(head)
        if m.group(1) in labels and not _is_article(head, m) and not negated(head[: m.start()])
    }
    return not letters or letters == {labels[picked]}


def _is_article(text: str, match: re.Match[str]) -> bool:
    """A capital A or I that begins a phrase ("A chair") is a word, not a letter."""
    return (
        match.group(1) in ("A", "I")
        and re.match(r"\s+[a-z]", text[match.end() : match.end() + 8]) is not None
        and re.match(
            r"\s+(?:is|are|was|because|since|as|and|or|seems|looks|must)\b", text[match.end() : match.end() + 12]
        )
        is None
    )


def _mentioned(text: str, labels: list[str], texts: list[str]) -> int | None:
    """The only option mentioned: by letter if any letter stands alone, else by its text as whole words (a longer option
    hides a shorter one inside it). A mention that is denied does not count.
    """
    letters = {
        m.group(1)
        for m in _LETTER.finditer(text)
        if m.group(1) in labels and not _is_article(text, m) and not negated(text[max(0, m.start() - 40) : m.start()])
    }
    folded = clean(text).casefold()
    spoken = _texts_mentioned(folded, texts)
    if len(letters) == 1:
        index = labels.index(letters.pop())
        return index if spoken <= {index} else None
    return next(iter(spoken)) if not letters and len(spoken) == 1 else None


def _texts_mentioned(folded: str, texts: list[str]) -> set[int]:
    forms = {fold(option): i for i, option in enumerate(texts) if fold(option)}
    if not forms:
        return set()
    pattern = re.compile(
        r"(?<!\w)(?:" + "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)) + r")(?!\w)"
    )
    return {
        forms[m.group()] for m in pattern.finditer(folded) if not negated(folded[max(0, m.start() - 40) : m.start()])
    }

"""Reading an option letter out of a response: VLMEvalKit's `can_infer`, lmms-eval's letter rules, and small shared
pieces.

These follow the harnesses' behaviour, oddities included, because published numbers were made with them. VLMEvalKit's
second family (spatial_bench) is in matching_spatial.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_BLANKED = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_ANSWER_IS = re.compile(r"(?:correct )?answer is \**([A-D])\b", re.IGNORECASE)
_LEADING = re.compile(r"[(\s]*([A-Z])[).\s]*", re.IGNORECASE)


def letters(n: int) -> str:
    """The first n capital letters."""
    return "".join(chr(65 + i) for i in range(n))


def can_infer_option(response: str, choices: Sequence[str] | Mapping[str, object]) -> str | None:
    """VLMEvalKit: the one option letter among the tokens if it stands near the end, "Z" for a refusal, else None."""
    if "Failed to obtain answer via API" in response:
        return None
    if any(refusal in response for refusal in _REFUSALS):
        return "Z"
    tokens = response.translate(_BLANKED).split()
    present = set(tokens)
    found = [c for c in choices if c in present]
    if len(found) == 1:
        if tokens.index(found[0]) > len(tokens) - 5:
            return found[0]
    elif not found and "Z" in present:
        return "Z"
    named = _ANSWER_IS.search(response)
    return named.group(1).upper() if named and named.group(1).upper() in choices else None


def can_infer_text(response: str, choices: Mapping[str, object]) -> str | None:
    """VLMEvalKit: the one option whose text occurs in a response that is at most twice as long as all option texts."""
    lowered = {key: str(text).lower() for key, text in choices.items()}
    if len(response) > 2 * sum(len(text) for text in lowered.values()):
        return None
    response = response.lower()
    hits = [key for key, text in lowered.items() if text in response]
    return hits[0] if len(hits) == 1 else None


def can_infer(response: str, choices: Mapping[str, object]) -> str:
    """VLMEvalKit's rule without a judge: the inferred letter, "Z" (always wrong) when nothing can be inferred."""
    return can_infer_option(response, choices) or can_infer_text(response, choices) or "Z"


def after_answer_marks(response: str) -> str:
    """Cambrian's scripts: the lower-cased text after the last "answer is", then after the last "answer is:", then after
    the last "answer:", stripped.
    """
    text = response.lower().strip()
    for mark in ("answer is", "answer is:", "answer:"):
        text = text.rsplit(mark, 1)[-1]
    return text.strip()


def leading_letter(response: str) -> str:
    """lmms-eval (CV-Bench, BLINK, EmbSpatial): the letter at the very start, any case; "The ..." gives T. "" when there
    is none.
    """
    match = _LEADING.match(response.strip())
    return match.group(1).upper() if match else ""


_PHRASES = (
    "the answer is",
    "answer is",
    "the correct answer is",
    "correct answer is",
    "the best answer is",
    "best answer is",
    "the correct option is",
    "correct option is",
    "the best option is",
    "best option is",
    "the choice is",
    "choice is",
    "the correct choice is",
    "correct choice is",
    "i choose",
    "i select",
    "i pick",
    "my answer is",
    "my choice is",
    "옵션",
    "정답은",
    "답은",
    "답:",
    "答案是",
    "答案为",
    "选",
    "答えは",
)


def ranked_letter(response: str, choices: Sequence[str] = "ABCDEFGH") -> str:
    """lmms-eval's shared extractor: every place where a letter stands in some format is a candidate; the format ranks
    first (start or end of the text, answer phrase, "(A)", "A.", "A:", "A)", "A "), then the later position. "" when no
    letter occurs at all.
    """
    if not response or not response.strip():
        return ""
    text = response.strip()
    for mark in (",", ".", "!", "?", ";", ":", "'", '"'):
        text = text.strip(mark)
    text = f" {text} "
    bare, lowered = text.strip(), text.lower()
    found: list[tuple[int, int, str]] = []
    for rank, form in ((6, "({})"), (5, "{}."), (4, "{}:"), (3, "{})"), (2, "{} ")):
        found += [(rank, text.rfind(form.format(c)), c) for c in choices if form.format(c) in text]
    for phrase in _PHRASES:
        start = lowered.find(phrase)
        if start >= 0:
            places = [(text.find(c, start + len(phrase)), c) for c in choices]
            found += [(7, place, c) for place, c in places if place >= 0]
    for c in choices:
        if bare.startswith(c) and (len(bare) == 1 or not bare[1].isalpha()):
            found.append((10, 0, c))
        if bare.endswith(c) and (len(bare) == 1 or not bare[-2].isalpha()):
            found.append((9, len(text) - 1, c))
    if not found:
        found = [(0, text.rfind(c), c) for c in choices if c in text]
    # max keeps the first of equals, as a stable descending sort does
    return max(found, key=lambda f: (f[0], f[1]))[2] if found else ""


_RANKED_PATTERNS = tuple(
    re.compile(p)
    for p in (
        r"^([A-D])[.\s)]",
        r"^([A-D])$",
        r"[Aa]nswer[:\s]+([A-D])",
        r"[Tt]he answer is[:\s]+([A-D])",
        r"[Mm]y answer is[:\s]+([A-D])",
        r"\(([A-D])\)",
        r"([A-D])\.",
        r"\b([A-D])\b",
    )
)


def pattern_letter(response: str) -> str | None:
    """lmms-eval's 3DSRBench rule: the first of eight patterns that occurs, its first hit."""
    text = response.strip()
    for pattern in _RANKED_PATTERNS:
        match = pattern.search(text)
        if match:
            return match.group(1)
    return None


_WORD_LETTER = re.compile(r"\b([A-D])\b", re.IGNORECASE)


def standalone_letter(text: str) -> str | None:
    """The first standalone A-D of any case, the article "a" too, in capitals."""
    match = _WORD_LETTER.search(text)
    return match.group(1).upper() if match else None


def last_line_letter(response: str) -> str | None:
    """ViewSpatial-Bench: `standalone_letter` of the last line; a trailing newline leaves none."""
    return standalone_letter(response.rsplit("\n", 1)[-1])


def closed_braces(text: str) -> str:
    """The text up to its last "}": what may hold a {...}; patterns that look for one then run in linear time."""
    return text[: text.rfind("}") + 1]

"""What a description of an object must be before anything believes it. Model output is data: parsed by a strict
grammar, checked, never obeyed.

A caption ends up inside training questions, so whatever could steer a reader, break a template or pose as markup is
refused: the grammar allows a short noun phrase and nothing else.
"""

from __future__ import annotations

import re
import unicodedata

from spatial_jax.reading import parse_object

MOST_WORDS, MOST_LETTERS = 16, 100
SAME = 0.8  # Jaccard of word sets from which two captions are the same

_PHRASE = re.compile(r"[A-Za-z0-9À-ɏ][A-Za-z0-9À-ɏ ,'’\-]*")
_WORD = re.compile(r"[a-z0-9À-ɏ]+(?:['’\-][a-z0-9À-ɏ]+)*")
_STOP = frozenset(re.split(" ", "a an the of on in at to with and by its is that which near next it from for"))
_VAGUE = frozenset(
    re.split(
        " ",
        "object objects thing things item items area region part background foreground image photo photograph scene "
        "something stuff mask outline outlined highlighted unknown none nothing",
    )
)
# Words of orders, answers and of the annotation itself: no noun phrase that names a thing in a photo needs them.
_STEERING = re.compile(
    r"\b(ignore|disregard|forget|instructions?|prompts?|assistant|answers?|respond|response|reply|json|options?|"
    r"rewards?|must|should|always|never|"
    r"please|you|your|i|i'm|sorry|cannot|can't|outlined|outline|masked|highlighted|numbered|"
    r"http|https|www|password|api|"
    r"(?:in|of) the (?:image|picture|photo|photograph))\b",
    re.IGNORECASE,
)


def words(text: str) -> list[str]:
    """Lower-case words of a caption."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def content(text: str) -> frozenset[str]:
    """The words that carry meaning."""
    return frozenset(w for w in words(text) if w not in _STOP)


def read_reply(text: str) -> dict | None:
    """The one JSON object in a response (bare, or fenced as code), or None. Nothing else may stand beside it but white
    space and thoughts in <think> tags.
    """
    body = re.sub(r"^\s*<think>.*?</think>", "", text[:20_000], flags=re.DOTALL).strip()
    fenced = re.fullmatch(r"```(?:json)?\s*(\{.*\})\s*```", body, flags=re.DOTALL)
    try:
        return parse_object(fenced.group(1) if fenced else body)
    except ValueError:
        return None


def check(name: object, description: object) -> tuple[str, str, str]:
    """(name, description, "") cleaned, or ("", "", reason): a short noun phrase that holds its own name, in plain
    letters.
    """
    if not isinstance(name, str) or not isinstance(description, str):
        return "", "", "not two texts"
    name, description = (" ".join(unicodedata.normalize("NFKC", t).split()).strip(" .") for t in (name, description))
    if not _PHRASE.fullmatch(description) or not _PHRASE.fullmatch(name):
        return "", "", "not a plain phrase"
    if len(description) > MOST_LETTERS or len(words(description)) > MOST_WORDS or len(words(name)) > 3:
        return "", "", "too long"
    if _STEERING.search(description):
        return "", "", "words that do not name a thing"
    head = words(name)
    if not head or head[-1] in _VAGUE or not content(description) - _VAGUE:
        return "", "", "too vague"
    if not set(head) <= set(words(description)):
        return "", "", "the name is not in the description"
    return name.lower(), description, ""


def alike(name: str, description: str, taken: list[tuple[str, str]]) -> str:
    """The taken description that the new one cannot be told from, or "": nearly the same words, or the same name with
    nothing besides it that the other lacks.
    """
    mine = content(description)
    for other_name, other in taken:
        theirs = content(other)
        if len(mine & theirs) >= SAME * len(mine | theirs):
            return other
        if words(name)[-1] == words(other_name)[-1] and (mine <= theirs or theirs <= mine):
            return other
    return ""

"""Whether a reworded question still asks exactly what the template asked. Strict: a doubtful text is refused.

What must survive: every number and placeholder in order, every object name (same times, same order of first mention),
units, option lines, marks, the words that decide the answer (left, closer, centre, longest, ...), and the kind of
question (which one / yes or no / a number).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST_GROWTH = 4.0
_PLACEHOLDER = re.compile(r"\{[xy](?:\.\d)?:-?\d+(?:\.\d+)?\}")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")
_OPTION_LINE = re.compile(r"^[A-H]\. .*$", re.MULTILINE)
_MARK = re.compile(r"<[^>]*>")
_URL = re.compile(r"https?:|www\.|\\boxed|```|system prompt|as an ai|i cannot|i can't|sorry", re.IGNORECASE)

# Words of one concept are exchangeable; a concept that appears or vanishes changes the question.
_CONCEPTS = {
    "left": ("left", "leftmost"),
    "right": ("right", "rightmost"),
    "above": ("above", "higher", "top", "over", "upper", "highest"),
    "below": ("below", "lower", "bottom", "under", "beneath", "lowest", "underneath"),
    "near": (
        "closer",
        "nearer",
        "closest",
        "nearest",
        "smaller depth",
        "smallest depth",
        "shorter distance",
        "shortest distance",
        "increasing depth",
    ),
    "far": (
        "farther",
        "further away",
        "farthest",
        "furthest",
        "more distant",
        "most distant",
        "greater depth",
        "greatest depth",
        "longer distance",
        "decreasing depth",
    ),
    "tall": ("taller", "tall", "height", "heights", "high", "vertical extent"),
    "short": ("shorter", "less tall", "smaller height"),
    "longest": ("longest", "largest", "greatest", "longest side"),
    "center": ("center", "centre", "centers", "centres", "middle"),
    "closest points": ("closest point", "closest points", "nearest points", "closest visible points", "surfaces"),
    "horizontal": ("horizontal", "horizontally", "from above", "ignoring height", "along the floor"),
    "vertical": ("vertical", "vertically", "height lie"),
    "front": ("front", "ahead", "foreground"),
    "back": ("back", "behind", "background"),
    "between": ("between", "apart"),
    "count": ("how many", "number of", "count"),
    "view": ("field of view", "angle of view"),
    "focal": ("focal length", "fx"),
}
_NEGATIONS = re.compile(
    r"\b(?:not|no|never|except|other than|isn't|aren't|doesn't|don't|opposite|least|without|neither|unless|instead"
    r" of|wrong)\b",
    re.IGNORECASE,
)
_UNITS = (
    "metre",
    "meter",
    "centimetre",
    "centimeter",
    "square met",
    "degree",
    "pixel",
    "inch",
    "feet",
    "foot",
    "millimet",
    "kilomet",
    "yard",
    "mile",
)
_UNIT_SIGNS = re.compile(r"\b(m|cm|mm|km|px|ft|in)\b")
_ASKS_CHOICE = re.compile(r"\b(which|what|whose|name|tell|choose|or|pick|identify)\b", re.IGNORECASE)


def strip_names(text: str, names: Sequence[str]) -> str:
    """The text without these names."""
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(re.escape(name), " ", text, flags=re.IGNORECASE)
    return text


def concepts(text: str) -> set[str]:
    """The answer-deciding concepts that a text mentions."""
    low = " ".join(text.lower().split())
    return {name for name, words in _CONCEPTS.items() if any(re.search(rf"\b{re.escape(w)}\b", low) for w in words)}


def _name_order(text: str, names: Sequence[str]) -> list[tuple[int, str]]:
    low = text.lower()
    return sorted((low.find(n.lower()), n) for n in names)


def units(text: str) -> set[str]:
    """The units that a text names, in signs: m, cm, ..."""
    low = text.lower()
    found = {u.replace("metre", "meter").replace("centimetre", "centimeter") for u in _UNITS if u in low}
    sign = {"m": "meter", "cm": "centimeter", "px": "pixel"}
    return {
        {"centimeter": "cm", "meter": "m"}.get(u, u)
        for u in found | {sign.get(s, s) for s in _UNIT_SIGNS.findall(low)}
        if not (u == "meter" and "centimeter" in found and not re.search(r"(?<!centi)met(?:er|re)", low))
    }


def unfaithful(
    original: str, text: str, *, names: Sequence[str] = (), answer: str = "", options: Sequence[str] = ()
) -> str:
    """ "" if `text` may replace `original`, else the reason, short enough to be counted by."""
    # Cheap and certain reasons first, so that they are what is counted: a refusal or an essay is no changed number.
    if not text or len(text) > MOST_GROWTH * len(original) + 80 or len(text) < 0.4 * len(original):
        return "length out of bounds"
    if text == original:
        return "unchanged"
    if any(ord(c) < 32 and c != "\n" for c in text) or _URL.search(text):
        return "holds something foreign"
    if _MARK.findall(text) != _MARK.findall(original):
        return "marks changed"
    if (
        _PLACEHOLDER.findall(text) != _PLACEHOLDER.findall(original)
        or "{" in _PLACEHOLDER.sub("", text)
        or "}" in _PLACEHOLDER.sub("", text)
    ):
        return "coordinates changed"
    if _OPTION_LINE.findall(text) != _OPTION_LINE.findall(original):
        return "options changed"
    # Option lines are the same by now: their letters and numbers must not stand in for the question's.
    body, base = _OPTION_LINE.sub("", text), _OPTION_LINE.sub("", original)
    if _NUMBER.findall(_PLACEHOLDER.sub("", body)) != _NUMBER.findall(_PLACEHOLDER.sub("", base)):
        return "numbers changed"
    if "\n" in body.strip() and "\n" not in base.strip():
        return "more than one line"
    return _same_question(base, body, names, answer, options)


def asks_negation(text: str) -> bool:
    """Whether a text holds a word that may turn its meaning round."""
    return _NEGATIONS.search(text) is not None


def foreign(text: str) -> bool:
    """Whether a text holds what no question may: addresses, marks, braces, code, a model's excuses."""
    return bool(_URL.search(text) or _MARK.search(text) or re.search(r"[{}\\\x00-\x1f]", text))


def _same_question(base: str, body: str, names: Sequence[str], answer: str, options: Sequence[str]) -> str:
    low_base, low_body = base.lower(), body.lower()
    mentioned = [n for n in names if n.lower() in low_base]
    if any(low_body.count(n.lower()) != low_base.count(n.lower()) for n in mentioned):
        return "object names changed"
    if [n for _, n in _name_order(body, mentioned)] != [n for _, n in _name_order(base, mentioned)]:
        return "order of objects changed"
    # Names go first: a "left-handed mug" or a "no entry sign" says nothing of what is asked.
    bare_base, bare_body = strip_names(base, mentioned), strip_names(body, mentioned)
    if concepts(bare_base) != concepts(bare_body):
        return "what is asked changed"
    if len(_NEGATIONS.findall(bare_base)) != len(_NEGATIONS.findall(bare_body)):
        return "negation added or lost"
    if units(bare_base) != units(bare_body):
        return "unit changed"
    yes_no = set(options) == {"yes", "no"}
    # A rewording that drops the choice asks for a sentence, which the reward of a choice cannot pay.
    if not yes_no and options and not _ASKS_CHOICE.search(bare_body):
        return "no longer asks for a choice"
    if yes_no and re.search(r"\b(which|what|whose|or not)\b", bare_body, re.IGNORECASE):
        return "no longer a yes-no question"
    # Answers are compared as written: their words must still be offered where the question offered them.
    words = [o for o in options if o.lower() in low_base and o not in mentioned]
    if any(o.lower() not in low_body for o in words):
        return "answer words lost"
    if low_body.count("answer") > low_base.count("answer") + 1 or re.search(
        r"\b(the answer is|correct answer)\b", low_body
    ):
        return "gives an answer"
    return ""

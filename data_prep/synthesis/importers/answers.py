"""What a row's answer is: a letter of its options, a number with a unit, a box, a word; and by which reward it is
scored.
"""

from __future__ import annotations

import dataclasses
import json
import re
from fractions import Fraction
from typing import Any

from data_prep.synthesis.importers.rows import BadRow
from spatial_jax.data.records import QUESTION_TYPES, coordinate
from spatial_jax.reading import parse_json

MRA = {"kind": "mra", "comparison": "<"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LONG = 6  # words of an answer that hardly any response will repeat exactly
_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)
_NUMBER = re.compile(r"([-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?)\s*([^\d\s.,][^\d]{0,20}|m2|cm2)?")
_LABEL = re.compile(r"(?<![A-Za-z0-9])(?:\(([A-Z])\)|([A-Z])[.):](?=\s|$))\s*")
_LETTER = re.compile(r"\(?([A-Za-z])\)?[.):]?(?:\s+(.*))?", re.DOTALL)
_NAMED = re.compile(r"(?<![A-Za-z0-9])([A-H])(?:\s*(?:,|/|or|and)\s*(?:or\s+|and\s+)?([A-H])(?![A-Za-z0-9]))+")
_TYPES = {
    **{name: name for name in QUESTION_TYPES},
    **dict.fromkeys(
        ("multiple choice", "multiple-choice", "multiple_choice", "choice", "multichoice", "select"), "mcq"
    ),
    **dict.fromkeys(("numerical", "numeric", "regression", "float", "integer", "int", "count", "counting"), "number"),
    **dict.fromkeys(("bbox", "grounding", "bounding box"), "box"),
    **dict.fromkeys(("pointing", "point_2d", "keypoint"), "point"),
    **dict.fromkeys(("yes/no", "yes_no", "boolean", "short answer", "text", "string"), "word"),
    **dict.fromkeys(("free-form", "free_form", "open", "open-ended", "open ended", "open_ended"), "word"),
}
# Units as records write them, by their spellings.
_UNITS = {
    "m": "m",
    "meter": "m",
    "metre": "m",
    "cm": "cm",
    "centimeter": "cm",
    "centimetre": "cm",
    "mm": "mm",
    "millimeter": "mm",
    "millimetre": "mm",
    "km": "km",
    "kilometer": "km",
    "kilometre": "km",
    "ft": "ft",
    "foot": "ft",
    "feet": "ft",
    "in": "in",
    "inch": "in",
    "inche": "in",
    "m2": "m2",
    "m^2": "m2",
    "m²": "m2",
    "sqm": "m2",
    "square meter": "m2",
    "square metre": "m2",
    "deg": "deg",
    "degree": "deg",
    "°": "deg",
    "px": "px",
    "pixel": "px",
    "%": "%",
    "percent": "%",
    "s": "s",
    "sec": "s",
    "second": "s",
}
_METRES = {"m": "1", "cm": "1/100", "mm": "1/1000", "km": "1000", "ft": "381/1250", "in": "127/5000"}


@dataclasses.dataclass(frozen=True)
class Answer:
    """A row's answer as a record holds it: its type, text, options, unit and reward, the model's thought where the row
    tells one; `why` says in a few words what was read.
    """

    question_type: str
    text: str
    reward: dict[str, Any]
    why: str
    options: tuple[str, ...] = ()
    unit: str = ""
    thought: str = ""


def unwrap_answer(text: str) -> tuple[str, str, str]:
    """(answer, thought, where it stood) of a solution's text: inside <answer> tags or the last \\boxed{}, after ####,
    or the whole.
    """
    thought = _THOUGHT.search(text)
    told = thought.group(1).strip() if thought else ""
    tagged = _TAG.findall(text)
    if tagged:
        inner, _, boxed = unwrap_answer(tagged[-1])
        return inner, told, boxed or "inside <answer> tags"
    at = text.rfind("\\boxed{")
    if at >= 0:
        depth, start = 0, at + len("\\boxed{")
        for end in range(start - 1, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                return text[start:end].strip(), told, "inside \\boxed{}"
    if "####" in text:
        return text.rsplit("####", 1)[1].strip(), told, "after ####"
    whole = (text[: thought.start()] + text[thought.end() :] if thought else text).strip()
    if len(whole) > 2 and whole.startswith("$") and whole.endswith("$"):
        return whole.strip("$").strip(), told, "inside $ $"
    return whole, told, ""


def listed_options(question: str) -> tuple[str, ...]:
    """The options that a question lists itself as "A. text", "B) text" or "(C) text", on lines of their own or in one
    line; () where it does not.
    """
    starts: list[tuple[int, int]] = []
    for match in _LABEL.finditer(question):
        if (match.group(1) or match.group(2)) == LETTERS[len(starts) : len(starts) + 1]:
            starts.append((match.start(), match.end()))
    if len(starts) < 2:
        return ()
    ends = [start for start, _ in starts[1:]] + [len(question)]
    texts = [question[begin:end].strip().strip(",;") for (_, begin), end in zip(starts, ends)]
    texts[-1] = texts[-1].split("\n")[0].strip()
    return tuple(texts) if all(texts) else ()


def given_options(value: Any) -> tuple[str, ...]:
    """Options of a row's field: a list, an object of letters, or a list in JSON or on lines; labels are taken off."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            value = value.split("\n")
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value) if value[key] is not None]
    if not isinstance(value, list):
        return ()
    texts = [str(v).strip() for v in value if v is not None and not isinstance(v, (list, dict)) and str(v).strip()]
    matches = [_LABEL.match(text) for text in texts]
    labelled = [(m.group(1) or m.group(2)) == LETTERS[i] if m else False for i, m in enumerate(matches[:26])]
    if texts and len(texts) <= 26 and all(labelled):
        bare = [text[m.end() :] if m else text for text, m in zip(texts, matches)]
        texts = bare if all(bare) else [LETTERS[i] for i in range(len(texts))]
    return tuple(texts)


def chosen_letter(text: str, options: tuple[str, ...]) -> str | None:
    """The letter of the option that a text names: "B", "b", "(B)", "B.", "B. text" or the option's own text; None where
    it names none. An answer that is an option's text to the letter stays it, as letters may be options.
    """
    lowered = [option.lower() for option in options]
    if text.lower() in lowered:
        return LETTERS[lowered.index(text.lower())]
    match = _LETTER.fullmatch(text)
    if not match:
        return None
    at = ord(match.group(1).upper()) - 65
    rest = (match.group(2) or "").strip().lower()
    return LETTERS[at] if at < len(options) and rest in ("", lowered[at], lowered[at].rstrip(".")) else None


def known_unit(text: str) -> str:
    """The unit as records write it; "" for none. BadRow for one that no reward knows."""
    name = " ".join(text.lower().split())
    found = _UNITS.get(name) or _UNITS.get(name.rstrip(".")) or _UNITS.get(name.rstrip(".").removesuffix("s"))
    if name and found is None:
        raise BadRow(f"unit {name[:20]!r} is unknown: use one of {', '.join(sorted(set(_UNITS.values())))}")
    return found or ""


def read_number(text: str, unit: str = "") -> tuple[str, str] | None:
    """(number, unit) of a text that is a number and nothing but a known unit after it, in `unit` where that is given;
    None for any other text. BadRow where the two units measure different things.
    """
    match = _NUMBER.fullmatch(text.strip().removesuffix(".") if len(text) < 60 else "")
    if not match:
        return None
    try:
        own = known_unit((match.group(2) or "").strip())
    except BadRow:
        return None
    digits = match.group(1).replace(",", "").removesuffix(".").removeprefix("+")
    if not abs(float(digits)) < float("inf"):
        return None
    if not own or not unit or own == unit:
        return digits, unit or own
    if own not in _METRES or unit not in _METRES:
        raise BadRow(f"answer is in {own} where the unit is {unit}")
    value = Fraction(digits) * Fraction(_METRES[own]) / Fraction(_METRES[unit])
    return f"{float(value):.10g}", unit


def _box(value: Any, size: tuple[int, int] | None) -> str | None:
    """A box as its text with coordinate placeholders; None where the value is no list of four numbers."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            return None
    numbers = isinstance(value, list) and len(value) == 4 and all(type(v) in (int, float) for v in value)
    if not numbers:
        return None
    if size is None:
        raise BadRow("answer is a box but the row has no picture")
    if max(value) <= 1 and any(v != int(v) for v in value):
        raise BadRow("box is in shares of the picture: give pixels")
    x1, y1, x2, y2 = value
    if not (0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]):
        raise BadRow("box does not lie in the picture: give [x1, y1, x2, y2] in its pixels")
    return "[" + ", ".join(coordinate("xyxy"[i], float(v)) for i, v in enumerate(value)) + "]"


def _polygon(value: Any, size: tuple[int, int]) -> str | None:
    """A polygon [[x, y], ...], or a list of them, as text with coordinate placeholders; None for anything else."""
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(v, list) and len(v) == 2 and all(type(n) in (int, float) for n in v) for v in value):
        if len(value) < 3:
            raise BadRow("the region that a point must lie in needs three corners or more, or a box")
        if not all(0 <= x <= size[0] and 0 <= y <= size[1] for x, y in value):
            raise BadRow("region does not lie in the picture: give [[x, y], ...] in its pixels")
        corners = (f"[{coordinate('x', float(x))}, {coordinate('y', float(y))}]" for x, y in value)
        return f"[{', '.join(corners)}]"
    parts = [_polygon(part, size) for part in value]
    return None if None in parts else f"[{', '.join(str(part) for part in parts)}]"


def _region(value: Any, size: tuple[int, int] | None) -> str:
    """Where a point must lie: a box, polygons in pixels, or a mask of runs. BadRow for anything else."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            raise BadRow("answer is no region: a box, [[x, y], ...] or a mask of runs") from None
    if isinstance(value, dict) and isinstance(value.get("counts"), list) and isinstance(value.get("size"), list):
        return json.dumps({"size": value["size"], "counts": value["counts"]})
    if size is None:
        raise BadRow("answer is a region but the row has no picture")
    found = _box(value, size) or _polygon(value, size)
    if found is None:
        raise BadRow("answer is no region: a box, [[x, y], ...] or a mask of runs")
    return found


def read_answer(
    value: Any, question: str, options: tuple[str, ...], stated: str, unit: str, size: tuple[int, int] | None
) -> Answer:
    """What the answer of a row is. `stated`: its question type where the row names one of ours; `options`: of the row's
    own field; `size`: of the first picture. BadRow where answer, options and type do not fit.
    """
    accept = [str(v).strip() for v in value if str(v).strip()] if isinstance(value, list) else []
    if stated == "point":
        return Answer("point", _region(value, size), {"kind": "point"}, "region that points must lie in, as stated")
    # Four numbers beside options are one of the options, not a box.
    if stated == "box" or (not stated and not options):
        box = _box(value, size)
        if box is not None:
            return Answer("box", box, {"kind": "iou"}, "box in pixels")
        if stated == "box":
            raise BadRow("answer is no box [x1, y1, x2, y2]")
    if isinstance(value, list):
        value = ", ".join(accept) if stated == "order" else accept[0] if accept else ""
    if isinstance(value, bool) and not options:
        value = "yes" if value else "no"
    text, thought, where = unwrap_answer(str(value))
    if not text:
        raise BadRow("answer is empty")
    # Many files list their options in the question's text only.
    known = options or (listed_options(question) if stated in ("", "mcq") else ())
    if stated == "order":
        return Answer("order", text, {"kind": "order"}, "order, as stated", options, thought=thought)
    if stated in ("", "mcq"):
        found = _choice(text, value, question, known, bool(options), stated)
        if found is not None:
            return dataclasses.replace(found, thought=thought, why=_why(found.why, where))
    # After the choices: "3" may be the third option, and a number only where no option is meant.
    number = read_number(text, unit) if stated in ("", "number") else None
    if number is not None:
        return Answer("number", number[0], MRA, _why("number", where), (), number[1], thought)
    if stated == "number":
        raise BadRow("answer is not a number")
    kind = stated or "word"
    long = f", more than {LONG} words" if len(text.split()) > LONG else ""
    words = {"kind": "word", "accept": accept or [text]}
    return Answer(kind, text, words, _why(f"text, compared word for word{long}", where), options, "", thought)


def _why(why: str, where: str) -> str:
    return f"{why} {where}" if where else why


def _choice(text: str, value: Any, question: str, options: tuple[str, ...], own: bool, stated: str) -> Answer | None:
    """The answer as a choice, None where the row is no choice."""
    choice = {"kind": "choice"}
    if len(options) > len(LETTERS):
        raise BadRow(f"more than {len(LETTERS)} options")
    bare = text.strip("().:")
    lettered = re.fullmatch(r"\(?[A-Ha-h]\)?[.):]?", text) and (bare.isupper() or stated or len(text) > 1)
    if not own and len(options) < 2 and lettered:
        letter = bare.upper()
        named = {part for match in _NAMED.finditer(question) for part in re.findall(r"\b[A-H]\b", match.group())}
        if letter not in named:
            raise BadRow("answer is a letter without options: give options, or list them in the question as 'A. text'")
        letters = tuple(LETTERS[: ord(max(named)) - 64])
        return Answer("mcq", letter, choice, "letter that the question names", letters)
    if not options:
        if stated == "mcq":
            raise BadRow("a choice without options: give options, or list them in the question as 'A. text'")
        return None
    if len(options) == 1:
        raise BadRow("a choice of one option")
    if type(value) is int and str(value) not in options:
        if not 0 <= value < len(options):
            raise BadRow("answer is none of the options")
        return Answer("mcq", LETTERS[value], choice, "number of an option, counted from 0", options)
    picked = chosen_letter(text, options)
    if picked is None and not own and not stated:
        return None  # what looked like options in the question was something else
    if picked is None:
        raise BadRow("answer is none of the options")
    exact = text if text in options else picked
    return Answer("mcq", exact, choice, "one of the options" if own else "one of the question's options", options)


def stated_type(value: Any) -> tuple[str, str]:
    """(question type of ours, rest): a row's own word for it, or the word as a family where it is no type of answer."""
    if not isinstance(value, str) or not value.strip():
        return "", ""
    name = " ".join(value.lower().split())
    return (_TYPES[name], "") if name in _TYPES else ("", value.strip())

"""SpatialEval (Wang et al., NeurIPS 2024, arXiv 2406.14852): maps, mazes, grids, photos; text, picture, or both (tqa,
vqa, vtqa).

Official: extraction by task and question type (the last number of the id), then the lower-cased oracle answer must be
contained in what was extracted ("2" is contained in "12"). Spatial-Real has no extractor in the repository: its whole
text is searched for the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals import matching
from spatial_jax.evals.benchmarks.base import Benchmark, Item, Metrics, Scored, correct
from spatial_jax.evals.intervals import Cell, macro, pool
from spatial_jax.evals.sources import picture, read_rows

TASKS = ("spatialmap", "mazenav", "spatialgrid", "spatialreal")
POST = (
    "\nFirst, provide a concise answer in one sentence. Then, elaborate on the reasoning behind your answer in a"
    " detailed, step-by-step explanation."
)
_NUMBERS = {
    word: value
    for value, words in enumerate(
        (
            ("zero", "no"),
            ("one",),
            ("two",),
            ("three",),
            ("four",),
            ("five",),
            ("six",),
            ("seven",),
            ("eight",),
            ("nine",),
        )
    )
    for word in words
}
_SIDES = r"(?:southeast|northeast|northwest|southwest)"
_SIDE = re.compile(rf"\b({_SIDES})\b", re.IGNORECASE)
_LABELLED_SIDE = re.compile(rf"\b[A-D]\.\s*({_SIDES})\b", re.IGNORECASE)
_ANIMAL = re.compile(r"\b(giraffe|cat|dog|elephant|rabbit)\b", re.IGNORECASE)
_OPTION_NUMBER = re.compile(r"\b[A-D]\.\s*(\d+)")
_LIST_MARK = re.compile(r"^\n\n\d+\.\s")
_NUMBER_WORD = re.compile(r"\b(" + "|".join(_NUMBERS) + r")\b", re.IGNORECASE)
# The longer forms have no word end in the published list: "the answer is northwest" is a No.
_YES = re.compile(r"\byes\b|the answer is yes|is the shortest path", re.IGNORECASE)
_NO = re.compile(r"\bno\b|the answer is no|\bnot\b", re.IGNORECASE)
# The published patterns for names, rewritten so that each takes linear time; see `_map_name`.
_NAME = re.compile(r"[\w\s'\u2019]*")
_IS_LOCATED = re.compile(rf"(?<!\s)\s+is\s+(?:located\s+|in\s+the\s+|located\s+to\s+the\s+)\b{_SIDES}\b", re.IGNORECASE)
_OPTION_TEXT = re.compile(r"\b[A-D]\.\s*(.*)")
_COMMA_LABEL = re.compile(r"\b([ABCD][.,]|\([abcdABCD]\))\s*")
_STOP = re.compile(r"[.,<]|\sis\b|\n")
_THEREFORE = re.compile(rf"Therefore, the object in the \b{_SIDES}\b of ([\w\s'\u2019]+)", re.IGNORECASE)
_IS, _IS_STOP = re.compile(r"\bis\b\s+"), re.compile(r"[.,<\n]")
_TURNS = {
    0: tuple(
        re.compile(p, re.IGNORECASE)
        for p in (
            r"\bThere are\s*(\d+)\s*right turns\b",
            r"\bThere is\s*(\d+)\s*right turn\b",
            r"\b(\d+)\s+right turn",
            r"answer is\s+(\d+)",
            r"answer is:\s*(\d+)",
            r"from S to E is\s+(\d+)",
            r"Answer:\*\*\s*(\d+)\b",
        )
    ),
    1: tuple(
        re.compile(p, re.IGNORECASE)
        for p in (
            r"\bThere are\s*(\d+)\s*total turns\b",
            r"\bThere are\s*(\d+)\s*turns\b",
            r"There is\s*(\d+)\s*turn\b",
            r"There is\s*(\d+)\s*total turn\b",
            r"answer is\s+(\d+)",
            r"answer is:\s*(\d+)",
            r"from S to E is\s+(\d+)",
            r"\btotal of\s+(\d+)\s+turn",
            r"Answer:\*\*\s*(\d+)\b",
            r"(?<!\d)(\d+)\s+total turn",
            r"\b(\d+)\s+turn",
        )
    ),
}


def load(root: Path) -> list[dict[str, Any]]:
    return [
        {**row, "id": str(row.get("id", number)), "images": [p for p in [picture(row.get("image"), row["_root"])] if p]}
        for number, row in enumerate(read_rows(root, ("*test*", "*")))
    ]


def task_and_type(item: Item) -> tuple[str, int]:
    """("mazenav", 2) out of an id like "mazenav.vqa.0.2"."""
    parts = str(item["id"]).split(".")
    return parts[0].replace("-", "").lower(), int(parts[-1]) if parts[-1].isdigit() and len(parts[-1]) < 3 else 0


def prompt(item: Item, scoring: str) -> str:
    return str(item["text"]) if scoring == "vlmevalkit" else f"{item['text']}{POST}"


def extract(response: str, task: str, kind: int) -> str | int | None:
    """What the official script takes from a response, None when nothing. Numbers are ints, so "007" is 7. ValueError
    for a question type that a task does not have, and for more digits than Python turns into a number.
    """
    if task in ("spatialmap", "mazenav") and kind not in (0, 1, 2):
        raise ValueError(f"question type {kind} is not one of {task}'s")
    if task == "spatialmap":
        return _extract_map(response, kind)
    if task == "mazenav":
        return _extract_maze(response, kind)
    if task == "spatialgrid":
        if kind == 0:
            return _earliest_number(response)
        match = _ANIMAL.search(response)
        return match.group(1) if match else None
    return response or None


def _extract_map(text: str, kind: int) -> str | int | None:
    if kind == 0:
        match = _LABELLED_SIDE.search(text) or _SIDE.search(text)
        return match.group(1) if match else None
    if kind == 1:
        return _map_name(text)
    match = _OPTION_NUMBER.search(text)
    return int(match.group(1)) if match else _earliest_number(text)


def _map_name(text: str) -> str | None:
    """The name in "X is located/in the SIDE" at the start, else the text after a label "A.", else a label with a comma
    or in brackets (the label itself, as published), else the name of a "Therefore, ..." sentence, else what follows the
    first "is" that a full stop, comma, "<" or the end closes on its line. The published patterns for Claude, Gemini and
    GPT-4o outputs are used for those models alone and are left out.
    """
    opening = _located_name(text)
    if opening is not None:
        return opening
    match = _OPTION_TEXT.search(text)
    if match:
        return match.group(1).replace("**", "").replace(".", "").split(" is", 1)[0].strip()
    label = _comma_label(text)
    if label is not None:
        return label
    return _therefore_name(text) or _name_after_is(text)


def _therefore_name(text: str) -> str | None:
    position = 0
    while (match := _THEREFORE.search(text, position)) is not None:
        run = match.group(1)
        last = run.rfind(" is ", 1, len(run) - 1)  # something before it and something after
        if last > 0:
            return run[last + len(" is ") :]
        position = match.start(1)
    return None


def _name_after_is(text: str) -> str | None:
    closed = 0  # an "is" whose name would begin before this place ends in the same line break
    for match in _IS.finditer(text):
        if match.end() <= closed:
            continue
        stop = _IS_STOP.search(text, match.end())
        end = stop.start() if stop else len(text)
        if stop is None or stop.group() != "\n" or end == len(text) - 1:
            return text[match.end() : end].strip().rstrip(".,?!<")
        closed = end
    return None


def _located_name(text: str) -> str | None:
    match = _IS_LOCATED.search(text, 0, len(text))
    width = _NAME.match(text).end()  # type: ignore[union-attr]
    while match is not None and match.start() <= width:
        start = match.start() or 1
        # the name takes at least one character, also of the blanks that a text may begin with
        if start < match.end() and text[start].isspace():
            return text[:start]
        match = _IS_LOCATED.search(text, match.end())
    return None


def _comma_label(text: str) -> str | None:
    closed = 0
    for match in _COMMA_LABEL.finditer(text):
        label = match.group(1).rstrip(".,?!<")
        if match.end() > match.end(1) and re.match(r"is\b", text[match.end() : match.end() + 3]):
            return label
        if match.end() <= closed:
            continue
        stop = _STOP.search(text, match.end())
        if stop is None or stop.group() != "\n" or stop.end() == len(text):
            return label
        closed = stop.start()
    return None


def _extract_maze(text: str, kind: int) -> str | int | None:
    if kind == 2:
        return "Yes" if _YES.search(text) else "No" if _NO.search(text) else None
    # Any number word anywhere comes before all digits, in the order of the published table.
    spoken = {word.casefold() for word in _NUMBER_WORD.findall(text)}
    for word, value in _NUMBERS.items():
        if word in spoken:
            return value
    for pattern in _TURNS[kind]:
        match = pattern.search(text)
        if match:
            return int(match.group(1))
    first = re.search(r"\d+", text)
    return int(first.group()) if first else None


def _earliest_number(text: str) -> int | None:
    r"""The first number word or digits. A list mark "\n\n1. " at the start is cut off before digits are looked for,
    though the places of words are counted with it, as published.
    """
    word = _NUMBER_WORD.search(text)
    cut = _LIST_MARK.sub("", text)
    digits = re.search(r"\d+", cut)
    if word and (digits is None or word.start() <= digits.start()):
        return _NUMBERS[word.group(1).casefold()]
    return int(digits.group()) if digits else None


_OPTION_LINE = re.compile(r"^\s*([A-D])\.\s*(.+?)\s*$", re.MULTILINE)


def dress(text: str, item: Item, scoring: str) -> str:
    """A bare answer as the labelled option that the official patterns look for: "B" and "Oz Mart" as "B. Oz Mart"."""
    if scoring == "vlmevalkit":
        return text
    options, bare = dict(_OPTION_LINE.findall(str(item.get("text", "")))), text.strip(" ().")
    if bare.upper() in options:
        return f"{bare.upper()}. {options[bare.upper()]}"
    if task_and_type(item) == ("spatialmap", 1) and " is" not in text and not re.match(r"[A-D]\.", text):
        return f"A. {text}"
    return text


def score(response: str, item: Item, scoring: str) -> Scored:
    if scoring == "vlmevalkit":
        options = dict(_OPTION_LINE.findall(str(item.get("text", "")))) or dict.fromkeys("ABCD", "\0")
        letter = matching.can_infer(response, options)
        return correct(
            letter == str(item.get("oracle_option", "")).strip().upper()[:1], None if letter == "Z" else letter
        )
    try:
        found = extract(response, *task_and_type(item))
    except ValueError:  # the published script passes over such a line and counts it as wrong
        return 0.0, None
    return correct(str(item["oracle_answer"]).lower() in str(found).lower(), found)


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    means = {name: cell.mean for name, cell in cells.items()}
    return {"overall": macro(list(means.values())), "micro": pool(list(cells.values())).mean, **means}


BENCHMARK = Benchmark(
    name="spatial_eval",
    title="SpatialEval",
    hub="MilaWang/SpatialEval",
    required=("oracle_answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: task_and_type(item)[0],
    aggregate=aggregate,
    dress=dress,
    scorings=("official", "vlmevalkit"),
    max_new_tokens=512,
    oracle=lambda item, scoring: str(
        item.get("oracle_option")
        if scoring == "vlmevalkit"
        else item.get("oracle_full_answer") or item["oracle_answer"]
    ),
    guesses=lambda item: [f"{c}." for c in "ABCD"],
)

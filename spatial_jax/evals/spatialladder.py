"""SpatialLadder's own scoring of VSI-Bench, SPBench, SPAR-Bench, ViewSpatial and CV-Bench (arXiv 2510.08531): its
prompts, and how it reads letters and numbers.

Two prompt modes: `spatialladder` asks for the answer, `spatialladder_thinking` for <think> and <answer>, whose content
is then read; a tag that is not closed is read as the word "None". Number words are looked for in the order of the
published table, "a" and "an" counting as one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from spatial_jax.evals.benchmarks.base import Item, ItemError, Metrics, Scored, correct
from spatial_jax.evals.intervals import macro
from spatial_jax.evals.mra import finite, mra_signed, to_float
from spatial_jax.evals.numbers import UNITS_TO_TWENTY

SCORINGS = ("spatialladder", "spatialladder_thinking")
_TENS = ("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NUMBER_WORDS = {
    **{word: str(value) for word, value in UNITS_TO_TWENTY.items() if value},
    **{word: str(10 * value) for value, word in enumerate(_TENS, 3)},
    "zero": "0",
    "a": "1",
    "an": "1",
}
_WORD = re.compile(r"\b(" + "|".join(NUMBER_WORDS) + r")\b")
_RANK = {word: rank for rank, word in enumerate(NUMBER_WORDS)}
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_THINK = (
    "Please think about this question as if you were a human pondering deeply. Engage in an internal dialogue using"
    " expressions such as 'let me think', 'wait', 'Hmm', 'oh, I see', 'let's break it down', etc, or other natural"
    " language thought expressions It's encouraged to include self-reflection or verification in the reasoning"
    " process. \n"
)
_REASON = "Please provide your detailed reasoning between the <think> </think> tags, and then answer the question "
_LETTER = "with the option's letter from the given choices"
_POST = {
    ("choice", False): f"Please answer {_LETTER} (e.g., A, B, etc.) directly.",
    ("letter", False): f"Please answer {_LETTER} directly.",
    ("number", False): "Please answer the question using a numerical value (e.g., 42 or 3.1) directly.",
    ("special", False): "Please output the answer directly.",
    ("choice", True): f"{_REASON}{_LETTER} (e.g., A, B, etc.) within the <answer> </answer> tags.",
    ("letter", True): f"{_REASON}{_LETTER} (e.g., A, B, etc.) within the <answer> </answer> tags.",
    ("number", True): f"{_REASON}with a numerical value (e.g., 42 or 3.1) within the <answer> </answer> tags.",
    ("special", True): f"{_REASON}simply within the <answer> </answer> tags.",
}


def thinks(scoring: str) -> bool:
    """Whether a scoring is the mode that asks for <think> and <answer>."""
    return scoring.endswith("thinking")


def prompt(question: str, kind: str, scoring: str, *, options: str = "", extra: str = "") -> str:
    """The question as SpatialLadder asks it. kind: choice, letter (a choice without examples), number or special;
    options: the options' lines; extra: a sentence before the last one.
    """
    thinking = thinks(scoring)
    head = f"Question: {question}" + (f"\nOptions:\n{options}" if options else "") + "\n"
    return head + (_THINK if thinking else "") + f"\n{extra}" + _POST[kind, thinking]


def answer_text(response: str, scoring: str) -> str:
    """What is read: under a thinking scoring the stripped content of the first <answer> block, the word "None" when it
    is not closed, and the whole response without one; else the response.
    """
    start = response.find("<answer>") if thinks(scoring) else -1
    if start < 0:
        return response
    end = response.find("</answer>", start)
    return response[start + len("<answer>") : end].strip() if end >= 0 else "None"


def letter(text: str) -> str:
    """The first blank-separated word if it is A-D with an optional dot (case counts), else the whole stripped text. A
    leading blank makes the first word empty.
    """
    first = text.split(" ", 1)[0].strip()
    return first[:1] if re.fullmatch(r"[A-D]\.?", first) else text.strip()


def bracketed_letter(text: str) -> str:
    """CV-Bench's: the letter may be lower case and stand in brackets."""
    first = text.split(" ", 1)[0].strip()
    found = re.fullmatch(r"[(\[{]?([A-D])[)\]}]?\.?", first, re.IGNORECASE)
    return found.group(1).upper() if found else text.strip()


def number_text(text: str) -> str:
    """The number word that comes first in the table (anywhere in the text), else the first digits without their sign,
    else "None".
    """
    text = text.strip().lower()
    words = set(_WORD.findall(text))
    if words:
        return NUMBER_WORDS[min(words, key=_RANK.__getitem__)]
    match = _NUMBER.search(text)
    return match.group() if match else "None"


def score_item(response: str, item: Item, scoring: str, *, choice: bool) -> Scored:
    """One item of VSI-Bench or SPBench: equality of letters, or mean relative accuracy of numbers."""
    gold, text = str(item["ground_truth"]), answer_text(response, scoring)
    if choice:
        said = letter(text.replace("Answer:", ""))
        return correct(said.lower() == gold.lower(), said)
    number, truth = to_float(number_text(text)), to_float(gold)
    if truth is None:
        raise ItemError(f"item {item.get('id', '?')}: ground_truth {gold!r} is not a number")
    if number is None:
        return 0.0, None
    if truth == 0:
        raise ItemError(f"item {item.get('id', '?')}: ground_truth 0 stops SpatialLadder's script (division by zero)")
    return (mra_signed(number, truth) if finite(number) else 0.0), number


def aggregate(means: Mapping[str, Any], numeric: tuple[str, ...]) -> Metrics:
    """overall = unweighted mean of the question types, the directions being one: the plain mean of easy, medium and
    hard where all three are there, else 0, as published.
    """
    direction, parts = "object_rel_direction", dict(means)
    if direction not in parts:
        three = [f"{direction}_{level}" for level in ("easy", "medium", "hard")]
        whole = all(name in parts for name in three)
        # zeros of the means' own shape: an interval's replicates are arrays
        nothing = 0 * np.asarray(next(iter(parts.values()), 0.0))
        parts[direction] = macro([parts[name] for name in three]) if whole else nothing
        for name in three:
            parts.pop(name, None)
    groups = {
        label: macro([value for name, value in parts.items() if (name in numeric) == wanted])
        for label, wanted in (("choice", False), ("numeric", True))
        if any((name in numeric) == wanted for name in parts)
    }
    return {"overall": macro(list(parts.values())), **groups, **means, direction: parts[direction]}

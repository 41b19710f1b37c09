"""What a benchmark is: how its published files become items, what is asked, how a response is scored, how scores become
its numbers.

Items are plain dicts with the published field names, plus "id" (unique string), "images" (encoded bytes or paths) and,
for videos, "video" (a path). `score` and `prompt` are pure and need only the published fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.evals.intervals import Cell, macro, pool

Item = Mapping[str, Any]
Scored = tuple[float, Any]  # (score, what was parsed; None = nothing)
Metrics = dict[str, "np.ndarray | float"]
Outcome = tuple[float, Any]  # an item's (mean score, first parsed answer)
Derived = list[tuple[float, str]] | float  # (value, scene) pairs whose mean is the metric, or the metric itself
SCORINGS = ("official", "lmms_eval", "vlmevalkit")


class ItemError(ValueError):
    """An item that cannot be scored or asked; the message is one line and names the field."""


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """One public benchmark. Functions take the published fields; `scoring` is one of `scorings`."""

    name: str
    title: str
    hub: str  # dataset name on the Hugging Face hub, "" when it is not there
    required: tuple[str, ...]  # fields that scoring needs
    load: Callable[[Path], list[dict[str, Any]]]
    prompt: Callable[[Item, str], str]  # <image> marks where pictures stand; without marks they come first
    score: Callable[[str, Item, str], Scored]
    category: Callable[[Item], str]  # the family shown in tables
    oracle: Callable[[Item, str], str]  # a response that scores 1
    aggregate: Callable[[Mapping[str, Cell], str], Metrics] = lambda cells, scoring: micro_and_macro(cells)
    cell: Callable[[Item], str] | None = None  # finer key of `aggregate`'s cells; default: the category
    scene: Callable[[Item], str] = lambda item: str(item.get("scene", item["id"]))
    derived: Callable[[Sequence[Item], Sequence[Outcome], str], dict[str, Derived]] | None = (
        None  # metrics of groups of items
    )
    grouped: bool = False  # `derived` takes unanswered items too, with the value nan, and leaves their groups out
    scorings: tuple[str, ...] = SCORINGS
    max_new_tokens: int = 64
    frames: int = 0  # frames of a video, 0 when it has none
    rotate: Callable[[Item, int], dict[str, Any]] | None = None  # the item with its options rotated by n places
    # How a bare answer is written so that a scoring reads it (a letter as "Answer: B"): used on what a response form
    # extracts; None: as it stands.
    dress: Callable[[str, Item, str], str] | None = None
    guesses: Callable[[Item], Sequence[str]] | None = (
        None  # responses a blind guesser may try; default: the letters A-D
    )
    image_size: tuple[int, int] | None = None  # (width, height) that the official script resizes to
    notes: str = ""
    arithmetic: Mapping[str, str] = dataclasses.field(default_factory=dict)  # scoring -> how it computes, beside notes


def micro_and_macro(cells: Mapping[str, Cell]) -> Metrics:
    """overall = mean over items; macro = unweighted mean over categories."""
    return {"overall": pool(list(cells.values())).mean, "macro": macro([c.mean for c in cells.values()])}


def is_whole(values: Sequence[float]) -> bool:
    """Whether every member of a group has a score."""
    return not any(value != value for value in values)


def by_category(cells: Mapping[str, Cell], key: Callable[[str], str]) -> dict[str, Cell]:
    """Cells pooled under key(name)."""
    groups: dict[str, list[Cell]] = {}
    for name, cell in cells.items():
        groups.setdefault(key(name), []).append(cell)
    return {name: pool(members) for name, members in groups.items()}


def correct(right: bool, parsed: Any) -> Scored:
    """(1.0 or 0.0, parsed with empty text turned to None)."""
    return float(right), None if parsed is None or parsed is False or parsed == "" else parsed


def option_texts(item: Item) -> dict[str, Any]:
    """{"A": text, ...} from columns A, B, C, ... (a TSV) or from a list under choices, options or answer_options."""
    for field in ("choices", "options", "answer_options", "answers"):
        value = item.get(field)
        if isinstance(value, (list, tuple, np.ndarray)):
            return {chr(65 + i): text for i, text in enumerate(value)}
    columns = {letter: item[letter] for letter in "ABCDEFGH" if letter in item}
    return {letter: text for letter, text in columns.items() if not missing(text)}


def boxed_for(suffix: str) -> Callable[[str, Item, str], str]:
    """A `dress` that puts the answer into \\boxed{} under the scorings whose name ends in `suffix`."""
    return lambda text, item, scoring: f"\\boxed{{{text}}}" if scoring.endswith(suffix) else text


def missing(value: Any) -> bool:
    """True for None, nan, and the texts "" and "nan" that TSV files hold for absent options."""
    if value is None or (isinstance(value, float) and value != value):
        return True
    return isinstance(value, str) and value.strip().lower() in ("", "nan")


def letter_options(
    options: Mapping[str, Any] | Sequence[Any], form: str = "{letter}. {text}", joint: str = "\n"
) -> str:
    """Options as one text, a line each by default."""
    pairs = options.items() if isinstance(options, Mapping) else ((chr(65 + i), text) for i, text in enumerate(options))
    return joint.join(form.format(letter=letter, text=text) for letter, text in pairs)


def vlmevalkit_prompt(item: Item) -> str:
    """VLMEvalKit's ImageMCQ prompt."""
    hint = "" if missing(item.get("hint")) else f"Hint: {item['hint']}\n"
    return (
        f"{hint}Question: {item['question']}\nOptions:\n{letter_options(option_texts(item))}\n"
        "Please select the correct answer from the options above. \n"
    )


def letter_of(answer: Any) -> str:
    """ "C" for "(C)", "c", "C. chair", 2 (an index): the gold letter in capitals."""
    if isinstance(answer, (int, np.integer)) and not isinstance(answer, bool):
        return chr(65 + int(answer))
    text = str(answer).strip().lstrip("(").strip()
    return text[:1].upper()


def rotated_list(values: Sequence[Any], n: int) -> list[Any]:
    """The list started at place n: [a, b, c] by 1 is [b, c, a]."""
    values = list(values)
    n %= max(len(values), 1)
    return values[n:] + values[:n]


def rotated_index(index: int, count: int, n: int) -> int:
    """Where place `index` of `count` goes under rotated_list(..., n)."""
    return (index - n) % count

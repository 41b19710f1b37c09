"""Orderings in a response: "3-1-2", or names ("lamp, chair, table", "lamp > chair > table", numbered lines)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from spatial_jax.rewards.parsing.cues import after_cue
from spatial_jax.rewards.parsing.text import clean, fold

_NUMERIC_TRUTH = re.compile(r"\s*[0-9]{1,4}(?:\s*[-,>]\s*[0-9]{1,4})*\s*")
_NUMERIC = re.compile(
    r"(?<![0-9A-Za-z.])[0-9]{1,4}(?:\s{0,3}(?:-|–|,|>|->|=>|→|<)\s{0,3}[0-9]{1,4}){1,200}(?![0-9A-Za-z])"
)
_SPLIT = re.compile(r"\s*(?:,|;|>|->|=>|→|\n|\bthen\b)\s*")


def truth_order(answer: str) -> tuple[str, ...]:
    """A record's answer as its items: numbers for "3-1-2", names split at commas or arrows otherwise. ValueError when
    fewer than two or repeated.
    """
    answer = clean(answer).replace("–", "-")
    if _NUMERIC_TRUTH.fullmatch(answer):
        items = tuple(str(int(item)) for item in re.findall(r"[0-9]+", answer))
    else:
        items = tuple(fold(item) for item in _SPLIT.split(answer) if fold(item))
    if len(items) < 2 or len(set(items)) != len(items):
        raise ValueError(
            f"answer {answer!r} is not an order of two or more different items; write 3-1-2 or lamp, chair, table"
        )
    return items


def parse_order(text: str, items: Sequence[str]) -> tuple[str, ...] | None:
    """The order of `items` (as `truth_order` gives them, in any order) that a response states, None when it states none
    or several. Read from what follows the last "answer is", else from the whole text, else from its last line.
    """
    text = clean(text)
    tail = after_cue(text)
    lines = text.strip().splitlines()
    find = _find_numeric if all(item.isdigit() for item in items) else _find_names
    for part in (tail, text, lines[-1] if lines else None):
        order = find(part, items) if part is not None else None
        if order is not None:
            return order
    return None


def _find_numeric(text: str, items: Sequence[str]) -> tuple[str, ...] | None:
    """The one sequence of numbers with the items' length; several different ones are no answer."""
    found = {tuple(str(int(n)) for n in re.findall(r"[0-9]+", m.group())) for m in _NUMERIC.finditer(text)}
    orders = {order for order in found if len(order) == len(items)}
    return orders.pop() if len(orders) == 1 else None


def _find_names(text: str, items: Sequence[str]) -> tuple[str, ...] | None:
    """The names in order of mention, when each is mentioned exactly once as whole words."""
    pattern = re.compile(
        r"(?<!\w)(?:" + "|".join(re.escape(item) for item in sorted(items, key=len, reverse=True)) + r")(?!\w)"
    )
    order: list[str] = []
    for match in pattern.finditer(text.casefold()):
        order.append(match.group())
        if len(order) > len(items):
            return None
    return tuple(order) if len(order) == len(items) == len(set(order)) else None

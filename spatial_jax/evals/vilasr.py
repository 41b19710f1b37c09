"""ViLaSR's own scoring (arXiv 2506.09965, its evaluation script): one rule for each type of question.

The answer is the first <answer> block of the last turn, stripped, else the whole last turn. Errors are float32 there,
so they are here: 1.2 against 1 scores .6. An empty answer to a choice stops the published script; here it scores 0.
"""

from __future__ import annotations

import numpy as np

from spatial_jax.blocks import assistant_turns, first_block
from spatial_jax.evals.benchmarks.base import Item, ItemError, Scored
from spatial_jax.evals.mra import mra_vilasr, to_float

TYPES = ("multiple choice", "numerical", "regression", "vci")
AXES = (
    ("move_right", "move_left"),
    ("move_up", "move_down"),
    ("move_forward", "move_backward"),
    ("rotate_right", "rotate_left"),
    ("rotate_up", "rotate_down"),
)


def problem_type(item: Item, default: str) -> str:
    """The item's own "problem_type", else `default`. ItemError for one that the script does not know."""
    kind = str(item.get("problem_type") or default).lower()
    if kind not in TYPES:
        raise ItemError(f"item {item.get('id', '?')}: problem_type {kind!r} is not one of {', '.join(TYPES)}")
    return kind


def score(response: str, gold: str, kind: str) -> Scored:
    """(score, what was read) of a response under one of TYPES.

    multiple choice: the first characters, whatever their case. numerical: both or neither with a "." or ",", commas
    removed, equal when rounded to two decimals. regression: mean relative accuracy with `<=`. vci: mean of that over
    five net motions of "move_right:0.3,rotate_left:15".
    """
    # a plain response is read as it stands: only a conversation has turns
    turn = assistant_turns(response)[-1] if "<|im_start|>" in response else response
    said, truth = (block if (block := first_block(text)) is not None else text for text in (turn, gold))
    if kind == "multiple choice":
        letter, right = said.strip()[:1], truth.strip()[:1]
        return float(letter != "" and letter.lower() == right.lower()), letter or None
    if kind == "vci":
        return _motion_score(said, truth)
    number, true = (to_float(text.replace(",", "")) for text in (said, truth))
    if number is None or true is None:
        return 0.0, number
    if kind == "numerical":
        alike = any(mark in said for mark in ".,") == any(mark in truth for mark in ".,")
        return float(alike and round(number, 2) == round(true, 2)), number
    return mra_vilasr(number, true), number


def net_motion(text: str) -> list[float]:
    """Five net values of "move_right:0.3,rotate_left:15". ValueError for any malformed part."""
    parts = {}
    for entry in text.split(","):
        key, value = entry.split(":")
        parts[key] = float(value)
    return [parts.get(plus, 0.0) - parts.get(minus, 0.0) for plus, minus in AXES]


def _motion_score(said: str, truth: str) -> Scored:
    try:
        predicted, true = net_motion(said), net_motion(truth)
    except ValueError:
        return 0.0, None
    return float(np.mean([mra_vilasr(p, t) for p, t in zip(predicted, true)])), predicted

r"""What several released rewards have in common, as their code does it: the last \boxed{}, their format predicates, and
mean relative accuracy in float32 (ViLaSR) and float64 (SpaceR). Every function is linear in the text.
"""

from __future__ import annotations

import ast
import re
from fractions import Fraction
from typing import Any

import numpy as np

from spatial_jax.blocks import strip_end_marks
from spatial_jax.drawing.grammar import released_blocks

_AFTER_MARK = re.compile(r"(?<=[<>/])\s+")
_BRACE = re.compile(r"[{}]")
_BOXED = "\\boxed{"
_THOUGHT_THEN_ANSWER = re.compile(r"</think>\s*<answer>")
_ACTION = re.compile(r"</think>\s*Action:")
_TURN_START, _TURN_END = "<|im_start|>", "<|im_end|>"
_LONGEST = 20_000  # characters of a block of drawings that are parsed
_THRESHOLDS = np.linspace(0.5, 0.95, int((0.95 - 0.5) / 0.05 + 2))


def tighten(text: str) -> str:
    """No white space around <, > and /. The text is turned round for the blanks before a mark: looking ahead from every
    blank for the mark takes quadratic time on a long run.
    """
    return _AFTER_MARK.sub("", _AFTER_MARK.sub("", text)[::-1])[::-1]


def last_box(text: str) -> str | None:
    r"""Stripped content of the last \boxed{, None where that one is not closed, whatever stands before it."""
    start = text.rfind(_BOXED)
    if start < 0:
        return None
    start += len(_BOXED)
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return text[start : brace.start()].strip()
    return None


def thinks_then_boxes(text: str) -> bool:
    r"""Whether a text begins with <think>, and a </think>, a \boxed{ and a } follow one another in it."""
    close = text.find("</think>", len("<think>"))
    boxed = text.find(_BOXED, close) if close >= 0 else -1
    return text.startswith("<think>") and boxed >= 0 and text.find("}", boxed + len(_BOXED)) >= 0


def thinks_then_answers(text: str) -> bool:
    """Whether a text begins with <think>, ends with </answer>, and </think> <answer> stands between."""
    between = _THOUGHT_THEN_ANSWER.search(text, len("<think>"))
    return (
        between is not None
        and text.startswith("<think>")
        and text.endswith("</answer>")
        and len(text) - len("</answer>") >= between.end()
    )


def draws(response: str) -> bool:
    """ViLaSR's format: every turn thinks and then acts, the last turn alone answers, and all drawings are lists of
    items that are boxes or paths by their keys.
    """
    turns = _turns(response)
    for number, turn in enumerate(turns):
        action = _ACTION.search(turn, len("<think>"))
        tags = [tag in turn for tag in ("<answer>", "</answer>")]
        if (
            not turn.startswith("<think>")
            or action is None
            or not (all(tags) if number == len(turns) - 1 else not any(tags))
        ):
            return False
    return all(_are_drawings(block) for block in released_blocks("".join(turns)))


def _turns(response: str) -> list[str]:
    """The assistant's turns as they stand, the first without a header (the prompt ends with it)."""
    turns = []
    for number, part in enumerate(strip_end_marks(response).split(_TURN_START)):
        if number == 0 or part.startswith("assistant"):
            turns.append(part.split(_TURN_END)[0].removeprefix("assistant\n" if number else ""))
    return turns


def _are_drawings(block: str) -> bool:
    if len(block) > _LONGEST:
        return False
    try:
        items: Any = ast.literal_eval(block)
        return items is not None and all(
            "label" in item and ("bbox_2d" in item or ("start_point_2d" in item and "end_point_2d" in item))
            for item in items
        )
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False


def mra_float32(predicted: Fraction | float, truth: Fraction | float, *, strict: bool) -> float:
    """ViLaSR's mean relative accuracy, |p - t| / (|t| + 1e-8) in float32: `<` in its reward, `<=` in its evaluation.
    9 against 10 scores .9 with `<`, where exact numbers give .8.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        p, t = (np.float32(_float(value)) for value in (predicted, truth))
        error = np.abs(p - t) / (np.abs(t) + np.float32(1e-8))
    limits = np.float32(1) - np.arange(0.5, 0.975, 0.05).astype(np.float32)
    return float(np.mean(error < limits if strict else error <= limits))


def mra_float64(predicted: float, truth: float) -> float:
    """SpaceR's mean relative accuracy, |p - t| / t <= 1 - threshold in float64: a negative truth always scores 1, a
    truth of zero 0.
    """
    if truth == 0:
        return 0.0
    return float(np.mean(abs(predicted - truth) / truth <= 1 - _THRESHOLDS))


def _float(value: Fraction | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")

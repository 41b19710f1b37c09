"""A conversation that drew, turn by turn: what the policy thought, the picture before and after, and what changed in a
correction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from spatial_jax.blocks import assistant_turns, strip_end_marks
from spatial_jax.drawing import DrawingError, Operation, parse
from spatial_jax.drawing.tools import TOOLS
from spatial_jax.pages import Html, chip, data_uri, tag

_SHOWN = re.compile(r"index of the given image is (\d{1,4}) ")
_BLOCK = re.compile(r"```json\s*\n(.*?)(?:\n?```|$)", re.DOTALL)
_LONGEST = 1_500  # characters of a turn's text
SIDE = 224


def trajectory(text: str, given: Sequence[str], drawn: Sequence[str]) -> Html:
    """The turns of an answer in chat markup. `given`: paths of the question's pictures, `drawn`: of those that came
    after, in order.
    """
    pictures, said = [*given, *drawn], assistant_turns(strip_end_marks(text))
    boxed: dict[tuple[str, str], tuple[float, ...]] = {}
    after = _pictures_after(text, len(said))
    rows = []
    for number, turn in enumerate(said, 1):
        operations = _operations(turn)
        changes = _changes(operations, boxed)
        made = [pictures[k - 1] for k in after[number - 1] if 1 <= k <= len(pictures)]
        bases = [pictures[o.index - 1] for o in operations if 1 <= o.index <= len(pictures)]
        rows.append(
            tag(
                "div",
                tag("div", tag("b", f"turn {number} "), _words(turn), class_="said"),
                [tag("p", chip("corrected", "warn"), f" {change}") for change in changes],
                _before_after(list(dict.fromkeys(bases)), made) if made else None,
                class_="turn",
            )
        )
    return tag("div", rows, class_="turns")


def _before_after(before: Sequence[str], made: Sequence[str]) -> Html:
    def small_picture(path: str, alt: str) -> Html:
        return tag("img", src=data_uri(path, SIDE), alt=alt, title=alt, loading="lazy", class_="drawn")

    return tag(
        "div",
        [small_picture(path, "before") for path in before],
        tag("span", "→", class_="quiet") if before else None,
        [small_picture(path, "drawn by the policy") for path in made],
        class_="before-after",
    )


def _words(turn: str) -> list[Html | str]:
    """The turn's text, its JSON folded away."""
    short = turn if len(turn) <= _LONGEST else turn[:_LONGEST] + f" … ({len(turn)} characters)"
    parts: list[Html | str] = []
    at = 0
    for found in _BLOCK.finditer(short):
        parts.append(short[at : found.start()])
        parts.append(tag("details", tag("summary", "its call"), tag("code", found.group(1))))
        at = found.end()
    return [*parts, short[at:]]


def _operations(turn: str) -> list[Operation]:
    try:
        return parse(turn, tuple(TOOLS))
    except DrawingError:
        return []


def _changes(operations: Sequence[Operation], boxed: dict[tuple[str, str], tuple[float, ...]]) -> list[str]:
    """What was drawn before under the same label and is elsewhere now; `boxed` is brought up to date."""
    out, now = list[str](), dict[tuple[str, str], tuple[float, ...]]()
    for o in operations:
        key = (o.kind, o.label)
        before = boxed.get(key)
        if before is not None and before != o.points and key not in now:
            out.append(f"{o.label}: {_numbers(before)} → {_numbers(o.points)}")
        now.setdefault(key, o.points)
    boxed.update(now)
    return out


def _numbers(points: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in points) + "]"


def _pictures_after(text: str, turns: int) -> list[list[int]]:
    """Numbers of the pictures that were shown after each turn: as the environment's turns tell."""
    parts = re.split(r"<\|im_start\|>user", text)
    after = [[int(k) for k in _SHOWN.findall(part.split("<|im_end|>")[0])] for part in parts[1:]]
    return [*after, *[[]] * turns][:turns]

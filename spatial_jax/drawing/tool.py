"""What a tool of the drawing protocol is, and the pictures that tools work on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from PIL import Image

Size = tuple[int, int]  # (width, height) in pixels


class DrawingError(ValueError):
    """A turn whose operations cannot be carried out: it ends its sample. `reason`: a word for counting."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Operation:
    """One call of the tool `kind`: its label and its numbers, in pixels of the picture `index` (from 1)."""

    kind: str
    index: int
    label: str
    points: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A picture of an album: the number (from 0) of the clean one that it comes from, its size, the marks that can
    still be moved, and the steps that made what lies under them, each with the size it gave.
    """

    original: int
    size: Size
    drawn: tuple[Operation, ...] = ()
    under: tuple[tuple[Operation, Size], ...] = ()


class Tool(Protocol):
    """A tool: its name, its part of the protocol's text, the grammar of its call, what it does to the album, and what
    it shows. A file in drawing/tools/ has one, named in the table of drawing/tools/__init__.py.
    """

    name: str  # the kind of its operations
    action: str  # what a policy calls it
    example: str  # one item of the JSON list of its call
    does: str  # what it does, in half a sentence that begins with its action
    shows_label: (
        bool  # its label is part of what it is; else of two near drawings one may repeat the other under any label
    )
    marks: bool  # its operations are put onto one new picture together; else each gives a picture of its own

    def read(self, item: Mapping[str, Any]) -> tuple[float, ...] | None:
        """The numbers of an item of a call (a dict with a text as label); None where it is no call of this tool."""

    def place(self, base: Entry, operations: Sequence[Operation], fit: Callable[[Size], Size]) -> Entry:
        """The picture after the operations on `base`; `fit` gives the nearest size that the model can see.
        DrawingError for what cannot be done.
        """

    def show(self, picture: Image.Image, operation: Operation, colour: str, size: Size) -> Image.Image:
        """The picture with one operation carried out, of (width, height) `size`. It may be drawn on in place."""


def put_marks(before: Sequence[Operation], new: Sequence[Operation]) -> tuple[Operation, ...]:
    """The marks with the new ones in the place of those that they replace (same kind and label on an earlier picture),
    else at the end. All marks of one label in one call stand side by side.
    """
    waiting: dict[tuple[str, str], list[Operation]] = {}
    for operation in dict.fromkeys(new):
        waiting.setdefault((operation.kind, operation.label), []).append(operation)
    replaced = set(waiting)
    merged: list[Operation] = []
    for operation in before:
        key = (operation.kind, operation.label)
        merged += waiting.pop(key, []) if key in replaced else [operation]
    return (*merged, *(o for group in waiting.values() for o in group))


def has_numbers(item: Mapping[str, Any], key: str, count: int) -> bool:
    """Whether an item has a list of `count` ordinary numbers under a key."""
    value = item.get(key)
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e6 for v in value)
    )

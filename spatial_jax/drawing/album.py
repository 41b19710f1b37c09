"""The numbered pictures of a conversation: those it began with, and every one that was drawn since."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from spatial_jax.drawing.operations import DrawingError, Operation


@dataclasses.dataclass(frozen=True)
class Entry:
    """A picture: the number (from 0) of the clean one it is drawn on, and what is on it."""

    original: int
    drawn: tuple[Operation, ...] = ()


class Album:
    """Pictures are numbered from 1: the given ones first, then the drawn ones as they come. A drawing is made from the
    clean original and the merged list, so that what was moved leaves no trace (ViLaSR's code draws on the drawn
    picture). `labels` has every label's place, which its colour goes by.
    """

    def __init__(self, count: int):
        self.entries = [Entry(i) for i in range(count)]
        self.labels: dict[str, int] = {}
        self._seen: set[tuple[object, ...]] = set()

    def draw(self, operations: Sequence[Operation], most: int) -> list[int]:
        """Carries out one turn's operations; the places in `entries` of the new pictures, one for each picture that was
        drawn on. An operation takes the place of the one of its kind and label, others of the picture stay.
        DrawingError for a picture that is not there, more than `most` pictures in all, or a turn that only repeats what
        was drawn before.
        """
        by_picture: dict[int, list[Operation]] = {}
        for operation in operations:
            if operation.index > len(self.entries):
                raise DrawingError(f"there is no picture {operation.index}; there are {len(self.entries)}")
            by_picture.setdefault(operation.index, []).append(operation)
        if len(self.entries) + len(by_picture) > most:
            raise DrawingError(f"more than {most} pictures")
        marks = {(self.entries[o.index - 1].original, o.kind, o.label, o.points) for o in operations}
        if marks <= self._seen:
            raise DrawingError("the turn draws nothing that was not drawn before")
        self._seen |= marks
        for operation in operations:
            self.labels.setdefault(operation.label, len(self.labels))
        bases = {index: self.entries[index - 1] for index in by_picture}
        new = [Entry(bases[index].original, _merged(bases[index].drawn, own)) for index, own in by_picture.items()]
        self.entries += new
        return list(range(len(self.entries) - len(new), len(self.entries)))


def _merged(before: Sequence[Operation], new: Sequence[Operation]) -> tuple[Operation, ...]:
    """The list with each new operation in the place of the one it replaces, else at the end."""
    merged = {(o.kind, o.label): o for o in before}
    merged.update({(o.kind, o.label): o for o in new})
    return tuple(merged.values())

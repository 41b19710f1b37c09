"""The numbered pictures of a conversation: those it began with, and every one that tools made since."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from spatial_jax.drawing.tool import DrawingError, Entry, Operation, Size
from spatial_jax.drawing.tools import TOOLS


class Album:
    """Pictures are numbered from 1: the given ones of these (width, height) first, then the new ones as they come. A
    drawing is made from the clean original and the merged list, so that what was moved leaves no trace (ViLaSR's code
    draws on the drawn picture). `labels` has every mark's label with its place, which its colour goes by. `fit` gives
    the nearest size that the model can see, for tools that make pictures of another size. `near`: pixels within which
    every point of a drawing lies where it repeats an earlier one of its kind and label (a line's label is not drawn and
    does not count); 0: only the same, None: nothing is a repeat.
    """

    def __init__(
        self, sizes: Sequence[Size], fit: Callable[[Size], Size] = lambda size: size, near: float | None = 0.0
    ):
        self.entries = [Entry(i, (size[0], size[1])) for i, size in enumerate(sizes)]
        self.labels: dict[str, int] = {}
        self._fit, self._near = fit, near
        self._seen: dict[tuple[object, ...], list[tuple[float, ...]]] = {}

    def draw(self, operations: Sequence[Operation], most: int) -> list[int]:
        """Carries out one turn's operations; the places in `entries` of the new pictures: one for each picture that
        was marked, then one for each operation that makes a picture of its own. A mark takes the place of those of its
        kind and label, others of the picture stay. DrawingError for a picture that is not there, more than `most`
        pictures in all, or a turn that only repeats what was drawn before.
        """
        for operation in operations:
            if operation.index > len(self.entries):
                raise DrawingError(
                    f"there is no picture {operation.index}; there are {len(self.entries)}", "no_picture"
                )
        marked: dict[int, list[Operation]] = {}
        alone = [o for o in dict.fromkeys(operations) if not TOOLS[o.kind].marks]
        for operation in operations:
            if TOOLS[operation.kind].marks:
                marked.setdefault(operation.index, []).append(operation)
        if len(self.entries) + len(marked) + len(alone) > most:
            raise DrawingError(f"more than {most} pictures", "pictures")
        self._refuse_repeats(operations)
        for operation in operations:
            if TOOLS[operation.kind].marks:
                self.labels.setdefault(operation.label, len(self.labels))
        new = [self._mark(self.entries[index - 1], own) for index, own in marked.items()]
        new += [TOOLS[o.kind].place(self.entries[o.index - 1], [o], self._fit) for o in alone]
        self.entries += new
        return list(range(len(self.entries) - len(new), len(self.entries)))

    def _mark(self, entry: Entry, operations: Sequence[Operation]) -> Entry:
        for kind, own in groupby(operations, key=lambda o: o.kind):
            entry = TOOLS[kind].place(entry, list(own), self._fit)
        return entry

    def _refuse_repeats(self, operations: Sequence[Operation]) -> None:
        """DrawingError for a turn of which nothing is new, else its drawings are kept to compare with."""
        if self._near is None:
            return
        done = []
        for o in operations:
            base = self.entries[o.index - 1]
            label = o.label if TOOLS[o.kind].shows_label or not self._near else ""
            done.append(((base.original, base.under, o.kind, label), o.points))
        if all(self._was_drawn(place, points, self._near) for place, points in done):
            raise DrawingError("the turn draws nothing that was not drawn before", "repeat")
        for place, points in done:
            self._seen.setdefault(place, []).append(points)

    def _was_drawn(self, place: tuple[object, ...], points: tuple[float, ...], near: float) -> bool:
        return any(
            len(before) == len(points) and all(abs(a - b) <= near for a, b in zip(before, points))
            for before in self._seen.get(place, ())
        )

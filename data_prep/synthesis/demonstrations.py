"""Demonstrations of drawing (ViLaSR's cold start, arXiv 2506.09965, 4.6) from known boxes: a question is looked at in
two to five drawing turns, then answered. Boxes and lines, on the question's pictures and on drawn ones; in a share of
them a first box is off, is seen to be, and is drawn again: what reflection means.

ViLaSR samples its demonstrations from a larger model and keeps the right ones; here the geometry is known, so what is
drawn in the end is where it belongs, and `problem` checks every operation of every demonstration against the scenes.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence

from spatial_jax.data.records import QuestionRecord, SceneObject, SceneRecord, coordinate, in_stored_pixels
from spatial_jax.drawing import Album, DrawingError, Operation, parse

MOST_BOXES = 8
CORRECTED = 0.35  # share of demonstrations that begin with a box that is off
OFF = (0.05, 0.6)  # overlap (IoU) of such a box with the right one
# whole: two to five turns, boxes and lines; short: one turn that boxes all, and a second where the first is off
MANNERS = ("whole", "short")
Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Look:
    """An object to be boxed: its label, its box in pixels of the picture `picture` (from 1)."""

    label: str
    box: Box
    picture: int = 1

    @property
    def middle(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


class Pen:
    """Writes drawing turns; each draws on the newest copy of its picture. `label_first`: an item's label stands before
    its numbers, as a small policy looks a thing up by the name that it has just written; else as published.
    """

    def __init__(self, pictures: int, *, label_first: bool = False):
        self.newest = {number: number for number in range(1, pictures + 1)}
        self.count, self.turns, self.label_first = pictures, list[str](), label_first

    def boxes(self, thought: str, looks: Sequence[Look]) -> None:
        """A turn that boxes."""
        self._draw(
            thought,
            "Object Mapper",
            [(look.picture, f'"bbox_2d": [{_points(look.box, look.picture)}]', look.label) for look in looks],
        )

    def lines(
        self, thought: str, ways: Sequence[tuple[tuple[float, float], tuple[float, float], str]], picture: int
    ) -> None:
        """A turn that draws lines (start, end, label) on one picture."""
        items = []
        for start, end, label in ways:
            keys = f'"start_point_2d": [{_points(start, picture)}], "end_point_2d": [{_points(end, picture)}]'
            items.append((picture, keys, label))
        self._draw(thought, "Path Tracer", items)

    def _draw(self, thought: str, action: str, items: Sequence[tuple[int, str, str]]) -> None:
        lines = ",\n ".join(
            f'{{"index": {self.newest[picture]}, {", ".join(self._ordered(keys, label))}}}'
            for picture, keys, label in items
        )
        self.turns.append(f"<think> {thought} </think> Action: {action}\n```json\n[{lines}]\n```")
        for picture in dict.fromkeys(picture for picture, _, _ in items):
            self.count += 1
            self.newest[picture] = self.count

    def _ordered(self, keys: str, label: str) -> list[str]:
        parts = [keys, f'"label": {json.dumps(label)}']
        return parts[::-1] if self.label_first else parts


def add_demonstration(record: QuestionRecord, scene: SceneRecord, manner: str = "whole") -> QuestionRecord:
    """The record with meta "turns": what a policy writes before its last reply, in pixels of whatever size the model
    sees. As it is where its objects are not known, or are more than MOST_BOXES. `manner`: one of MANNERS.
    """
    meta = record.json_field("meta")
    looks = named_objects(record, scene)
    if not 0 < len(looks) <= MOST_BOXES:
        return record
    turns = demonstration_turns(record, looks) if manner == "whole" else short_turns(record, looks)
    made = dataclasses.replace(record, meta=json.dumps({**meta, "turns": turns}))
    return record if problem(made, {1: scene}) else made


def named_objects(record: QuestionRecord, scene: SceneRecord) -> list[Look]:
    """The objects that a question is about; of a count all of its class, [] where their number is not its answer."""
    meta = record.json_field("meta")
    if record.family == "count":
        name = str(meta.get("rule_inputs", {}).get("name", ""))
        counted = [o for o in scene.objects if o.name.strip().lower() == name]
        return [_look(o) for o in counted] if str(len(counted)) == record.answer else []
    boxes = {o.object_id: o for o in scene.objects}
    return [_look(boxes[i]) for i in dict.fromkeys(meta.get("objects", ())) if i in boxes]


def _look(item: SceneObject) -> Look:
    return Look(item.caption, tuple(map(float, item.box)))  # type: ignore[arg-type]


def demonstration_turns(record: QuestionRecord, looks: Sequence[Look]) -> list[str]:
    """Two to five turns for these objects, the same for the same record."""
    rng, pen = random.Random(record.question_id), Pen(len(record.images))
    size = record.widths[0], record.heights[0]
    wrong = box_off(looks[0], size, rng) if rng.random() < CORRECTED or _alone(record, looks) else None
    rest = list(looks[1:])
    if wrong is not None:
        pen.boxes(f"First I box the {looks[0].label} to look at it closely.", [wrong])
        pen.boxes(tell_off(wrong, looks[0]), [looks[0]])
    elif record.family == "count" or len(looks) > 2:
        half = (len(looks) + 1) // 2
        pen.boxes(f"I box {_named(looks[:half])}, so that I look at each.", looks[:half])
        rest = list(looks[half:])
    else:
        pen.boxes(f"I box the {looks[0].label}, which the question asks about.", looks[:1])
    if len(rest) > 2:
        pen.boxes(f"That fits. Next I box {_named(rest[:2])}.", rest[:2])
        rest = rest[2:]
    if rest:
        pen.boxes(f"That fits. Now I box {_named(rest)} as well.", rest)
    if record.family == "count":
        if wrong is None and not rest:
            pen.boxes("I look once more, to be sure that no other is there.", _again(looks))
        return pen.turns
    _compare(pen, record, looks, size)
    return pen.turns


def short_turns(record: QuestionRecord, looks: Sequence[Look]) -> list[str]:
    """One turn that boxes all, what the question does not name from left to right, or two: a first box that is off,
    then again. For policies to which tokens are dear: names are written once, each before its box.
    """
    rng, pen = random.Random(record.question_id), Pen(len(record.images), label_first=True)
    if any(look.label not in record.question for look in looks):
        looks = sorted(looks, key=lambda look: look.middle)
    wrong = box_off(looks[0], (record.widths[0], record.heights[0]), rng) if rng.random() < CORRECTED else None
    pen.boxes("I box what I am asked about.", [wrong or looks[0], *looks[1:]])
    if wrong is not None:
        pen.boxes(tell_off(wrong, looks[0]), [looks[0]])
    return pen.turns


def _alone(record: QuestionRecord, looks: Sequence[Look]) -> bool:
    """Whether one object is all there is to count: a second look is a correction then."""
    return record.family == "count" and len(looks) == 1


def _again(looks: Sequence[Look]) -> list[Look]:
    """The box a pixel wider on each side: the same thing looked at again."""
    return [dataclasses.replace(k, box=(k.box[0], k.box[1], k.box[2] + 1, k.box[3] + 1)) for k in looks]


def _compare(pen: Pen, record: QuestionRecord, looks: Sequence[Look], size: tuple[int, int]) -> None:
    """The lines that an answer is read from: between the objects, or from the picture's middle to one."""
    if len(looks) == 1:
        middle = size[0] / 2, size[1] / 2
        why = f"A line from the middle of the picture to the {looks[0].label} shows where it lies."
        pen.lines(why, [(middle, looks[0].middle, "from the middle")], 1)
        return
    ways = [(a.middle, b.middle, f"{a.label} to {b.label}") for a, b in itertools.pairwise(looks)]
    what = "A line between them shows" if len(ways) == 1 else "Lines from each to the next show"
    pen.lines(f"Every box fits. {what} how they lie to one another.", ways, 1)


def _named(looks: Sequence[Look]) -> str:
    names = [f"the {look.label}" for look in looks]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def box_off(look: Look, size: tuple[int, int], rng: random.Random) -> Look | None:
    """The box moved off the object but not out of the picture; None where there is no room."""
    x1, y1, x2, y2 = look.box
    for _ in range(12):
        dx, dy = (rng.choice((-1, 1)) * rng.uniform(0.2, 0.7) for _ in range(2))
        dx, dy = dx * (x2 - x1), dy * (y2 - y1)
        moved = (x1 + dx, y1 + dy, x2 + dx, y2 + dy)
        inside = min(moved[:2]) >= 0 and moved[2] <= size[0] and moved[3] <= size[1]
        if inside and OFF[0] <= overlap(moved, look.box) <= OFF[1]:
            return dataclasses.replace(look, box=moved)
    return None


def tell_off(wrong: Look, right: Look) -> str:
    """What is seen in the picture that came back."""
    dx, dy = wrong.middle[0] - right.middle[0], wrong.middle[1] - right.middle[1]
    across = abs(dx) / (right.box[2] - right.box[0]) >= abs(dy) / (right.box[3] - right.box[1])
    side = ("right" if dx > 0 else "left") if across else ("low" if dy > 0 else "high")
    return (
        f"The box lies too far to the {side}: " * across
        + f"The box lies too {side}: " * (not across)
        + (f"it cuts the {right.label}. I draw it again, around all of it.")
    )


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2)."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0.0) * max(height, 0.0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def play(record: QuestionRecord) -> Iterator[tuple[list[int], list[Operation]]]:
    """Of each turn of a demonstration, in stored pixels: the question's picture (from 1) behind every picture that
    there is by then, and what is drawn. DrawingError where a turn cannot be drawn.
    """
    album = Album(list(zip(record.widths, record.heights)))
    for turn in in_stored_pixels(record).json_field("meta")["turns"]:
        bases = [entry.original + 1 for entry in album.entries]
        operations = parse(turn)
        album.draw(operations, 1_000)
        yield bases, operations


def problem(record: QuestionRecord, scenes: Mapping[int, SceneRecord]) -> str:
    """What is wrong with a record's demonstration, "" where nothing is: it must be playable, every label's last box
    must be an object of that caption, every earlier one must overlap it, and a line must begin and end in what was
    boxed (or begin in the picture's middle). `scenes`: of each picture, by its number.
    """
    last: dict[tuple[int, str], list[Operation]] = {}
    try:
        for bases, operations in play(record):
            for o in operations:
                if fault := _fault(o, bases[o.index - 1], last, record, scenes):
                    return fault
    except DrawingError as error:
        return str(error)
    for (picture, label), operations in last.items():
        true = [i.box for i in scenes[picture].objects if i.caption == label]
        for o in operations:
            if not any(overlap(o.points, box) >= 0.8 for box in true):
                return f"the last box of {label!r} is off"
    return ""


def _fault(
    o: Operation,
    picture: int,
    last: dict[tuple[int, str], list[Operation]],
    record: QuestionRecord,
    scenes: Mapping[int, SceneRecord],
) -> str:
    """What is wrong with an operation on the question's picture `picture`, "" where nothing is; notes it in `last`."""
    if o.kind == "path":
        return _line_fault(o, picture, last, (record.widths[picture - 1], record.heights[picture - 1]))
    last[picture, o.label] = [p for p in last.get((picture, o.label), ()) if p.index == o.index] + [o]
    true = [i.box for i in scenes[picture].objects if i.caption == o.label]
    return "" if any(overlap(o.points, box) >= OFF[0] / 2 for box in true) else f"{o.label!r} is boxed where it is not"


def _line_fault(
    line: Operation, picture: int, boxed: Mapping[tuple[int, str], Sequence[Operation]], size: tuple[int, int]
) -> str:
    """Why a line is none of the boxed objects', "" where it is."""
    boxes = [o.points for (where, _), found in boxed.items() if where == picture for o in found]
    for x, y in (line.points[:2], line.points[2:]):
        in_box = any(b[0] - 1 <= x <= b[2] + 1 and b[1] - 1 <= y <= b[3] + 1 for b in boxes)
        in_middle = abs(x - size[0] / 2) <= 1 and abs(y - size[1] / 2) <= 1
        if not (in_box or in_middle):
            return f"the line {line.label!r} leaves what was boxed"
    return ""


def _points(values: Sequence[float], picture: int) -> str:
    return ", ".join(coordinate("xy"[i % 2], value, picture=picture) for i, value in enumerate(values))

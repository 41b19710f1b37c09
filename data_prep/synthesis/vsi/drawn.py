"""Demonstrations on the frames of a walk (ViLaSR's cold start, arXiv 2506.09965, 4.6): things boxed in the frames that
show them, the same thing by the same label in every frame, and the ways between them as lines, over the floor where a
frame shows it free.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from collections.abc import Sequence

from data_prep.synthesis.demonstrations import CORRECTED, MOST_BOXES, Look, Pen, box_off, overlap, play, tell_off
from data_prep.synthesis.vsi.scene import Room
from data_prep.synthesis.vsi.sights import Point, Sights
from spatial_jax.data.records import QuestionRecord
from spatial_jax.drawing import DrawingError, Operation

MOST_TURNS = 5
ON_FLOOR = 3.0  # pixels that a line's end may lie from where the floor's way begins
Line = tuple[int, Point, Point, str, str]  # frame (from 0), ends, label, what is thought of it


def draw_on_frames(record: QuestionRecord, room: Room) -> QuestionRecord:
    """The record of a walk with meta "turns": what a policy writes before its last reply, in pixels of whatever size
    the model sees. As it is where its things are in no frame, or are too many for MOST_TURNS and MOST_BOXES.
    """
    meta = record.json_field("meta")
    if room.sights is None or len(record.images) != len(room.sights.frames):
        return record
    rng = random.Random(record.question_id)
    labels = _labels(meta.get("named", ()), room.sights)
    met = _on_the_way(meta["rule_inputs"].get("on_the_way", ()), room.sights)
    counted = record.family == "vsi_object_counting"
    looks = _count_looks(labels, room.sights) if counted else _looks(record, labels, room.sights)
    if not 0 < len(looks) <= MOST_BOXES:
        return record
    lines = [] if counted else _lines(record, labels, room.sights)
    pen = _draw(looks, lines, len(record.images), (record.widths[0], record.heights[0]), rng)
    for label, instance in met.items():
        pen.boxes(
            f"The line meets the {label}, which stands there.", [_look(label, instance, lines[0][0], room.sights)]
        )
    turns = pen.turns
    if not 2 <= len(turns) <= MOST_TURNS:
        return record
    made = dataclasses.replace(record, meta=json.dumps({**meta, "turns": turns}))
    return record if problem(made, room.sights, {**met, **labels}) else made


def _labels(named: Sequence[str], sights: Sights) -> dict[str, str]:
    """Label of each thing that the question is about -> its instance; things of one kind are numbered."""
    out: dict[str, str] = {}
    for name in dict.fromkeys(named):
        found = sights.names.get(name, [])
        out |= {name if len(found) == 1 else f"{name} {n}": i for n, i in enumerate(found, 1)}
    return out


def _on_the_way(things: Sequence[str], sights: Sights) -> dict[str, str]:
    """Label and instance of the first thing that stands on the way; {} where none does."""
    for name, instances in sights.names.items():
        if things and things[0] in instances:
            return {name: things[0]}
    return {}


def _look(label: str, instance: str, frame: int, sights: Sights) -> Look:
    return Look(label, sights.frames[frame].boxes[instance], frame + 1)


def _count_looks(labels: dict[str, str], sights: Sights) -> list[Look]:
    """Every thing in the fewest frames, greedily; what such a frame shows again is boxed again by its own label. []
    where a thing is in no frame.
    """
    left, frames = dict(labels), list[int]()
    while left:
        gain = [sum(i in frame.boxes for i in left.values()) for frame in sights.frames]
        best = max(range(len(gain)), key=gain.__getitem__)
        if not gain[best]:
            return []
        frames.append(best)
        left = {label: i for label, i in left.items() if i not in sights.frames[best].boxes}
    return [
        _look(label, i, k, sights) for k in sorted(frames) for label, i in labels.items() if i in sights.frames[k].boxes
    ]


def _pairs(record: QuestionRecord) -> list[tuple[str, str]]:
    """Names of the things between which the answer is read off: start and goal."""
    meta = record.json_field("meta")
    named, inputs = meta["named"], meta["rule_inputs"]
    if "stops" in inputs:
        return list(itertools.pairwise(inputs["stops"]))
    if "ranked" in inputs:
        return [(named[0], inputs["ranked"][0][0])]
    if "angle_deg" in inputs:
        return [(named[0], named[1]), (named[0], named[2])]
    return [(named[0], named[1])] if len(named) == 2 else []


def _looks(record: QuestionRecord, labels: dict[str, str], sights: Sights) -> list[Look]:
    """Each thing in the frames where something is drawn between it and another, else in the one that shows most."""
    looks: dict[tuple[str, int], Look] = {}
    for a, b in _pairs(record):
        if a in labels and b in labels and (frame := _pair_frame(labels[a], labels[b], sights)) is not None:
            looks |= {(label, frame): _look(label, labels[label], frame, sights) for label in (a, b)}
    first_shown = record.family == "vsi_obj_appearance_order"
    for label, instance in labels.items():
        frames = sights.shown(instance)
        if any(label == boxed for boxed, _ in looks):
            continue
        if not frames:
            return []
        frame = min(frames) if first_shown else frames[0]
        looks[label, frame] = _look(label, instance, frame, sights)
    return sorted(looks.values(), key=lambda look: look.picture)


def _pair_frame(a: str, b: str, sights: Sights) -> int | None:
    way = sights.floor_way(a, b)
    return sights.together([a, b]) if way is None else way[0]


def _lines(record: QuestionRecord, labels: dict[str, str], sights: Sights) -> list[Line]:
    lines: list[Line] = []
    for a, b in _pairs(record):
        if a not in labels or b not in labels:
            continue
        label = f"{a} to {b}"
        if way := sights.floor_way(labels[a], labels[b]):
            thought = f"The floor between the {a} and the {b} can be seen: a line along it shows the way."
            lines.append((*way, label, thought))
        elif (frame := sights.together([labels[a], labels[b]])) is not None:
            ends = [_look(name, labels[name], frame, sights).middle for name in (a, b)]
            thought = f"A line from the {a} to the {b} shows how they lie to one another, and what is between them."
            lines.append((frame, ends[0], ends[1], label, thought))
    return lines


def _draw(
    looks: Sequence[Look], lines: Sequence[Line], pictures: int, size: tuple[int, int], rng: random.Random
) -> Pen:
    """Boxes, a turn for each frame as far as turns go round, one of them corrected in a share; then the lines."""
    pen = Pen(pictures)
    wrong = box_off(looks[0], size, rng) if rng.random() < CORRECTED or len(looks) == 1 else None
    if wrong is not None:
        pen.boxes(f"I look for the {looks[0].label} in picture {looks[0].picture} and box it.", [wrong])
        pen.boxes(tell_off(wrong, looks[0]), [looks[0]])
        looks = looks[1:]
    frames = [list(group) for _, group in itertools.groupby(looks, key=lambda look: look.picture)]
    room = max(1, MOST_TURNS - len(lines) - len(pen.turns))
    if len(frames) > room:
        frames = [*frames[: room - 1], [look for group in frames[room - 1 :] for look in group]]
    seen = {wrong.label} if wrong is not None else set[str]()
    for group in frames:
        pen.boxes(_thought(group, seen), group)
        seen |= {look.label for look in group}
    for frame, start, end, label, thought in lines:
        pen.lines(f"{thought} I draw it in picture {frame + 1}.", [(start, end, label)], frame + 1)
    return pen


def _thought(group: Sequence[Look], seen: set[str]) -> str:
    where = " and ".join(f"picture {number}" for number in dict.fromkeys(look.picture for look in group))
    new = [f"the {look.label}" for look in group if look.label not in seen]
    again = [f"the {look.label}" for look in group if look.label in seen]
    parts = [f"In {where} I box {', '.join(dict.fromkeys(new))}."] if new else []
    parts += [f"{', '.join(dict.fromkeys(again))}: seen before, the same again in {where}.".capitalize()] * bool(again)
    return " ".join(parts)


def problem(record: QuestionRecord, sights: Sights, labels: dict[str, str]) -> str:
    """What is wrong with a demonstration, "" where nothing is: it must be playable; a label's last box in a frame must
    be on its thing, an earlier one must meet it; a line must end in boxes of its frame, or where the free floor between
    its two things does.
    """
    last: dict[tuple[int, str], Operation] = {}
    try:
        for bases, operations in play(record):
            for o in operations:
                if fault := _fault(o, bases[o.index - 1] - 1, sights, labels, last):
                    return fault
    except DrawingError as error:
        return str(error)
    off = [k for k, o in last.items() if overlap(o.points, sights.frames[k[0]].boxes[labels[k[1]]]) < 0.8]
    return f"the last box of {off[0][1]!r} is off" if off else ""


def _fault(
    o: Operation, frame: int, sights: Sights, labels: dict[str, str], last: dict[tuple[int, str], Operation]
) -> str:
    """What is wrong with an operation on a frame (from 0), "" where nothing is; notes a box in `last`."""
    if o.kind == "path":
        return _line_fault(o, frame, sights, labels, last)
    boxes = sights.frames[frame].boxes
    if labels.get(o.label) not in boxes or overlap(o.points, boxes[labels[o.label]]) <= 0:
        return f"{o.label!r} is boxed where it is not"
    last[frame, o.label] = o
    return ""


def _line_fault(
    line: Operation, frame: int, sights: Sights, labels: dict[str, str], boxed: dict[tuple[int, str], Operation]
) -> str:
    ends = line.points[:2], line.points[2:]
    boxes = [o.points for (where, _), o in boxed.items() if where == frame]
    if all(any(b[0] - 1 <= x <= b[2] + 1 and b[1] - 1 <= y <= b[3] + 1 for b in boxes) for x, y in ends):
        return ""
    way = sights.floor_way(*(labels.get(name, "") for name in line.label.split(" to ", 1)))
    if way is None or way[0] != frame:
        return f"the line {line.label!r} leaves what was boxed"
    far = max(abs(a - b) for end, true in zip(ends, way[1:]) for a, b in zip(end, true))  # type: ignore[arg-type]
    return "" if far <= ON_FLOOR else f"the line {line.label!r} is not where the floor's way is"

"""Demonstrations of drawing (ViLaSR's cold start, arXiv 2506.09965, 4.6) from known boxes: look at the objects that a
question is about, then answer.

ViLaSR samples its demonstrations from a larger model and keeps the right ones; here the geometry is known, so every box
is where it belongs. A policy that is shown its pictures with those boxes learns the form of the protocol and to put
boxes on what is named.
"""

from __future__ import annotations

import dataclasses
import json
import random

from spatial_jax.data.records import QuestionRecord, SceneRecord, coordinate

MOST_BOXES = 8
_THOUGHTS = (
    "I mark {names} before I answer.",
    "First I box {names}.",
    "To be sure, I draw {names}.",
    "I want to see where {names} is.",
)


def add_demonstration(record: QuestionRecord, scene: SceneRecord) -> QuestionRecord:
    """The record with meta "turns": what a policy writes before its last reply, boxes on the question's objects in
    pixels of whatever size the model sees. As it is where it names no objects, or more than MOST_BOXES.
    """
    meta = record.json_field("meta")
    boxes = {o.object_id: (o.caption, o.box) for o in scene.objects}
    named = [boxes[i] for i in dict.fromkeys(meta.get("objects", ())) if i in boxes]
    if not 0 < len(named) <= MOST_BOXES:
        return record
    items = ",\n ".join(
        f'{{"index": 1, "bbox_2d": [{_corners(box)}], "label": {json.dumps(name)}}}' for name, box in named
    )
    thought = random.Random(record.question_id).choice(_THOUGHTS).format(names=" and ".join(name for name, _ in named))
    turn = f"<think> {thought} </think> Action: Object Mapper\n```json\n[{items}]\n```"
    return dataclasses.replace(record, meta=json.dumps({**meta, "turns": [turn]}))


def _corners(box: tuple[float, float, float, float]) -> str:
    return ", ".join(coordinate("xyxy"[i], value) for i, value in enumerate(box))

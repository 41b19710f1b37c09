"""What a puzzle's answer is made of, asked piece by piece on the same picture: where a mark is, which of two is nearer,
which way a patch is turned. One answer a puzzle teaches a small policy nothing; eight questions on what it must see do.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from collections.abc import Mapping
from typing import Any

from data_prep.synthesis.selfsup.depths import CORNERS, CROSS, ORIENTATIONS, ask_position, in_camera_frame
from data_prep.synthesis.selfsup.thoughts import PLACES
from spatial_jax.data.records import QuestionRecord

Part = tuple[str, str]  # question, answer
FLIPPED = ("up-down", "left-right")  # the answer's codes 0 and 1
FITS = {
    "crop": "fits",
    "rotated left": "turned",
    "rotated right": "turned",
    "interior": "enlarged",
    "context 0.25": "reduced",
    "context 0.5": "reduced",
}


def with_parts(record: QuestionRecord, count: int) -> list[QuestionRecord]:
    """The puzzle (of the plain profile) and `count` - 1 questions of its parts, families "part_...": drawn by the
    record's own id, all of them before any comes twice.
    """
    meta = json.loads(record.meta)
    task = record.family.removeprefix("ssrl_")
    first, others = _PARTS[task](meta["rule_inputs"], record)
    rng = random.Random(f"{record.seed}/{record.question_id}/parts")
    rng.shuffle(others)
    drawn = list(itertools.islice(itertools.cycle([*first, *others]), count - 1))
    kept = {key: value for key, value in meta.items() if key not in ("thought", "rule_inputs")}
    return [record, *(_as_record(record, kept, task, at, part) for at, part in enumerate(drawn))]


def _as_record(record: QuestionRecord, meta: Mapping[str, Any], task: str, at: int, part: Part) -> QuestionRecord:
    question, answer = part
    return dataclasses.replace(
        record,
        question_id=f"{record.question_id}/{at}",
        question=question,
        question_type="word",
        answer=answer,
        options=(),
        reward=json.dumps({"kind": "word", "accept": [answer]}),
        family=f"part_{task}",
        meta=json.dumps(meta),
    )


def _places(inputs: Mapping[str, Any]) -> list[Part]:
    return [
        (f"Where is {label}?", f"[{round(x)}, {round(y)}]")
        for label, (x, y) in zip(inputs["labels"], inputs["centres"], strict=True)
    ]


def _depth_order(inputs: Mapping[str, Any], record: QuestionRecord) -> tuple[list[Part], list[Part]]:
    near_to_far = record.answer.split("-")
    pairs = [(f"Nearer of {', '.join(sorted(pair))}?", pair[0]) for pair in itertools.combinations(near_to_far, 2)]
    return [], [*_places(inputs), *pairs, ("Nearest mark?", near_to_far[0]), ("Farthest mark?", near_to_far[-1])]


def _position(inputs: Mapping[str, Any], record: QuestionRecord) -> tuple[list[Part], list[Part]]:
    """The pair's place and order, and the puzzle's own question of every mark and every way to face."""
    here, there = inputs["labels"]
    out = _places(inputs)
    # Marks that only depth tells apart may stand one above the other.
    if "dx" in inputs["used"]:
        out.append((f"Side of {here} from {there}?", "left" if inputs["dx"] > 0 else "right"))
    if "dz" in inputs["used"]:
        out.append(("Nearer of 1, 2?", here if inputs["dz"] > 0 else there))
    for facing in ORIENTATIONS:
        for sign, labels in ((1, (here, there)), (-1, (there, here))):
            side, ahead = in_camera_frame(facing, sign * inputs["dx"], sign * inputs["dz"])
            along_x = facing in ("left", "right")
            if inputs["used"] == "dx dz":
                options, right = CORNERS, f"{side}-{ahead}"
            else:
                options, right = CROSS, ahead if along_x == (inputs["used"] == "dx") else side
            out.append((ask_position(record.template_id, labels, facing, options), right.lower()))
    return [], [part for part in out if part[0] != record.question]


def _flip(inputs: Mapping[str, Any], record: QuestionRecord) -> tuple[list[Part], list[Part]]:
    asked = [(f"Patch {k}?", FLIPPED[inputs["direction"]] if k == inputs["patch"] else "unchanged") for k in range(4)]
    return [asked.pop(inputs["patch"])], asked


def _shuffle(inputs: Mapping[str, Any], record: QuestionRecord) -> tuple[list[Part], list[Part]]:
    rows, columns = inputs["grid"]
    places = PLACES[rows, columns]
    return [], [(f"Place of {k}?", places[place]) for k, place in enumerate(inputs["perm"])]


def _crop(inputs: Mapping[str, Any], record: QuestionRecord) -> tuple[list[Part], list[Part]]:
    asked = [(f"Part {letter}?", FITS[name]) for letter, name in zip("ABCD", inputs["candidates"], strict=True)]
    return [asked.pop("ABCD".index(record.answer))], asked


_PARTS = {"depth_order": _depth_order, "position3d": _position, "flip": _flip, "shuffle": _shuffle, "crop": _crop}

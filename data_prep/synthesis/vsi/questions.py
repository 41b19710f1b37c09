"""VSI-100k's six topics from room metadata (arXiv 2504.00883), and the same topics by VSI-Bench's definitions and
forms.

definitions="vsi100k": distances between geometric centres, choices rephrased without options (the answer is a word),
area by alpha shape. definitions="vsibench": distances between nearest points, lettered options, directions easy, medium
and hard, counts from two on. Margins (not in either source) keep near-ties out; `margins=False` gives the published
behaviour.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from data_prep.synthesis.balance import Balance
from data_prep.synthesis.draft import Fact
from data_prep.synthesis.vsi import heldout, measures, paths
from data_prep.synthesis.vsi.scene import Room
from spatial_jax.data.records import GENERATOR_VERSION, QuestionRecord

TOPICS = (
    "object_counting",
    "object_abs_distance",
    "object_size_estimation",
    "room_size_estimation",
    "object_rel_distance",
    "object_rel_direction",
)
HELDOUT_TOPICS = tuple(heldout.MAKERS)  # on walks only; the paper does not train on them
DRAWN_TOPICS = tuple(paths.MAKERS)  # our own, on walks whose answers are drawn
DEFINITIONS = ("vsi100k", "vsibench")
LEAST_WHOLE = 0.75  # share of a thing that one frame must show before its size is asked
LEAST_RATIO, LEAST_GAP, LEAST_ANGLE = 1.15, 0.15, 15.0
MRA = {"kind": "mra", "comparison": "<"}

WORDINGS: dict[str, tuple[str, ...]] = {
    **heldout.WORDINGS,
    **paths.WORDINGS,
    "object_counting": (
        "How many {a}(s) are in this room?",
        "Count the {a}(s) in this room.",
        "What is the number of {a}(s) in the room?",
        "How many {a}(s) does the video show?",
        "In this room, how many {a}(s) can be found?",
        "Give the number of {a}(s) in this room.",
        "How many times does a {a} occur in this room?",
        "Walking through this room, how many different {a}(s) do you see?",
    ),
    "object_size_estimation": (
        "What is the length of the longest dimension (length, width, or height) of the {a}, measured in centimeters?",
        "How long is the longest side of the {a} in centimeters?",
        "Estimate the largest dimension of the {a} in centimeters.",
        "In centimeters, how much does the {a} measure along its longest side?",
        "What is the greatest extent (length, width, or height) of the {a} in centimeters?",
        "Of length, width and height of the {a}, how large is the largest, in centimeters?",
        "How many centimeters is the {a} at its longest?",
        "Give the longest dimension of the {a} in centimeters.",
    ),
    "room_size_estimation": (
        (
            "What is the size of this room (in square meters)? If multiple rooms are shown, estimate the size of the"
            " combined space."
        ),
        "How large is the floor of this room in square meters?",
        "Estimate the floor area of the room shown, in square meters.",
        "What floor area, in square meters, does the space in the video have?",
        "How many square meters does this room cover?",
        "Give the area of this room in square meters; combine the rooms if there are several.",
        "In square meters, how big is the space you see?",
        "What is the total floor area (square meters) of the space shown?",
    ),
    "object_abs_distance": (
        "{how}, what is the distance between the {a} and the {b} (in meters)?",
        "{how}, how far is the {a} from the {b} in meters?",
        "{how}, how many meters lie between the {a} and the {b}?",
        "{how}, estimate the distance from the {a} to the {b} in meters.",
        "{how}, what distance (meters) separates the {a} and the {b}?",
        "{how}, how far apart are the {a} and the {b}, in meters?",
        "In meters and {how_low}, what is the distance between the {a} and the {b}?",
        "{how}, give the distance of the {a} and the {b} in meters.",
    ),
    "object_rel_distance": (
        "{how}, which of these objects ({list}) is the closest to the {t}?",
        "{how}, which object is nearest to the {t}: {list}?",
        "{how}, what is closest to the {t} among {list}?",
        "{how}, which of {list} has the smallest distance to the {t}?",
        "Of {list}, which one is the closest to the {t}, {how_low}?",
        "{how}, name the object nearest to the {t}: {list}.",
        "{how}, which one of the objects {list} do you find nearest to the {t}?",
        "Which of the following lies closest to the {t}, {how_low}: {list}?",
    ),
    "object_rel_direction": (
        "If I am standing by the {s} and facing the {f}, is the {t} to {where}?",
        "Standing by the {s} and looking at the {f}, is the {t} to {where}?",
        "I stand next to the {s} with the {f} straight ahead. Is the {t} to {where}?",
        "From the {s}, facing the {f}: is the {t} to {where}?",
        "Suppose I am at the {s} and turn towards the {f}. Is the {t} to {where}?",
        "When I face the {f} from the {s}, is the {t} to {where}?",
        "I am at the {s}, my eyes on the {f}. Is the {t} to {where}?",
        "Imagine standing by the {s}, facing the {f}. Is the {t} to {where}?",
    ),
}
HOW = {
    "vsi100k": "Measuring from the center of each object",
    "vsibench": "Measuring from the closest point of each object",
}
WHERE = {
    "easy": "my left or my right",
    "medium": "my left, right, or back",
    "hard": "my front-left, front-right, back-left, or back-right",
}
NOTE = {
    "easy": "",
    "medium": "\nAn object is to my back if I would have to turn at least 135 degrees in order to face it.",
    "hard": (
        "\nThe directions refer to the quadrants of a Cartesian plane (if I am standing at the origin and facing along"
        " the positive y-axis)."
    ),
}
SECTORS: dict[str, tuple[Callable[[float], str], tuple[str, ...], tuple[float, ...]]] = {
    "easy": (measures.side, ("left", "right"), (0.0, 180.0)),
    "medium": (measures.side_or_back, ("left", "right", "back"), (0.0, 135.0)),
    "hard": (measures.quadrant, ("front-left", "front-right", "back-left", "back-right"), (0.0, 90.0, 180.0)),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How room questions are made. `most` caps the questions of a topic and room (0: all)."""

    definitions: str = "vsi100k"
    margins: bool = True
    most: int = 0
    wordings: int = 0
    alpha_radius: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.definitions not in DEFINITIONS:
            raise ValueError(f"definitions {self.definitions!r} are unknown: use {' or '.join(DEFINITIONS)}")


Asked = tuple[dict[str, str], str, dict[str, Any]]  # names for the wording, answer, rule inputs


def distance(room: Room, a: str, b: str, settings: Settings) -> float:
    """Distance of two categories by the chosen definition (smallest over instances for nearest points)."""
    if settings.definitions == "vsi100k":
        return measures.centre_distance(room.objects[a][0], room.objects[b][0])
    return min(measures.nearest_distance(x, y) for x in room.objects[a] for y in room.objects[b])


def floor_area(room: Room, settings: Settings) -> float:
    """Alpha-shape area of the room's points where known, else the metadata's room_size (nan: unknown, or no floor)."""
    if room.points is None or len(room.points) < 3:
        return room.room_size
    try:
        return measures.alpha_shape_area(room.points, settings.alpha_radius)
    except ValueError:  # all points on one wall, or hardly any
        return math.nan


def _counting(room: Room, rng: random.Random, settings: Settings) -> Iterator[Asked]:
    for name, count in room.counts.items():
        if count >= (1 if settings.definitions == "vsi100k" else 2):
            yield {"a": name}, str(count), {"count": count}


def _size(room: Room, rng: random.Random, settings: Settings) -> Iterator[Asked]:
    for name in room.single():
        if settings.margins and room.objects[name][0].whole < LEAST_WHOLE:
            continue
        longest = room.objects[name][0].longest
        yield {"a": name}, str(round(100 * longest)), {"longest_m": longest}


def _room_size(room: Room, rng: random.Random, settings: Settings) -> Iterator[Asked]:
    area = floor_area(room, settings)
    if area > 0:
        yield {}, str(round(area, 1)), {"area_m2": area, "by": "alpha shape" if room.points is not None else "metadata"}


def _abs_distance(room: Room, rng: random.Random, settings: Settings) -> Iterator[Asked]:
    how = HOW[settings.definitions]
    for a, b in itertools.combinations(room.single(), 2):
        metres = distance(room, a, b, settings)
        if round(metres, 1) > 0 and (not settings.margins or metres >= LEAST_GAP):
            first, second = (a, b) if rng.random() < 0.5 else (b, a)
            yield (
                {"a": first, "b": second, "how": how, "how_low": how.lower()},
                str(round(metres, 1)),
                {"distance_m": metres},
            )


def _rel_distance(room: Room, rng: random.Random, settings: Settings) -> Iterator[Asked]:
    how = HOW[settings.definitions]
    targets = room.single()
    pool = (
        targets
        if settings.definitions == "vsi100k"
        else [n for n, boxes in room.objects.items() if len(boxes) == room.counts.get(n, 0)]
    )
    for target in targets:
        others = [n for n in pool if n != target]
        if len(others) < 4:
            continue
        listed = rng.sample(others, 4)
        ranked = sorted((distance(room, n, target, settings), n) for n in listed)
        nearest, second = ranked[0][0], ranked[1][0]
        if settings.margins and (second - nearest < LEAST_GAP or second < LEAST_RATIO * nearest):
            continue
        yield (
            {"t": target, "list": ", ".join(listed), "how": how, "how_low": how.lower()},
            ranked[0][1],
            {"ranked": [[n, round(d, 4)] for d, n in ranked], "options": listed},
        )


def _rel_direction(room: Room, rng: random.Random, settings: Settings) -> Iterator[Asked]:
    names = room.single()
    for _ in range(min(6 * (settings.most or 10), len(names) * (len(names) - 1) * (len(names) - 2))):
        stand, face, target = rng.sample(names, 3)
        level = "easy" if settings.definitions == "vsi100k" else rng.choice(tuple(SECTORS))
        places = [room.objects[n][0].center for n in (stand, face, target)]
        angle = measures.turn(*places)
        name, options, borders = SECTORS[level]
        clear = min(abs(abs(angle) - b) for b in borders)
        near = min(math.dist(places[0][:2], p[:2]) for p in places[1:])
        if settings.margins and (clear < LEAST_ANGLE or near < 0.2):
            continue
        inputs = {"angle_deg": angle, "level": level, "options": list(options)}
        yield {"s": stand, "f": face, "t": target, "where": WHERE[level], "note": NOTE[level]}, name(angle), inputs


MAKERS: dict[str, Callable[[Room, random.Random, Settings], Iterator[Asked]]] = {
    "object_counting": _counting,
    "object_abs_distance": _abs_distance,
    "object_size_estimation": _size,
    "room_size_estimation": _room_size,
    "object_rel_distance": _rel_distance,
    "object_rel_direction": _rel_direction,
    **heldout.MAKERS,
    **paths.MAKERS,
}
UNITS = {"object_abs_distance": "m", "object_size_estimation": "cm", "room_size_estimation": "m2"}


def _keeps_balance(topic: str, item: Asked, balance: Balance, split: str) -> bool:
    """Whether a closed question keeps sides, places in the list and named objects even (numbers are not balanced: they
    are what they are).
    """
    names, answer, inputs = item
    if "options" not in inputs:
        return "count" not in inputs or balance.take(split, [((topic, "value"), inputs["count"], 2)])
    options = inputs["options"]
    key = (topic, inputs.get("level", ""))
    facts: list[Fact] = [(key + ("slot",), options.index(answer), len(options))]
    facts += [
        (key + (role, names[role]), options.index(answer), len(options))
        for role in ("s", "f", "t")
        if role in names and ("level" in inputs or topic in DRAWN_TOPICS)
    ]
    if "turns" in inputs:
        facts.append((key + ("turns", len(inputs["turns"])), answer, 3 ** len(inputs["turns"])))
    return balance.take(split, facts)


def room_questions(
    room: Room,
    settings: Settings,
    *,
    topics: Sequence[str] = TOPICS,
    split: str = "train",
    frames: Sequence[tuple[bytes, int, int]] = (),
    balance: Balance | None = None,
    quota: Mapping[str, int] | None = None,
) -> list[QuestionRecord]:
    """All questions of one room: at most `most` a topic, and `quota` of each, drawn at random. `frames`: (encoded
    picture, width, height) in time order. With `balance` (kept over all rooms) closed questions that would tilt the
    answers are left out.
    """
    records: list[QuestionRecord] = []
    for topic in topics:
        if topic in UNITS and not room.metric:
            continue
        rng = random.Random(f"{settings.seed}/{room.dataset}/{room.scene_id}/{topic}")
        asked: dict[str, tuple[Asked, str, int]] = {}
        for item in MAKERS[topic](room, rng, settings):
            wordings = WORDINGS[topic][: settings.wordings or None]
            template = rng.randrange(len(wordings))
            text = wordings[template].format(**item[0]) + item[0].get("note", "")
            # Several objects of one name give the same words; the second question would be the first again.
            asked.setdefault(text, (item, text, template))
        chosen = [c for c in asked.values() if balance is None or _keeps_balance(topic, c[0], balance, split)]
        most = min(settings.most or len(chosen), len(chosen) if quota is None else max(0, quota.get(topic, 0)))
        if len(chosen) > most:
            chosen = rng.sample(chosen, most)
        records += [_record(room, topic, one, settings, rng, split, frames) for one in chosen]
    return records


def _record(
    room: Room,
    topic: str,
    asked: tuple[Asked, str, int],
    settings: Settings,
    rng: random.Random,
    split: str,
    frames: Sequence[tuple[bytes, int, int]],
) -> QuestionRecord:
    """The record of what is `asked`, in the words of its wording with that number."""
    (names, answer, inputs), text, template = asked
    named = [names[role] for role in ("s", "f", "t", "a", "b") if role in names]
    named += [*inputs.get("stops", ()), *filter(None, names.get("list", "").split(", "))]
    options, kind, reward = tuple(inputs.get("options", ())), "number", MRA
    if options:
        kind, reward = "word", {"kind": "choice"}
        if settings.definitions == "vsibench":
            order = rng.sample(options, len(options))
            text += "\nOptions:\n" + "\n".join(f"{'ABCD'[i]}. {o}" for i, o in enumerate(order))
            options, answer, kind = tuple(order), "ABCD"[order.index(answer)], "mcq"
    family = (
        f"{topic}_{inputs['level']}"
        if topic == "object_rel_direction" and settings.definitions == "vsibench"
        else topic
    )
    digest = hashlib.sha1(f"{text}\n{answer}".encode()).hexdigest()[:12]
    meta = {
        "rule_inputs": inputs,
        "named": list(dict.fromkeys(named)),
        "definitions": settings.definitions,
        "margins": settings.margins,
        "generator_version": GENERATOR_VERSION,
        "provenance": room.known_from,
        "objects": [],
    }
    if frames:
        meta["video"] = getattr(frames, "video", {})
    return QuestionRecord(
        question_id=f"{room.scene_id}/{family}/{digest}",
        source=room.dataset or "rooms",
        split=split,
        scene_id=room.scene_id,
        images=tuple(f[0] for f in frames),
        widths=tuple(f[1] for f in frames),
        heights=tuple(f[2] for f in frames),
        question=text,
        question_type=kind,
        answer=answer,
        options=options,
        unit=UNITS.get(topic, ""),
        reward=json.dumps(reward),
        family=f"vsi_{family}",
        template_id=template,
        seed=settings.seed,
        meta=json.dumps(meta),
        tags=("video",),
    )

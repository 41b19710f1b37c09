"""Questions over two pictures, with their demonstrations: the same object in both, in two frames of a video or in two
scenes. Boxes on both pictures, then the answer. Of frames whose things have an instance's id (rendered walks) a thing
is followed by that, else by a caption that is unique in both.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping

from data_prep.synthesis.demonstrations import Look, Pen, problem
from spatial_jax.data.records import GENERATOR_VERSION, QuestionRecord, SceneObject, SceneRecord

FAMILY, IDENTITY = "two_pictures", "same_object"
MARGIN = 0.12  # of the picture's width, between the two places
_SIDES = ("left", "right")
_QUESTIONS = (
    "In which of the two pictures is the {caption} further to the {side}, in picture 1 or in picture 2?",
    "Picture 1 or picture 2: where is the {caption} further to the {side}?",
)
_WHICH = (
    "Picture 1 shows the {caption}. Which thing in picture 2 is the same one: {options}?",
    "Which of these in picture 2 is the {caption} of picture 1: {options}?",
)


def two_pictures(first: SceneRecord, second: SceneRecord, seed: int = 0) -> QuestionRecord | None:
    """A question on both scenes with a demonstration of two or three turns; None where no object with one caption is in
    both, at places that differ by MARGIN.
    """
    if first.split != second.split or first.content_hash == second.content_hash:
        return None
    rng = random.Random(f"{seed}/{first.scene_id}/{second.scene_id}")
    pairs = [(a, b) for a, b in _same(first, second) if abs(_place(a, first) - _place(b, second)) >= MARGIN]
    pairs = [(a, b) for a, b in pairs if a.caption == b.caption]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    side = rng.choice(_SIDES)
    answer = "1" if (_place(a, first) < _place(b, second)) == (side == "left") else "2"
    question = rng.choice(_QUESTIONS).format(caption=a.caption, side=side)
    looks = [_look(a, 1), _look(b, 2)]
    meta = {
        "objects": [a.object_id, b.object_id],
        "turns": _turns(looks, rng),
        "sentence": f"The {a.caption} is further to the {side} in picture {answer}.",
    }
    return _record((first, second), FAMILY, question, answer, {"kind": "number", "tolerance": 0.0}, seed, meta)


def same_object(first: SceneRecord, second: SceneRecord, seed: int = 0) -> QuestionRecord | None:
    """Which thing of the second frame is one of the first, where two or more of its kind are in the second; each
    candidate is boxed before the answer. None where the frames are not of one walk, or no such thing is in both.
    """
    if first.split != second.split or not _walk(first) or _walk(first) != _walk(second):
        return None
    rng = random.Random(f"{seed}/{IDENTITY}/{first.scene_id}/{second.scene_id}")
    named = Counter(o.caption for o in first.objects)
    found = []
    for a, b in _same(first, second):
        others = [o for o in second.objects if o.name == b.name]
        apart = len({o.caption for o in others}) == len(others) >= 2
        if apart and named[a.caption] == 1 and not any("{" in o.caption for o in (a, *others)):
            found.append((a, b, others))
    if not found:
        return None
    a, b, others = rng.choice(found)
    others = rng.sample(others, len(others))
    options = ", ".join(f"the {o.caption}" for o in others[:-1]) + f" or the {others[-1].caption}"
    question = rng.choice(_WHICH).format(caption=a.caption, options=options)
    pen = Pen(2)
    pen.boxes(f"I box the {a.caption} in picture 1, to see what it looks like and what is beside it.", [_look(a, 1)])
    pen.boxes("Now I box what it could be in picture 2, and compare each with it.", [_look(o, 2) for o in others])
    meta = {
        "objects": [a.object_id, *(o.object_id for o in others)],
        "turns": pen.turns,
        "sentence": f"The {a.caption} of picture 1 is the {b.caption} of picture 2.",
    }
    reward = {"kind": "word", "accept": [b.caption], "vocabulary": [o.caption for o in others]}
    return _record((first, second), IDENTITY, question, b.caption, reward, seed, meta)


def _record(
    scenes: tuple[SceneRecord, SceneRecord],
    family: str,
    question: str,
    answer: str,
    reward: Mapping[str, object],
    seed: int,
    meta: Mapping[str, object],
) -> QuestionRecord | None:
    """The record of both scenes; None where its demonstration is not where the scenes have their things."""
    first, second = scenes
    identity = hashlib.sha1(f"{second.scene_id}\n{question}".encode()).hexdigest()[:12]
    made = QuestionRecord(
        question_id=f"{first.scene_id}/{family}/{identity}",
        source=first.source,
        split=first.split,
        scene_id=first.scene_id,
        images=(first.image, second.image),
        widths=(first.width, second.width),
        heights=(first.height, second.height),
        question=question,
        question_type="number" if family == FAMILY else "word",
        answer=answer,
        reward=json.dumps(reward),
        family=family,
        seed=seed,
        meta=json.dumps({**meta, "generator_version": GENERATOR_VERSION, "provenance": "template"}),
        tags=first.tags,
    )
    return None if problem(made, {1: first, 2: second}) else made


def _look(item: SceneObject, picture: int) -> Look:
    return Look(item.caption, tuple(map(float, item.box)), picture)  # type: ignore[arg-type]


def _turns(looks: list[Look], rng: random.Random) -> list[str]:
    """One picture after the other, or both in one call and then a line in each."""
    pen, label = Pen(2), looks[0].label
    if rng.random() < 0.5:
        pen.boxes(f"I look for the {label} in picture 1 and box it.", looks[:1])
        pen.boxes(f"Now I box the {label} in picture 2, to compare.", looks[1:])
    else:
        pen.boxes(f"I box the {label} in both pictures.", looks)
        for look in looks:
            x = look.middle[0]
            pen.lines(
                f"A line down the {label} in picture {look.picture} shows how far across it stands.",
                [((x, look.box[1]), (x, look.box[3]), "across")],
                look.picture,
            )
    return pen.turns


def _same(first: SceneRecord, second: SceneRecord) -> list[tuple[SceneObject, SceneObject]]:
    """Objects that are in both: by their instance in frames of one walk, else by a caption that is unique in either."""
    once = []
    for scene in (first, second):
        if _walk(first) and _walk(first) == _walk(second):
            once.append({str(_instance(o)): o for o in scene.objects if _instance(o) is not None})
            continue
        counts = Counter(o.caption for o in scene.objects)
        once.append({o.caption: o for o in scene.objects if counts[o.caption] == 1})
    common = sorted(once[0].keys() & once[1].keys())
    return [(once[0][key], once[1][key]) for key in common if key and "{" not in once[0][key].caption]


def _walk(scene: SceneRecord) -> str:
    """The walk that a scene is a frame of; "" of none."""
    return str(scene.json_field("meta").get("walk") or "")


def _instance(item: SceneObject) -> int | None:
    number = item.json_field("provenance").get("instance")
    return number if isinstance(number, int) else None


def _place(item: SceneObject, scene: SceneRecord) -> float:
    """Middle of an object across the picture, of its width."""
    return (item.box[0] + item.box[2]) / 2 / scene.width

"""Questions over two pictures, with their demonstrations: the same object in both, in two frames of a video or in two
scenes. Boxes on both pictures, then the answer.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter

from data_prep.synthesis.demonstrations import Look, Pen, problem
from spatial_jax.data.records import GENERATOR_VERSION, QuestionRecord, SceneObject, SceneRecord

FAMILY = "two_pictures"
MARGIN = 0.12  # of the picture's width, between the two places
_SIDES = ("left", "right")
_QUESTIONS = (
    "In which of the two pictures is the {caption} further to the {side}, in picture 1 or in picture 2?",
    "Picture 1 or picture 2: where is the {caption} further to the {side}?",
)


def two_pictures(first: SceneRecord, second: SceneRecord, seed: int = 0) -> QuestionRecord | None:
    """A question on both scenes with a demonstration of two or three turns; None where no object with one caption is in
    both, at places that differ by MARGIN.
    """
    if first.split != second.split or first.content_hash == second.content_hash:
        return None
    rng = random.Random(f"{seed}/{first.scene_id}/{second.scene_id}")
    pairs = [(a, b) for a, b in _same(first, second) if abs(_place(a, first) - _place(b, second)) >= MARGIN]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    side = rng.choice(_SIDES)
    answer = "1" if (_place(a, first) < _place(b, second)) == (side == "left") else "2"
    question = rng.choice(_QUESTIONS).format(caption=a.caption, side=side)
    looks = [Look(o.caption, tuple(map(float, o.box)), n) for n, o in ((1, a), (2, b))]  # type: ignore[arg-type]
    meta = {
        "objects": [a.object_id, b.object_id],
        "turns": _turns(looks, rng),
        "sentence": f"The {a.caption} is further to the {side} in picture {answer}.",
        "generator_version": GENERATOR_VERSION,
        "provenance": "template",
    }
    identity = hashlib.sha1(f"{second.scene_id}\n{question}".encode()).hexdigest()[:12]
    made = QuestionRecord(
        question_id=f"{first.scene_id}/{FAMILY}/{identity}",
        source=first.source,
        split=first.split,
        scene_id=first.scene_id,
        images=(first.image, second.image),
        widths=(first.width, second.width),
        heights=(first.height, second.height),
        question=question,
        question_type="number",
        answer=answer,
        reward=json.dumps({"kind": "number", "tolerance": 0.0}),
        family=FAMILY,
        seed=seed,
        meta=json.dumps(meta),
        tags=first.tags,
    )
    return None if problem(made, {1: first, 2: second}) else made


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
    """Objects with one caption that is unique in either scene."""
    once = []
    for scene in (first, second):
        counts = Counter(o.caption for o in scene.objects)
        once.append({o.caption: o for o in scene.objects if counts[o.caption] == 1 and "{" not in o.caption})
    return [(once[0][caption], once[1][caption]) for caption in sorted(once[0].keys() & once[1].keys()) if caption]


def _place(item: SceneObject, scene: SceneRecord) -> float:
    """Middle of an object across the picture, of its width."""
    return (item.box[0] + item.box[2]) / 2 / scene.width

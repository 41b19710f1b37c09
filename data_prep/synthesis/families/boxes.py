"""Localisation (a description to its box) and counting."""

from __future__ import annotations

import collections
import random
from collections.abc import Iterator

from data_prep.synthesis.draft import Ask, Draft, Form, number
from data_prep.synthesis.numbers import box_text
from data_prep.synthesis.options import Options
from data_prep.synthesis.registry import family
from data_prep.synthesis.view import SceneView
from spatial_jax.data.records import coordinate

BOX = Form(
    "box",
    0,
    ("Box of the {a}?", "Give the box of the {a}.", "Where is the {a}? Give its box."),
    (
        "Give the bounding box of the {a} as [x1, y1, x2, y2] in pixels of the {size} image.",
        "Locate the {a}. Answer with [x1, y1, x2, y2] in pixels (image {size}).",
        "In this {size} image, which box [x1, y1, x2, y2] encloses the {a} tightly?",
        "Draw a tight box around the {a} and report its corners as [x1, y1, x2, y2], in pixels of the {size} picture.",
        "What are the pixel coordinates [x1, y1, x2, y2] of the {a} in this {size} image?",
        "Detect the {a}: top-left and bottom-right corner as [x1, y1, x2, y2], image size {size}.",
        "Ground this description in the {size} image: {a}. Reply with [x1, y1, x2, y2] in pixels.",
    ),
    ("{answer}", "Its box is {answer}.", "The bounding box is {answer}.", "Found at {answer}."),
)


@family("box", example="Box of the red ball? -> [12, 40, 58, 90]")
def box(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """An object's box in pixels (placeholders, so that they follow the resize). Only well-visible objects with a unique
    caption.
    """
    things = [t for t in view.things if t.visible >= 0.4]
    size = f"{coordinate('x', view.width)} x {coordinate('y', view.height)}"
    for thing in rng.sample(things, min(len(things), 3)):
        template_id, wording = BOX.pick(rng, options)
        third = (int(3 * thing.u / view.width), int(3 * thing.v / view.height))
        yield Draft(
            "box",
            BOX,
            template_id,
            wording.format(a=thing.caption, size=size),
            "box",
            box_text(thing.box),
            {"kind": "iou"},
            thing.visible / 0.4,
            (thing,),
            {"box": list(thing.box), "visible": thing.visible},
            unit="px",
            facts=((("box", "third"), third, 4),),
        )


COUNT = Form(
    "count",
    0,
    ("How many {plural}?", "How many {plural} are there?", "Count the {plural}."),
    (
        "How many {plural} can you see in the picture?",
        "What is the number of {plural} in this image?",
        "Count every {name} that is visible. How many?",
        "Please count the {plural} in the scene and give the number.",
        "In total, how many {plural} does the photo show?",
        "Give the number of {plural} that appear in this view.",
        "Look carefully: how many {plural} are in the image?",
    ),
    ("{answer}", "There are {answer}.", "I count {answer}.", "The number is {answer}."),
)
_IRREGULAR = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "shelf": "shelves",
    "knife": "knives",
    "mouse": "mice",
    "foot": "feet",
    "leaf": "leaves",
    "bookshelf": "bookshelves",
    "scissors": "scissors",
    "glasses": "glasses",
    "sheep": "sheep",
}


def plural(name: str) -> str:
    """English plural of a class word's last word: "trash can" -> "trash cans"."""
    head, _, last = name.rpartition(" ")
    if last in _IRREGULAR:
        many = _IRREGULAR[last]
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        many = last + "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        many = last[:-1] + "ies"
    else:
        many = last + "s"
    return f"{head} {many}".strip()


@family(
    "count", example="How many balls? -> 2", needs="a scene whose objects are all known (rendered, or tagged complete)"
)
def count(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """The number of objects of a class, or of all named objects: only where all are known and each is seen well enough
    to be counted.
    """
    if not view.complete:
        return
    groups = collections.defaultdict(list)
    for item in view.scene.objects:
        groups[item.name.strip().lower()].append(item)
    groups.pop("", None)
    clear = {
        name: all(
            i.confidence >= options.min_confidence and i.visible_fraction >= 0.3 and _large(i.box, view, options)
            for i in items
        )
        for name, items in groups.items()
    }
    for name in rng.sample(sorted(groups), len(groups)):
        if clear[name] and not any(other != name and (name in other or other in name) for other in groups):
            total = len(groups[name])
            ids = {i.object_id for i in groups[name]}
            yield number(
                Ask(
                    "count",
                    COUNT,
                    names={"plural": plural(name), "name": name},
                    objects=tuple(t for t in view.things if t.object_id in ids),
                    rule_inputs={"name": name, "count": total},
                    facts=((("count", "value"), total, 3), (("count", "name", name), total, 3)),
                ),
                rng,
                options,
                answer=str(total),
                unit="",
                reward={"kind": "mra", "comparison": "<"},
            )


def _large(box: tuple[float, float, float, float], view: SceneView, options: Options) -> bool:
    x1, y1, x2, y2 = box
    return x2 - x1 >= max(4, options.min_side * view.width) and y2 - y1 >= max(4, options.min_side * view.height)

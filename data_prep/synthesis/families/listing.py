"""Naming everything in view in order: for rendered scenes, where it is known that nothing was left out."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from data_prep.synthesis import margins
from data_prep.synthesis.draft import Draft, Form, name_facts
from data_prep.synthesis.options import Options
from data_prep.synthesis.registry import family
from data_prep.synthesis.view import SceneView

LEFT_TO_RIGHT = Form(
    "left_to_right",
    0,
    ("List all, left to right.", "Left to right, all objects?"),
    (
        "Name every object from the left of the picture to the right.",
        "What do you see, going from left to right?",
        "List the objects in the order of their place in the image, leftmost first.",
        "From the left edge to the right edge, which objects are there?",
        "Read the picture from left to right and name each object.",
        "Give all objects ordered by their horizontal position, left first.",
    ),
)
NEAR_TO_FAR = Form(
    "all_near_to_far",
    20,
    ("List all, near to far.", "Near to far, all objects?"),
    (
        "Name every object, the nearest to the camera first.",
        "What do you see, going from the foreground to the background?",
        "List all objects by their distance from the camera, closest first.",
        "From near to far, which objects are in the picture?",
        "Give all objects ordered by depth, smallest first.",
        "Starting at the camera and going away from it, which objects do you meet?",
    ),
)


@family(
    "listing",
    example="List all, left to right. -> blue box, red ball, green cone",
    needs="every object of the picture annotated: rendered scenes",
)
def listing(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """All objects by their place across the picture, or by depth; every pair passes the margin of its two-object
    question.
    """
    things = list(view.things)
    # "All objects" has an answer only where every object of the picture is annotated, which detectors never promise.
    if not view.complete or not 2 <= len(things) == len(view.scene.objects) <= 5:
        return
    orders = [(LEFT_TO_RIGHT, lambda t: t.u, lambda a, b: margins.axis_gap(view, a, b, "x", options))]
    if view.has_depth and all(t.has_depth for t in things):
        orders.append((NEAR_TO_FAR, lambda t: t.depth, lambda a, b: margins.depth_order(view, a, b, options)))
    for form, place, guard in rng.sample(orders, len(orders)):
        ordered = sorted(things, key=place)
        hits = [guard(a, b) for a, b in itertools.combinations(ordered, 2)]
        if any(hit is None for hit in hits):
            continue
        template_id, wording = form.pick(rng, options)
        facts = [
            fact
            for i, thing in enumerate(ordered)
            for fact in name_facts(("listing", form.name, len(ordered)), [(thing, i)], len(ordered))
        ]
        yield Draft(
            "listing",
            form,
            template_id,
            wording,
            "order",
            ", ".join(t.caption for t in ordered),
            {"kind": "order"},
            min(hit[1] for hit in hits if hit),
            tuple(ordered),
            {"places": [place(t) for t in ordered]},
            facts=tuple(facts),
        )

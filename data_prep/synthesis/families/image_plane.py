"""Where things are in the picture: one object's bearing, and two objects' left/right and above/below."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from data_prep.synthesis import margins
from data_prep.synthesis.draft import Ask, Draft, Form, choice, name_facts, versus_fact
from data_prep.synthesis.options import Options
from data_prep.synthesis.registry import family
from data_prep.synthesis.view import SceneView, Thing

SIDES = {"x": ("left", "right"), "y": ("top", "bottom")}
RELATIONS = {"x": ("left", "right"), "y": ("above", "below")}
CORNERS = ("top left", "top right", "bottom left", "bottom right")

BEARING = {
    "x": Form(
        "horizontal",
        0,
        (
            "Is the {a} on the left or the right?",
            "Left or right half: the {a}?",
            "Which side is the {a} on: left or right?",
        ),
        (
            "Is the {a} in the left half or the right half of the picture?",
            "On which side of the image does the {a} appear, left or right?",
            "Looking at the picture as a whole, would you say the {a} is to the left or to the right of its centre?",
            "Split the image down the middle. Does the {a} fall in the left or the right part?",
            "Tell me whether the {a} is on the left or on the right of the photo.",
            "In the frame, is the {a} placed left or right of the vertical centre line?",
        ),
    ),
    "y": Form(
        "vertical",
        20,
        ("Is the {a} at the top or the bottom?", "Top or bottom half: the {a}?", "Where is the {a}: top or bottom?"),
        (
            "Is the {a} in the top half or the bottom half of the picture?",
            "In which part of the image does the {a} appear, top or bottom?",
            "Split the image across the middle. Does the {a} fall in the top or the bottom part?",
            "Tell me whether the {a} is nearer the top or the bottom edge of the photo.",
            "In the frame, is the {a} placed in the top or in the bottom half?",
            "Is the {a} seen in the top part or the bottom part of this image?",
        ),
    ),
    "corner": Form(
        "corner",
        40,
        ("Which corner is the {a} nearest: top left, top right, bottom left or bottom right?",),
        (
            "In which quarter of the picture is the {a}: top left, top right, bottom left or bottom right?",
            (
                "Divide the image into four quarters. Which one holds the centre of the {a}: top left, top right,"
                " bottom left or bottom right?"
            ),
            "Where in the frame is the {a}? Choose from top left, top right, bottom left, bottom right.",
            (
                "Name the quadrant of the photo in which the {a} appears: top left, top right, bottom left or bottom"
                " right."
            ),
        ),
    ),
}


@family("bearing", example="Is the red ball on the left or the right? -> left")
def bearing(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """An object's place in the image plane; its box centre is off the middle by the margin in each axis that is
    named.
    """
    things = rng.sample(view.things, min(len(view.things), options.pool))
    for thing in things:
        found = {axis: margins.bearing(view, thing, axis, options) for axis in ("x", "y")}
        inputs = {"box": list(thing.box), "width": view.width, "height": view.height}
        # A corner is asked only where both halves are past their margin: one that is not would make two corners right.
        if found["x"] and found["y"] and not options.plain and rng.random() < 0.5:
            right = 2 * int(found["y"][0] > 0) + int(found["x"][0] > 0)
            yield choice(
                Ask(
                    "bearing",
                    BEARING["corner"],
                    names={"a": thing.caption},
                    objects=(thing,),
                    rule_inputs=inputs,
                    facts=name_facts(("bearing", "corner"), [(thing, right)], 4),
                ),
                rng,
                options,
                answers=CORNERS,
                right=right,
                margin=min(found["x"][1], found["y"][1]),
            )
        for axis in ("x", "y") if rng.random() < 0.5 else ("y", "x"):
            if (hit := found[axis]) is not None:
                right = int(hit[0] > 0)
                yield choice(
                    Ask(
                        "bearing",
                        BEARING[axis],
                        names={"a": thing.caption},
                        objects=(thing,),
                        rule_inputs=inputs,
                        facts=name_facts(("bearing", axis), [(thing, right)], 2),
                    ),
                    rng,
                    options,
                    answers=SIDES[axis],
                    right=right,
                    margin=hit[1],
                )


RELATION = {
    "x": Form(
        "left_right",
        0,
        (
            "Is the {a} left or right of the {b}?",
            "Left or right of the {b}: the {a}?",
            "The {a} is on which side of the {b}: left or right?",
        ),
        (
            "Is the {a} to the left or to the right of the {b} in the picture?",
            "Relative to the {b}, does the {a} appear left or right?",
            "As you look at the image, on which side of the {b} is the {a}, left or right?",
            "Compare the {a} with the {b}. Is it further left or further right in the photo?",
            "From the photographer's viewpoint, is the {a} left or right of the {b}?",
            "Would you find the {a} on the left or on the right side of the {b} in this view?",
        ),
    ),
    "y": Form(
        "above_below",
        20,
        (
            "Is the {a} above or below the {b}?",
            "Above or below the {b}: the {a}?",
            "The {a} is above or below the {b}?",
        ),
        (
            "In the picture, is the {a} above or below the {b}?",
            "Relative to the {b}, does the {a} appear above or below in the image?",
            "Looking only at the image plane, is the {a} higher up (above) or lower down (below) than the {b}?",
            "Compare the {a} with the {b}. Is it above or below it in the photo?",
            "As the picture is framed, is the {a} above or below the {b}?",
            "Does the {a} sit above or below the {b} in this image?",
        ),
    ),
}
EXTREME = {
    "x": Form(
        "further_side",
        40,
        ("Which is further {side}: the {a} or the {b}?", "Further {side}: the {a} or the {b}?"),
        (
            "Which one is further to the {side} in the picture, the {a} or the {b}?",
            "Between the {a} and the {b}, which lies more to the {side}?",
            "Two objects: the {a} and the {b}. Name the one further to the {side} in the image.",
            "Whose centre is further {side} in the frame: that of the {a} or that of the {b}?",
        ),
    ),
    "y": Form(
        "higher_lower",
        60,
        ("Which is {side} in the picture: the {a} or the {b}?", "{side} in the picture: the {a} or the {b}?"),
        (
            "Which one appears {side} in the image, the {a} or the {b}?",
            "Between the {a} and the {b}, which is {side} in the frame?",
            "Two objects: the {a} and the {b}. Name the one that is {side} in the picture.",
            "Whose centre is {side} in the photo: that of the {a} or that of the {b}?",
        ),
    ),
}
YES_NO = Form(
    "yes_no",
    80,
    ("Is the {a} {relation} the {b}?", "Yes or no: is the {a} {relation} the {b}?"),
    (
        "In the picture, is the {a} {relation} the {b}? Answer yes or no.",
        "Would it be right to say that the {a} is {relation} the {b} in the image?",
        "Looking at the image, does the {a} appear {relation} the {b}? Yes or no.",
        "Someone says the {a} is {relation} the {b} in this photo. Is that so?",
    ),
)
EXTREME_WORDS = {"x": ("left", "right"), "y": ("higher", "lower")}
YES_NO_WORDS = {"x": ("to the left of", "to the right of"), "y": ("above", "below")}


@family("relation", example="Is the red ball left or right of the blue box? -> right")
def relation(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """Two objects' order along an axis of the picture: centres apart by the margin, boxes overlapping at most by
    half.
    """
    pairs = list(itertools.permutations(view.things, 2))
    for a, b in rng.sample(pairs, min(len(pairs), options.pool)):
        for axis in ("x", "y") if rng.random() < 0.5 else ("y", "x"):
            hit = margins.axis_gap(view, a, b, axis, options)
            if hit is not None:
                yield from _relation_forms(view, rng, options, (a, b), axis, *hit)


def _relation_forms(
    view: SceneView,
    rng: random.Random,
    options: Options,
    pair: tuple[Thing, Thing],
    axis: str,
    sign: int,
    margin: float,
) -> Iterator[Draft]:
    a, b = pair
    inputs = {"boxes": [list(a.box), list(b.box)], "width": view.width, "height": view.height, "axis": axis}
    right = int(sign > 0)
    form = rng.random()
    if options.plain or form < 0.4:
        facts = name_facts(("relation", axis, "first"), [(a, right)], 2) + name_facts(
            ("relation", axis, "second"), [(b, right)], 2
        )
        yield choice(
            Ask(
                "relation",
                RELATION[axis],
                names={"a": a.caption, "b": b.caption},
                objects=(a, b),
                rule_inputs=inputs,
                facts=facts + versus_fact(("relation", axis), *((a, b) if right else (b, a))),
            ),
            rng,
            options,
            answers=RELATIONS[axis],
            right=right,
            margin=margin,
        )
    elif form < 0.75:
        end = int(rng.random() * 2)  # 0: which is further left (higher); 1: further right (lower)
        winner = 0 if right == end else 1
        side = EXTREME_WORDS[axis][end]
        facts = name_facts(("relation", axis, side), [(a, winner == 0), (b, winner == 1)], 2)
        yield choice(
            Ask(
                "relation",
                EXTREME[axis],
                names={"a": a.caption, "b": b.caption, "side": side},
                objects=pair,
                rule_inputs=inputs | {"end": side},
                facts=facts + versus_fact(("relation", axis, side), pair[winner], pair[1 - winner]),
            ),
            rng,
            options,
            answers=(a.caption, b.caption),
            right=winner,
            margin=margin,
        )
    else:
        end = int(rng.random() * 2)
        said = YES_NO_WORDS[axis][end]
        yes = right == end
        facts = (
            name_facts(("relation", said, "first"), [(a, yes)], 2)
            + name_facts(("relation", said, "second"), [(b, yes)], 2)
            + versus_fact(("relation", axis, "said"), *((a, b) if right else (b, a)))
        )
        yield choice(
            Ask(
                "relation",
                YES_NO,
                names={"a": a.caption, "b": b.caption, "relation": said},
                objects=(a, b),
                rule_inputs=inputs | {"said": said},
                facts=facts,
            ),
            rng,
            options,
            answers=("yes", "no"),
            right=0 if yes else 1,
            margin=margin,
            letters=False,
        )

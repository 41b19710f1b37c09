"""Sizes of objects and distances between them: metric depth only."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence

from data_prep.synthesis import margins, space
from data_prep.synthesis.deviations import Measure, Moves, Pose, moves
from data_prep.synthesis.draft import Ask, Draft, Form, choice, mix_drafts, name_facts, number, versus_fact
from data_prep.synthesis.families import vague
from data_prep.synthesis.numbers import centimetres, metres
from data_prep.synthesis.options import Options
from data_prep.synthesis.registry import family
from data_prep.synthesis.view import SceneView, Thing

LEAST_GAP = 0.15  # metres: what lies closer together touches, or may
MRA = {"kind": "mra", "comparison": "<"}
LENGTH_SENTENCES = ("{answer}", "About {answer}.", "Roughly {answer}.", "It measures {answer}.")

HEIGHT = Form(
    "height",
    0,
    ("How tall is the {a} in {unit}?", "Height of the {a} in {unit}?"),
    (
        "What is the height of the {a} in {unit_name}?",
        "Estimate how tall the {a} is, in {unit_name}.",
        "From its lowest to its highest point, how many {unit_name} does the {a} measure?",
        "Give the vertical extent of the {a} in {unit_name}.",
        "How high does the {a} rise from bottom to top, in {unit_name}?",
        "What would a ruler held upright read for the {a}, in {unit_name}?",
    ),
    LENGTH_SENTENCES,
)
LONGEST = Form(
    "longest",
    20,
    ("How long is the longest side of the {a} in {unit}?", "Longest side of the {a} in {unit}?"),
    (
        "What is the length of the longest dimension of the {a} in {unit_name}?",
        "Estimate the longest side of the {a}, in {unit_name}.",
        "How many {unit_name} does the {a} measure along its longest side?",
        "Of the three sides of a box around the {a}, how long is the longest, in {unit_name}?",
        "Give the largest dimension of the {a} in {unit_name}.",
        "What is the greatest extent of the {a} (length, width or height) in {unit_name}?",
    ),
    LENGTH_SENTENCES,
)
TALLER = Form(
    "taller",
    40,
    ("Which is taller: the {a} or the {b}?", "Taller: the {a} or the {b}?"),
    (
        "Which object is taller in reality, the {a} or the {b}?",
        "Between the {a} and the {b}, which has the greater height?",
        "Not in the picture but in the world: which is taller, the {a} or the {b}?",
        "Compare real heights. Which one is taller, the {a} or the {b}?",
    ),
)
SHORTER = Form(
    "shorter",
    60,
    ("Which is shorter: the {a} or the {b}?", "Shorter: the {a} or the {b}?"),
    (
        "Which object is less tall in reality, the {a} or the {b}?",
        "Between the {a} and the {b}, which has the smaller height?",
        "Not in the picture but in the world: which is shorter, the {a} or the {b}?",
        "Compare real heights. Which one is shorter, the {a} or the {b}?",
    ),
)


@family(
    "size",
    example="How tall is the red ball in cm? -> 32",
    needs="metric depth, oriented boxes (heights need gravity too)",
)
def size(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """Height, longest side, and which of two is taller; objects seen whole (visible fraction, off the border), metric
    depth.
    """
    if not view.metric:
        return
    things = [t for t in view.things if margins.not_truncated(view, t, options)]
    heights = {t.object_id: space.vertical_extent(t, view.gravity) for t in things} if view.gravity else {}
    heights = {k: v for k, v in heights.items() if v > 0}
    things = [t for t in things if t.has_extent or t.object_id in heights]
    tall = [t for t in things if t.object_id in heights]
    yield from mix_drafts(rng, _sizes(view, rng, options, things, heights), _taller(view, rng, options, tall, heights))


def _tallness(thing: int) -> Measure:
    """The measure "height of the thing number `thing`"."""
    return lambda poses, gravity: space.vertical_extent(poses[thing], gravity)


def _longest(poses: Sequence[Pose], _: tuple[float, ...]) -> float:
    return max(poses[0].extent)


def _has(form: Form, thing: Thing, heights: dict[str, float]) -> bool:
    return thing.object_id in heights if form is HEIGHT else thing.has_extent


def _sizes(
    view: SceneView, rng: random.Random, options: Options, things: list[Thing], heights: dict[str, float]
) -> Iterator[Draft]:
    for thing in rng.sample(things, min(len(things), options.pool // 2)):
        forms: list[tuple[Form, Measure]] = [(HEIGHT, _tallness(0))] if _has(HEIGHT, thing, heights) else []
        if _has(LONGEST, thing, heights) and not (options.plain and heights):
            forms.append((LONGEST, _longest))
        for form, measure in rng.sample(forms, len(forms)):
            value, moved = moves(view, (thing,), measure)
            if value < 0.02:
                continue
            within = margins.tolerance(view, value, moved, options)
            inputs = {"value_m": value, "extent": list(thing.extent), "visible": thing.visible}
            if within is None:
                # The same measure of the other objects: what the picture shares falls out of a ratio of two like
                # measures.
                subjects = [vague.Subject("size", form.name, (t,), measure) for t in things if _has(form, t, heights)]
                mine = next(s for s in subjects if s.things == (thing,))
                rest = [s for s in subjects if s is not mine]
                yield from vague.instead(view, rng, options, mine, (value, moved), inputs, rest)
                continue
            in_metres = not options.plain and value >= 0.5 and rng.random() < 0.5
            yield number(
                Ask(
                    "size",
                    form,
                    names={
                        "a": thing.caption,
                        "unit": "m" if in_metres else "cm",
                        "unit_name": "metres" if in_metres else "centimetres",
                    },
                    objects=(thing,),
                    rule_inputs=inputs,
                ),
                rng,
                options,
                answer=metres(value, options) if in_metres else centimetres(value),
                unit="m" if in_metres else "cm",
                reward=MRA,
                margin=thing.visible / options.min_visible,
                moved=moved if in_metres else moved.times(100),
                tolerance=within,
            )


def _taller(
    view: SceneView, rng: random.Random, options: Options, things: list[Thing], heights: dict[str, float]
) -> Iterator[Draft]:
    pairs = list(itertools.permutations(things, 2))
    for a, b in rng.sample(pairs, min(len(pairs), options.pool // 2)):
        if "h" in a.hints or "h" in b.hints:
            continue
        hit = margins.ratio_order(view, (a, b), (_tallness(0), _tallness(1)), "size_ratio", options)
        if hit is None:
            continue
        form = TALLER if rng.random() < 0.5 else SHORTER
        winner = int((hit[0] < 0) == (form is TALLER))
        pair = (a, b)
        yield choice(
            Ask(
                "size",
                form,
                names={"a": a.caption, "b": b.caption},
                objects=pair,
                rule_inputs={"heights_m": [heights[a.object_id], heights[b.object_id]]},
                facts=name_facts(("size", form.name), [(a, winner == 0), (b, winner == 1)], 2)
                + versus_fact(("size", form.name), pair[winner], pair[1 - winner]),
            ),
            rng,
            options,
            answers=(a.caption, b.caption),
            right=winner,
            margin=hit[1],
        )


DISTANCE = {
    "center": Form(
        "center",
        0,
        ("Metres between the {a} and the {b}?", "Distance of the {a} and the {b} in m?"),
        (
            "What is the distance between the centres of the {a} and the {b}, in metres?",
            "How many metres apart are the {a} and the {b}, from centre to centre?",
            "Measured from the middle of the {a} to the middle of the {b}, what is the distance in metres?",
            "Estimate the centre-to-centre distance between the {a} and the {b} in metres.",
            "In the real scene, how far is the centre of the {a} from the centre of the {b} (metres)?",
            "Give the straight-line distance in metres from the centre of the {a} to the centre of the {b}.",
        ),
        LENGTH_SENTENCES,
    ),
    "nearest": Form(
        "nearest",
        20,
        (),
        (
            "What is the distance between the closest visible points of the {a} and the {b}, in metres?",
            (
                "Measured between the nearest visible points of their surfaces, how far apart are the {a} and the {b},"
                " in metres?"
            ),
            "How many metres of gap are there between the {a} and the {b}, counting from their closest visible points?",
            "Estimate the shortest distance in metres between the visible surfaces of the {a} and the {b}.",
        ),
        LENGTH_SENTENCES,
    ),
    "horizontal": Form(
        "horizontal",
        40,
        (),
        (
            "What is the horizontal distance between the centres of the {a} and the {b}, in metres?",
            "Seen from above, how many metres lie between the centres of the {a} and the {b}?",
            "Ignoring height, how far apart in metres are the centres of the {a} and the {b}?",
            (
                "Measured along the floor, what is the distance in metres between the middle of the {a} and the middle"
                " of the {b}?"
            ),
        ),
        LENGTH_SENTENCES,
    ),
    "vertical": Form(
        "vertical",
        60,
        (),
        (
            "What is the vertical distance between the centres of the {a} and the {b}, in metres?",
            "How many metres of height lie between the centre of the {a} and the centre of the {b}?",
            "By how many metres do the centres of the {a} and the {b} differ in height?",
            "Estimate the difference in height, in metres, between the middle of the {a} and the middle of the {b}.",
        ),
        LENGTH_SENTENCES,
    ),
}
CLOSEST = Form(
    "closest_to",
    80,
    ("Which is nearest to the {t}: the {a} or the {b}?", "Nearest to the {t}: the {a} or the {b}?"),
    (
        "Which object is closer to the {t} in the real scene, the {a} or the {b}?",
        "Measured from centre to centre, which is nearer to the {t}: the {a} or the {b}?",
        "Of the {a} and the {b}, which one is at the shorter distance from the {t}?",
        "In three dimensions, does the {a} or the {b} lie closer to the {t}?",
    ),
)


@family(
    "distance", example="Metres between the red ball and the blue box? -> 1.7", needs="metric depth, object centres"
)
def distance(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """Distance between two objects by a definition that the text states, and which of two is nearer to a third."""
    things = [t for t in view.things if (t.has_center or t.raw.points) and t.visible >= 0.4]
    if not view.metric or len(things) < 2:
        return
    yield from mix_drafts(rng, _distances(view, rng, options, things), _closest(view, rng, options, things))


def _distances(view: SceneView, rng: random.Random, options: Options, things: list[Thing]) -> Iterator[Draft]:
    pairs = list(itertools.permutations(things, 2))
    kinds = (
        ["center"] if options.plain else ["center", "nearest"] + (["horizontal", "vertical"] if view.gravity else [])
    )
    for a, b in rng.sample(pairs, min(len(pairs), options.pool // 2)):
        draft = None
        for kind in rng.sample(kinds, len(kinds)):
            found = _measure(view, a, b, kind)
            if found is None:
                continue
            draft = _distance(view, rng, options, (a, b), kind, found)
            if draft is not None:
                yield draft
                break


def _distance(
    view: SceneView,
    rng: random.Random,
    options: Options,
    pair: tuple[Thing, Thing],
    kind: str,
    found: tuple[float, Moves],
) -> Draft | None:
    (a, b), (value, moved) = pair, found
    within = margins.tolerance(view, value, moved, options)
    inputs = {"definition": kind, "value_m": value, "centers": [list(a.center), list(b.center)]}
    if within is None:
        if kind == "nearest":
            return None  # a bound of two clouds is no function of the things' places
        mine = vague.Subject("distance", kind, (a, b), DEFINITIONS[kind])
        rest = [
            vague.Subject("distance", kind, (a, c), DEFINITIONS[kind])
            for c in view.things
            if c.has_center and c is not a and c is not b and c.visible >= 0.4
        ]
        return next(vague.instead(view, rng, options, mine, found, inputs, rest), None)
    return number(
        Ask(
            "distance",
            DISTANCE[kind],
            names={"a": a.caption, "b": b.caption},
            objects=(a, b),
            rule_inputs=inputs,
            facts=((("distance", "bin"), math.floor(math.log(value) / math.log(1.25)), 4),),
        ),
        rng,
        options,
        answer=metres(value, options),
        unit="m",
        reward=MRA,
        moved=moved,
        tolerance=within,
        margin=options.most_tolerance * value / max(options.sigmas * moved.sd, 1e-3 * value),
    )


def apart(a: int, b: int) -> Measure:
    """The measure "distance between the centres of the things number `a` and `b`"."""
    return lambda poses, _: math.dist(poses[a].center, poses[b].center)


def _level_distance(poses: Sequence[Pose], gravity: tuple[float, ...]) -> float:
    return space.horizontal_distance(poses[0].center, poses[1].center, gravity)


def _drop(poses: Sequence[Pose], gravity: tuple[float, ...]) -> float:
    return abs(space.drop(poses[0].center, poses[1].center, gravity))


DEFINITIONS = {"center": apart(0, 1), "horizontal": _level_distance, "vertical": _drop}


def _measure(view: SceneView, a: Thing, b: Thing, kind: str) -> tuple[float, Moves] | None:
    if kind == "nearest":
        found = space.nearest_distance(view, a, b)
        return None if found is None or found[0] < LEAST_GAP else found
    if not (a.has_center and b.has_center):
        return None
    value, moved = moves(view, (a, b), DEFINITIONS[kind])
    return (value, moved) if value >= 0.1 else None


def _closest(view: SceneView, rng: random.Random, options: Options, things: list[Thing]) -> Iterator[Draft]:
    things = [t for t in things if t.has_center]
    if len(things) < 3:
        return
    for _ in range(options.pool // 2):
        target, a, b = rng.sample(things, 3)
        hit = margins.ratio_order(view, (target, a, b), (apart(0, 1), apart(0, 2)), "distance_ratio", options)
        if hit is None:
            continue
        to_a, to_b = math.dist(target.center, a.center), math.dist(target.center, b.center)
        winner, pair = int(hit[0] > 0), (a, b)
        yield choice(
            Ask(
                "distance",
                CLOSEST,
                names={"t": target.caption, "a": a.caption, "b": b.caption},
                objects=(a, b, target),
                rule_inputs={"distances_m": [to_a, to_b]},
                facts=name_facts(("distance", "closest_to"), [(a, winner == 0), (b, winner == 1)], 2)
                + versus_fact(("distance", "closest_to"), pair[winner], pair[1 - winner]),
            ),
            rng,
            options,
            answers=(a.caption, b.caption),
            right=winner,
            margin=hit[1],
        )

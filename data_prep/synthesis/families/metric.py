"""Sizes of objects and distances between them: metric depth only."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

from data_prep.synthesis import margins, space
from data_prep.synthesis.draft import Draft, Form, choice, mixed, name_facts, number, versus_fact
from data_prep.synthesis.numbers import centimetres, metres
from data_prep.synthesis.options import Options
from data_prep.synthesis.registry import family
from data_prep.synthesis.view import SceneView, Thing

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
    yield from mixed(rng, _sizes(view, rng, options, things, heights), _taller(view, rng, options, tall, heights))


def _sizes(
    view: SceneView, rng: random.Random, options: Options, things: list[Thing], heights: dict[str, float]
) -> Iterator[Draft]:
    for thing in rng.sample(things, min(len(things), options.pool // 2)):
        measures = [(LONGEST, max(thing.extent))] if thing.has_extent and not (options.plain and heights) else []
        if thing.object_id in heights:
            measures.append((HEIGHT, heights[thing.object_id]))
        for form, value in rng.sample(measures, len(measures)):
            sd = thing.sd.get("extent", 0.0)
            if not margins.certain(value, sd, options) or value < 0.02:
                continue
            in_metres = not options.plain and value >= 0.5 and rng.random() < 0.5
            yield number(
                "size",
                form,
                rng,
                options,
                names={
                    "a": thing.caption,
                    "unit": "m" if in_metres else "cm",
                    "unit_name": "metres" if in_metres else "centimetres",
                },
                answer=metres(value, options) if in_metres else centimetres(value),
                unit="m" if in_metres else "cm",
                reward=MRA,
                objects=(thing,),
                margin=thing.visible / options.min_visible,
                uncertainty=sd if in_metres else 100 * sd,
                rule_inputs={"value_m": value, "extent": list(thing.extent), "visible": thing.visible},
            )


def _taller(
    view: SceneView, rng: random.Random, options: Options, things: list[Thing], heights: dict[str, float]
) -> Iterator[Draft]:
    pairs = list(itertools.permutations(things, 2))
    for a, b in rng.sample(pairs, min(len(pairs), options.pool // 2)):
        sd = math.hypot(a.sd.get("extent", 0.0), b.sd.get("extent", 0.0))
        if "h" in a.hints or "h" in b.hints:
            continue
        hit = margins.ratio_order(heights[a.object_id], heights[b.object_id], options.size_ratio, sd, options.sigmas)
        if hit is None:
            continue
        form = TALLER if rng.random() < 0.5 else SHORTER
        winner = int((hit[0] < 0) == (form is TALLER))
        pair = (a, b)
        yield choice(
            "size",
            form,
            view,
            rng,
            options,
            names={"a": a.caption, "b": b.caption},
            answers=(a.caption, b.caption),
            right=winner,
            objects=pair,
            margin=hit[1],
            rule_inputs={"heights_m": [heights[a.object_id], heights[b.object_id]]},
            facts=name_facts(("size", form.name), [(a, winner == 0), (b, winner == 1)], 2)
            + versus_fact(("size", form.name), pair[winner], pair[1 - winner]),
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
    things = [t for t in view.things if t.has_center and t.visible >= 0.4]
    if not view.metric or len(things) < 2:
        return
    yield from mixed(rng, _distances(view, rng, options, things), _closest(view, rng, options, things))


def _distances(view: SceneView, rng: random.Random, options: Options, things: list[Thing]) -> Iterator[Draft]:
    pairs = list(itertools.permutations(things, 2))
    kinds = (
        ["center"] if options.plain else ["center", "nearest"] + (["horizontal", "vertical"] if view.gravity else [])
    )
    for a, b in rng.sample(pairs, min(len(pairs), options.pool // 2)):
        kind = kinds[int(rng.random() * len(kinds))]
        found = _measure(view, a, b, kind)
        if found is None or not margins.certain(found[0], found[1], options):
            continue
        value, sd = found
        yield number(
            "distance",
            DISTANCE[kind],
            rng,
            options,
            names={"a": a.caption, "b": b.caption},
            answer=metres(value, options),
            unit="m",
            reward=MRA,
            objects=(a, b),
            uncertainty=sd,
            margin=options.max_relative_sd * value / max(sd, 1e-3 * value),
            rule_inputs={"definition": kind, "value_m": value, "centers": [list(a.center), list(b.center)]},
            facts=((("distance", "bin"), math.floor(math.log(value) / math.log(1.25)), 4),),
        )


def _measure(view: SceneView, a: Thing, b: Thing, kind: str) -> tuple[float, float] | None:
    sd = math.hypot(a.sd.get("center", 0.0), b.sd.get("center", 0.0))
    if kind == "nearest":
        found = space.nearest_distance(a, b)
        return None if found is None or found[0] < 0.15 else (found[0], math.hypot(sd, found[1]))
    if kind == "center":
        value = math.dist(a.center, b.center)
    elif kind == "horizontal":
        value = space.horizontal_distance(a.center, b.center, view.gravity)
    else:
        value = abs(space.drop(a.center, b.center, view.gravity))
    return (value, sd) if value >= 0.1 else None


def _closest(view: SceneView, rng: random.Random, options: Options, things: list[Thing]) -> Iterator[Draft]:
    if len(things) < 3:
        return
    for _ in range(options.pool // 2):
        target, a, b = rng.sample(things, 3)
        to_a, to_b = math.dist(target.center, a.center), math.dist(target.center, b.center)
        sd = math.hypot(a.sd.get("center", 0.0), b.sd.get("center", 0.0)) + target.sd.get("center", 0.0)
        hit = margins.ratio_order(to_a, to_b, options.distance_ratio, sd, options.sigmas)
        if hit is None:
            continue
        winner, pair = int(hit[0] > 0), (a, b)
        yield choice(
            "distance",
            CLOSEST,
            view,
            rng,
            options,
            names={"t": target.caption, "a": a.caption, "b": b.caption},
            answers=(a.caption, b.caption),
            right=winner,
            objects=(a, b, target),
            margin=hit[1],
            rule_inputs={"distances_m": [to_a, to_b]},
            facts=name_facts(("distance", "closest_to"), [(a, winner == 0), (b, winner == 1)], 2)
            + versus_fact(("distance", "closest_to"), pair[winner], pair[1 - winner]),
        )

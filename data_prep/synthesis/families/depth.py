"""Depth: which is closer, the order of three and more, and absolute depth with the camera given."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence

from data_prep.synthesis import margins
from data_prep.synthesis.deviations import Pose, moves
from data_prep.synthesis.draft import Ask, Draft, Form, choice, name_facts, number, versus_fact
from data_prep.synthesis.families import vague
from data_prep.synthesis.numbers import camera_text, metres
from data_prep.synthesis.options import Options
from data_prep.synthesis.registry import family
from data_prep.synthesis.view import SceneView, Thing

CLOSER = Form(
    "closer",
    0,
    (
        "Which is closer: the {a} or the {b}?",
        "Closer to the camera: the {a} or the {b}?",
        "Which is nearer: the {a} or the {b}?",
    ),
    (
        "Which object is closer to the camera, the {a} or the {b}?",
        "From the photographer's viewpoint, which is nearer: the {a} or the {b}?",
        "Between the {a} and the {b}, which one has the smaller depth?",
        "Which of the two is at a shorter distance from the viewer, the {a} or the {b}?",
        "Of the {a} and the {b}, name the one that stands nearer to the camera.",
        "Judge the depth of the {a} and of the {b}. Which is closer to us?",
    ),
    ("{answer}", "The {answer} is closer.", "The {answer} is nearer to the camera.", "It is the {answer}."),
)
FARTHER = Form(
    "farther",
    20,
    (
        "Which is farther: the {a} or the {b}?",
        "Farther from the camera: the {a} or the {b}?",
        "Which is further away: the {a} or the {b}?",
    ),
    (
        "Which object is farther from the camera, the {a} or the {b}?",
        "From the photographer's viewpoint, which is more distant: the {a} or the {b}?",
        "Between the {a} and the {b}, which one has the greater depth?",
        "Which of the two is at a longer distance from the viewer, the {a} or the {b}?",
        "Of the {a} and the {b}, name the one that stands farther from the camera.",
        "Judge the depth of the {a} and of the {b}. Which is farther from us?",
    ),
    ("{answer}", "The {answer} is farther.", "The {answer} is more distant from the camera.", "It is the {answer}."),
)
BEFORE = Form(
    "yes_no",
    40,
    ("Is the {a} closer than the {b}?", "Yes or no: is the {a} closer than the {b}?"),
    (
        "Is the {a} closer to the camera than the {b}? Answer yes or no.",
        "Would you say the {a} is nearer to the viewer than the {b}?",
        "Does the {a} have a smaller depth than the {b}? Yes or no.",
        "Seen from the camera, does the {a} stand nearer than the {b}?",
    ),
)


@family(
    "depth_order2",
    example="Which is closer: the red ball or the blue box? -> red ball",
    needs="depth (relative is enough)",
)
def depth_order2(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """Which of two is closer or farther: ratio of median depths past the margin and disjoint [q20, q80]."""
    if not view.has_depth:
        return
    pairs = list(itertools.permutations(view.things, 2))
    for a, b in rng.sample(pairs, min(len(pairs), options.pool)):
        hit = margins.depth_order(view, a, b, options)
        if hit is None:
            continue
        inputs = {"depths": [a.depth, b.depth], "quantiles": [[a.near, a.far], [b.near, b.far]]}
        names = {"a": a.caption, "b": b.caption}
        # A quarter as yes or no: the same margin, but the names stand in the question and cannot be the answer.
        if not options.plain and rng.random() < 0.25:
            yes = hit[0] < 0
            facts = (
                name_facts(("depth_order2", "yes", "first"), [(a, yes)], 2)
                + name_facts(("depth_order2", "yes", "second"), [(b, yes)], 2)
                + versus_fact(("depth_order2", "yes"), *((a, b) if yes else (b, a)))
            )
            yield choice(
                Ask("depth_order2", BEFORE, names=names, objects=(a, b), rule_inputs=inputs, facts=facts),
                rng,
                options,
                answers=("yes", "no"),
                right=0 if yes else 1,
                margin=hit[1],
                letters=False,
            )
            continue
        form = CLOSER if rng.random() < 0.5 else FARTHER
        winner = int((hit[0] > 0) == (form is CLOSER))
        pair = (a, b)
        facts = name_facts(("depth_order2", form.name), [(a, winner == 0), (b, winner == 1)], 2)
        yield choice(
            Ask(
                "depth_order2",
                form,
                names=names,
                objects=pair,
                rule_inputs=inputs,
                facts=facts + versus_fact(("depth_order2", form.name), pair[winner], pair[1 - winner]),
            ),
            rng,
            options,
            answers=(a.caption, b.caption),
            right=winner,
            margin=hit[1],
        )


NEAR_TO_FAR = Form(
    "near_to_far",
    0,
    ("Order from near to far: {listed}.", "Near to far: {listed}?", "Sort near to far: {listed}."),
    (
        "Order these objects from the nearest to the farthest: {listed}.",
        "Sort the following by their distance from the camera, closest first: {listed}.",
        "Going from the foreground to the background, in which order do you meet {listed}?",
        "Arrange by increasing depth: {listed}.",
        "List {listed} so that the object closest to the camera comes first.",
        "Which order by depth, smallest depth first, do these have: {listed}?",
    ),
    ("{answer}", "From near to far: {answer}.", "The order is {answer}.", "Closest first: {answer}."),
)
FAR_TO_NEAR = Form(
    "far_to_near",
    20,
    ("Order from far to near: {listed}.", "Far to near: {listed}?", "Sort far to near: {listed}."),
    (
        "Order these objects from the farthest to the nearest: {listed}.",
        "Sort the following by their distance from the camera, most distant first: {listed}.",
        "Going from the background to the foreground, in which order do you meet {listed}?",
        "Arrange by decreasing depth: {listed}.",
        "List {listed} so that the object farthest from the camera comes first.",
        "Which order by depth, greatest depth first, do these have: {listed}?",
    ),
    ("{answer}", "From far to near: {answer}.", "The order is {answer}.", "Most distant first: {answer}."),
)


@family(
    "depth_order",
    example="Order from near to far: red ball, blue box, green cone. -> blue box, green cone, red ball",
    needs="depth (relative is enough)",
)
def depth_order(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """The order of three to five objects; every neighbouring pair (and so every pair) passes the guard of two."""
    things = [t for t in view.things if t.has_depth and "," not in t.caption]
    if not view.has_depth or len(things) < 3:
        return
    for _ in range(options.pool):
        count = min(len(things), 3 if options.plain else 3 + int(rng.random() * 3))
        picked = sorted(rng.sample(things, count), key=lambda t: t.depth)
        hits = [margins.depth_order(view, a, b, options) for a, b in itertools.pairwise(picked)]
        # Neighbours do not suffice: two that are far apart in the order may overlap in depth all the same.
        if any(h is None for h in hits) or any(
            margins.depth_order(view, a, b, options) is None for a, b in itertools.combinations(picked, 2)
        ):
            continue
        # Listed at random, and each order of the list equally often: else repeating the list would often be right.
        listed = rng.sample(picked, count)
        form = NEAR_TO_FAR if rng.random() < 0.5 else FAR_TO_NEAR
        ordered = picked if form is NEAR_TO_FAR else picked[::-1]
        rank = {t.object_id: i for i, t in enumerate(picked)}
        texts = tuple(t.caption for t in listed)
        template_id, wording = form.pick(rng, options)
        facts = [fact for t in listed for fact in name_facts(("depth_order", count), [(t, rank[t.object_id])], count)]
        facts.append(
            (("depth_order", form.name, count, "slots"), tuple(listed.index(t) for t in ordered), math.factorial(count))
        )
        question = wording.format(listed=", ".join(texts))
        yield Draft(
            "depth_order",
            form,
            template_id,
            question[0].upper() + question[1:],
            "order",
            ", ".join(t.caption for t in ordered),
            {"kind": "order"},
            min(h[1] for h in hits if h),
            tuple(listed),
            {"depths": [t.depth for t in listed]},
            texts,
            facts=tuple(facts),
        )


ABSOLUTE = Form(
    "absolute",
    0,
    ("{camera}. Depth of the {a} in m?", "{camera}. How far is the {a} in m?", "{camera}. Metres to the {a}?"),
    (
        "The camera has {camera}. What is the depth of the {a}, in metres?",
        "Camera intrinsics: {camera}. Estimate how far the {a} is from the camera along its optical axis, in metres.",
        "Given {camera}, how many metres deep is the {a}?",
        "With intrinsics {camera}, give the metric depth (m) of the {a}.",
        "This picture was taken with {camera}. At what depth, in metres, is the {a}?",
        "Use the camera parameters {camera} to judge the distance in metres from the image plane to the {a}.",
        "{camera}. What is the median depth of the {a} in metres?",
    ),
    ("{answer}", "About {answer} m.", "The depth is {answer} metres.", "It is {answer} m from the camera."),
)


@family("abs_depth", example="f 96.0. Depth of the red ball in m? -> 2.4", needs="metric depth and intrinsics")
def abs_depth(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """Median depth of an object's mask along the optical axis, metres; asked when depth varies little inside the
    mask.
    """
    if not (view.metric and view.intrinsics):
        return
    things = [t for t in view.things if t.has_depth and t.visible >= 0.3 and _flat_enough(view, t, options)]
    for thing in rng.sample(things, min(len(things), options.pool)):
        value, moved = moves(view, (thing,), _depth)
        within = margins.tolerance(view, value, moved, options)
        inputs = {"depth": thing.depth, "spread": thing.spread, "intrinsics": list(view.intrinsics)}
        if within is None:
            # Too vague for a number: a ratio, a bound or a range may still be clear, since scale falls out of it.
            mine, *rest = _subjects(thing, things)
            yield from vague.instead(view, rng, options, mine, (value, moved), inputs, rest)
            continue
        yield number(
            Ask(
                "abs_depth",
                ABSOLUTE,
                names={"a": thing.caption, "camera": camera_text(view, options)},
                objects=(thing,),
                rule_inputs=inputs,
                facts=_depth_facts(thing),
            ),
            rng,
            options,
            answer=metres(thing.depth, options),
            unit="m",
            reward={"kind": "depth", "form": "smooth"},
            margin=options.max_depth_spread / max(thing.spread, 1e-3),
            moved=moved,
            tolerance=within,
        )


def _depth(poses: Sequence[Pose], _: tuple[float, ...]) -> float:
    return poses[0].depth


def _subjects(thing: Thing, things: list[Thing]) -> list[vague.Subject]:
    """The depth of `thing`, then those of the others."""
    order = [thing, *(t for t in things if t is not thing)]
    return [vague.Subject("abs_depth", "depth", (t,), _depth) for t in order]


def _flat_enough(view: SceneView, thing: Thing, options: Options) -> bool:
    """Whether depth varies so little inside the mask that it is one depth."""
    if thing.spread > options.max_depth_spread:
        view.refused.add("max_depth_spread", options.max_depth_spread, thing.spread)
    return thing.spread <= options.max_depth_spread


def _depth_facts(thing: Thing) -> list:
    """Keeps one depth from being right too often: values within 25 % of each other share a bin, and no bin may pass
    half.
    """
    return [(("abs_depth", "bin"), math.floor(math.log(thing.depth) / math.log(1.25)), 4)]

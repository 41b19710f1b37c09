"""Numbers at the end of a chain: differences and sums of measures, and a measure of what a comparison selects.

Every part of the uncertainty goes through the whole chain (`deviations.moves` of the composed measure), so that what
two measures of one picture share is counted once. A selection is asked only where the other choice would give another
number, beyond the tolerance that the question states.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator, Mapping, Sequence

from data_prep.synthesis import margins, space
from data_prep.synthesis.deviations import Measure, Moves, Pose, moves
from data_prep.synthesis.draft import Ask, Draft, Form, mix_drafts, number
from data_prep.synthesis.families.metric import LENGTH_SENTENCES, MRA, apart
from data_prep.synthesis.numbers import centimetres, metres
from data_prep.synthesis.options import Options
from data_prep.synthesis.registry import family
from data_prep.synthesis.view import SceneView, Thing

LEAST = {"m": 0.15, "cm": 0.03}  # metres: a difference that is smaller is hardly one
OTHERWISE = 1.2  # the number of the choice not meant, over that of the one meant (or the reverse)

FARTHER_FROM = Form(
    "farther_from",
    0,
    ("How much farther from the {t} is the {a} than the {b}, in metres?",),
    (
        "Measured between centres, by how many metres is the {a} farther from the {t} than the {b} is?",
        "The {a} and the {b} stand at different distances from the {t}, measured from centre to centre. By how many"
        " metres is the {a} the farther one?",
        "From the middle of the {t}, how many metres more is it to the middle of the {a} than to that of the {b}?",
    ),
    LENGTH_SENTENCES,
)
DEEPER = Form(
    "deeper",
    10,
    ("How much farther from the camera is the {a} than the {b}, in metres of depth?",),
    (
        "Along the viewing direction, by how many metres is the {a} farther from the camera than the {b}?",
        "By how many metres does the depth of the {a} exceed that of the {b}?",
    ),
    LENGTH_SENTENCES,
)
TALLER_BY = Form(
    "taller_by",
    20,
    ("How much taller is the {a} than the {b}, in centimetres?",),
    (
        "By how many centimetres is the {a} taller than the {b}?",
        "Compare real heights: how many centimetres does the {a} have more than the {b}?",
    ),
    LENGTH_SENTENCES,
)
ROUND = Form(
    "way",
    30,
    ("From the {a} to the {b} and on to the {c}, centre to centre: how many metres in all?",),
    (
        "A string is led straight from the centre of the {a} to that of the {b} and from there to that of the {c}. How"
        " many metres of it are needed?",
        "Add the distance between the centres of the {a} and the {b} to that between the {b} and the {c}. How many"
        " metres is it?",
    ),
    LENGTH_SENTENCES,
)
CLOSER_ONE = Form(
    "closer_one",
    40,
    ("Of the {a} and the {b}, take the one closer to the camera. How many metres is its centre from that of the {c}?",),
    (
        "Pick whichever of the {a} and the {b} is nearer to the camera, and give the distance in metres from its centre"
        " to the centre of the {c}.",
    ),
    LENGTH_SENTENCES,
)
NEARER_ONE = Form(
    "nearer_one",
    50,
    ("Of the {a} and the {b}, take the one whose centre is nearer to that of the {t}. How tall is it in centimetres?",),
    (
        "Which of the {a} and the {b} has its centre nearer to the centre of the {t}, and how many centimetres tall is"
        " that one?",
    ),
    LENGTH_SENTENCES,
)


def farther_by(target: int, far: int, near: int) -> Measure:
    """The measure "by how much the thing `far` is farther from `target` than `near` is", between centres."""
    return lambda poses, _: (
        math.dist(poses[target].center, poses[far].center) - math.dist(poses[target].center, poses[near].center)
    )


def deeper_by(far: int, near: int) -> Measure:
    """The measure "by how much the depth of the thing `far` exceeds that of `near`"."""
    return lambda poses, _: poses[far].depth - poses[near].depth


def taller_by(tall: int, short: int) -> Measure:
    """The measure "by how much the thing `tall` is taller than `short`"."""

    def measure(poses: Sequence[Pose], gravity: tuple[float, ...]) -> float:
        return space.vertical_extent(poses[tall], gravity) - space.vertical_extent(poses[short], gravity)

    return measure


def way_along(poses: Sequence[Pose], _: tuple[float, ...]) -> float:
    """From the first thing's centre to the second's and on to the third's."""
    return math.dist(poses[0].center, poses[1].center) + math.dist(poses[1].center, poses[2].center)


@family(
    "chain",
    example="How much farther from the lamp is the chair than the table, in metres? -> 0.84",
    needs="3 or more objects with metric depth or boxes",
)
def chain(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """Differences and sums of measures, and measures of what a comparison selects (profile "full")."""
    if options.plain or not view.metric or len(view.things) < 2:
        return
    yield from mix_drafts(
        rng,
        _differences(view, rng, options),
        _depths(view, rng, options),
        _heights(view, rng, options),
        _ways(view, rng, options),
        _selected_distances(view, rng, options),
        _selected_heights(view, rng, options),
    )


def _things_with_center(view: SceneView) -> list[Thing]:
    return [t for t in view.things if t.has_center and t.visible >= 0.4]


def _upright(view: SceneView, options: Options) -> list[Thing]:
    if not view.gravity:
        return []
    whole = [t for t in view.things if "h" not in t.hints and margins.not_truncated(view, t, options)]
    return [t for t in whole if space.vertical_extent(t, view.gravity) > 0.02]


@dataclasses.dataclass(frozen=True)
class Steps:
    """A number that several steps lead to: how it is asked and of what, its value and what its parts may move it,
    its unit, how many steps. `other`: the number that the choice not meant would give.
    """

    form: Form
    names: dict[str, str]
    things: tuple[Thing, ...]
    found: tuple[float, Moves]
    unit: str
    hops: int
    inputs: Mapping[str, object]
    other: float | None = None


def _draft(view: SceneView, rng: random.Random, options: Options, steps: Steps) -> Draft | None:
    """The question, None where its number is too vague."""
    (value, moved), unit = steps.found, steps.unit
    if math.isnan(value) or value < LEAST[unit]:
        return None
    within = margins.tolerance(view, value, moved, options)
    if within is None:
        return None
    if (other := steps.other) is not None:
        # Else a right number could come of the wrong choice, and the question would not ask for the selection.
        apart_enough = max(OTHERWISE, (1 + within) ** 2)
        if not (other > 0 and max(other / value, value / other) >= apart_enough):
            return None
    return number(
        Ask(
            "chain",
            steps.form,
            names=steps.names,
            objects=steps.things,
            rule_inputs={"value_m": value, **steps.inputs},
            facts=((("chain", steps.form.name, "bin"), math.floor(math.log(value) / math.log(1.25)), 4),),
            hops=steps.hops,
        ),
        rng,
        options,
        answer=metres(value, options) if unit == "m" else centimetres(value),
        unit=unit,
        reward=MRA,
        margin=options.most_tolerance * value / max(options.sigmas * moved.sd, 1e-3 * value),
        moved=moved if unit == "m" else moved.times(100),
        tolerance=within,
    )


def _differences(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    things = _things_with_center(view)
    for _ in range(options.pool if len(things) >= 3 else 0):
        target, a, b = rng.sample(things, 3)
        if math.dist(target.center, a.center) < math.dist(target.center, b.center):
            a, b = b, a
        found = moves(view, (target, a, b), farther_by(0, 1, 2))
        inputs = {"distances_m": [math.dist(target.center, t.center) for t in (a, b)]}
        names = {"t": target.caption, "a": a.caption, "b": b.caption}
        steps = Steps(FARTHER_FROM, names, (target, a, b), found, "m", 3, inputs)
        if draft := _draft(view, rng, options, steps):
            yield draft


def _depths(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    things = [t for t in view.things if t.has_depth]
    for _ in range(options.pool // 2 if len(things) >= 2 else 0):
        a, b = rng.sample(things, 2)
        hit = margins.depth_order(view, a, b, options)
        if hit is None or max(a.spread, b.spread) > options.max_depth_spread:
            continue
        a, b = (b, a) if hit[0] < 0 else (a, b)
        found = moves(view, (a, b), deeper_by(0, 1))
        names = {"a": a.caption, "b": b.caption}
        steps = Steps(DEEPER, names, (a, b), found, "m", 2, {"depths_m": [a.depth, b.depth]})
        if draft := _draft(view, rng, options, steps):
            yield draft


def _heights(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    things = _upright(view, options)
    for _ in range(options.pool // 2 if len(things) >= 2 else 0):
        a, b = rng.sample(things, 2)
        heights = [space.vertical_extent(t, view.gravity) for t in (a, b)]
        if heights[0] < heights[1]:
            a, b, heights = b, a, heights[::-1]
        found = moves(view, (a, b), taller_by(0, 1))
        names = {"a": a.caption, "b": b.caption}
        steps = Steps(TALLER_BY, names, (a, b), found, "cm", 2, {"heights_m": heights})
        if draft := _draft(view, rng, options, steps):
            yield draft


def _ways(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    things = _things_with_center(view)
    for _ in range(options.pool // 2 if len(things) >= 3 else 0):
        three = tuple(rng.sample(things, 3))
        found = moves(view, three, way_along)
        parts = [math.dist(three[i].center, three[i + 1].center) for i in range(2)]
        names = dict(zip("abc", (t.caption for t in three)))
        steps = Steps(ROUND, names, three, found, "m", 3, {"parts_m": parts})
        if min(parts) >= LEAST["m"] and (draft := _draft(view, rng, options, steps)):
            yield draft


def _selected_distances(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    things = _things_with_center(view)
    for _ in range(options.pool if len(things) >= 3 else 0):
        a, b, c = rng.sample(things, 3)
        hit = margins.depth_order(view, a, b, options)
        if hit is None:
            continue
        taken, left = (a, b) if hit[0] < 0 else (b, a)
        found = moves(view, (taken, c), apart(0, 1))
        other = math.dist(left.center, c.center)
        inputs = {"selected": taken.object_id, "other_m": other}
        names = {"a": a.caption, "b": b.caption, "c": c.caption}
        steps = Steps(CLOSER_ONE, names, (a, b, c), found, "m", 2, inputs, other)
        if draft := _draft(view, rng, options, steps):
            yield draft


def _selected_heights(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    things, anchors = _upright(view, options), _things_with_center(view)
    pairs = [t for t in things if t in anchors]
    for _ in range(options.pool if len(pairs) >= 2 and len(anchors) >= 3 else 0):
        a, b = rng.sample(pairs, 2)
        target = rng.choice([t for t in anchors if t is not a and t is not b])
        hit = margins.ratio_order(view, (target, a, b), (apart(0, 1), apart(0, 2)), "distance_ratio", options)
        if hit is None:
            continue
        taken, left = (a, b) if hit[0] < 0 else (b, a)
        found = moves(view, (taken,), lambda poses, gravity: space.vertical_extent(poses[0], gravity))
        other = space.vertical_extent(left, view.gravity)
        inputs = {"selected": taken.object_id, "other_m": other}
        names = {"a": a.caption, "b": b.caption, "t": target.caption}
        steps = Steps(NEARER_ONE, names, (a, b, target), found, "cm", 2, inputs, other)
        if draft := _draft(view, rng, options, steps):
            yield draft

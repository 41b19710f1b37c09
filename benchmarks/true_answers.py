"""The true answer to a question that was asked of noisy measures, from the measures of a view without noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.synthesis_truth import PICKS, SIDES
from data_prep.synthesis import space
from data_prep.synthesis.deviations import Pose
from data_prep.synthesis.draft import Draft
from data_prep.synthesis.families.metric import DEFINITIONS
from data_prep.synthesis.view import SceneView, Thing


def nearest(a: Thing, b: Thing) -> float:
    """Distance of two clouds, metres."""
    from scipy.spatial import cKDTree

    if not (a.raw.points and b.raw.points):
        return math.nan
    return float(cKDTree(a.cloud()).query(b.cloud())[0].min())


def measure_truth(name: str, things: Sequence[Thing], view: SceneView) -> float:
    """The measure that a question's record names, of other (true) things; nan where it is not known."""
    if name in ("abs_depth", "depth"):
        return things[0].depth
    if name == "height":
        return space.vertical_extent(things[0], view.gravity) if view.gravity else math.nan
    if name == "longest":
        return max(things[0].extent) if things[0].has_extent else math.nan
    if name == "nearest":
        return nearest(*things[:2])
    return DEFINITIONS[name]([Pose(t.depth, t.center, t.extent, t.rotation) for t in things[:2]], view.gravity)


def true_answer(draft: Draft, things: list[Thing], view: SceneView) -> str | float | None:
    """The true answer to a draft (metres; a word for words), None where the truth does not know it."""
    form, inputs = draft.form.name, draft.rule_inputs
    captions = [t.caption for t in things]
    if form in ("against", "range", "ratio"):
        name = inputs["measure"]
        pair = 2 if name in DEFINITIONS else 1
        value = measure_truth(name, things[:pair], view)
        if form == "ratio":
            return None
        if math.isnan(value):
            return None
        if form == "against":
            return "more" if value > inputs["length_m"] else "less"
        slot = sum(value >= edge for edge in inputs["edges_m"]) - 1
        return draft.options[slot] if 0 <= slot < len(draft.options) else "none"
    if draft.family == "depth_order2":
        nearer = int(things[1].depth < things[0].depth)
        return {"closer": captions[nearer], "farther": captions[1 - nearer], "yes_no": ("yes", "no")[nearer]}[form]
    if draft.family == "depth_order":
        order = sorted(things, key=lambda t: t.depth, reverse=form == "far_to_near")
        return ", ".join(t.caption for t in order)
    if draft.family == "abs_depth":
        return things[0].depth
    if draft.family == "size" and form in ("taller", "shorter"):
        high = [measure_truth("height", (t,), view) for t in things]
        return None if math.isnan(sum(high)) else captions[int((high[1] > high[0]) == (form == "taller"))]
    if draft.family == "size":
        return measure_truth(form, things, view)
    if draft.family == "distance" and form == "closest_to":
        to = [math.dist(things[2].center, t.center) for t in things[:2]]
        return None if math.isnan(sum(to)) else captions[int(to[1] < to[0])]
    if draft.family == "distance":
        return measure_truth(inputs["definition"], things, view)
    return direction(draft, things, view) if draft.family == "direction" else chain(inputs, things, view)


def direction(draft: Draft, things: list[Thing], view: SceneView) -> str | None:
    """Where a thing lies from another's place, by the true centres."""
    centers = [t.center for t in things]
    if not view.gravity or any(math.isnan(v) for c in centers for v in c):
        return None
    if draft.form.name == "clock":
        x, y, z = centers[0]
        angle = space.turn(centers[0], (x, y, z + 10.0), centers[1], view.gravity)
        return None if angle is None else f"{(round(angle / 30) - 1) % 12 + 1} o'clock"
    angle = space.turn(centers[0], centers[1], centers[2], view.gravity)
    if angle is None:
        return None
    side = "right" if angle > 0 else "left"
    return side if draft.form.name == "left_right" else f"{'back' if abs(angle) > 90 else 'front'} {side}"


def chain(inputs: dict[str, Any], things: list[Thing], view: SceneView) -> str | None:
    """The answer to a chain of selections, by the true measures."""
    rules: dict[str, Callable[[Thing], float]] = {
        "x": lambda t: t.u,
        "y": lambda t: t.v,
        "z": lambda t: t.depth,
        "h": lambda t: measure_truth("height", (t,), view),
    }
    current = things[0]
    for word, other in zip(inputs["picks"], things[1:-1]):
        rule, best = PICKS[word]
        if math.isnan(rules[rule](current) + rules[rule](other)):
            return None
        current = best((current, other), key=rules[rule])
    m = inputs["final"]
    return SIDES[m][int(rules[m](current) > rules[m](things[-1]))]


def right(draft: Draft, answer: str | float | None) -> bool | None:
    """Whether a draft's answer is true, a number within the tolerance that its question states; None when unknown."""
    if answer is None or (isinstance(answer, float) and math.isnan(answer)):
        return None
    if isinstance(answer, str):
        said = draft.options["ABCDEFGH".index(draft.answer)] if draft.question_type == "mcq" else draft.answer
        return said == answer
    length = float(draft.answer) / (100 if draft.unit == "cm" else 1)
    return abs(length - answer) <= max(draft.tolerance, 0.02) * answer + 0.005

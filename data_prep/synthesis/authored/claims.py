"""What a written question may ask: each kind is a measure or a comparison that our geometry answers by itself.

A model says for each of its questions which kind it is and about which objects; the answer is ours, never the model's.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from data_prep.synthesis import margins, space
from data_prep.synthesis.deviations import Measure, Moves, Pose, moves
from data_prep.synthesis.draft import NOTHING
from data_prep.synthesis.families.chains import deeper_by, farther_by, taller_by, way_along
from data_prep.synthesis.families.metric import apart
from data_prep.synthesis.numbers import centimetres, metres
from data_prep.synthesis.options import Options
from data_prep.synthesis.view import SceneView, Thing

Things = tuple[Thing, ...]


@dataclasses.dataclass(frozen=True)
class Answered:
    """Our answer to a claim: a number (`value` in the claim's unit) or a word among `options`."""

    answer: str
    margin: float
    value: float = math.nan
    options: tuple[str, ...] = ()
    moved: Moves = NOTHING
    tolerance: float = 0.0


Answer = Callable[[SceneView, Things, Options], "Answered | None"]


@dataclasses.dataclass(frozen=True)
class Claim:
    """`count`: least and most objects; `says`: patterns that the question must hold, apart from the objects' names;
    `role`: one that it must hold with them, {0} for the first one's caption, so that who is asked about stands where
    the claim says; `concepts`: words of these concepts (faithful.py) may stand in it and no others; `unit` of a number,
    "" of a word.
    """

    name: str
    meaning: str
    count: tuple[int, int]
    says: tuple[str, ...]
    concepts: frozenset[str]
    hops: int
    answer: Answer
    unit: str = ""
    yes_no: bool = False
    role: str = ""


def _number(
    view: SceneView, things: Things, measure: Measure, unit: str, options: Options, needed: Callable[[Thing], bool]
) -> Answered | None:
    if not view.metric or not all(map(needed, things)):
        return None
    value, moved = moves(view, things, measure)
    if math.isnan(value) or value < (0.02 if unit == "cm" else 0.1):
        return None
    within = margins.tolerance(view, value, moved, options)
    if within is None:
        return None
    margin = options.most_tolerance * value / max(options.sigmas * moved.sd, 1e-3 * value)
    if unit == "cm":
        return Answered(centimetres(value), margin, 100 * value, moved=moved.times(100), tolerance=within)
    return Answered(metres(value, options), margin, value, moved=moved, tolerance=within)


def _has_center(thing: Thing) -> bool:
    return thing.has_center and thing.visible >= 0.4


def _of_centers(measure: Measure) -> Answer:
    return lambda view, things, options: _number(view, things, measure, "m", options, _has_center)


def _height(poses: Sequence[Pose], gravity: tuple[float, ...]) -> float:
    return space.vertical_extent(poses[0], gravity)


def _of_heights(measure: Measure) -> Answer:
    def answer(view: SceneView, things: Things, options: Options) -> Answered | None:
        if not view.gravity or not all(margins.not_truncated(view, t, options) for t in things):
            return None
        return _number(view, things, measure, "cm", options, lambda t: "h" not in t.hints)

    return answer


def _longest(view: SceneView, things: Things, options: Options) -> Answered | None:
    if not margins.not_truncated(view, things[0], options):
        return None
    return _number(view, things, lambda poses, _: max(poses[0].extent), "cm", options, lambda t: t.has_extent)


def _depth(view: SceneView, things: Things, options: Options) -> Answered | None:
    if any(t.spread > options.max_depth_spread for t in things):
        return None
    return _number(view, things, lambda poses, _: poses[0].depth, "m", options, lambda t: t.has_depth)


def _deeper(view: SceneView, things: Things, options: Options) -> Answered | None:
    hit = margins.depth_order(view, things[0], things[1], options) if view.has_depth else None
    if hit is None or hit[0] < 0 or any(t.spread > options.max_depth_spread for t in things):
        return None
    return _number(view, things, deeper_by(0, 1), "m", options, lambda t: t.has_depth)


def _in_depth(nearest: bool) -> Answer:
    def answer(view: SceneView, things: Things, options: Options) -> Answered | None:
        if not view.has_depth or not all(t.has_depth for t in things):
            return None
        best = (min if nearest else max)(things, key=lambda t: t.depth)
        hits = [margins.depth_order(view, best, other, options) for other in things if other is not best]
        return _pick(best, hits, things)

    return answer


def _pick(best: Thing, hits: list[tuple[int, float] | None], among: Things) -> Answered | None:
    clear = [hit[1] for hit in hits if hit is not None]
    if len(clear) < len(hits):
        return None
    return Answered(best.caption, min(clear), options=tuple(t.caption for t in among))


def _nearest_to(view: SceneView, things: Things, options: Options) -> Answered | None:
    target, *others = things
    if not view.metric or not all(map(_has_center, things)):
        return None
    best = min(others, key=lambda t: math.dist(t.center, target.center))
    pairs = [(target, best, other) for other in others if other is not best]
    hits = [margins.ratio_order(view, p, (apart(0, 1), apart(0, 2)), "distance_ratio", options) for p in pairs]
    return _pick(best, hits, tuple(others))


def _in_height(tallest: bool) -> Answer:
    def answer(view: SceneView, things: Things, options: Options) -> Answered | None:
        if not (view.metric and view.gravity):
            return None
        if any("h" in t.hints or not margins.not_truncated(view, t, options) for t in things):
            return None
        height = {t.object_id: space.vertical_extent(t, view.gravity) for t in things}
        if not all(h > 0 for h in height.values()):
            return None
        best = (max if tallest else min)(things, key=lambda t: height[t.object_id])
        measures: tuple[Measure, Measure] = (_height, lambda poses, gravity: space.vertical_extent(poses[1], gravity))
        hits = [
            margins.ratio_order(view, (best, other), measures, "size_ratio", options)
            for other in things
            if other is not best
        ]
        return _pick(best, hits, things)

    return answer


def _side(axis: str, first: int) -> Answer:
    """Whether the first of two things lies on the side `first` (-1 left or above) of the second in the picture."""

    def answer(view: SceneView, things: Things, options: Options) -> Answered | None:
        hit = margins.axis_gap(view, things[0], things[1], axis, options)
        if hit is None:
            return None
        return Answered("yes" if hit[0] == first else "no", hit[1], options=("yes", "no"))

    return answer


_CAMERA = r"\b(camera|viewer|photographer|lens|observer)\b"
_FAR = r"\b(distance|far|apart|away|separat\w+)\b"
_PLACES = frozenset({"between", "center", "far", "near"})
_SIDES = (
    ("left_of", "x", -1, "left"),
    ("right_of", "x", 1, "right"),
    ("above", "y", -1, "above"),
    ("below", "y", 1, "below"),
)

_NAMES = r"(?:the )?(?:(?:cent(?:re|er)|middle) of )?(?:the )?"  # what may stand between a word and an object's name
_THAN = r"{0}.*\b(?:than|exceed\w*|over)\b.*{1}"


_DEEP, _TALL = frozenset({"far", "front", "between"}), frozenset({"tall", "between"})
_CLOSE, _BESIDE = frozenset({"near", "front", "between"}), frozenset({"tall", "between", "longest"})
_MORE = r"farther|further|longer|deeper|exceed|more"
_NUMBERS = (
    Claim(
        "distance",
        "metres between the centres of A and B",
        (2, 2),
        (_FAR,),
        _PLACES,
        1,
        _of_centers(apart(0, 1)),
        "m",
    ),
    Claim(
        "depth",
        "metres of A from the camera along the viewing direction",
        (1, 1),
        (_CAMERA, r"far|distance|depth"),
        _DEEP,
        1,
        _depth,
        "m",
    ),
    Claim("height", "centimetres that A is tall", (1, 1), (r"tall|height|high",), _TALL, 1, _of_heights(_height), "cm"),
    Claim(
        "longest_side",
        "centimetres of A's longest side",
        (1, 1),
        (r"longest|largest|greatest",),
        frozenset({"longest"}),
        1,
        _longest,
        "cm",
    ),
    Claim(
        "farther_by",
        "by how many metres B is farther from A than C is, between centres",
        (3, 3),
        (_MORE,),
        _PLACES,
        3,
        _of_centers(farther_by(0, 1, 2)),
        "m",
        role=rf"^(?=.*\bfrom {_NAMES}{{0}})(?=.*{{1}}.*\bthan\b.*{{2}})",
    ),
    Claim(
        "deeper_by",
        "by how many metres A is farther from the camera than B",
        (2, 2),
        (_CAMERA, _MORE),
        _DEEP,
        2,
        _deeper,
        "m",
        role=_THAN,
    ),
    Claim(
        "taller_by",
        "by how many centimetres A is taller than B",
        (2, 2),
        (r"tall|height|high",),
        _TALL,
        2,
        _of_heights(taller_by(0, 1)),
        "cm",
        role=_THAN,
    ),
    Claim(
        "way",
        "metres from the centre of A to that of B and on to that of C",
        (3, 3),
        (r"\b(way|path|route|walk|string|line|total|in all|altogether|sum|add|via)\b",),
        _PLACES,
        3,
        _of_centers(way_along),
        "m",
        role="{0}.*{1}.*{2}",
    ),
)


_CHOICES = (
    Claim(
        "nearest_to_camera",
        "which of A, B (, C, D) is nearest to the camera",
        (2, 4),
        (_CAMERA, r"nearest|closest|nearer|closer"),
        _CLOSE,
        1,
        _in_depth(True),
    ),
    Claim(
        "farthest_from_camera",
        "which of A, B (, C, D) is farthest from the camera",
        (2, 4),
        (_CAMERA, r"farthest|furthest|farther|further|most distant"),
        frozenset({"far", "back", "between"}),
        1,
        _in_depth(False),
    ),
    Claim(
        "nearest_to",
        "which of B, C (, D) has its centre nearest to that of A",
        (3, 4),
        (r"nearest|closest|nearer|closer",),
        frozenset({"near", "center", "between"}),
        2,
        _nearest_to,
        role=rf"\b(?:nearest|closest|nearer|closer) to (?:that of )?{_NAMES}{{0}}",
    ),
    Claim(
        "tallest",
        "which of A, B (, C, D) is tallest",
        (2, 4),
        (r"taller|tallest|greater height|greatest height",),
        _BESIDE,
        1,
        _in_height(True),
    ),
    Claim(
        "shortest",
        "which of A, B (, C, D) is least tall",
        (2, 4),
        (r"shorter|shortest|smaller height",),
        frozenset({"tall", "short", "between"}),
        1,
        _in_height(False),
    ),
    *(
        Claim(
            name,
            f"whether A is {name.replace('_', ' ')} B in the picture (yes or no)",
            (2, 2),
            (rf"\b{word}\b",),
            frozenset({word}),
            1,
            _side(axis, sign),
            yes_no=True,
            role=rf"{{0}}.*\b{word}\b.*{{1}}",
        )
        for name, axis, sign, word in _SIDES
    ),
)


CLAIMS: dict[str, Claim] = {claim.name: claim for claim in (*_NUMBERS, *_CHOICES)}

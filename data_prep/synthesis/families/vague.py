"""What is asked of a measure that is too vague for a number: how many times another one it is, whether it is more or
less than a given length, or in which range it lies.

A ratio of two measures of one picture is free of its scale; a given length and a range keep clear of the value by all
its deviations.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from data_prep.synthesis import margins
from data_prep.synthesis.deviations import Measure, Moves, Pose, moves
from data_prep.synthesis.draft import Ask, Draft, Form, choice, number
from data_prep.synthesis.options import Options
from data_prep.synthesis.view import SceneView, Thing

MRA = {"kind": "mra", "comparison": "<"}
VAGUEST = 0.67  # of a value: what is unsure by more is not asked
FARTHEST = math.log(5.0)  # the widest range, as a ratio
SPREADS = (1.05, 1.5)  # how far beyond its margin a given length is drawn
RANGES = 4

WHAT = {
    "depth": "the depth of the {a}",
    "height": "the height of the {a}",
    "longest": "the longest side of the {a}",
    "center": "the distance between the centres of the {a} and the {b}",
    "nearest": "the distance between the closest visible points of the {a} and the {b}",
    "horizontal": "the horizontal distance between the centres of the {a} and the {b}",
    "vertical": "the difference in height between the centres of the {a} and the {b}",
}
AGAINST = Form(
    "against",
    100,
    ("Is {what} more or less than {length}?", "More or less than {length}: {what}?"),
    (
        "Would you say that {what} is more or less than {length}?",
        "Compare {what} with {length}: is it more or less?",
        "Is {length} exceeded by {what}? Answer more or less.",
        "Judge {what}. Is it more than {length}, or less?",
    ),
)
RANGE = Form(
    "range",
    120,
    ("In which range is {what}: {ranges}?", "Which range holds {what}: {ranges}?"),
    (
        "Choose the range that {what} falls into: {ranges}.",
        "Which of these ranges fits {what} best: {ranges}?",
        "Estimate {what} and name the range: {ranges}.",
        "Of the ranges {ranges}, which one contains {what}?",
    ),
)
RATIO = Form(
    "ratio",
    140,
    ("How many times {less} is {more}?", "{more} over {less}: which ratio?"),
    (
        "By what factor does {more} exceed {less}?",
        "Divide {more} by {less}. What is the result?",
        "What is the ratio of {more} to {less}?",
        "As a multiple of {less}, how large is {more}?",
    ),
)


@dataclasses.dataclass(frozen=True)
class Subject:
    """A measure of things, as its family asks for it: `name` (of WHAT), the things it is about, `measure` of these."""

    family: str
    name: str
    things: tuple[Thing, ...]
    measure: Measure

    def text(self) -> str:
        """The measure in words, e.g. "the height of the lamp"."""
        return WHAT[self.name].format(**dict(zip("ab", (t.caption for t in self.things))))


def instead(
    view: SceneView,
    rng: random.Random,
    options: Options,
    subject: Subject,
    found: tuple[float, Moves],
    inputs: dict[str, Any],
    others: Sequence[Subject] = (),
) -> Iterator[Draft]:
    """What is asked in a number's place, one of the three forms at random. `found`: the subject's value, and what its
    parts may move it; `others`: subjects that it may be compared with, in metres each.
    """
    value, moved = found
    if not value > 0 or math.isnan(moved.sd):
        return
    forms = [_ratio(view, rng, options, subject, others, inputs)]
    if margins.seen_enough(view, value, moved, options) and (need := options.sigmas * moved.sd / value) <= VAGUEST:
        forms += [
            _against(rng, options, subject, value, need, inputs),
            _range(rng, options, subject, value, need, inputs),
        ]
    for form in rng.sample(forms, len(forms)):
        draft = next(form, None)
        if draft is not None:
            yield draft
            return


def _margins(need: float) -> tuple[float, float]:
    """How far below and above the value a length must lie, as logarithms, when the value may be off by `need` of it."""
    return -math.log(1 - need), need


def _length(metres: float) -> float:
    """Two digits of a length."""
    return float(f"{metres:.2g}")


def _write(metres: float) -> str:
    return f"{100 * metres:g} cm" if metres < 1 else f"{metres:g} m"


def _against(
    rng: random.Random,
    options: Options,
    subject: Subject,
    value: float,
    need: float,
    inputs: dict[str, Any],
) -> Iterator[Draft]:
    more = rng.random() < 0.5
    clear = max(_margins(need)[0 if more else 1], math.log(options.size_ratio))
    length = _length(value * math.exp((-1 if more else 1) * clear * rng.uniform(*SPREADS)))
    gap = abs(math.log(value / length))
    if gap < clear:
        return
    yield choice(
        Ask(
            subject.family,
            AGAINST,
            names={"what": subject.text(), "length": _write(length)},
            objects=subject.things,
            rule_inputs=inputs | {"measure": subject.name, "value_m": value, "length_m": length},
            facts=(),
        ),
        rng,
        options,
        answers=("more", "less"),
        right=0 if more else 1,
        margin=gap / clear,
        letters=False,
    )


def _range(
    rng: random.Random,
    options: Options,
    subject: Subject,
    value: float,
    need: float,
    inputs: dict[str, Any],
) -> Iterator[Draft]:
    # Edges stand at least as far off the value as its error reaches. 0.02 is room for their rounding to two digits:
    # what still comes too near is not asked.
    least = math.log(options.size_ratio) / 2
    below, above = (max(side, least) + 0.02 for side in _margins(need))
    width = (below + above) * rng.uniform(*SPREADS) + 0.1
    if width > FARTHEST:
        return
    slot = int(rng.random() * RANGES)
    # Ranges are of equal width in logarithms: a length may be off by a share, not by an amount.
    start = math.log(value) - rng.uniform(below, width - above) - slot * width
    edges = [_length(math.exp(start + i * width)) for i in range(RANGES + 1)]
    low, high = math.log(value / edges[slot]), math.log(edges[slot + 1] / value)
    if low < below - 0.02 or high < above - 0.02 or edges[0] < 0.02:
        return
    ranges = tuple(f"{_write(low)} to {_write(high)}" for low, high in itertools.pairwise(edges))
    yield choice(
        Ask(
            subject.family,
            RANGE,
            names={"what": subject.text(), "ranges": ", ".join(ranges)},
            objects=subject.things,
            rule_inputs=inputs | {"measure": subject.name, "value_m": value, "edges_m": edges},
            facts=(((subject.family, "range", "slot"), slot, RANGES),),
        ),
        rng,
        options,
        answers=ranges,
        right=slot,
        margin=min(low / (below - 0.02), high / (above - 0.02)),
        letters=False,
    )


def _ratio(
    view: SceneView,
    rng: random.Random,
    options: Options,
    subject: Subject,
    others: Sequence[Subject],
    inputs: dict[str, Any],
) -> Iterator[Draft]:
    for other in rng.sample(others, min(len(others), 3)):
        count = len(subject.things)

        def ratio(poses: Sequence[Pose], gravity: tuple[float, ...], of: Subject = other, at: int = count) -> float:
            below = of.measure(poses[at:], gravity)
            return subject.measure(poses[:at], gravity) / below if below > 0 else math.nan

        value, moved = _shared_moves(view, subject, other, ratio)
        first, second = subject, other
        if value < 1:
            first, second, value, moved = other, subject, 1 / value, moved.times(1 / value**2)
        within = margins.tolerance(view, value, moved, options)
        if within is None or not options.size_ratio <= value <= 10:
            continue
        yield number(
            Ask(
                subject.family,
                RATIO,
                names={"more": first.text(), "less": second.text()},
                objects=tuple(dict.fromkeys((*first.things, *second.things))),
                rule_inputs=inputs | {"measure": subject.name, "ratio": value},
            ),
            rng,
            options,
            answer=f"{value:.2g}" if value >= 2 else f"{value:.1f}",
            unit="",
            reward=MRA,
            moved=moved,
            tolerance=max(within, 0.05),
        )


def _shared_moves(view: SceneView, subject: Subject, other: Subject, ratio: Measure) -> tuple[float, Moves]:
    """The ratio and its moves. A thing that stands in both measures moves in both at once."""
    things = list(dict.fromkeys((*subject.things, *other.things)))
    places = [things.index(t) for t in (*subject.things, *other.things)]
    return moves(view, things, lambda poses, gravity: ratio([poses[i] for i in places], gravity))

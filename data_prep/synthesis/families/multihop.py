"""Chains of two to four hops whose answer needs every hop.

Each hop but the last selects one of two objects by a base family's rule; the last asks a two-way question about what
was selected. A chain is asked only if turning any single selection round leads to the other answer: then no hop can be
left out or guessed around.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from data_prep.synthesis import margins, space
from data_prep.synthesis.draft import Ask, Draft, Form, choice, name_facts
from data_prep.synthesis.options import Options
from data_prep.synthesis.registry import family
from data_prep.synthesis.view import SceneView, Thing

_LEADS = ("Take {one}. {final}", "Look at {one}. {final}", "Find {one}. {final}")
_LONG = (
    "First find {one}. Then answer: {final}",
    "Consider {one}. {final}",
    "Step by step: identify {one}. {final}",
    "Start from {one}. {final}",
    "Pick out {one}, and then tell me: {final}",
    "Think of {one}. {final}",
    "Let X be {one}. About X: {final}",
)
CHAIN = Form("chain", 0, _LEADS, _LONG)

# Selections: word -> (measure, the smaller one is meant)
_PLANE = {
    "further left": ("x", True),
    "further right": ("x", False),
    "higher in the picture": ("y", True),
    "lower in the picture": ("y", False),
}
_DEPTH = {"closer": ("z", True), "farther": ("z", False)}
_HEIGHT = {"taller": ("h", False), "shorter": ("h", True)}
Compare = Callable[[Thing, Thing], tuple[int, float] | None]


def _comparisons(view: SceneView, options: Options) -> dict[str, Compare]:
    rules: dict[str, Compare] = {
        "x": lambda a, b: margins.axis_gap(view, a, b, "x", options),
        "y": lambda a, b: margins.axis_gap(view, a, b, "y", options),
    }
    if view.has_depth:
        rules["z"] = lambda a, b: margins.depth_order(view, a, b, options)
    if view.metric and view.gravity:

        def taller(a: Thing, b: Thing) -> tuple[int, float] | None:
            if not all("h" not in t.hints and margins.not_truncated(view, t, options) for t in (a, b)):
                return None
            heights = [lambda poses, gravity, i=i: space.vertical_extent(poses[i], gravity) for i in (0, 1)]
            return margins.ratio_order(view, (a, b), (heights[0], heights[1]), "size_ratio", options)

        rules["h"] = taller
    return rules


def _finals(rules: dict[str, Compare]) -> list[tuple[str, str, tuple[str, str]]]:
    finals = [
        ("x", "Is it left or right of the {d}?", ("left", "right")),
        ("y", "Is it above or below the {d} in the picture?", ("above", "below")),
    ]
    if "z" in rules:
        finals.append(("z", "Is it closer or farther than the {d}?", ("closer", "farther")))
    return finals


@family(
    "multihop",
    example="Take the closer of the red ball and the blue box. Is it left or right of the green cone? -> right",
    needs="3 or more objects",
)
def multihop(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """Two to four hops; every turned-round selection flips the answer, and every comparison on every path clears its
    margin.
    """
    if len(view.things) < 3:
        return
    rules = _comparisons(view, options)
    words = {**_PLANE, **(_DEPTH if "z" in rules else {}), **(_HEIGHT if "h" in rules else {})}
    finals = _finals(rules)
    longest = min(2 if options.plain else 4, len(view.things) - 1)
    for _ in range(3 * options.pool):
        hops = 2 + int(rng.random() * (longest - 1))
        objects = rng.sample(view.things, hops + 1)
        picks = [rng.choice(list(words)) for _ in range(hops - 1)]
        if options.plain and "z" in rules:
            picks = [rng.choice(("closer", "farther"))]
        draft = _chain(rng, options, rules, words, objects, picks, rng.choice(finals))
        if draft is not None:
            yield draft


def _follow(
    rules: dict[str, Compare],
    words: dict[str, tuple[str, bool]],
    objects: list[Thing],
    picks: list[str],
    turned: int | None,
) -> tuple[Thing, float] | None:
    """The object that the selections lead to, with selection `turned` reversed; None when a comparison is too close to
    call.
    """
    current, margin = objects[0], float("inf")
    for i, word in enumerate(picks):
        measure, smaller = words[word]
        other = objects[i + 1]
        hit = rules[measure](current, other)
        if hit is None:
            return None
        take_current = ((hit[0] < 0) == smaller) != (turned == i)
        current, margin = (current if take_current else other), min(margin, hit[1])
    return current, margin


def _chain(
    rng: random.Random,
    options: Options,
    rules: dict[str, Compare],
    words: dict[str, tuple[str, bool]],
    objects: list[Thing],
    picks: list[str],
    final: tuple[str, str, tuple[str, str]],
) -> Draft | None:
    measure, text, answers = final
    reference = objects[-1]
    outcomes = []
    # Each selection is turned round once: where the answer stays the same, the question can be answered without making
    # that selection, and it is no question of several steps.
    for turned in (None, *range(len(picks))):
        end = _follow(rules, words, objects[:-1], picks, turned)
        hit = rules[measure](end[0], reference) if end else None
        if end is None or hit is None:
            return None
        outcomes.append((end[0], int(hit[0] > 0), min(end[1], hit[1])))
    selected, right, _ = outcomes[0]
    if any(side == right for _, side, _ in outcomes[1:]):
        return None
    one = f"the {objects[0].caption}"
    for word, thing in zip(picks, objects[1:]):
        one = (
            f"the {word.replace(' in the picture', '')} of {one} and the {thing.caption}"
            if options.plain
            else (
                "whichever is"
                f" {word}{' to the camera' if word == 'closer' else ' from the camera' if word == 'farther' else ''}:"
                f" {one if one.startswith('the ') else '(' + one + ')'} or the {thing.caption}"
            )
        )
    question_final = text.format(d=reference.caption)
    hops = len(picks) + 1
    # An object that is always the nearer one would answer for the picture: each name is kept even with each answer.
    facts = name_facts(("multihop", measure, "reference"), [(reference, right)], 2)
    facts += [f for t in objects[:-1] for f in name_facts(("multihop", measure, "candidate"), [(t, right)], 2)]
    if hops == 2:
        facts += name_facts(("multihop", picks[0]), [(t, t is selected) for t in objects[:-1]], 2)
    inputs = {
        "picks": picks,
        "final": measure,
        "selected": selected.object_id,
        "outcomes": [[t.object_id, answers[side]] for t, side, _ in outcomes],
    }
    return choice(
        Ask(
            "multihop",
            CHAIN,
            names={"one": one, "final": question_final},
            objects=tuple(objects),
            rule_inputs=inputs,
            facts=facts,
            hops=hops,
        ),
        rng,
        options,
        answers=answers,
        right=right,
        margin=min(m for _, _, m in outcomes),
    )

"""Thoughts for a cold start on the five self-supervised tasks, out of what their construction knows: which edge goes on
where, which patch is mirrored and what shows it, which region is nearer and what goes with that. Nothing is said that
`Puzzle.rule_inputs` does not hold; the wording is drawn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from data_prep.synthesis.selfsup.facts import OPPOSITE

PLACES = {
    (2, 2): ("top left", "top right", "bottom left", "bottom right"),
    (1, 3): ("left", "middle", "right"),
    (1, 4): ("left", "second", "third", "right"),
    (3, 1): ("top", "middle", "bottom"),
    (4, 1): ("top", "second", "third", "bottom"),
}
_GOES_ON = (
    "The {side} edge of patch {first}{colour} goes on in the {other} edge of patch {second}.",
    "Patch {first} continues {where} into patch {second}{meet}.",
    "What leaves patch {first} at its {side}{colour} comes back at the {other} of patch {second}.",
    "At the {side} of patch {first}{colour} patch {second} fits on.",
)
_WHERE = {"right": "to the right", "bottom": "downwards"}
_HIDDEN = (
    "Patch {hidden} is white, so it belongs in the place that is left: {place}.",
    "The hidden patch {hidden} gets the remaining place, {place}.",
    "Only the place {place} is left for the white patch {hidden}.",
)
_ORDER = (
    "So from {places} the patches are {order}.",
    "That puts {order} in the places {places}.",
    "Read as {places}, the order is {order}.",
)
_MIRRORED = (
    "Patch {patch} does not go on into patch {neighbour} at its {side} edge; mirrored back it does.",
    "The {side} edge of patch {patch} breaks off against patch {neighbour}, and mends when the patch is turned back.",
    "Between patch {patch} and patch {neighbour} the lines do not meet at the {side} of {patch}; undoing a mirroring"
    " joins them.",
)
_MIRRORED_ONLY = (
    "Patch {patch} is a mirror image of what belongs there.",
    "It is patch {patch} whose content runs the wrong way.",
    "Patch {patch} shows its part of the scene mirrored.",
)
_FLIPS = (
    ("It stands upside down: top and bottom are exchanged, code 0, so {answer}.", "Flipped vertically: {answer}."),
    ("Its left and right are exchanged, code 1, so {answer}.", "Flipped from left to right: {answer}."),
)
_OTHERS = ("The other three patches are as they should be.", "The rest of the picture is in order.", "")
_KINDS = {
    "rotated left": ("{letter} is turned a quarter to the left", "{letter} is the piece rotated counter-clockwise"),
    "rotated right": ("{letter} is turned a quarter to the right", "{letter} is the piece rotated clockwise"),
    "interior": ("{letter} is enlarged and shows only the middle", "{letter} is zoomed in on the piece's middle"),
    "context 0.25": ("{letter} shows some of the surroundings too", "{letter} takes in a little more than the hole"),
    "context 0.5": ("{letter} is shrunk and shows much around the hole", "{letter} takes in far more than the hole"),
}
_FILLS = (
    "{letter} goes on at the {side} of the hole{colour}",
    "{letter} meets the picture at the hole's {side} edge{colour}",
    "at the {side} of the black square{colour} it is {letter} that continues the picture",
)
_FILLS_ONLY = ("{letter} has the hole's scale and direction", "{letter} fits unturned and unscaled")
_PICKED = ("So it is {letter}.", "The piece is {letter}.", "That leaves {letter}.")
_NEARER = (
    "Mark {a} is nearer than mark {b}: {b} is about {ratio} times as far away{lower}.",
    "{b} lies about {ratio} times as far off as {a}{lower}.",
    "From {a} to {b} the distance grows about {ratio} times{lower}.",
)
_NEARER_ONLY = (
    "Mark {a} is nearer than mark {b}{lower}.",
    "{b} lies farther off than {a}{lower}.",
    "From {a} to {b} the distance grows{lower}.",
)
_LINE = ("So from near to far: {order}.", "The order is {order}.", "Nearest to farthest this gives {order}.")
_VIEW = {
    "left": ("the left of the picture", "behind it", "in front of it", "right", "left"),
    "right": ("the right of the picture", "in front of it", "behind it", "left", "right"),
    "toward the viewer": ("us", "to its left", "to its right", "behind it", "in front of it"),
    "away from the viewer": ("the depth of the scene", "to its right", "to its left", "in front of it", "behind it"),
}
_SEEN = ("Mark {t} is {what} mark {h}.", "Seen in the picture, {t} is {what} {h}.", "From us, place {t} is {what} {h}.")
_TURNED = (
    "A camera at {h} facing {toward} has that {relation}.",
    "For a camera at {h} that looks toward {toward} this is {relation}.",
    "Looking from {h} toward {toward}, that is {relation}.",
)
_LETTER = ("That is {letter}, {option}.", "So it is {option}: {letter}.", "The option is {letter} ({option}).")


def thought(task: str, facts: dict[str, Any], answer: str, options: Sequence[str], key: str) -> str:
    """A thought that leads to `answer`, by the task's `facts` (Puzzle.rule_inputs); its wording follows from `key`."""
    return " ".join(part for part in _TASKS[task](facts, answer, options, random.Random(f"{key}/thought")) if part)


def _in_colour(name: str) -> str:
    return f", {name}," if name else ""


def _shuffle(facts: dict[str, Any], answer: str, options: Sequence[str], rng: random.Random) -> list[str]:
    order = [int(label) for label in answer.split("-")]
    places, out = PLACES[tuple(facts["grid"])], []
    for seam in facts["seams"][: len(order) - 1]:
        words = rng.choice(_GOES_ON)
        side = seam["side"]
        out.append(
            words.format(
                first=seam["first"],
                second=seam["second"],
                side=side,
                other=OPPOSITE[side],
                where=_WHERE[side],
                colour=_in_colour(seam["colour"]),
                meet=f" where both are {seam['colour']}" if seam["colour"] else "",
            )
        )
    hidden = facts["masked_slot"]
    if hidden >= 0:
        out.append(rng.choice(_HIDDEN).format(hidden=hidden, place=places[order.index(hidden)]))
    return [*out, rng.choice(_ORDER).format(places=", ".join(places), order=answer)]


def _flip(facts: dict[str, Any], answer: str, options: Sequence[str], rng: random.Random) -> list[str]:
    seam = facts["seam"]
    words = rng.choice(_MIRRORED if seam["neighbour"] >= 0 else _MIRRORED_ONLY)
    named = words.format(patch=facts["patch"], neighbour=seam["neighbour"], side=seam["side"])
    return [named, rng.choice(_OTHERS), rng.choice(_FLIPS[facts["direction"]]).format(answer=answer)]


def _crop(facts: dict[str, Any], answer: str, options: Sequence[str], rng: random.Random) -> list[str]:
    wrong = [
        rng.choice(_KINDS[kind]).format(letter="ABCD"[place])
        for place, kind in enumerate(facts["candidates"])
        if kind != "crop"
    ]
    if facts["edges"]:
        found = facts["edges"][0]
        right = rng.choice(_FILLS).format(
            letter=answer, side=found["side"], colour=_in_colour(found["colour"]).rstrip(",")
        )
    else:
        right = rng.choice(_FILLS_ONLY).format(letter=answer)
    said = [f"{'; '.join(wrong)}.", f"{right[0].upper()}{right[1:]}."]
    return [*(said if rng.random() < 0.5 else said[::-1]), rng.choice(_PICKED).format(letter=answer)]


def _depth_order(facts: dict[str, Any], answer: str, options: Sequence[str], rng: random.Random) -> list[str]:
    labels, depths, out = facts["labels"], facts["depths"], []
    for k in range(2):
        higher = facts["centres"][k][1] > facts["centres"][k + 1][1]
        out.append(
            rng.choice(_NEARER_ONLY if facts.get("orders_only") else _NEARER).format(
                a=labels[k],
                b=labels[k + 1],
                ratio=_ratio(depths[k + 1] / depths[k]),
                lower=f", and {labels[k]} is lower in the picture" if higher else "",
            )
        )
    return [*out, rng.choice(_LINE).format(order=answer)]


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 1.15 else f"{value:.1f}"


def _position(facts: dict[str, Any], answer: str, options: Sequence[str], rng: random.Random) -> list[str]:
    here, there = facts["labels"]
    toward, to_right, to_left, away, closer = _VIEW[facts["facing"]]
    sideways = "right" if facts["dx"] >= 0 else "left"
    what, relations = [], []
    if "dx" in facts["used"]:
        what.append(f"to the {sideways} of")
        relations.append(to_right if sideways == "right" else to_left)
    if "dz" in facts["used"]:
        what.append("farther away than" if facts["dz"] >= 0 else "nearer than")
        relation = away if facts["dz"] >= 0 else closer
        relations.append(f"to its {relation}" if relation in ("left", "right") else relation)
    named = rng.choice(_LETTER).format(letter=answer, option=options["ABCD".index(answer)]) if answer in "ABCD" else ""
    return [
        rng.choice(_SEEN).format(t=there, h=here, what=" and ".join(what)),
        rng.choice(_TURNED).format(h=here, toward=toward, relation=" and ".join(relations)),
        named or rng.choice(_PICKED).format(letter=answer),
    ]


_TASKS: dict[str, Callable[[dict[str, Any], str, Sequence[str], random.Random], list[str]]] = {
    "shuffle": _shuffle,
    "flip": _flip,
    "crop": _crop,
    "depth_order": _depth_order,
    "position3d": _position,
}

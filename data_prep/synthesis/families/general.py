"""What has nothing to do with space: colours, names, written words. Asked to see that a training on spatial questions
does not cost them; not part of "all".
"""

from __future__ import annotations

import collections
import random
from collections.abc import Iterator

from data_prep.sources.catalogue import COLOURS
from data_prep.synthesis.draft import Draft, Fact, Form
from data_prep.synthesis.options import Options
from data_prep.synthesis.registry import family
from data_prep.synthesis.view import SceneView, Thing

LEAST_LEGIBLE = 0.95  # share of a sign that nothing may stand before

COLOUR = Form(
    "colour",
    0,
    ("What colour is the {a}?", "Colour of the {a}?"),
    (
        "Which colour does the {a} have in this picture?",
        "Name the colour of the {a}.",
        "Look at the {a}: what is its colour?",
        "In one word, what colour is the {a}?",
    ),
)
KIND = Form(
    "kind",
    0,
    ("What is the {a} thing?", "Which thing is {a}?"),
    (
        "What kind of object is the {a} one?",
        "Name the {a} object in this picture.",
        "One object is {a}. What is it?",
        "Which object has the colour {a}?",
    ),
)
READING = Form(
    "reading",
    0,
    ("What does the sign say?", "Read the sign."),
    (
        "Which word is written on the board on the wall?",
        "Read the word on the sign and write it in small letters.",
        "There is a sign on the wall. What does it say?",
        "What is the text of the sign in this picture?",
    ),
)


@family(
    "colour",
    example="What colour is the ball? -> red",
    needs='captions of a colour and a name, as "red ball"',
    spatial=False,
)
def colour(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """The colour of a thing that its class word alone names."""
    yield from _ask_half(view, rng, options, COLOUR, asked=1)


@family(
    "kind",
    example="What is the red thing? -> ball",
    needs='captions of a colour and a name, as "red ball"',
    spatial=False,
)
def kind(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """The class word of a thing that its colour alone names."""
    yield from _ask_half(view, rng, options, KIND, asked=0)


def _ask_half(view: SceneView, rng: random.Random, options: Options, form: Form, asked: int) -> Iterator[Draft]:
    """Questions that give one half of (colour, name) and ask for the other; `asked`: which half is given."""
    halves = [(half, thing) for thing in view.things if (half := _split_caption(thing))]
    every = collections.Counter((_split_caption(o.caption) or ("", o.name))[asked] for o in view.scene.objects)
    for half, thing in rng.sample(halves, min(len(halves), options.pool)):
        given, answer = half[asked], half[1 - asked]
        if every[given] != 1 or not view.complete:
            continue
        facts: list[Fact] = [((form.name, "answer"), answer, 6), ((form.name, "given", given), answer, 6)]
        yield _draft(form, rng, options, answer, {"a": given}, (thing,), facts)


def _split_caption(thing: Thing | str) -> tuple[str, str] | None:
    """(colour, name) of a caption that is just that."""
    words = (thing if isinstance(thing, str) else thing.caption).lower().split(" ", 1)
    return (words[0], words[1]) if len(words) == 2 and words[0] in COLOURS else None


def _draft(
    form: Form,
    rng: random.Random,
    options: Options,
    answer: str,
    names: dict[str, str],
    objects: tuple[Thing, ...],
    facts: list[Fact],
) -> Draft:
    template_id, wording = form.pick(rng, options)
    return Draft(
        form.name,
        form,
        template_id,
        wording.format(**names),
        "word",
        answer,
        {"kind": "word", "accept": [answer]},
        1.0,
        objects,
        {"answer": answer, **names},
        facts=tuple(facts),
    )


@family("reading", example="What does the sign say? -> exit", needs="rendered scenes with --signs", spatial=False)
def reading(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """The word on the one sign of a rendered room, which nothing stands before."""
    try:
        signs = view.scene.json_field("meta").get("signs", [])
    except ValueError:
        return
    if len(signs) == 1 and signs[0]["visible"] >= LEAST_LEGIBLE:
        text = str(signs[0]["text"])
        yield _draft(READING, rng, options, text, {}, (), [(("reading", "answer"), text, 8)])

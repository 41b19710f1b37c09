"""Relative depth asked in free form: the answer is a sentence, and a judge grades it (Li 2025 rewards these so)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from data_prep.synthesis import margins
from data_prep.synthesis.draft import Ask, Draft, Form, free, name_facts, versus_fact
from data_prep.synthesis.options import Options
from data_prep.synthesis.registry import family
from data_prep.synthesis.view import SceneView

TWO = Form(
    "two",
    0,
    ("Compare the depths of the {a} and the {b}.", "How do the {a} and the {b} stand to each other in depth?"),
    (
        "Describe how the {a} and the {b} are arranged in depth, as seen from the camera.",
        "Say in a sentence which of the {a} and the {b} is nearer to the camera and which is farther away.",
        "If you walked from the camera into the scene, in which order would you pass the {a} and the {b}?",
        "Tell me about the {a} and the {b}: who stands in the foreground, who farther back?",
    ),
)
MIDDLE = Form(
    "middle",
    20,
    ("Describe the order in depth of the {a}, the {b} and the {c}.",),
    (
        "In your own words: how do the {a}, the {b} and the {c} follow one another from the camera into the scene?",
        "Explain which of the {a}, the {b} and the {c} lies nearest to the camera, which between, which farthest.",
    ),
)


@family(
    "depth_words",
    example="Compare the depths of the red ball and the blue box. -> the red ball is closer than the blue box",
    needs="depth (relative is enough); a judge grades the answers",
    judged=True,
)
def depth_words(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """Two or three things whose order in depth is past its margins, to be described."""
    if not view.has_depth:
        return
    for count in (2, 3) if len(view.things) >= 3 else (2,):
        groups = list(itertools.combinations(view.things, count))
        for group in rng.sample(groups, min(len(groups), options.pool)):
            order = sorted(group, key=lambda t: t.depth)
            hits = [margins.depth_order(view, a, b, options) for a, b in itertools.pairwise(order)]
            clear = [hit[1] for hit in hits if hit is not None]
            # One pair too close to call and no sentence is right.
            if len(clear) < len(hits):
                continue
            shown = rng.sample(group, count)
            answer = f"the {order[0].caption} is closer to the camera than the {order[1].caption}"
            if count == 3:
                answer += f", and the {order[2].caption} is the farthest"
            # Whether the first one named is the nearest must not tell: it is kept even.
            first = shown[0] is order[0]
            facts = name_facts(("depth_words", "nearest"), [(t, t is order[0]) for t in group], 2)
            yield free(
                Ask(
                    "depth_words",
                    TWO if count == 2 else MIDDLE,
                    names=dict(zip("abc", (t.caption for t in shown))),
                    objects=tuple(shown),
                    rule_inputs={"depths": [t.depth for t in shown], "order": [t.object_id for t in order]},
                    facts=(*facts, *versus_fact(("depth_words",), *order[:2]), (("depth_words", "first"), first, 2)),
                ),
                rng,
                options,
                answer=answer,
                margin=min(clear),
            )

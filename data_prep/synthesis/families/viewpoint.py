"""Directions between objects, from another viewpoint than the camera's: left/right, quadrants and clock hours on the
floor plane.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from data_prep.synthesis import margins, space
from data_prep.synthesis.deviations import Measure, Pose, moves, pose
from data_prep.synthesis.draft import Ask, Draft, Form, choice, mix_drafts, name_facts
from data_prep.synthesis.options import Options
from data_prep.synthesis.registry import family
from data_prep.synthesis.view import SceneView, Thing

QUADRANTS = ("front left", "front right", "back left", "back right")
HOURS = tuple(f"{h} o'clock" for h in range(1, 13))

LEFT_RIGHT = Form(
    "left_right",
    0,
    (
        "At the {s} facing the {f}: is the {t} left or right?",
        "From the {s} looking at the {f}: is the {t} left or right?",
    ),
    (
        "If I stand at the {s} and face the {f}, is the {t} to my left or to my right?",
        "Imagine standing where the {s} is, looking towards the {f}. On which side is the {t}, left or right?",
        "A person at the {s} faces the {f}. Would they find the {t} on their left or on their right?",
        "Take the viewpoint of someone at the {s} turned towards the {f}: is the {t} left or right of them?",
        "Standing by the {s} with the {f} straight ahead, is the {t} to the left or to the right?",
        "You are at the {s} and look at the {f}. Does the {t} lie to your left or right?",
    ),
    ("{answer}", "It is on the {answer}.", "To the {answer}.", "On your {answer}."),
)
QUADRANT = Form(
    "quadrant",
    20,
    (),
    (
        "If I stand at the {s} and face the {f}, is the {t} to my front left, front right, back left or back right?",
        (
            "Standing at the {s} and looking at the {f}, where is the {t}: front left, front right, back left or back"
            " right?"
        ),
        (
            "Imagine being at the {s} with the {f} straight ahead. Choose the direction of the {t}: front left, front"
            " right, back left, back right."
        ),
        (
            "A person at the {s} faces the {f}. In which quadrant around them is the {t}: front left, front right, back"
            " left or back right?"
        ),
    ),
)
CLOCK = Form(
    "clock",
    40,
    (),
    (
        (
            "Seen from above, the camera looks towards 12 o'clock. Starting at the {s}, at which clock direction lies"
            " the {t}?"
        ),
        "Put a clock face on the floor at the {s} with 12 pointing the way the camera looks. At which hour is the {t}?",
        (
            "If 12 o'clock is the camera's viewing direction (3 o'clock its right), at which hour does the {t} lie from"
            " the {s}?"
        ),
        "Give the clock direction from the {s} to the {t}, taking the camera's line of sight as 12 o'clock.",
    ),
)


@family(
    "direction",
    example="At the red ball facing the blue box: is the green cone left or right? -> left",
    needs="metric depth, centres, gravity",
)
def direction(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """Direction of a third object for someone at the first who faces the second; angles keep clear of the sectors'
    boundaries.
    """
    things = [t for t in view.things if t.has_center and t.visible >= 0.4 and not t.hints & {"x", "z"}]
    if not (view.metric and view.gravity) or len(things) < 3:
        return
    parts = [_turns(view, rng, options, things)] + ([] if options.plain else [_clock(view, rng, options, things)])
    yield from mix_drafts(rng, *parts)


def _turns(view: SceneView, rng: random.Random, options: Options, things: list[Thing]) -> Iterator[Draft]:
    for _ in range(options.pool):
        stand, face, target = rng.sample(things, 3)
        yield from _from_object(view, rng, options, stand, face, target)


def _from_object(
    view: SceneView, rng: random.Random, options: Options, stand: Thing, face: Thing, target: Thing
) -> Iterator[Draft]:
    angle = space.turn(stand.center, face.center, target.center, view.gravity)
    if angle is None:
        return
    quadrant = not options.plain and rng.random() < 0.5
    size = abs(angle)
    clear = min(size, 180 - size, abs(size - 90) if quadrant else 180.0)
    if not _clears(view, (stand, face, target), _turn_angle, clear, options.angle_margin, options):
        return
    names = {"s": stand.caption, "f": face.caption, "t": target.caption}
    inputs = {
        "angle_deg": angle,
        "centers": [list(stand.center), list(face.center), list(target.center)],
        "gravity": list(view.gravity),
    }
    right = int(angle > 0) + (2 * int(size > 90) if quadrant else 0)
    form, answers = (QUADRANT, QUADRANTS) if quadrant else (LEFT_RIGHT, ("left", "right"))
    facts = [
        fact
        for role, thing in (("s", stand), ("f", face), ("t", target))
        for fact in name_facts(("direction", form.name, role), [(thing, right)], len(answers))
    ]
    yield choice(
        Ask("direction", form, names=names, objects=(stand, face, target), rule_inputs=inputs, facts=facts),
        rng,
        options,
        answers=answers,
        right=right,
        margin=clear / options.angle_margin,
    )


def _turn_angle(poses: Sequence[Pose], gravity: tuple[float, ...]) -> float:
    stand, face, target = (p.center for p in poses)
    angle = space.turn(stand, face, target, gravity)
    return math.nan if angle is None else angle


def _clock_hour(poses: Sequence[Pose], gravity: tuple[float, ...]) -> float:
    x, y, z = poses[0].center
    angle = space.turn((x, y, z), (x, y, z + 10.0), poses[1].center, gravity)
    return math.nan if angle is None else angle


def _clears(
    view: SceneView, things: tuple[Thing, ...], angle: Measure, clear: float, least: float, options: Options
) -> bool:
    """Whether an angle keeps `clear` degrees from the boundary: at least the margin, and `sigmas` of its deviations."""
    if clear < least:
        if least == options.angle_margin:
            view.refused.add("angle_margin", options.angle_margin, clear)
        return False
    # Around 180 degrees an angle jumps by 360: its moves are measured from the mean direction.
    middle = angle([pose(t) for t in things], view.gravity)
    _, moved = moves(view, things, lambda poses, gravity: (angle(poses, gravity) - middle + 180) % 360)
    return margins.clears(view, clear, moved, options)


def _clock(view: SceneView, rng: random.Random, options: Options, things: list[Thing]) -> Iterator[Draft]:
    start, target = rng.sample(things, 2)
    ahead = (start.center[0], start.center[1], start.center[2] + 10.0)
    angle = space.turn(start.center, ahead, target.center, view.gravity)
    if angle is None:
        return
    hour = round(angle / 30)
    clear = 15 - abs(angle - 30 * hour)
    if clear < 5 or not _clears(view, (start, target), _clock_hour, clear, 5, options):  # of a sector of 30 degrees
        return
    right = (hour - 1) % 12
    yield choice(
        Ask(
            "direction",
            CLOCK,
            names={"s": start.caption, "t": target.caption},
            objects=(start, target),
            rule_inputs={
                "angle_deg": angle,
                "centers": [list(start.center), list(target.center)],
                "gravity": list(view.gravity),
            },
            facts=name_facts(("direction", "clock", "t"), [(target, right)], 4)
            + name_facts(("direction", "clock", "s"), [(start, right)], 4),
        ),
        rng,
        options,
        answers=HOURS,
        right=right,
        margin=clear / 5,
    )

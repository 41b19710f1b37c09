"""The camera itself: field of view, focal length, and how far off its axis a thing lies (Li's "camera intrinsics"
data).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

from data_prep.synthesis import margins
from data_prep.synthesis.deviations import Moves
from data_prep.synthesis.draft import Ask, Draft, Form, mix_drafts, number
from data_prep.synthesis.numbers import camera_text, metres
from data_prep.synthesis.options import Options
from data_prep.synthesis.registry import family
from data_prep.synthesis.view import SceneView
from spatial_jax.data.records import coordinate

KNOWN = ("exif", "sensor", "rendered")
RECOVERED = "estimated"  # by a model that states its error: asked as far as the tolerance allows
MRA = {"kind": "mra", "comparison": "<"}

VIEW = Form(
    "field_of_view",
    0,
    ("Field of view in degrees?", "Horizontal field of view in degrees?"),
    (
        "What is the camera's horizontal field of view, in degrees?",
        "Estimate the horizontal angle of view of this photo in degrees.",
        "How wide, in degrees, is the camera's view from the left to the right edge?",
        "Judging by the perspective, what horizontal field of view (degrees) has the lens?",
        "Give the horizontal field of view of the camera that took this picture, in degrees.",
        "Over how many degrees does the image extend horizontally?",
    ),
    ("{answer}", "About {answer} degrees.", "The field of view is {answer} degrees.", "Roughly {answer} degrees."),
)
FOCAL = Form(
    "focal",
    20,
    ("Focal length in pixels?", "f in pixels?"),
    (
        "What is the camera's horizontal focal length fx in pixels? The image is {size}.",
        "Estimate fx, the focal length in pixels, of this {size} image.",
        "Judging by the perspective of this {size} picture, what is its focal length in pixels?",
        "Give the focal length, in pixels, with which this {size} image was taken.",
        "A pinhole camera took this {size} picture. How many pixels is its focal length?",
        "Recover the focal length (pixels) from this {size} photo.",
    ),
    ("{answer}", "About {answer} pixels.", "The focal length is {answer} pixels.", "fx is {answer}."),
)
LATERAL = Form(
    "lateral",
    40,
    (),
    (
        (
            "The camera has {camera}, and the {a} is {depth} m deep. How many metres to the side of the optical axis is"
            " the centre of its box?"
        ),
        (
            "Given {camera} and a depth of {depth} m for the {a}, what is the sideways offset of its box centre from"
            " the optical axis, in metres?"
        ),
        (
            "With {camera}: the {a} lies at a depth of {depth} m. How far left or right of the camera axis is the"
            " middle of its box, in metres?"
        ),
        (
            "Use {camera}. At its depth of {depth} m, by how many metres is the box centre of the {a} off the optical"
            " axis horizontally?"
        ),
    ),
    ("{answer}", "About {answer} m.", "It is {answer} metres off the axis.", "Roughly {answer} m."),
)


@family(
    "intrinsics",
    example="Field of view in degrees? -> 61",
    needs="intrinsics that are known, or recovered with a stated error",
)
def intrinsics(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    """Field of view and focal length where the intrinsics are known, or recovered well enough; sideways offset by
    x = (u - cx) Z / fx.
    """
    source = view.scene.intrinsics_source
    if not view.intrinsics or not (source in KNOWN or (source == RECOVERED and view.shared.get("focal", 0.0) > 0)):
        return
    parts = [_fov(view, rng, options), _focal(view, rng, options)] + (
        [] if options.plain or not view.metric else [_lateral(view, rng, options)]
    )
    yield from mix_drafts(rng, *parts)


def _inputs(view: SceneView) -> dict[str, Any]:
    return {"intrinsics": list(view.intrinsics), "width": view.width}


def _degrees(view: SceneView, factor: float = 1.0) -> float:
    """Horizontal field of view, with `factor` times the focal length."""
    fx, _, cx, _ = view.intrinsics
    return math.degrees(math.atan((cx + 0.5) / fx / factor) + math.atan((view.width - 0.5 - cx) / fx / factor))


def _fov(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    degrees = _degrees(view)
    moved = Moves(shift=abs(degrees - _degrees(view, 1 + view.shared.get("focal", 0.0))))
    within = margins.tolerance(view, degrees, moved, options)
    if within is None:
        return
    yield number(
        Ask(
            "intrinsics",
            VIEW,
            names={},
            objects=(),
            rule_inputs=_inputs(view),
            facts=((("intrinsics", "fov"), round(degrees / 5), 4),),
        ),
        rng,
        options,
        moved=moved,
        tolerance=within,
        answer=f"{degrees:.0f}",
        unit="deg",
        reward=MRA,
    )


def _focal(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    fx = view.intrinsics[0]
    moved = Moves(shift=fx * view.shared.get("focal", 0.0))
    within = margins.tolerance(view, fx, moved, options)
    if within is None:
        return
    size = f"{coordinate('x', view.width)} x {coordinate('y', view.height)}"
    yield number(
        Ask(
            "intrinsics",
            FOCAL,
            names={"size": size},
            objects=(),
            rule_inputs=_inputs(view),
            facts=((("intrinsics", "focal"), round(math.log(fx) / math.log(1.1)), 4),),
        ),
        rng,
        options,
        moved=moved,
        tolerance=within,
        answer=coordinate("x", fx, 0 if options.plain else 1),
        unit="px",
        reward=MRA,
    )


def _lateral(view: SceneView, rng: random.Random, options: Options) -> Iterator[Draft]:
    fx, _, cx, _ = view.intrinsics
    for thing in rng.sample(view.things, min(len(view.things), 3)):
        # The depth is given in the question, and with it its error: the offset is exact but for the focal length.
        offset = abs(thing.u - 0.5 - cx) * thing.depth / fx  # boxes count pixel edges, cx pixel centres
        if not (thing.has_depth and offset >= 0.1 and abs(thing.u - cx) >= 0.05 * view.width):
            continue
        if not thing.spread <= options.max_depth_spread:
            view.refused.add("max_depth_spread", options.max_depth_spread, thing.spread)
            continue
        moved = Moves(shift=offset * view.shared.get("focal", 0.0))
        within = margins.tolerance(view, offset, moved, options)
        if within is None:
            continue
        yield number(
            Ask(
                "intrinsics",
                LATERAL,
                names={"camera": camera_text(view, options), "a": thing.caption, "depth": f"{thing.depth:.2f}"},
                objects=(thing,),
                rule_inputs=_inputs(view) | {"u": thing.u, "depth": thing.depth, "offset_m": offset},
            ),
            rng,
            options,
            answer=metres(offset, options),
            unit="m",
            reward=MRA,
            margin=abs(thing.u - cx) / (0.05 * view.width),
            moved=moved,
            tolerance=within,
        )

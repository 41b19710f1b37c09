"""Things of known size narrow the scale that an estimated depth leaves unsure: a door, a person standing, an A4 sheet.

Each says by what factor the picture is too small or too large, as unsure as such things differ and as this one was
measured; together with the depth model's own doubt they give the scale (the product of normal densities of its
logarithm). One that says something else than its picture and the others do flags the picture: it is a toy, a poster or
a wrong depth, and nobody can tell which.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import numpy as np

from data_prep.geometry.boxes import vertical_extent
from data_prep.geometry.clouds import erode
from data_prep.geometry.trust import NOT_TRUSTED
from data_prep.sources.base import Frame, ObjectDraft

CONTRADICTS = 3.0  # deviations
LEAST_BIAS = 0.03  # a scale that is known better than this (a sensor's) is not asked of such things
LEAST_PIXELS = 12  # along the measured side
OCCLUDED = 0.08  # of a mask's rim with something nearer before it: its side may be longer than what is seen
NEARER = 0.93
CONTRADICTION = "scale contradicted"  # the tag of a picture whose things do not agree


@dataclasses.dataclass(frozen=True)
class Anchor:
    """A kind of thing of known size: `names` it goes by (whole names, singular), the `side` that is known (height or
    longest), `metres` and their relative `spread`, one standard deviation; `words`: one of them must be in its caption.
    """

    names: tuple[str, ...]
    side: str
    metres: float
    spread: float
    words: tuple[str, ...] = ()


PERSON = ("person", "man", "woman", "pedestrian", "worker", "player", "waiter", "waitress", "policeman")
# Adults of all countries stand 1.53 to 1.83 m high, shoes included; doors, sheets, cards and balls follow standards; of
# cars, buses, bicycles and furniture the spread over makes on sale is given.
ANCHORS = (
    Anchor(PERSON, "height", 1.69, 0.06, ("standing", "stands", "walking", "walks")),
    Anchor(("door", "interior door", "wooden door", "front door"), "height", 2.03, 0.04),
    Anchor(("sheet", "sheet of paper", "paper", "page"), "longest", 0.297, 0.01, ("a4",)),
    Anchor(("sheet", "sheet of paper", "paper", "page"), "longest", 0.279, 0.01, ("letter-size", "letter size")),
    Anchor(("credit card", "bank card", "id card"), "longest", 0.0856, 0.005),
    Anchor(("car", "sedan", "hatchback"), "height", 1.49, 0.05),
    Anchor(("suv",), "height", 1.70, 0.06),
    Anchor(("bus", "city bus", "double-decker bus"), "height", 3.05, 0.08, ("city", "single-decker", "coach")),
    Anchor(("license plate", "licence plate", "number plate"), "longest", 0.52, 0.02, ("european", "german", "uk")),
    Anchor(("license plate", "licence plate"), "longest", 0.305, 0.02, ("american", "us", "usa", "canadian")),
    Anchor(("license plate", "licence plate", "number plate"), "longest", 0.42, 0.27),
    Anchor(("bicycle", "bike"), "height", 1.05, 0.08),
    Anchor(("desk", "dining table", "office desk"), "height", 0.74, 0.04),
    Anchor(("office chair", "dining chair"), "height", 0.93, 0.12),
    Anchor(("fridge", "refrigerator"), "height", 1.75, 0.10),
    Anchor(("washing machine", "dishwasher"), "height", 0.85, 0.03),
    Anchor(("soda can", "beer can", "coke can"), "height", 0.122, 0.05),
    Anchor(("wine bottle",), "height", 0.30, 0.06),
    Anchor(("basketball",), "height", 0.24, 0.03),
    Anchor(("soccer ball", "football"), "height", 0.22, 0.03),
    Anchor(("tennis ball",), "height", 0.067, 0.03),
    Anchor(("stop sign",), "height", 0.75, 0.12),
)
# Nothing of these is as large as its name says.
NOT_REAL = re.compile(
    r"\b(toy|toys|miniature|model|figurine|statue|statuette|doll|dollhouse|picture|painting|painted|poster|photo"
    r"|photograph|drawing|drawn|print|printed|screen|tv|television|monitor|reflection|mirror|mural|billboard|cartoon"
    r"|logo|icon|balloon|lego|kid|child|boy|girl|baby|toddler|folded|half|part)\b"
)


def anchor_of(name: str, caption: str) -> Anchor | None:
    """The first kind of known size that a thing's name and caption say it is, None for none."""
    name, caption = (" ".join(text.lower().split()) for text in (name, caption))
    if NOT_REAL.search(f"{name} {caption}"):
        return None
    words = set(re.findall(r"[a-z0-9-]+", f"{name} {caption}"))
    for anchor in ANCHORS:
        fits = not anchor.words or any(w in words or (" " in w and w in caption) for w in anchor.words)
        if name in anchor.names and fits:
            return anchor
    return None


def occluded_rim(mask: np.ndarray, depth: np.ndarray) -> float:
    """Share of the pixels around a mask (bool [h, w]) that are clearly nearer than the mask's own beside them:
    something stands before it there. `depth` [h, w], 0 unknown.
    """
    from scipy.ndimage import minimum_filter

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    view = (slice(max(0, rows[0] - 3), rows[-1] + 4), slice(max(0, columns[0] - 3), columns[-1] + 4))
    mask, depth = mask[view], depth[view]
    ring = ~mask & ~erode(erode(~mask))
    known = ring & (depth > 0)
    own = minimum_filter(np.where(mask & (depth > 0), depth, np.inf), 7)
    return float((depth < NEARER * own)[known & np.isfinite(own)].mean()) if (known & np.isfinite(own)).any() else 0.0


def _measured_side(frame: Frame, thing: ObjectDraft, anchor: Anchor) -> tuple[float, float] | None:
    """(the side that the anchor knows, metres; its own relative error without the shared scale), None where it was not
    measured, or hardly.
    """
    if thing.extent is None or thing.rotation is None or thing.mask is None or frame.depth is None:
        return None
    if anchor.side == "height":
        if frame.gravity is None or not thing.extent[2] > 0:
            return None
        known = np.where(thing.extent > 0, thing.extent, np.nanmax(thing.extent))
        length, axis = vertical_extent(thing.rotation, known, frame.gravity), 2
    else:
        if not np.all(thing.extent > 0):
            return None
        axis = int(np.argmax(thing.extent))
        length = float(thing.extent[axis])
    pixels = length / thing.depth["median"] * frame.intrinsics[0] if frame.intrinsics and thing.depth else 0.0
    if not (length > 0 and pixels >= LEAST_PIXELS and thing.visible_fraction >= 0.95):
        return None
    if occluded_rim(thing.mask, frame.depth) > OCCLUDED:
        return None
    own = thing.uncertainty.get(f"extent_{axis}", thing.uncertainty.get("extent", 0.0)) / length
    shared = math.hypot(frame.shared().get("focal", 0.0), frame.depth_noise.shift / thing.depth["median"])
    return length, math.hypot(own, shared, 0.5 / pixels)


@dataclasses.dataclass(frozen=True)
class Scale:
    """log of the factor that makes the picture right, its deviation, and the share of the things' disagreement: the
    largest distance between one of them and what all the others say, in deviations.
    """

    log: float
    sigma: float
    worst: float


def combine(bias: float, said: list[tuple[float, float]]) -> Scale:
    """The scale from a prior of deviation `bias` and (log factor, deviation) of each thing of known size."""

    def product(of: list[tuple[float, float]]) -> tuple[float, float]:
        weights = [1 / s**2 for _, s in of]
        return sum(w * v for w, (v, _) in zip(weights, of)) / sum(weights), 1 / math.sqrt(sum(weights))

    everything = [(0.0, bias), *said]
    worst = 0.0
    for i, (value, sigma) in enumerate(said):
        middle, left = product(everything[: i + 1] + everything[i + 2 :])
        worst = max(worst, abs(value - middle) / math.hypot(sigma, left))
    return Scale(*product(everything), worst)


_LENGTHS = ("depth", "extent", "side", "center", "along", "near", "grain", "edge", "unseen")


def rescale(frame: Frame, factor: float) -> None:
    """Multiplies every length that comes from the frame's depth by `factor`."""
    assert frame.depth is not None
    frame.depth = frame.depth * np.float32(factor)
    noise = frame.depth_noise
    frame.depth_noise = dataclasses.replace(
        noise, constant=noise.constant * factor, quadratic=noise.quadratic / factor, shift=noise.shift * factor
    )
    if frame.floor is not None:
        frame.floor = np.append(frame.floor[:3], frame.floor[3] * factor)
    if "tip" in frame.gravity_sigma:
        frame.gravity_sigma = frame.gravity_sigma | {"tip": frame.gravity_sigma["tip"] / factor}
    for thing in frame.objects:
        thing.depth = {k: v * factor if k in ("median", "q20", "q80") else v for k, v in thing.depth.items()}
        for name in ("center", "extent", "points"):
            value = getattr(thing, name)
            if value is not None and thing.uncertainty.get("shared"):
                setattr(thing, name, value * factor)
        thing.uncertainty = {
            k: v * factor if k.startswith(_LENGTHS) and k != "unseen_axis" else v for k, v in thing.uncertainty.items()
        }


class Anchors:
    """Stage, after Measure: narrows the shared scale of a picture with estimated metric depth by its things of known
    size, or flags it.
    """

    name = "anchors"

    def config(self) -> dict[str, Any]:
        return {"stage": self.name, "table": [dataclasses.astuple(a) for a in ANCHORS]}

    def __call__(self, frame: Frame) -> None:
        bias = frame.depth_noise.bias
        if frame.depth is None or frame.depth_flag != "metric" or bias < LEAST_BIAS:
            return
        said, told = [], []
        for thing in frame.objects:
            anchor = anchor_of(thing.name, thing.caption)
            found = _measured_side(frame, thing, anchor) if anchor else None
            if anchor and found:
                length, own = found
                said.append((math.log(anchor.metres / length), math.hypot(anchor.spread, own)))
                told.append(f"{thing.caption or thing.name}: {anchor.side} {length:.3g} m, known {anchor.metres:g} m")
        if not said:
            return
        scale = combine(bias, said)
        frame.meta["scale_anchors"] = told
        if scale.worst > CONTRADICTS:
            frame.tags = (*frame.tags, CONTRADICTION)
            frame.notes.append(f"{NOT_TRUSTED}: things of known size contradict its depth; only orders are asked")
            return
        rescale(frame, math.exp(scale.log))
        frame.depth_noise = dataclasses.replace(frame.depth_noise, bias=scale.sigma)
        frame.provenance["scale"] = f"{len(said)} things of known size: times {math.exp(scale.log):.3f}"

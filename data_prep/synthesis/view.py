"""A scene as the question families read it: plain floats, usable objects only, and why the others were left out."""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import re

import numpy as np

from data_prep.geometry.anchors import CONTRADICTION
from data_prep.synthesis.options import Options
from data_prep.synthesis.refusals import Refusals
from spatial_jax.data.records import SceneObject, SceneRecord
from spatial_jax.reading import parse_object

_FORBIDDEN = set("{}<>\n\r\t\\")
MAX_CAPTION = 160
_HINTS = {
    "x": "left|right|leftmost|rightmost",
    "y": "top|bottom|upper|lower|above|below|under|underneath|over|higher|highest|lowest|hanging|ceiling|floor",
    "z": "back|front|foreground|background|behind|near|nearest|closest|far|farthest|distant|close",
    "h": "tall|short|large|small|big|tiny|huge|low|high",
}
_HINT = re.compile("|".join(rf"(?P<{axis}>\b(?:{words})\b)" for axis, words in _HINTS.items()), re.IGNORECASE)


@dataclasses.dataclass(slots=True, eq=False)
class Thing:
    """One usable object. Pixels of the stored picture; metres (or relative units) in the camera frame x right, y down,
    z forward.
    """

    object_id: str
    name: str
    caption: str  # without article, e.g. "red ball"
    box: tuple[float, float, float, float]
    u: float  # box centre
    v: float
    width: float
    height: float
    visible: float
    depth: float  # median inside the mask; nan when unknown
    near: float  # 20 % quantile
    far: float  # 80 % quantile
    spread: float
    center: tuple[float, float, float]
    extent: tuple[float, float, float]
    rotation: tuple[float, ...]
    sd: dict[str, float]  # measure -> one standard deviation
    raw: SceneObject
    moved: bool = False  # whether the errors that the picture shares move centre and sides
    hints: frozenset[str] = frozenset()  # what its caption gives away: "x", "y", "z" (depth), "h" (size)

    @property
    def has_depth(self) -> bool:
        return self.depth > 0 and self.near > 0 and self.far >= self.near

    @property
    def has_center(self) -> bool:
        return not math.isnan(self.center[0] + self.center[1] + self.center[2])

    @property
    def has_extent(self) -> bool:
        """Whether all three sides were measured."""
        return all(side > 0 for side in self.extent)

    @property
    def has_box(self) -> bool:
        return self.has_center and self.has_extent

    def cloud(self) -> np.ndarray:
        return self.raw.cloud()


class SceneView:
    """A scene's usable objects (captions unique, boxes inside the picture and large enough) and its camera. `refused`
    counts what its families did not ask because of a margin; it may be shared by scenes.
    """

    def __init__(self, scene: SceneRecord, options: Options, refused: Refusals | None = None):
        self.scene = scene
        self.scene_id, self.split = scene.scene_id, scene.split
        self.width, self.height = scene.width, scene.height
        self.reasons: collections.Counter[str] = collections.Counter()
        k = scene.intrinsics
        self.intrinsics = k if len(k) == 4 and k[0] > 0 and k[1] > 0 and all(map(math.isfinite, k)) else ()
        g = scene.gravity
        self.gravity = g if len(g) == 3 and abs(math.hypot(*g) - 1) < 1e-2 else ()
        # Depth that its own things contradict is off by an unknown factor: orders are all that is left of it.
        self.metric = scene.depth_flag == "metric" and CONTRADICTION not in scene.tags
        self.has_depth = scene.depth_flag in ("metric", "relative")
        self.refused = refused or Refusals()
        shared = {k: v for k, v in _numbers(scene.shared_uncertainty).items() if v > 0}
        self.shared = shared if self.metric else {k: v for k, v in shared.items() if k == "focal"}
        self.things = self._usable(scene, options)
        if not self.things:
            self.reasons["no usable object"] += 1

    def _usable(self, scene: SceneRecord, options: Options) -> list[Thing]:
        kept: list[Thing] = []
        for item in scene.objects:
            reason = _refuse(item, scene, options)
            if reason:
                self.reasons[reason] += 1
                continue
            if item.depth_cover < options.min_cover:  # nan when unknown
                self.reasons["its depth is not asked: known on less than margins.min_cover of its mask"] += 1
                item = dataclasses.replace(item, depth_median=math.nan, points=b"")
            self.reasons.update(f"not all measured: {reason}" for reason in _missing_measures(item.provenance))
            kept.append(_thing(item))
        counts = collections.Counter(t.caption.lower() for t in kept)
        unique = [t for t in kept if counts[t.caption.lower()] == 1]
        self.reasons["caption not unique in the picture"] += len(kept) - len(unique)
        return unique

    @functools.cached_property
    def complete(self) -> bool:
        """Whether the scene's objects are all there are (rendered scenes, full annotations): counting needs that."""
        if self.scene.intrinsics_source == "rendered" or "complete" in self.scene.tags:
            return True
        try:
            return bool(self.scene.json_field("meta").get("complete", False))
        except ValueError:
            return False


def _refuse(item: SceneObject, scene: SceneRecord, options: Options) -> str:
    caption = item.caption.strip()
    if not caption:
        return "object without caption"
    if len(caption) > MAX_CAPTION or not _FORBIDDEN.isdisjoint(caption):
        return "caption too long or with marks that a question may not hold"
    if item.confidence < options.min_confidence:
        return "object below the confidence limit"
    x1, y1, x2, y2 = item.box
    if (
        not all(map(math.isfinite, item.box))
        or x1 < -0.5
        or y1 < -0.5
        or x2 > scene.width + 0.5
        or y2 > scene.height + 0.5
    ):
        return "box outside the picture"
    if x2 - x1 < max(4, options.min_side * scene.width) or y2 - y1 < max(4, options.min_side * scene.height):
        return "object too small"
    return ""


def clean_caption(caption: str) -> str:
    """The caption as a noun phrase without article and full stop: "A red ball." -> "red ball"."""
    text = " ".join(caption.split()).rstrip(" .")
    head, _, rest = text.partition(" ")
    if rest and head.lower() in ("a", "an", "the"):
        text = rest
    return text


def _hints(caption: str) -> frozenset[str]:
    """What the caption's own words say of the object's place or size: "the chair on the left" must not be asked for
    left or right.
    """
    return frozenset(m.lastgroup for m in _HINT.finditer(caption) if m.lastgroup)


def _numbers(text: str) -> dict[str, float]:
    """The numbers of a JSON object; empty for anything else."""
    if text == "{}":
        return {}
    try:
        return {k: float(v) for k, v in parse_object(text).items() if isinstance(v, (int, float))}
    except (ValueError, AttributeError):
        return {}


def _missing_measures(provenance: str) -> list[str]:
    """Why measures of an object are missing, as the measuring stage told it."""
    if '"unmeasured"' not in provenance:
        return []
    try:
        return str(parse_object(provenance).get("unmeasured", "")).split(", ")
    except (ValueError, AttributeError):
        return []


def _deviations(text: str) -> dict[str, float]:
    found = _numbers(text)
    sides = [v for k, v in found.items() if k.startswith("extent_")]
    if sides:
        found.setdefault("extent", max(sides))
    return found


def _thing(item: SceneObject) -> Thing:
    x1, y1, x2, y2 = item.box
    sd = _deviations(item.uncertainty)
    moved = sd.pop("shared", 0.0) > 0
    return Thing(
        item.object_id,
        item.name.strip().lower(),
        clean_caption(item.caption),
        item.box,
        (x1 + x2) / 2,
        (y1 + y2) / 2,
        x2 - x1,
        y2 - y1,
        item.visible_fraction,
        item.depth_median,
        item.depth_q20,
        item.depth_q80,
        item.depth_rel_std,
        item.center,
        item.extent,
        item.rotation,
        sd,
        item,
        moved,
        _hints(item.caption),
    )

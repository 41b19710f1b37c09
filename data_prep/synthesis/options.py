"""What may be asked: profile, wordings, and the margins that an answer must clear before its question is asked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from data_prep.annotate.settings import make, parse_overrides
from data_prep.sources.base import LEAST_CONFIDENCE, SourceError

PROFILES = ("plain", "full")


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the template generator. Margins follow Li 2025's default set: no near-ties, no unsure measures.

    profile "plain" has short wordings and word answers (for small models); "full" has every wording, long forms and
    lettered options. wordings > 0 keeps only the first so many wordings of each form (the short ones come first).
    """

    profile: str = "full"
    wordings: int = 0
    letters: float = 0.5  # share of choice questions with lettered options (profile "full" only)
    pool: int = 8  # candidate questions a family and scene that the balance chooses from
    bearing_margin: float = 0.15  # offset of the box centre from the picture's centre, fraction of that side
    gap_of_extent: float = 0.10  # centre gap of a pair, fraction of the larger extent along the axis
    gap_of_side: float = 0.05  # ... and fraction of the picture's side
    max_overlap: float = 0.5  # overlap of the two intervals, fraction of the smaller
    depth_ratio: float = 1.15  # far over near
    size_ratio: float = 1.2  # larger over smaller
    distance_ratio: float = 1.2  # farther over nearer, between objects
    max_depth_spread: float = 0.10  # robust spread of depth inside a mask over its median, for absolute depth
    most_tolerance: float = 0.30  # a number is asked within `sigmas` of its deviations, at most so much of its value
    max_unseen: float = 0.03  # what a far end that was not seen may add to a number or a comparison, fraction of it
    min_cover: float = 0.75  # share of a mask that must have valid depth nearby for its depth to be asked
    range_overlap: float = 0.0  # overlap of two things' ranges of depth (20 to 80 %), fraction of their distance
    min_visible: float = 0.7  # visible fraction for sizes
    angle_margin: float = 15.0  # degrees from the boundary of a direction's sector
    min_confidence: float = LEAST_CONFIDENCE
    min_side: float = 0.02  # smallest box side, fraction of the picture's side (and at least 4 pixels)
    sigmas: float = 2.0  # a comparison must also clear so many standard deviations

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"profile {self.profile!r} is unknown: use one of {', '.join(PROFILES)}")

        for name in MARGINS:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"margins.{name} = {value}: must be a finite number that is not negative")

    @property
    def plain(self) -> bool:
        return self.profile == "plain"


MARGINS = tuple(
    f.name for f in dataclasses.fields(Options) if f.name not in ("profile", "wordings", "letters", "pool")
)  # what --set=margins.KEY=VALUE may change


def with_margins(texts: Sequence[str], **given: object) -> Options:
    """The options `given`, with margins from "margins.KEY=VALUE" texts. ValueError names what is wrong, in one line."""
    try:
        own = parse_overrides(texts, ("margins",), "margins.most_tolerance=0.25").get("margins", {})
        for key in own:
            if key in ("profile", "wordings", "letters", "pool"):
                raise SourceError(f"--set=margins.{key}: no margin; the margins are {', '.join(MARGINS)}")
        return make("margins", own, Options, **given)[0]
    except SourceError as error:
        raise ValueError(str(error)) from None

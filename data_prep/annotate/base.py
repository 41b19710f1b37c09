"""What a model of each family takes and gives. One file a family implements these; the stages below know nothing else
of a model.

Every model works on a list of pictures at once (uint8 [h, w, 3], sizes may differ), gives one result a picture in the
same order, and has a JSON-ready `config()` (name or directory of the weights, precision) that becomes part of the
dataset's identity. A model that cannot treat a picture puts a BadItem in its place; it never raises for one picture.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import time
from typing import Any, Protocol

import numpy as np

from data_prep.geometry.pieces import object_pieces
from data_prep.geometry.trust import NOT_TRUSTED
from data_prep.sources.base import BadItem, DepthNoise, Frame, ObjectDraft


@dataclasses.dataclass
class Proposal:
    """A box [x1, y1, x2, y2] in pixels that may hold an object; `name` is empty when the proposer knows no classes."""

    box: tuple[float, float, float, float]
    score: float
    name: str = ""


@dataclasses.dataclass
class Mask:
    """bool [h, w] with the model's own quality estimates, 0 to 1; `sigma`: error of its edge, pixels, one standard
    deviation.
    """

    mask: np.ndarray
    score: float = 1.0
    stability: float = 1.0
    sigma: float = 2.0


@dataclasses.dataclass
class Caption:
    """`text` is unique in the picture (verified); `name` is its head noun, e.g. "chair" of "chair by the window"."""

    text: str
    name: str


@dataclasses.dataclass
class Rejected:
    """In the place of a mask or caption: the object is left out. `reason` is short enough to be counted by."""

    reason: str


@dataclasses.dataclass
class DepthEstimate:
    """float32 depth [h, w] along the optical axis, 0 where unknown; `flag` "metric" or "relative". A model that also
    sees the field of view gives `intrinsics` (fx, fy, cx, cy in pixels); `scales_with_focal`: its depth is proportional
    to the focal length it assumed, so it is corrected where the true one is known.
    """

    depth: np.ndarray
    flag: str
    noise: DepthNoise
    intrinsics: tuple[float, float, float, float] | None = None
    scales_with_focal: bool = False
    focal_sigma: float = 0.0


@dataclasses.dataclass
class CameraEstimate:
    """fx, fy, cx, cy in pixels; `source` "exif", "estimated" or "default" (low confidence); gravity [3] in the camera
    frame when known; `focal_sigma`: relative error of the focal length, one standard deviation; `name`: who estimated,
    where that is not the model's own name.
    """

    intrinsics: tuple[float, float, float, float]
    source: str
    gravity: np.ndarray | None = None
    focal_sigma: float = 0.0
    name: str = ""


class Model(Protocol):
    """Common to all families."""

    name: str

    def config(self) -> dict[str, Any]: ...


class Proposer(Model, Protocol):
    """Boxes of likely objects, best first."""

    def propose(self, pictures: list[np.ndarray]) -> list[list[Proposal] | BadItem]: ...


class Masker(Model, Protocol):
    """Masks of boxes; a box without a good mask is left out (Rejected)."""

    def masks(
        self, pictures: list[np.ndarray], proposals: list[list[Proposal]]
    ) -> list[list[Mask | Rejected] | BadItem]: ...


class Captioner(Model, Protocol):
    """Descriptions unique in the picture; Rejected where no verified one was found."""

    def captions(
        self, pictures: list[np.ndarray], masks: list[list[np.ndarray]]
    ) -> list[list[Caption | Rejected] | BadItem]: ...


class DepthEstimator(Model, Protocol):
    """Dense depth."""

    def depth(self, pictures: list[np.ndarray]) -> list[DepthEstimate | BadItem]: ...


class CameraEstimator(Model, Protocol):
    """Intrinsics and, where it can, gravity. `frames` carry EXIF intrinsics and depth where they are known already."""

    def camera(self, frames: list[Frame]) -> list[CameraEstimate | BadItem]: ...


class _ModelStage(abc.ABC):
    """A stage around one model: gives it the frames that lack what it knows, and leaves the others as they are."""

    kind = "model"

    def __init__(self, model: Any):
        self.model, self.name = model, self.kind

    def config(self) -> dict[str, Any]:
        return {"stage": self.kind, **self.model.config()}

    @abc.abstractmethod
    def lacks(self, frame: Frame) -> bool:
        """Whether the model has something to add to this frame."""

    @abc.abstractmethod
    def apply(self, frames: list[Frame]) -> list[Exception | None]:
        """Runs the model and fills in the frames; one error or None for each."""

    def batch(self, frames: list[Frame]) -> list[Exception | None]:
        errors: list[Exception | None] = [None] * len(frames)
        wanting = [i for i, frame in enumerate(frames) if self.lacks(frame)]
        if wanting:
            for i, error in zip(wanting, self.apply([frames[i] for i in wanting]), strict=True):
                errors[i] = error
        return errors

    def __call__(self, frame: Frame) -> None:
        error = self.batch([frame])[0]
        if error is not None:
            raise error


CONTRADICTS = 3.0  # deviations between two focal lengths of one picture, of which one is wrong then


def contradicts(frame: Frame, estimate: DepthEstimate) -> bool:
    """Whether the focal length in a picture's EXIF is another than the one that its perspective shows: another lens, a
    crop, a picture of a picture.
    """
    if frame.intrinsics is None or frame.intrinsics_source != "exif" or estimate.intrinsics is None:
        return False
    apart = abs(float(np.log(frame.intrinsics[0] / estimate.intrinsics[0])))
    return apart > CONTRADICTS * float(np.hypot(frame.focal_sigma, estimate.focal_sigma))


class DepthStage(_ModelStage):
    """Depth for frames whose source has none."""

    kind = "depth"

    def lacks(self, frame: Frame) -> bool:
        return frame.depth is None

    def estimates(self, frames: list[Frame]) -> list[DepthEstimate | BadItem]:
        """The model's answer for each frame."""
        return self.model.depth([f.rgb for f in frames])

    def apply(self, frames: list[Frame]) -> list[Exception | None]:
        errors: list[Exception | None] = []
        for frame, estimate in zip(frames, self.estimates(frames), strict=True):
            errors.append(estimate if isinstance(estimate, BadItem) else None)
            if isinstance(estimate, BadItem):
                continue
            frame.depth, frame.depth_flag, frame.depth_noise = estimate.depth, estimate.flag, estimate.noise
            frame.provenance["depth"] = self.model.name
            if contradicts(frame, estimate):
                assert frame.intrinsics is not None and estimate.intrinsics is not None
                frame.notes.append(f"{NOT_TRUSTED}: EXIF's focal length contradicts the picture; only orders are asked")
                frame.provenance["intrinsics"] = (
                    f"EXIF {frame.intrinsics[0]:.0f} px, {self.model.name} {estimate.intrinsics[0]:.0f} px: unknown"
                )
                frame.intrinsics, frame.intrinsics_source, frame.focal_sigma = None, "none", 0.0
                frame.depth_flag = "relative"
                continue
            if frame.intrinsics is not None and estimate.intrinsics is not None and estimate.scales_with_focal:
                frame.depth = estimate.depth * np.float32(frame.intrinsics[0] / estimate.intrinsics[0])
                frame.provenance["depth"] += f", scaled to the focal length known from {frame.intrinsics_source}"
            if frame.intrinsics is None and estimate.intrinsics is not None:
                frame.intrinsics, frame.intrinsics_source = estimate.intrinsics, "estimated"
                frame.focal_sigma = estimate.focal_sigma
                frame.provenance["intrinsics"] = self.model.name
        return errors


class CameraStage(_ModelStage):
    """Intrinsics for frames that have none."""

    kind = "camera"

    def lacks(self, frame: Frame) -> bool:
        return frame.intrinsics is None

    def apply(self, frames: list[Frame]) -> list[Exception | None]:
        errors: list[Exception | None] = []
        for frame, estimate in zip(frames, self.model.camera(frames), strict=True):
            errors.append(estimate if isinstance(estimate, BadItem) else None)
            if isinstance(estimate, BadItem):
                continue
            frame.intrinsics, frame.intrinsics_source = estimate.intrinsics, estimate.source
            frame.provenance["intrinsics"] = estimate.name or self.model.name
            frame.focal_sigma = estimate.focal_sigma  # stretches everything sideways, and leaves depth as it is
            if frame.gravity is None and estimate.gravity is not None:
                frame.gravity = estimate.gravity
                frame.provenance["gravity"] = self.model.name
        return errors


class ObjectsStage(_ModelStage):
    """Objects for frames that have none: proposals, then masks, then captions; an object without mask or caption is
    left out.
    """

    kind = "objects"

    def __init__(self, proposer: Proposer, masker: Masker, captioner: Captioner):
        self.proposer, self.masker, self.captioner = proposer, masker, captioner
        self.name = "objects"
        self.parts: dict[str, float] = {}  # seconds that each model took of the last batch

    def config(self) -> dict[str, Any]:
        return {
            "stage": self.kind,
            "proposals": self.proposer.config(),
            "masks": self.masker.config(),
            "captions": self.captioner.config(),
        }

    def lacks(self, frame: Frame) -> bool:
        return not frame.objects

    def apply(self, frames: list[Frame]) -> list[Exception | None]:
        errors: list[Exception | None] = [None] * len(frames)
        self.parts = {}

        def step(call: Any, *columns: list[Any]) -> list[Any]:
            """Calls a model with the frames that are still good; empty results for the others."""
            good = [i for i, e in enumerate(errors) if e is None]
            out: list[Any] = [[] for _ in frames]
            begun = time.perf_counter()
            for i, result in zip(good, call(*([c[i] for i in good] for c in columns)), strict=True) if good else ():
                if isinstance(result, BadItem):
                    errors[i] = result
                else:
                    out[i] = result
            self.parts[call.__name__] = time.perf_counter() - begun
            return out

        pictures = [f.rgb for f in frames]
        proposals = step(self.proposer.propose, pictures)
        masks = step(self.masker.masks, pictures, proposals)
        kept = [[(p, m) for p, m in zip(ps, ms) if isinstance(m, Mask)] for ps, ms in zip(proposals, masks)]
        for frame, pairs in zip(frames, kept):  # before captions: they show what the mask holds
            tidy = [object_pieces(m.mask, frame.depth, [o.mask for _, o in pairs if o is not m])[0] for _, m in pairs]
            for (_, m), mask in zip(pairs, tidy):
                m.mask = mask
        captions = step(self.captioner.captions, pictures, [[m.mask for _, m in pairs] for pairs in kept])
        for frame, boxes, pairs, drawn, texts in zip(frames, proposals, kept, masks, captions):
            frame.objects = [self._draft(p, m, c) for (p, m), c in zip(pairs, texts) if isinstance(c, Caption)]
            left_out = [f"mask: {m.reason}" for m in drawn if isinstance(m, Rejected)]
            left_out += [f"caption: {c.reason}" for c in texts if isinstance(c, Rejected)]
            frame.meta["proposals"] = len(boxes)
            frame.meta["objects_left_out"] = dict(sorted(collections.Counter(left_out).items()))
        return errors

    def _draft(self, proposal: Proposal, mask: Mask, caption: Caption) -> ObjectDraft:
        provenance = {"box": self.proposer.name, "mask": self.masker.name, "caption": self.captioner.name}
        confidence = float(min(proposal.score, mask.score))
        return ObjectDraft(
            name=caption.name or proposal.name,
            caption=caption.text,
            mask=mask.mask,
            confidence=confidence,
            mask_sigma=mask.sigma,
            provenance=provenance,
        )

"""What a picture is of, by CLIP's zero-shot comparison with sentences: the filter for pictures without visible
space.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from data_prep.annotate.weights import (
    ModelSettings,
    find_weights,
    from_pretrained,
    identity,
    in_batches,
    processor_from,
)
from data_prep.pipeline import Dropped
from data_prep.sources.base import BadItem, Frame, SourceError

INCLUDE = (
    "a photo of a room with furniture",
    "a photo of several objects on a table",
    "a photo of a street with cars and buildings",
    "a photo of an indoor scene with several objects",
    "a photo of an outdoor scene with several objects",
    "a photo of a landscape",
    "a photo of people in a place",
    "a photo of a shop, warehouse or workshop",
    "a photo of an animal in its surroundings",
    "a photo of food and dishes on a table",
)
EXCLUDE = (
    "a page of text",
    "a screenshot of a computer or phone",
    "a logo",
    "a plain background",
    "a diagram or chart",
    "a map",
    "a cartoon or drawing",
    "an abstract pattern",
    "a collage of several pictures",
    "a close-up of a texture",
)


@dataclasses.dataclass
class ClipSettings(ModelSettings):
    """The best-matching sentence must be one of `include` and none of `exclude` (VQASynth's rule), by at least
    `least_margin` of probability over the best of the others' side. Both lists may be replaced (separated by
    semicolons).
    """

    weights: str = "openai/clip-vit-base-patch32"
    include: tuple[str, ...] = INCLUDE
    exclude: tuple[str, ...] = EXCLUDE
    least_margin: float = 0.0


class Clip:
    """Cosine similarities of pictures with sentences, times the model's own scale."""

    def __init__(self, settings: ModelSettings):
        self.settings = settings
        self._texts: dict[tuple[str, ...], Any] = {}

    @functools.cached_property
    def loaded(self) -> tuple[Any, Any, Any]:
        model, folder = from_pretrained("CLIPModel", self.settings, "the CLIP filter")
        return (
            model,
            processor_from("CLIPImageProcessor", folder, "the CLIP filter"),
            processor_from("AutoTokenizer", folder, "the CLIP filter"),
        )

    def _text(self, sentences: tuple[str, ...]) -> Any:
        if sentences not in self._texts:
            model, _, tokenizer = self.loaded
            inputs = tokenizer(list(sentences), padding=True, truncation=True, return_tensors="pt").to(
                self.settings.device
            )
            pooled = model.text_model(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
            ).pooler_output
            features = model.text_projection(pooled).float()
            self._texts[sentences] = features / features.norm(dim=-1, keepdim=True)
        return self._texts[sentences]

    def logits(self, pictures: list[np.ndarray], sentences: tuple[str, ...]) -> list[np.ndarray | BadItem]:
        """float32 [len(sentences)] a picture, a BadItem where it does not fit into memory."""

        def call(batch: list[np.ndarray]) -> list[np.ndarray]:
            model, processor, _ = self.loaded
            pixels = processor(images=[np.ascontiguousarray(p) for p in batch], return_tensors="pt")["pixel_values"].to(
                self.settings.device, model.dtype
            )
            features = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output).float()
            features = features / features.norm(dim=-1, keepdim=True)
            return list((model.logit_scale.float().exp() * features @ self._text(sentences).T).cpu().numpy())

        return in_batches(pictures, self.settings.batch_size, call)


@functools.lru_cache(maxsize=4)
def shared_clip(weights: str, device: str, precision: str, batch_size: int) -> Clip:
    """One CLIP a process, however many filters ask for it."""
    return Clip(ModelSettings(weights, device, precision, batch_size))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [n] of logits [n]."""
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()


class ClipFilter:
    """Stage: drops pictures that look like something excluded; the others carry what they look like in meta["clip"]."""

    name = "clip"

    def __init__(self, settings: ClipSettings):
        if not settings.include or not settings.exclude:
            raise SourceError("clip.include and clip.exclude need at least one sentence each")
        self.settings = settings
        find_weights(settings.weights)
        self.clip = shared_clip(settings.weights, settings.device, settings.precision, settings.batch_size)

    def config(self) -> dict[str, Any]:
        return {"stage": self.name, **identity("clip", self.settings)}

    def __call__(self, frame: Frame) -> None:
        error = self.batch([frame])[0]
        if error is not None:
            raise error

    def batch(self, frames: list[Frame]) -> list[Exception | None]:
        s = self.settings
        logits = self.clip.logits([f.rgb for f in frames], (*s.include, *s.exclude))
        return [
            one if isinstance(one, BadItem) else self._judge(frame, softmax(one))
            for frame, one in zip(frames, logits, strict=True)
        ]

    def _judge(self, frame: Frame, shares: np.ndarray) -> Exception | None:
        s, split = self.settings, len(self.settings.include)
        good, bad = int(np.argmax(shares[:split])), int(np.argmax(shares[split:]))
        against = float(shares[split + bad])
        if not np.isfinite(shares).all():
            return BadItem("CLIP gave no numbers")
        if shares[good] - against <= s.least_margin:
            return Dropped(f"looks like {s.exclude[bad]} | probability {against:.2f} against {shares[good]:.2f}")
        frame.meta["clip"] = {"like": s.include[good], "share": round(float(shares[good]), 3)}
        return None

"""Object proposals with names: an open-vocabulary detector of transformers (Grounding DINO, MM Grounding DINO, OWLv2,
OWL-ViT) that is asked for a list of kinds of things.

Its scores say how well a box fits a word, and good boxes score 0.2 to 0.5: told as confidence, its own threshold is
0.5 and full certainty 1, so that what is masked and captioned is not refused afterwards for its score.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from data_prep.annotate.base import Proposal
from data_prep.annotate.proposals import select_boxes
from data_prep.annotate.torchvision_ops import ensure, nms
from data_prep.annotate.weights import (
    ModelError,
    ModelSettings,
    from_pretrained,
    identity,
    in_batches,
    model_type,
    processor_from,
)
from data_prep.sources.base import LEAST_CONFIDENCE, BadItem

GROUNDED = ("grounding-dino", "mm-grounding-dino")
OWL = ("owlv2", "owlvit")
# Kinds of things that stand apart from each other in rooms and streets, each a word that Grounding DINO's 256 tokens
# have room for.
CLASSES = (
    "person;chair;table;sofa;bed;desk;shelf;cabinet;door;window;lamp;television;laptop;monitor;keyboard;book;bottle;"
    "cup;bowl;plate;vase;plant;pillow;bag;box;basket;clock;picture frame;mirror;refrigerator;oven;microwave;sink;"
    "toilet;bicycle;motorcycle;car;bus;truck;traffic light;traffic sign;bench;tree;dog;cat;bird;horse;ball;shoe;hat;"
    "umbrella;backpack;suitcase;trash can;fruit;toy;tool;machine;sculpture;building"
)


@dataclasses.dataclass
class DetectorSettings(ModelSettings):
    """`classes`: what is looked for, with semicolons between; `least_score`: the detector's own score (Grounding DINO
    0.3, OWLv2 0.15 are usual); `suppress`: greatest overlap (IoU) between two boxes, whatever they are called; shares
    of the picture and `most` as for the region proposals.
    """

    classes: tuple[str, ...] = tuple(CLASSES.split(";"))
    least_score: float = 0.25
    most_area: float = 0.75
    least_pixels: int = 25
    suppress: float = 0.5
    most: int = 64


class OpenVocabulary:
    """Proposer over an open-vocabulary detector."""

    def __init__(self, settings: DetectorSettings):
        self.settings, self.kind = settings, model_type(settings.weights)
        self.name = f"{self.kind} {settings.weights}"
        if self.kind not in GROUNDED + OWL:
            raise ModelError(f"proposals: {settings.weights} is none of {', '.join(GROUNDED + OWL)}")
        self.classes = [c.strip().lower() for c in settings.classes if c.strip()]
        if not self.classes:
            raise ModelError("proposals: --set=proposals.classes names nothing to look for")

    def config(self) -> dict[str, Any]:
        return identity(self.kind, self.settings)

    @functools.cached_property
    def loaded(self) -> tuple[Any, Any]:
        ensure()
        model, folder = from_pretrained("AutoModelForZeroShotObjectDetection", self.settings, "proposals")
        return model, processor_from("AutoProcessor", folder, "proposals")

    def propose(self, pictures: list[np.ndarray]) -> list[list[Proposal] | BadItem]:
        return in_batches(pictures, self.settings.batch_size, self._propose)

    def _propose(self, pictures: list[np.ndarray]) -> list[list[Proposal]]:
        model, processor = self.loaded
        grounded = self.kind in GROUNDED
        asked = [". ".join(self.classes) + "."] if grounded else [[f"a photo of a {c}" for c in self.classes]]
        inputs = processor(images=[np.array(p) for p in pictures], text=asked * len(pictures), return_tensors="pt").to(
            self.settings.device
        )
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
        outputs = model(**inputs)
        outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
        sizes, least = [p.shape[:2] for p in pictures], self.settings.least_score
        if grounded:
            found = processor.post_process_grounded_object_detection(
                outputs, inputs["input_ids"], threshold=least, text_threshold=least, target_sizes=sizes
            )
            named = [[self._class_of(text) for text in one["text_labels"]] for one in found]
        else:
            found = processor.post_process_grounded_object_detection(outputs, threshold=least, target_sizes=sizes)
            named = [[self.classes[int(i)] for i in one["labels"]] for one in found]
        return [self._choose(p, one, names) for p, one, names in zip(pictures, found, named)]

    def _class_of(self, text: str) -> str:
        """The kind that a phrase of the prompt is part of: the longest that it contains, else its own words."""
        words = " ".join(text.lower().replace(".", " ").split())
        inside = [c for c in self.classes if f" {c} " in f" {words} "]
        return max(inside, key=len) if inside else next((c for c in self.classes if words and words in c), words)

    def _choose(self, picture: np.ndarray, found: dict[str, Any], names: list[str]) -> list[Proposal]:
        s, (height, width) = self.settings, picture.shape[:2]
        scores, boxes = found["scores"].cpu(), found["boxes"].cpu()
        if not len(scores):
            return []
        keep = nms(boxes, scores, s.suppress).numpy()
        corners = np.clip(boxes.numpy()[keep], 0, [width, height, width, height])
        own = scores.numpy()[keep]
        trust = LEAST_CONFIDENCE + (1 - LEAST_CONFIDENCE) * (own - s.least_score) / max(1e-6, 1 - s.least_score)
        chosen = select_boxes(corners, trust, (width, height), LEAST_CONFIDENCE, s)
        sides: Any = corners.tolist()
        return [Proposal(tuple(sides[i]), float(trust[i]), names[int(keep[i])]) for i in chosen]

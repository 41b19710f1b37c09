"""Class-balanced sampling: CLIP names each picture's scene, main object and shooting condition, and common classes give
way to rare ones.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from typing import Any

import numpy as np

from data_prep.annotate.weights import ModelSettings, find_weights, identity
from data_prep.filters.clip import shared_clip
from data_prep.sources.base import BadItem, Frame, SourceError

SCENES = (
    "living room",
    "bedroom",
    "kitchen",
    "bathroom",
    "office",
    "shop or warehouse",
    "classroom or hall",
    "street",
    "road from a car",
    "park or garden",
    "landscape",
    "building from outside",
    "table top",
)
OBJECTS = (
    "furniture",
    "people",
    "vehicles",
    "animals",
    "food and dishes",
    "plants",
    "electronics",
    "tools and machines",
    "toys",
    "books and papers",
    "clothes",
    "boxes and containers",
    "buildings",
)
CONDITIONS = (
    "taken in bright daylight",
    "taken under a cloudy sky",
    "taken at night",
    "taken indoors by lamp light",
    "taken indoors by window light",
    "taken against the light",
    "taken from above",
    "taken from very near",
    "taken from far away",
)


@dataclasses.dataclass
class BalanceSettings(ModelSettings):
    """`keep`: share of the pictures that stays; the classes of the three axes may be replaced (separated by
    semicolons).
    """

    weights: str = "openai/clip-vit-base-patch32"
    keep: float = 0.7
    scenes: tuple[str, ...] = SCENES
    objects: tuple[str, ...] = OBJECTS
    conditions: tuple[str, ...] = CONDITIONS


class Balance:
    """Selector: takes pictures one by one, each time from the cell (scene, object, condition) whose classes have been
    taken least; within a cell in the order of the ids' hashes.
    """

    name = "balance"

    def __init__(self, settings: BalanceSettings):
        if not 0 < settings.keep <= 1:
            raise SourceError(
                f"balance.keep is the share of pictures that stays: between 0 and 1, not {settings.keep:g}"
            )
        self.settings = settings
        find_weights(settings.weights)
        self.axes = {"scene": settings.scenes, "object": settings.objects, "condition": settings.conditions}
        self.clip = shared_clip(settings.weights, settings.device, settings.precision, settings.batch_size)

    def config(self) -> dict[str, Any]:
        return {"selector": self.name, **identity("clip", self.settings)}

    def signature(self, frame: Frame) -> list[int]:
        sentences = (
            *(f"a photo of a {c}" for c in self.settings.scenes),
            *(f"a photo of {c}" for c in self.settings.objects),
            *(f"a photo {c}" for c in self.settings.conditions),
        )
        logits = self.clip.logits([frame.rgb], sentences)[0]
        if isinstance(logits, BadItem):
            raise logits
        ends = np.cumsum([len(c) for c in self.axes.values()])
        return [int(np.argmax(part)) for part in np.split(logits, ends[:-1])]

    def choose(self, ids: list[str], signatures: list[Any]) -> list[str]:
        waiting: dict[tuple[int, ...], list[int]] = collections.defaultdict(list)
        for i in sorted(range(len(ids)), key=lambda i: hashlib.sha256(ids[i].encode()).digest(), reverse=True):
            waiting[tuple(signatures[i])].append(i)
        cells = sorted(waiting)
        table = np.array(cells).reshape(len(cells), len(self.axes))
        taken = [np.zeros(len(classes), int) for classes in self.axes.values()]
        left = np.array([len(waiting[c]) for c in cells])
        kept = set()
        for _ in range(int(np.ceil(self.settings.keep * len(ids)))):
            load = sum((counts[table[:, axis]] for axis, counts in enumerate(taken)), np.zeros(len(cells)))
            best = int(np.argmin(np.where(left > 0, load, np.inf)))
            kept.add(waiting[cells[best]].pop())
            left[best] -= 1
            for axis, counts in enumerate(taken):
                counts[table[best, axis]] += 1
        return ["" if i in kept else self._reason(signatures[i], taken) for i in range(len(ids))]

    def _reason(self, classes: list[int], taken: list[np.ndarray]) -> str:
        """The axis on which the picture's class is taken most, against its axis' mean."""
        excess = [counts[c] / max(counts.mean(), 1e-9) for c, counts in zip(classes, taken)]
        axis = int(np.argmax(excess))
        name = list(self.axes)[axis]
        return f"enough pictures with {name} {self.axes[name][classes[axis]]!r}"

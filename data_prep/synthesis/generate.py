"""Scenes in, question records out: candidates a family and scene, the balance's choice, and counts of everything that was not asked."""
from __future__ import annotations

import collections
import random
from collections.abc import Iterable, Iterator, Sequence

from data_prep.synthesis.balance import Balance
from data_prep.synthesis.draft import Draft, finish
from data_prep.synthesis.options import Options
from data_prep.synthesis.registry import Family
from data_prep.synthesis.view import SceneView
from spatial_jax.data.records import QuestionRecord, SceneRecord


def candidates(view: SceneView, families: Sequence[Family], options: Options, seed: int) -> dict[str, list[Draft]]:
    """Each family's candidate questions for one scene; depends on the scene, the seed and the options only."""
    return {f.name: list(f.generate(view, random.Random(f"{seed}/{view.scene_id}/{f.name}"), options)) for f in families}


class Generator:
    """Draws questions from a stream of scenes. One instance keeps the balance over the whole stream, so order matters and is the caller's."""

    def __init__(self, families: Sequence[Family], options: Options, *, per_scene: int = 6, seed: int = 0, weights: dict[str, float] | None = None):
        self.families, self.options, self.per_scene, self.seed = list(families), options, per_scene, seed
        self.weights = weights or {}
        self.balance = Balance()
        self.reasons: collections.Counter[str] = collections.Counter()
        self._asked: collections.Counter[tuple[str, str]] = collections.Counter()

    def __call__(self, scene: SceneRecord) -> list[QuestionRecord]:
        """At most `per_scene` balanced questions of one scene, no two alike."""
        view = SceneView(scene, self.options)
        drafts = candidates(view, self.families, self.options, self.seed)
        self.reasons.update({f"object: {k}" if "scene" not in k else k: n for k, n in view.reasons.items() if n})
        rng = random.Random(f"{self.seed}/{view.scene_id}")
        chosen: list[Draft] = []
        while len(chosen) < self.per_scene and (draft := self._next(view.split, drafts, rng)) is not None:
            chosen.append(draft)
        return [finish(draft, view, self.seed, rng) for draft in chosen]

    def _next(self, split: str, drafts: dict[str, list[Draft]], rng: random.Random) -> Draft | None:
        """The next question: from the family that is furthest behind its share, if the balance finds one of its drafts good."""
        order = sorted(drafts, key=lambda name: self._asked[split, name] / self.weights.get(name, 1.0))
        for name in order:
            pool = drafts[name]
            if not pool:
                self.reasons[f"{name}: nothing past its margins"] += 1
                del drafts[name]
                continue
            draft = self.balance.pick(split, pool, rng)
            if draft is None:
                self.reasons[f"{name}: would tilt the balance"] += 1
                del drafts[name]
                continue
            about = set(draft.objects)
            drafts[name] = [d for d in pool if d.question != draft.question and (d.form is not draft.form or set(d.objects) != about)]
            self._asked[split, name] += 1
            return draft
        return None


def generate(scenes: Iterable[SceneRecord], generator: Generator) -> Iterator[QuestionRecord]:
    """Question records of a stream of scenes, in the scenes' order."""
    for scene in scenes:
        yield from generator(scene)

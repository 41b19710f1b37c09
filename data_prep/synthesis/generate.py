"""Scenes in, question records out: candidates a family and scene, the balance's choice, and counts of everything that
was not asked.
"""

from __future__ import annotations

import collections
import random
from collections.abc import Iterable, Iterator, Sequence

from data_prep.synthesis.balance import Balance
from data_prep.synthesis.draft import Draft, finish
from data_prep.synthesis.options import Options
from data_prep.synthesis.refusals import Refusals
from data_prep.synthesis.registry import Family
from data_prep.synthesis.view import SceneView
from spatial_jax.data.records import QuestionRecord, SceneRecord


class _Pool:
    """One family's candidate questions of a scene, drawn as needed; knows whether there were any and passes over
    repetitions.
    """

    def __init__(self, family: Family, view: SceneView, options: Options, seed: int):
        self._drafts = iter(family.generate(view, random.Random(f"{seed}/{view.scene_id}/{family.name}"), options))
        self._view, self._name = view, family.name
        self.seen = 0
        self.asked: list[Draft] = []

    def __iter__(self) -> Iterator[Draft]:
        while True:
            self._view.refused.family = self._name
            draft = next(self._drafts, None)
            if draft is None:
                return
            self.seen += 1
            about = set(draft.objects)
            if not any(
                d.question == draft.question or (d.form is draft.form and set(d.objects) == about) for d in self.asked
            ):
                yield draft


class Generator:
    """Draws questions from a stream of scenes. One instance keeps the balance over the whole stream, so order matters
    and is the caller's.
    """

    def __init__(
        self,
        families: Sequence[Family],
        options: Options,
        *,
        per_scene: int = 6,
        seed: int = 0,
        weights: dict[str, float] | None = None,
        refused: Refusals | None = None,
    ):
        self.families, self.options, self.per_scene, self.seed = list(families), options, per_scene, seed
        self.weights = weights or {}
        self.balance = Balance()
        self.reasons: collections.Counter[str] = collections.Counter()
        self.refused = refused if refused is not None else Refusals()
        self._asked: collections.Counter[tuple[str, str]] = collections.Counter()

    def __call__(self, scene: SceneRecord) -> list[QuestionRecord]:
        """At most `per_scene` balanced questions of one scene, no two alike."""
        view = SceneView(scene, self.options, self.refused)
        self.reasons.update({k if "usable" in k else f"object: {k}": n for k, n in view.reasons.items() if n})
        pools = {f.name: _Pool(f, view, self.options, self.seed) for f in self.families}
        rng = random.Random(f"{self.seed}/{view.scene_id}")
        chosen: list[Draft] = []
        while len(chosen) < self.per_scene and (draft := self._next(view.split, pools)) is not None:
            chosen.append(draft)
        return [finish(draft, view, self.seed, rng) for draft in chosen]

    def _next(self, split: str, pools: dict[str, _Pool]) -> Draft | None:
        """The next question: from the family that is furthest behind its share, if the balance finds one of its drafts
        good.
        """
        for name in sorted(pools, key=lambda name: self._asked[split, name] / self.weights.get(name, 1.0)):
            pool = pools[name]
            draft = self.balance.pick(split, iter(pool))
            if draft is not None:
                pool.asked.append(draft)
                self._asked[split, name] += 1
                return draft
            self.reasons[f"{name}: " + ("would tilt the balance" if pool.seen else "nothing past its margins")] += 1
            del pools[name]
        return None


def generate(scenes: Iterable[SceneRecord], generator: Generator) -> Iterator[QuestionRecord]:
    """Question records of a stream of scenes, in the scenes' order."""
    for scene in scenes:
        yield from generator(scene)

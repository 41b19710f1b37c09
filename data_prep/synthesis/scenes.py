"""Questions on the scenes of a dataset: those of the families, and those that a model writes on them."""

from __future__ import annotations

import argparse
import collections
import itertools
import time
from collections.abc import Iterator

from data_prep.synthesis.authored.author import Author, AuthorSettings, plan_lines
from data_prep.synthesis.dataset import DatasetError, SceneDataset
from data_prep.synthesis.demonstrations import add_demonstration
from data_prep.synthesis.families import choose_families
from data_prep.synthesis.generate import Generator
from data_prep.synthesis.options import Options, with_margins
from data_prep.synthesis.refusals import refusal_lines
from data_prep.synthesis.two_pictures import same_object, two_pictures
from data_prep.synthesis.work import Item, Work
from spatial_jax.data.records import QuestionRecord, SceneRecord

AUTHORED = 32  # scenes that a model writes questions on at a time


def options_of(args: argparse.Namespace) -> Options:
    """The margins and wordings that the command line asks for. ValueError."""
    return with_margins(args.set, profile=args.profile, wordings=args.wordings)


class FromScenes(Work):
    """Questions on the scenes of a dataset."""

    def __init__(self, args: argparse.Namespace):
        super().__init__(args)
        self.families = choose_families(args.families)
        if args.two_pictures and not args.demonstrations:
            raise ValueError("--two_pictures asks questions whose answers are drawn: give --demonstrations too")
        self.scenes = SceneDataset(args.scenes)
        if len(self.scenes) == 0:
            raise DatasetError(f"{args.scenes}: the dataset holds no scene; annotate some pictures first")
        self.digest, self.seen = self.scenes.digest, collections.Counter[str]()
        self.total, self.author = min(args.limit or len(self.scenes), len(self.scenes)), author_of(args)

    def items(self) -> Iterator[Item]:
        args = self.args
        generator = Generator(
            self.families, options_of(args), per_scene=args.per_scene, seed=args.seed, refused=self.refused
        )
        total, started = self.total, time.monotonic()
        before: SceneRecord | None = None
        for number, (scene, records) in enumerate(self._with_author(generator)):
            self.seen["objects"] += len(scene.objects)
            self.seen["scenes with depth"] += bool(scene.depth_png)
            self.seen["scenes"] += 1
            why = "no question past its margins" if scene.objects else "no object in the scene"
            if args.demonstrations:
                records = [add_demonstration(r, scene, args.demonstrations) for r in records]
                self.seen["demonstrations"] += sum('"turns"' in r.meta for r in records)
            if args.two_pictures and before is not None:
                both = (ask(before, scene, args.seed) for ask in (two_pictures, same_object))
                records += [record for record in both if record is not None]
            before = scene
            yield scene.scene_id, records, why
            if (number + 1) % 1000 == 0:
                rate = (number + 1) / (time.monotonic() - started)
                left = (total - number - 1) / rate
                print(f"{number + 1} of {total} scenes, {rate:.0f} a second, {left:.0f} s left", flush=True)
        self.reasons.update(generator.reasons + self.scenes.skipped)
        if self.author:
            self.reasons.update({f"written: {why}": n for why, n in self.author.reasons.items()})

    def _with_author(self, generator: Generator) -> Iterator[tuple[SceneRecord, list[QuestionRecord]]]:
        """Each scene with its questions, those of the author among them."""
        made = ((scene, generator(scene)) for scene in itertools.islice(self.scenes, self.total))
        if self.author is None:
            yield from made
            return
        while batch := list(itertools.islice(made, AUTHORED)):
            yield from self.author(batch)

    def plan(self) -> list[str]:
        """What the author would be asked."""
        if self.author is None:
            return ["no author: --author_url=URL --author_model=NAME (or --author_cache=FILE) asks one for questions"]
        generator = Generator(self.families, options_of(self.args), per_scene=self.args.per_scene, seed=self.args.seed)
        some = list(itertools.islice(self.scenes, 8))
        jobs = [job for scene in some for job in self.author.jobs(scene, generator(scene))]
        return plan_lines(self.author, self.total, jobs)

    def lines(self) -> list[str]:
        shown = self.seen["demonstrations"]
        told = [f"demonstrations: {shown} questions have turns that draw"] if self.args.demonstrations else []
        written = self.author.lines() if self.author else []
        return [*told, *refusal_lines(self.refused.report()), *written]

    def advice(self) -> str:
        if self.seen["scenes"] and not self.seen["objects"]:
            return (
                f"not one of the {self.seen['scenes']} scenes has an object, and every family asks about objects: "
                "annotate again with --proposals, --masks, --captions and --depth (models), or with objects that you"
                " name in frames.json; without models: python -m data_prep.selfsup --photos="
                f"{self.args.scenes} --out={self.args.out} (self-supervised questions on plain photos)"
            )
        return "try --families=all, or scenes with more objects or depth (python -m data_prep.inspect shows them)"


def author_of(args: argparse.Namespace) -> Author | None:
    """The model that writes questions, None where none is named. ValueError for half of one."""
    if not (args.author_url or args.author_cache):
        if args.author_model:
            raise ValueError("--author_model needs --author_url, or --author_cache with its replies")
        return None
    if not args.author_model:
        raise ValueError("--author_model=NAME is needed: the endpoint wants it, and replies are kept under it")
    cache = args.author_cache or f"{args.out.rstrip('/')}.author.jsonl"
    settings = AuthorSettings(
        args.author_url,
        args.author_model,
        cache,
        args.author_new,
        args.author_harder,
        args.author_seconds,
        seed=args.seed,
    )
    return Author(settings, options_of(args))

"""Makes a question dataset from scenes, from room scans, or from a published question set.

python -m data_prep.synthesize --scenes=DIR --out=DIR --families=all --per_scene=6 --profile=full --seed=0
python -m data_prep.synthesize --rooms=scannet_meta.json --definitions=vsi100k --out=DIR
python -m data_prep.synthesize --rooms=runs/walks --definitions=vsibench --out=DIR
python -m data_prep.synthesize --rooms=SCANNET --quota=vsi100k --exclude_scenes=vsi_bench.jsonl --out=DIR
python -m data_prep.synthesize --import=questions --path=my_questions.parquet --out=DIR
python -m data_prep.synthesize --import=sharegpt --path=sft.json --images=DIR --out=DIR
python -m data_prep.synthesize --import=ssrl --path=spatialssrl.parquet --images=DIR --out=DIR
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import difflib
import itertools
import math
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from data_prep.synthesis.dataset import DatasetError, QuestionWriter, WriterError, print_report
from data_prep.synthesis.demonstrations import MANNERS
from data_prep.synthesis.families import FAMILIES, choose_families
from data_prep.synthesis.importers import KINDS, BadRow, Import, default_heldout, parse_columns
from data_prep.synthesis.importers.columns import NAMES
from data_prep.synthesis.importers.files import SUFFIXES
from data_prep.synthesis.language import Endpoint, Variation
from data_prep.synthesis.options import MARGINS, PROFILES
from data_prep.synthesis.priors import PriorTable
from data_prep.synthesis.scenes import FromScenes, options_of
from data_prep.synthesis.vsi import DEFINITIONS, MetadataError
from data_prep.synthesis.vsi.rooms import FromRooms
from data_prep.synthesis.vsi.scans import QUOTAS
from data_prep.synthesis.work import Item, Work, with_judge
from data_prep.writer import is_complete
from spatial_jax.ending import leave
from spatial_jax.endpoints import ReplyCache
from spatial_jax.options import Listed, Parser, list_parts
from spatial_jax.pages import say

_OF_ROOMS = ("exclude_scenes", "quota", "definitions", "clouds", "frames", "most_frames", "most", "no_margins")
_OF_AUTHOR = ("author_url", "author_model", "author_cache", "author_new", "author_harder", "author_seconds")
# Options that not every kind of inputs reads, and those that do.
READ_BY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("families", "per_scene", "profile", "two_pictures", "limit", "set", *_OF_AUTHOR), ("scenes",)),
    **dict.fromkeys(("demonstrations", "wordings"), ("scenes", "rooms")),
    **dict.fromkeys(_OF_ROOMS, ("rooms",)),
    **dict.fromkeys(("fps", "heldout_percent"), ("rooms", "path")),
    **dict.fromkeys(("images", "columns"), ("path",)),
}


def parser() -> argparse.ArgumentParser:
    choose_families("all")
    lines = "\n".join(f"  {f.name:13} {f.example}\n  {'':13} needs {f.needs}" for f in FAMILIES.values())
    p = Parser("python -m data_prep.synthesize", __doc__, f"families:\n{lines}")
    p.add_argument(
        "--out",
        required=True,
        help="directory of the question dataset; a stopped run is finished, a finished one left as it is",
    )
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--wordings", type=int, default=0, help="use only the first so many wordings of each form; 0: all")
    p.add_argument(
        "--heldout_percent",
        type=int,
        default=None,
        help="rooms and imports: share of pictures or scenes (by hash) that go to the split heldout; default: 10 of"
        " --import=questions, else 0. Walks and clips keep the split that annotate gave them",
    )
    p.add_argument(
        "--judge",
        default="",
        action=Listed,
        metavar="FAMILY,...",
        help="families of these questions that a judge grades instead of a rule (see docs/rewards.md), or all",
    )
    _add_scenes(p)
    _add_rooms(p)
    _add_files(p)
    _add_language(p)
    _add_author(p)
    return p


def _add_scenes(p: argparse.ArgumentParser) -> None:
    g = p.add_argument_group("questions on scenes")
    g.add_argument("--scenes", default="", help="scene dataset (made by python -m data_prep.annotate)")
    g.add_argument("--families", default="all", action=Listed, help="comma-separated families (see below), or all")
    g.add_argument("--per_scene", type=int, default=6, help="questions a scene at most")
    g.add_argument(
        "--profile", default="full", choices=PROFILES, help="plain: short wordings and word answers, for small models"
    )
    g.add_argument(
        "--demonstrations",
        nargs="?",
        const=MANNERS[0],
        default="",
        choices=MANNERS,
        help="with turns that draw the question's objects, for supervised drawing (ViLaSR); short: one turn that boxes"
        " all, and a second where the first box is off, for small models; with --rooms on the frames of rendered walks",
    )
    g.add_argument(
        "--two_pictures",
        action="store_true",
        help="with --demonstrations: also questions over two pictures (a scene and the one before it, as two frames of"
        " a video), where an object is in both; of frames of a walk also which one it is",
    )
    g.add_argument("--limit", type=int, default=0, help="read only so many scenes; 0: all")
    g.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="margins.KEY=VALUE",
        help=f"what an answer must clear before it is asked; may be given again. Keys: {', '.join(MARGINS)}",
    )


def _add_rooms(p: argparse.ArgumentParser) -> None:
    g = p.add_argument_group("questions on room scans (VSI-100k's six topics)")
    g.add_argument(
        "--rooms",
        default="",
        action=Listed,
        help="metadata JSON files (comma-separated) of {scene: object_counts, object_bbox, room_size}, or folders of"
        " ScanNet, ScanNet++ or ARKitScenes, or datasets of walks and clips (python -m data_prep.annotate)",
    )
    g.add_argument(
        "--exclude_scenes",
        default="",
        action=Listed,
        help="files that name scenes to keep out: a benchmark's JSON, or one id a line",
    )
    g.add_argument(
        "--quota", default="", choices=("", *QUOTAS), help="vsi100k: as many questions of a topic as it has a scan"
    )
    g.add_argument(
        "--definitions",
        default="vsi100k",
        choices=DEFINITIONS,
        help="centre distances and words, or nearest points and options",
    )
    g.add_argument(
        "--clouds", default="", help="folder of SCENE.npy point clouds [n, 3] for the floor area's alpha shape"
    )
    g.add_argument(
        "--frames",
        default="",
        help="folder with the frames of each scene, FRAMES/SCENE/*.jpg (16 are taken); without it: those of the scans'"
        " own folder, or no picture",
    )
    g.add_argument(
        "--fps", type=float, default=0.0, help="frames a second of these folders (and of vsi100k's under --images)"
    )
    g.add_argument("--most_frames", type=int, default=16, help="frames of a scan, walk or clip that a question shows")
    g.add_argument("--most", type=int, default=0, help="questions a topic and room at most; 0: all")
    g.add_argument("--no_margins", action="store_true", help="ask near-ties too and do not balance, as published")


def _add_files(p: argparse.ArgumentParser) -> None:
    g = p.add_argument_group("question files: of your own (questions), or published sets in their own forms")
    g.add_argument(
        "--import",
        dest="kind",
        default="",
        choices=("", *KINDS),
        help="questions (the default with --path, also named jsonl): rows under the usual column names (problem,"
        " question, prompt or chat messages; answer, solution, ...; images, image, ...); alpaca, sharegpt:"
        " LLaMA-Factory's supervised sets, every reply learned word for word",
    )
    g.add_argument(
        "--path",
        default="",
        help=f"file ({' '.join(SUFFIXES)}), folder of such files, or Hugging Face dataset folder",
    )
    g.add_argument("--images", default="", help="folder that its picture paths start from; default: where the file is")
    g.add_argument(
        "--columns",
        default="",
        action=Listed,
        metavar="ROLE=COLUMN,...",
        help=f"names of columns that are not told by themselves; roles: {', '.join(NAMES)}",
    )


def _add_language(p: argparse.ArgumentParser) -> None:
    g = p.add_argument_group("language variation (without an endpoint and a cache the templates stand)")
    g.add_argument(
        "--language_url",
        default="",
        help="OpenAI-compatible endpoint, e.g. http://localhost:8000/v1; key from OPENAI_API_KEY",
    )
    g.add_argument("--language_model", default="", help="model name, part of the cache's key")
    g.add_argument("--language_cache", default="", help="jsonl file of replies; used alone when no endpoint is given")
    g.add_argument("--language_share", type=float, default=0.5, help="share of the questions that are tried")


def _add_author(p: argparse.ArgumentParser) -> None:
    g = p.add_argument_group("questions that a multimodal model writes on scenes (kept where our rules answer them)")
    g.add_argument("--author_url", default="", help="OpenAI-compatible endpoint; key from OPENAI_API_KEY")
    g.add_argument("--author_model", default="", help="model name, part of the cache's key")
    g.add_argument("--author_cache", default="", help="jsonl file of replies; used alone when no endpoint is given")
    g.add_argument("--author_new", type=int, default=4, help="new questions asked of it a scene")
    g.add_argument("--author_harder", type=int, default=0, help="given questions a scene that it makes harder")
    g.add_argument("--author_seconds", type=float, default=60.0, help="of one request; three tries are made")
    g.add_argument("--dry_run", action="store_true", help="say what the author would be asked, and send nothing")


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        return run(args)
    except (DatasetError, WriterError, MetadataError, ValueError) as error:
        say(f"synthesize: {error}", stream=sys.stderr)
    except OSError as error:
        where = error.filename or args.out
        say(f"synthesize: {where}: {error.strerror or error}; free space or choose another --out", stream=sys.stderr)
    return 2


class FromImport(Work):
    """The rows of a question set."""

    def __init__(self, args: argparse.Namespace):
        super().__init__(args)
        kind = args.kind or "questions"
        self.rows = Import(kind, args.path, args.images, columns=parse_columns(args.columns), fps=args.fps)
        heldout = default_heldout(kind) if args.heldout_percent is None else args.heldout_percent
        self.survey = self.rows.survey(heldout)
        self.digest = self.survey.digest

    def items(self) -> Iterator[Item]:
        shown = 0
        for result in self.rows.records(self.survey):
            if isinstance(result, BadRow):
                where, reason = str(result.args[0]), str(result.args[-1])
                self.reasons[reason] += 1
                if self.reasons[reason] == 1 and shown < 10:
                    shown += 1
                    say(f"skipped {where}: {reason}")
                yield where, [], reason
            else:
                yield result.question_id, [result], ""

    def lines(self) -> list[str]:
        files = self.rows.files
        head = f"{self.args.path}: {len(files)} file{'s' if len(files) > 1 else ''}, {self.rows.found.rows} rows"
        found = self.rows.found
        bare = self.rows.own and found.columns["question"] and not found.columns["images"]
        without = ["no column reads as pictures: the questions are asked without one"] if bare else []
        return [head, *self.rows.said, *found.lines(), *without, *self.survey.lines]

    def advice(self) -> str:
        return self.rows.found.advice(self.reasons, "" if self.rows.own else self.args.kind)


def _language(args: argparse.Namespace) -> Variation | None:
    if not args.language_url and not args.language_cache:
        return None
    endpoint = Endpoint(args.language_url, args.language_model) if args.language_url else None
    cache = ReplyCache(args.language_cache or f"{args.out.rstrip('/')}.language.jsonl")
    return Variation(cache, endpoint, model=args.language_model, share=args.language_share, seed=args.seed)


def _check_read(args: argparse.Namespace, kind: str) -> None:
    """ValueError for an option that is given and that this kind of inputs does not read: it would do nothing."""
    known = parser()
    for name, kinds in READ_BY.items():
        if kind not in kinds and getattr(args, name) != known.get_default(name):
            raise ValueError(f"--{name} is read with {' and '.join(f'--{k}' for k in kinds)}, not with --{kind}")


def _check(args: argparse.Namespace) -> type[Work]:
    """The kind of inputs that the options name; ValueError where they contradict each other."""
    if sum(map(bool, (args.scenes, args.rooms, args.kind or args.path))) != 1:
        raise ValueError("give one of --scenes, --rooms and --path (a question file, or --import=FORM --path=FILE)")
    if args.kind and not args.path:
        raise ValueError(f"--import={args.kind} needs --path, the file or folder of its rows")
    _check_read(args, "scenes" if args.scenes else "rooms" if args.rooms else "path")
    for name, least, most in (
        ("per_scene", 1, math.inf),
        ("limit", 0, math.inf),
        ("wordings", 0, math.inf),
        ("most", 0, math.inf),
        ("most_frames", 1, math.inf),
        ("fps", 0, 1000),
        ("heldout_percent", 0, 100),
        ("language_share", 0, 1),
        ("author_new", 0, 50),
        ("author_harder", 0, 50),
        ("author_seconds", 0.1, 3600),
    ):
        value = getattr(args, name)
        if value is not None and not least <= value <= most:
            raise ValueError(f"--{name}={value}: give {least} {'or more' if most == math.inf else f'to {most}'}")
    for name in ("images", "frames", "clouds"):
        if getattr(args, name) and not Path(getattr(args, name)).is_dir():
            raise ValueError(f"--{name}={getattr(args, name)}: no such folder")
    if args.scenes:
        for name in list_parts(args.judge):
            if problem := _no_family(name, [f.name for f in choose_families(args.families)]):
                raise ValueError(problem)
    return FromScenes if args.scenes else FromRooms if args.rooms else FromImport


def _first(work: Work) -> Iterator[Item]:
    """The items, once one of them is known to have a question; DatasetError with what would help where none has."""
    items, waiting = work.items(), []
    for item in items:
        waiting.append(item)
        if item[1]:
            return itertools.chain(waiting, items)
    for line in work.lines():
        say(line)
    whys = collections.Counter(why for _, _, why in waiting) | work.reasons
    told = "; ".join(f"{why} {n}" for why, n in whys.most_common(4)) or "there is no item"
    raise DatasetError(f"no question came out ({told}): {work.advice()}")


def _judge_families(items: Iterator[Item], families: Sequence[str]) -> Iterator[Item]:
    """The items with a judge as the reward of these families ("all": of every one); a family that no question has is
    said at the end.
    """
    seen: set[str] = set()
    for item_id, records, why in items:
        seen.update(r.family for r in records)
        yield item_id, [with_judge(r) if r.family in families or "all" in families else r for r in records], why
    for problem in filter(None, (_no_family(name, seen) for name in families)):
        say(f"warning: {problem}")


def _no_family(name: str, known: Collection[str]) -> str:
    """What is wrong with a name of --judge, "" where a family is called so."""
    if name == "all" or name in known:
        return ""
    near = difflib.get_close_matches(name, sorted(known), 3, 0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(known))}"
    return f"--judge={name}: no question is of that family; {hint}"


def run(args: argparse.Namespace) -> int:
    work = _check(args)(args)
    if args.dry_run:
        for line in work.plan():
            say(line)
        return 0
    running = ("out", "language_url", "author_url", "author_cache", "author_seconds", "dry_run")
    config = {
        "verb": "synthesize",
        **{k: v for k, v in sorted(vars(args).items()) if k not in running},
        "options": dataclasses.asdict(options_of(args)),
        "inputs": work.digest,
    }
    if is_complete(args.out, "questions", config):
        print(f"{args.out} is complete already; delete it to make it again")
        return 0
    variation, table, started = _language(args), PriorTable(), time.monotonic()
    items = _judge_families(
        _first(work), list_parts(args.judge)
    )  # before --out is claimed: a command that gives nothing leaves no trace
    writer = QuestionWriter(args.out, config)
    try:
        for item_id, records, why in items:
            if variation:
                records = list(variation(records))
            table.add(records)
            for record in records:
                writer.write(record)
            if not records:
                writer.skip(item_id, "synthesize", why)
        reasons = work.reasons
        if variation:
            reasons.update({f"language: {k}": n for k, n in variation.reasons.items()})
            print(f"language variation changed {variation.changed} questions")
        rows = table.rows()
        report = {"rows": rows, "not_asked": dict(reasons.most_common()), "found": work.lines()}
        manifest = writer.finish(report | {"refused": work.refused.report()})
    finally:
        writer.close()
    for line in work.lines():
        say(line)
    print_report(args.out, manifest, rows, reasons, time.monotonic() - started)
    return 0


if __name__ == "__main__":
    leave(main, "synthesize", goes_on=True)

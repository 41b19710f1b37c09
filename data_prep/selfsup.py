"""Makes self-supervised question datasets (Spatial-SSRL's five tasks) from scene datasets: photos, and RGB-D for the
two depth tasks.

python -m data_prep.selfsup --photos=DIR[,DIR] --out=DIR --tasks=shuffle,flip,crop,depth_order,position3d --per_photo=5
python -m data_prep.selfsup --photos=COCO,DIODE,MEGADEPTH --out=DIR --mixture=published --count=81053
python -m data_prep.selfsup --task=crop:COCO --task=depth_order:DIODE --out=DIR --per_photo=2
python -m data_prep.selfsup --photos=DIR --out=DIR --profile=plain --size=112 --per_photo=200
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import dataclasses
import functools
import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from data_prep.runner import begin_worker, end_workers
from data_prep.synthesis.dataset import DatasetError, QuestionWriter, WriterError, print_report
from data_prep.synthesis.options import PROFILES
from data_prep.synthesis.priors import PriorTable
from data_prep.synthesis.selfsup.build import (
    NEEDS_DEPTH,
    TASKS,
    VARIANTS,
    Job,
    make_record,
    plan_mixture,
    plan_per_photo,
)
from data_prep.synthesis.selfsup.parts import with_parts
from data_prep.synthesis.selfsup.photos import SHOWN, Known, Photos, published_ties, same_place
from data_prep.synthesis.selfsup.puzzle import Style
from data_prep.synthesis.selfsup.regions import RegionWriter
from data_prep.writer import is_complete
from spatial_jax.data.records import QuestionRecord
from spatial_jax.ending import leave
from spatial_jax.options import Listed, Parser, list_parts, nearest
from spatial_jax.pages import say

PER_PHOTO = 5
COUNT = sum(weight for _, weight, _ in VARIANTS.values())
MOST_QUESTIONS = 5_000_000  # beyond it a digit too many was typed; the plan alone would fill the memory
MOST_SIDE = 8192  # pixels
# Options that only one task reads.
READ_BY = {"released_rules": "depth_order", "paper_orientations": "position3d"}


def parser() -> argparse.ArgumentParser:
    p = Parser("python -m data_prep.selfsup", __doc__)
    p.add_argument(
        "--photos",
        "--scenes",
        default="",
        action=Listed,
        help="scene datasets (comma-separated); their splits are kept, so no photo crosses over",
    )
    p.add_argument(
        "--out",
        required=True,
        help="directory of the question dataset; a stopped run is finished, a finished one left as it is",
    )
    p.add_argument("--tasks", default="", action=Listed, help=f"some of {','.join(TASKS)}; default: all")
    p.add_argument(
        "--task",
        action="append",
        default=[],
        metavar="NAME:SOURCE[,SOURCE]",
        help="make this task of these scene datasets only; may be given again; without --photos and --tasks: just"
        " these",
    )
    p.add_argument(
        "--per_photo",
        type=int,
        help=f"questions a photo (default: {PER_PHOTO}); beyond one a variant they come from random windows of it",
    )
    p.add_argument(
        "--mixture",
        default="",
        choices=("", "published"),
        help="published: Spatial-SSRL-81k's proportions, --count questions in all; depth_order of DIODE, position3d of"
        " MegaDepth, the others of photos without depth (COCO), as far as --photos holds such scenes",
    )
    p.add_argument("--count", type=int, help=f"with --mixture: number of questions (default: {COUNT})")
    p.add_argument(
        "--profile",
        default="full",
        choices=PROFILES,
        help="plain: small labels, short questions, one picture a question (crop: the candidates beside the hole, so"
        " twice as wide as --size)",
    )
    p.add_argument(
        "--parts",
        type=int,
        default=0,
        help="questions on each picture, the puzzle and what its answer is made of (where a mark is, which way a patch"
        " is turned), to teach a small policy to see; 0: the puzzle alone; goes with --profile=plain",
    )
    p.add_argument(
        "--regions",
        action="store_true",
        help="write scenes in place of questions: the puzzles' pictures with marks and patches as objects, for"
        " --config.train.method=align, which teaches a small tower to see them; goes with --profile=plain",
    )
    p.add_argument("--wordings", type=int, default=0, help="use only the first so many wordings; 0: all")
    p.add_argument("--size", type=int, default=0, help="longer side of the pictures; 0: as they are (plain: 112)")
    p.add_argument(
        "--released_rules", action="store_true", help="depth ordering as released, without the paper's d_min and r_max"
    )
    p.add_argument(
        "--as_published",
        action="store_true",
        help="refuse nothing that the released code makes (pieces that look alike, flat pieces, pairs whose answer"
        " leaves out the longer step); says what would have been refused",
    )
    p.add_argument(
        "--paper_orientations",
        action="store_true",
        help="3-D position: uniform orientations (paper) instead of 30/30/30/10 (code)",
    )
    p.add_argument("--workers", type=int, default=1, help="processes; the result does not depend on it")
    p.add_argument("--seed", type=int, default=0)
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        return run(args)
    except (DatasetError, WriterError, ValueError) as error:
        say(f"selfsup: {error}", stream=sys.stderr)
    except OSError as error:
        where = error.filename or args.out
        say(f"selfsup: {where}: {error.strerror or error}; free space or choose another --out", stream=sys.stderr)
    return 2


_photos: Photos | None = None


def _start(directories: tuple[str, ...]) -> None:
    global _photos
    _photos = Photos(directories)


def _start_worker(directories: tuple[str, ...]) -> None:
    begin_worker()
    _start(directories)


def _work(job: Job, style: Style, size: int, seed: int) -> QuestionRecord | str:
    assert _photos is not None
    photos = functools.partial(_photos.decoded, depth=VARIANTS[job.variant][0] in NEEDS_DEPTH)
    return make_record(job, photos, style, size=size, seed=seed)


def _results(
    jobs: list[Job], directories: tuple[str, ...], style: Style, size: int, seed: int, workers: int
) -> Iterator[tuple[Job, QuestionRecord | str]]:
    work = functools.partial(_work, style=style, size=size, seed=seed)
    if workers <= 1:
        _start(directories)
        yield from ((job, work(job)) for job in jobs)
        return
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        workers, context, initializer=_start_worker, initargs=(directories,)
    ) as pool:
        try:
            for start in range(0, len(jobs), 64 * workers):
                part = jobs[start : start + 64 * workers]
                yield from zip(part, pool.map(work, part, chunksize=8))
        except BaseException:
            end_workers(pool)
            raise


def _check(args: argparse.Namespace) -> list[str]:
    """The tasks; ValueError for one that is unknown and for numbers that make no sense."""
    named = [entry.partition(":")[0] for entry in args.task]
    given = args.tasks or ("" if args.photos else ",".join(named)) or ",".join(TASKS)
    tasks = list_parts(",".join([given, *named]))
    for task in tasks:
        if task not in TASKS:
            raise ValueError(f"--task{'' if task in named else 's'}: {task!r} is unknown; {nearest(task, TASKS)}")
    for name, least, most in (
        ("per_photo", 1, MOST_QUESTIONS),
        ("count", 1, MOST_QUESTIONS),
        ("wordings", 0, 100),
        ("size", 0, MOST_SIDE),
        ("workers", 1, 1024),
        ("parts", 0, 100),
    ):
        if (value := getattr(args, name)) is not None and not least <= value <= most:
            raise ValueError(f"--{name}={value}: give {least} or more" + (f", at most {most}" if value > most else ""))
    for name, task in READ_BY.items():
        if getattr(args, name) and task not in tasks:
            raise ValueError(f"--{name} is a rule of the task {task}, which is not among {', '.join(tasks)}")
    if args.count and not args.mixture:
        raise ValueError("--count is the number of questions of --mixture=published; without it give --per_photo")
    if args.per_photo and args.mixture:
        raise ValueError("--per_photo is without --mixture, whose photos are used in turn; give --count")
    if (args.parts or args.regions) and args.profile != "plain":
        raise ValueError("--parts and --regions are made of the puzzles of --profile=plain")
    if args.parts and args.regions:
        raise ValueError("--parts asks questions, --regions writes scenes: two datasets, one after the other")
    return tasks


def _ties(args: argparse.Namespace) -> dict[str, list[str]]:
    """The scene datasets that each tied task is made of."""
    ties: dict[str, list[str]] = {}
    for entry in args.task:
        task, sign, sources = entry.partition(":")
        found = list_parts(sources)
        if not sign or not found:
            raise ValueError(f"--task={entry}: give NAME:SOURCE, a task and a scene dataset")
        ties.setdefault(task, []).extend(found)
    return ties


def _style(args: argparse.Namespace) -> Style:
    return dataclasses.replace(
        Style.small() if args.profile == "plain" else Style(),
        wordings=args.wordings,
        strict_depth=not args.released_rules,
        as_published=args.as_published,
        paper_orientations=args.paper_orientations,
    )


def _jobs(
    args: argparse.Namespace, tasks: list[str], photos: Photos, known: Known
) -> tuple[list[Job], collections.Counter[str]]:
    """The questions to make, each task of the photos that it is tied to, without those that are left out; and by why a
    task has none, how many photos it could not be made of.
    """
    tied = {task: {i for d in sources for i in photos.of(d)} for task, sources in _ties(args).items()}
    if args.mixture:
        tied, notes = published_ties(tasks, known, tied)
        for note in notes:
            say(note)
    free = {i for d in list_parts(args.photos) for i in photos.of(d)} or set(range(len(photos)))
    tied = {task: tied.get(task, free) - known.left_out.keys() for task in tasks}
    each = args.per_photo or PER_PHOTO
    if not args.mixture and each * len(photos) > MOST_QUESTIONS:
        raise ValueError(f"--per_photo={each} of {len(photos)} photos is more than {MOST_QUESTIONS} questions")
    if args.mixture:
        jobs = plan_mixture(tasks, known.has_depth, args.count or COUNT, args.seed, tied=tied)
    else:
        jobs = plan_per_photo(tasks, known.has_depth, each, args.profile == "plain", tied)
    made, none = {VARIANTS[job.variant][0] for job in jobs}, collections.Counter[str]()
    for task in (t for t in tasks if t not in made):
        why = "none of its photos has depth" if tied[task] else "no photo is left for it"
        if any(known.has_depth[i] or task not in NEEDS_DEPTH for i in tied[task]):
            why = "its share of --count is less than one question"
        none[f"{task}: {why}"] = max(1, len(tied[task]))
    return jobs, none


def run(args: argparse.Namespace) -> int:
    tasks, ties = _check(args), _ties(args)
    named = [d for sources in ties.values() for d in sources]
    places = dict[str, str]()
    for directory in [*list_parts(args.photos), *named]:
        places.setdefault(same_place(directory), directory)
    directories = tuple(places.values())
    if not directories:
        raise ValueError("give --photos=DIR, scene datasets (made by python -m data_prep.annotate), or --task=NAME:DIR")
    style = _style(args)
    size = args.size or (112 if style.plain else 0)
    photos = Photos(directories)
    if len(photos) == 0:
        raise DatasetError(f"{', '.join(directories)}: no photo in there; annotate some pictures first")
    config = {
        "verb": "selfsup",
        "photos": list(directories),
        "tasks": tasks,
        "ties": ties,
        "per_photo": 0 if args.mixture else args.per_photo or PER_PHOTO,
        "mixture": args.mixture,
        "count": (args.count or COUNT) if args.mixture else 0,
        "size": size,
        "seed": args.seed,
        "style": dataclasses.asdict(style),
        **({"parts": args.parts} if args.parts else {}),
        **({"regions": True} if args.regions else {}),
        "inputs": photos.digest,
    }
    if is_complete(args.out, "scenes" if args.regions else "questions", config):
        print(f"{args.out} is complete already; delete it to make it again")
        return 0
    known = Known(photos)
    jobs, none = _jobs(args, tasks, photos, known)
    reasons, started = collections.Counter[str](known.left_out.values()) + none, time.monotonic()
    has_depth = any(known.has_depth)
    results = _results(jobs, directories, style, size, args.seed, args.workers)
    waiting = []  # until one is a question --out is not claimed
    for entry in results:
        waiting.append(entry)
        if not isinstance(entry[1], str):
            break
    else:
        raise DatasetError(_nothing(waiting, reasons, tasks, has_depth))
    rows, manifest = _write(args.out, config, itertools.chain(waiting, results), len(jobs), reasons, known.names)
    print_report(args.out, manifest, rows, reasons, time.monotonic() - started)
    return 0


def _nothing(
    waiting: list[tuple[Job, QuestionRecord | str]], reasons: collections.Counter[str], tasks: list[str], depth: bool
) -> str:
    """Why there is no question, and what would help."""
    whys = collections.Counter(str(why) for _, why in waiting) + reasons
    told = "; ".join(f"{why} {n}" for why, n in whys.most_common(4)) or "no task suits these photos"
    if not depth and set(tasks) <= {"depth_order", "position3d"}:
        cure = "these tasks need depth; add --tasks=shuffle,flip,crop, or annotate with --depth"
        return f"no question came out ({told}): {cure}"
    return f"no question came out ({told}): give larger or more varied photos, or --tasks={','.join(TASKS)}"


def _write(
    out: str,
    config: dict[str, Any],
    results: Iterable[tuple[Job, QuestionRecord | str]],
    total: int,
    reasons: collections.Counter[str],
    names: list[str],
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Writes the dataset; returns the table of answer priors and the manifest."""
    variants, table, started = collections.Counter[str](), PriorTable(), time.monotonic()
    refused, kept = dict[str, dict[str, None]](), collections.Counter[str]()
    writer = RegionWriter(out, config) if config.get("regions") else QuestionWriter(out, config)
    try:
        for job, result in results:
            if isinstance(result, str):
                reasons[result] += 1
                photo = names[job.photos[-1]] if job.photos else ""
                refused.setdefault(result, {})[photo] = None
                writer.skip(f"{job.index}/{job.variant}/{photo}", "selfsup", result)
            else:
                variants[job.variant] += 1
                asked = with_parts(result, config["parts"]) if config.get("parts") else [result]
                table.add(asked)
                if '"would_refuse"' in result.meta:
                    kept.update(json.loads(result.meta)["would_refuse"])
                for question in asked:
                    writer.write(question)
            if (job.index + 1) % 1000 == 0:
                rate = (job.index + 1) / (time.monotonic() - started)
                left = (total - job.index - 1) / rate
                print(f"{job.index + 1} of {total}, {rate:.0f} a second, {left:.0f} s left", flush=True)
        rows = table.rows()
        report = {"rows": rows, "variants": dict(variants), "not_asked": dict(reasons), "would_refuse": dict(kept)}
        manifest = writer.finish(report)
    finally:
        writer.close()
    for reason, photos in refused.items():
        more = f" and {len(photos) - SHOWN} more" if len(photos) > SHOWN else ""
        say(f"left out, {reason}: photos {', '.join(list(photos)[:SHOWN])}{more}")
    if (made := sum(variants.values())) < config["count"]:
        say(f"note: {made} of the {config['count']} questions of --mixture came out; below is what the others lack")
    if kept:
        told = "; ".join(f"{reason} {n}" for reason, n in kept.most_common())
        say(f"made as published; would have been refused otherwise: {told}")
    return rows, manifest


if __name__ == "__main__":
    leave(main, "selfsup", goes_on=True)

"""Makes self-supervised question datasets (Spatial-SSRL's five tasks) from scene datasets: photos, and RGB-D for the
two depth tasks.

python -m data_prep.selfsup --photos=DIR[,DIR] --out=DIR --tasks=shuffle,flip,crop,depth_order,position3d --per_photo=5
python -m data_prep.selfsup --photos=DIR[,DIR] --out=DIR --mixture=published --count=81053
python -m data_prep.selfsup --photos=DIR --out=DIR --profile=plain --size=112 --per_photo=200
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import dataclasses
import functools
import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from data_prep.synthesis.dataset import DatasetError, QuestionWriter, SceneDataset, WriterError, print_report
from data_prep.synthesis.options import PROFILES
from data_prep.synthesis.priors import PriorTable
from data_prep.synthesis.selfsup.build import (
    NEEDS_DEPTH,
    TASKS,
    VARIANTS,
    Job,
    load,
    make_record,
    plan_mixture,
    plan_per_photo,
)
from data_prep.synthesis.selfsup.puzzle import Picture, Style, Unsuitable
from data_prep.writer import is_complete
from spatial_jax.data.records import QuestionRecord, SceneRecord
from spatial_jax.options import Listed, Parser, list_parts, nearest
from spatial_jax.pages import say


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m data_prep.selfsup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument(
        "--photos",
        "--scenes",
        required=True,
        action=Listed,
        help="scene datasets (comma-separated); their splits are kept, so no photo crosses over",
    )
    p.add_argument(
        "--out",
        required=True,
        help="directory of the question dataset; a stopped run is finished, a finished one left as it is",
    )
    p.add_argument("--tasks", default=",".join(TASKS), action=Listed, help=f"some of {','.join(TASKS)}")
    p.add_argument(
        "--per_photo",
        type=int,
        default=5,
        help="questions a photo; beyond one a variant they come from random windows of it",
    )
    p.add_argument(
        "--mixture",
        default="",
        choices=("", "published"),
        help="published: Spatial-SSRL-81k's proportions, --count questions in all",
    )
    p.add_argument("--count", type=int, default=81053, help="with --mixture: number of questions")
    p.add_argument(
        "--profile",
        default="full",
        choices=PROFILES,
        help="plain: small labels, short questions, one picture a question",
    )
    p.add_argument("--wordings", type=int, default=0, help="use only the first so many wordings; 0: all")
    p.add_argument("--size", type=int, default=0, help="longer side of the pictures; 0: as they are (plain: 112)")
    p.add_argument(
        "--released_rules", action="store_true", help="depth ordering as released, without the paper's d_min and r_max"
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


class Photos:
    """The scenes of one or more datasets by position; remembers the last few decoded."""

    def __init__(self, directories: tuple[str, ...]):
        self._sets = [SceneDataset(d) for d in directories]
        self.digest = [dataset.digest for dataset in self._sets]
        self.decoded = functools.lru_cache(maxsize=16)(self._decoded)

    def __len__(self) -> int:
        return sum(map(len, self._sets))

    def scene(self, index: int) -> SceneRecord:
        """The scene at a position; raises Unsuitable when its record is damaged."""
        for dataset in self._sets:
            if index < len(dataset):
                scene = dataset.get(index)
                if isinstance(scene, str):
                    raise Unsuitable(f"damaged scene record: {scene}")
                return scene
            index -= len(dataset)
        raise IndexError(index)

    def _decoded(self, index: int, depth: bool) -> tuple[SceneRecord, Picture]:
        scene = self.scene(index)
        return scene, load(scene, depth)

    def has_depth(self) -> list[bool]:
        found = []
        for index in range(len(self)):
            try:
                found.append(bool(self.scene(index).depth_png))
            except Unsuitable as error:
                say(f"skipped {error}")
                found.append(False)
        return found


_photos: Photos | None = None


def _start(directories: tuple[str, ...]) -> None:
    global _photos
    _photos = Photos(directories)


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
    with concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_start, initargs=(directories,)) as pool:
        for start in range(0, len(jobs), 64 * workers):
            part = jobs[start : start + 64 * workers]
            yield from zip(part, pool.map(work, part, chunksize=8))


def _checked(args: argparse.Namespace) -> list[str]:
    """The tasks; ValueError for one that is unknown and for numbers that make no sense."""
    tasks = list_parts(args.tasks)
    for task in tasks:
        if task not in TASKS:
            raise ValueError(f"--tasks: {task!r} is unknown; {nearest(task, TASKS)}")
    if not tasks:
        raise ValueError(f"--tasks is empty; use some of {', '.join(TASKS)}")
    for name, least in (("per_photo", 1), ("count", 1), ("wordings", 0), ("size", 0), ("workers", 1)):
        if getattr(args, name) < least:
            raise ValueError(f"--{name}={getattr(args, name)}: give {least} or more")
    return tasks


def run(args: argparse.Namespace) -> int:
    tasks = _checked(args)
    directories = tuple(list_parts(args.photos))
    plain = args.profile == "plain"
    style = dataclasses.replace(
        Style.small() if plain else Style(),
        wordings=args.wordings,
        strict_depth=not args.released_rules,
        paper_orientations=args.paper_orientations,
    )
    size = args.size or (112 if plain else 0)
    photos = Photos(directories)
    if len(photos) == 0:
        raise DatasetError(f"{args.photos}: the dataset holds no photo; annotate some pictures first")
    config = {
        "verb": "selfsup",
        "photos": list(directories),
        "tasks": tasks,
        "per_photo": 0 if args.mixture else args.per_photo,
        "mixture": args.mixture,
        "count": args.count if args.mixture else 0,
        "size": size,
        "seed": args.seed,
        "style": dataclasses.asdict(style),
        "inputs": photos.digest,
    }
    if is_complete(args.out, "questions", config):
        print(f"{args.out} is complete already; delete it to make it again")
        return 0
    has_depth = photos.has_depth()
    jobs = (
        plan_mixture(tasks, has_depth, args.count, args.seed)
        if args.mixture
        else plan_per_photo(tasks, has_depth, args.per_photo, plain)
    )
    reasons, started = collections.Counter[str](), time.monotonic()
    if not any(has_depth) and {"depth_order", "position3d"} & set(tasks):
        reasons["depth task without any photo that has depth"] += 1
    results = _results(jobs, directories, style, size, args.seed, args.workers)
    waiting = []  # until one is a question --out is not claimed
    for entry in results:
        waiting.append(entry)
        if not isinstance(entry[1], str):
            break
    else:
        raise DatasetError(_nothing(waiting, reasons, tasks, any(has_depth)))
    rows, manifest = _write(args.out, config, itertools.chain(waiting, results), len(jobs), reasons)
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
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Writes the dataset; returns the table of answer priors and the manifest."""
    variants, table, started = collections.Counter[str](), PriorTable(), time.monotonic()
    writer = QuestionWriter(out, config)
    try:
        for job, result in results:
            if isinstance(result, str):
                reasons[result] += 1
                writer.skip(f"{job.index}/{job.variant}", "selfsup", result)
            else:
                variants[job.variant] += 1
                table.add([result])
                writer.write(result)
            if (job.index + 1) % 1000 == 0:
                rate = (job.index + 1) / (time.monotonic() - started)
                left = (total - job.index - 1) / rate
                print(f"{job.index + 1} of {total}, {rate:.0f} a second, {left:.0f} s left", flush=True)
        rows = table.rows()
        manifest = writer.finish({"rows": rows, "variants": dict(variants), "not_asked": dict(reasons)})
    finally:
        writer.close()
    return rows, manifest


if __name__ == "__main__":
    sys.exit(main())

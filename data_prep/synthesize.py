"""Makes a question dataset from scenes, from room scans, or from a published question set.

python -m data_prep.synthesize --scenes=DIR --out=DIR --families=all --per_scene=6 --profile=full --seed=0
python -m data_prep.synthesize --rooms=scannet_meta.json --definitions=vsi100k --out=DIR
python -m data_prep.synthesize --import=ssrl --path=spatialssrl.parquet --images=DIR --out=DIR
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import sys
import time
from collections.abc import Iterator

from data_prep.synthesis.balance import Balance
from data_prep.synthesis.dataset import DatasetError, QuestionWriter, SceneDataset, WriterError, print_report
from data_prep.synthesis.demonstrations import demonstrated
from data_prep.synthesis.generate import Generator
from data_prep.synthesis.importers import KINDS, BadRow, import_records
from data_prep.synthesis.importers.frames import frames_of
from data_prep.synthesis.language import Cache, Endpoint, Variation
from data_prep.synthesis.options import PROFILES, Options
from data_prep.synthesis.priors import PriorTable
from data_prep.synthesis.registry import FAMILIES, chosen
from data_prep.synthesis.vsi import DEFINITIONS, MetadataError, Settings, load_rooms, room_questions
from spatial_jax.data.records import QuestionRecord

Item = tuple[str, list[QuestionRecord], str]  # item, its questions, why it has none


def parser() -> argparse.ArgumentParser:
    chosen("all")
    lines = "\n".join(f"  {f.name:13} {f.example}\n  {'':13} needs {f.needs}" for f in FAMILIES.values())
    p = argparse.ArgumentParser(
        prog="python -m data_prep.synthesize",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"families:\n{lines}",
    )
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
        default=0,
        help="rooms and imports: share of scenes (by hash) that go to the split heldout",
    )
    g = p.add_argument_group("questions on scenes")
    g.add_argument("--scenes", default="", help="scene dataset (made by python -m data_prep.annotate)")
    g.add_argument("--families", default="all", help="comma-separated families (see below), or all")
    g.add_argument("--per_scene", type=int, default=6, help="questions a scene at most")
    g.add_argument(
        "--profile", default="full", choices=PROFILES, help="plain: short wordings and word answers, for small models"
    )
    g.add_argument(
        "--demonstrations",
        action="store_true",
        help="with turns that draw the question's objects, for supervised drawing (ViLaSR)",
    )
    g.add_argument("--limit", type=int, default=0, help="read only so many scenes; 0: all")
    g = p.add_argument_group("questions on room scans (VSI-100k's six topics)")
    g.add_argument(
        "--rooms",
        default="",
        help="metadata JSON files (comma-separated) of {scene: object_counts, object_bbox, room_size}",
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
        help="folder with the frames of each scene, FRAMES/SCENE/*.jpg (16 are taken); without it: no picture",
    )
    g.add_argument("--most", type=int, default=0, help="questions a topic and room at most; 0: all")
    g.add_argument("--no_margins", action="store_true", help="ask near-ties too and do not balance, as published")
    g = p.add_argument_group("published question sets")
    g.add_argument("--import", dest="kind", default="", choices=("", *KINDS))
    g.add_argument("--path", default="", help="the published file (.parquet, .json, .jsonl)")
    g.add_argument("--images", default="", help="folder that its picture paths start from")
    g = p.add_argument_group("language variation (without an endpoint and a cache the templates stand)")
    g.add_argument(
        "--language_url",
        default="",
        help="OpenAI-compatible endpoint, e.g. http://localhost:8000/v1; key from OPENAI_API_KEY",
    )
    g.add_argument("--language_model", default="", help="model name, part of the cache's key")
    g.add_argument("--language_cache", default="", help="jsonl file of replies; used alone when no endpoint is given")
    g.add_argument("--language_share", type=float, default=0.5, help="share of the questions that are tried")
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        return run(args)
    except (DatasetError, WriterError, MetadataError, ValueError) as error:
        print(f"synthesize: {error}", file=sys.stderr)
    except OSError as error:
        print(
            f"synthesize: cannot write {args.out}: {error.strerror or error}; free space or choose another --out",
            file=sys.stderr,
        )
    return 2


def _from_scenes(args: argparse.Namespace, reasons: collections.Counter[str]) -> Iterator[Item]:
    scenes = SceneDataset(args.scenes)
    if len(scenes) == 0:
        raise DatasetError(f"{args.scenes}: the dataset holds no scene; annotate some pictures first")
    generator = Generator(
        chosen(args.families),
        Options(profile=args.profile, wordings=args.wordings),
        per_scene=args.per_scene,
        seed=args.seed,
    )
    total, started = min(args.limit or len(scenes), len(scenes)), time.monotonic()
    for number, scene in enumerate(scenes):
        if number == total:
            break
        records = generator(scene)
        yield (
            scene.scene_id,
            [demonstrated(r, scene) for r in records] if args.demonstrations else records,
            "no question past its margins",
        )
        if (number + 1) % 1000 == 0:
            rate = (number + 1) / (time.monotonic() - started)
            print(
                f"{number + 1} of {total} scenes, {rate:.0f} a second, {(total - number - 1) / rate:.0f} s left",
                flush=True,
            )
    reasons.update(generator.reasons + scenes.skipped)


def _from_rooms(args: argparse.Namespace, reasons: collections.Counter[str]) -> Iterator[Item]:
    settings = Settings(args.definitions, not args.no_margins, args.most, args.wordings, seed=args.seed)
    balance = None if args.no_margins else Balance()
    for path in args.rooms.split(","):
        rooms, problems = load_rooms(path, args.clouds)
        for problem in problems:
            print(f"skipped {problem}", flush=True)
            yield problem.split(":")[0], [], "scene metadata not usable"
        for room in rooms:
            split = "heldout" if _share(room.scene_id) < args.heldout_percent else "train"
            try:
                frames = frames_of(args.frames, room.scene_id) if args.frames else []
            except BadRow as error:
                yield room.scene_id, [], str(error)
                continue
            yield (
                room.scene_id,
                room_questions(room, settings, split=split, frames=frames, balance=balance),
                "no question past its margins",
            )


def _from_import(args: argparse.Namespace, reasons: collections.Counter[str]) -> Iterator[Item]:
    for result in import_records(args.kind, args.path, args.images, heldout_percent=args.heldout_percent):
        if isinstance(result, BadRow):
            reasons[str(result.args[-1])] += 1
            yield str(result.args[0]), [], str(result.args[-1])
        else:
            yield result.question_id, [result], ""


def _share(scene_id: str) -> int:
    import hashlib

    return int(hashlib.sha1(scene_id.encode()).hexdigest()[:8], 16) % 100


def _language(args: argparse.Namespace) -> Variation | None:
    if not args.language_url and not args.language_cache:
        return None
    endpoint = Endpoint(args.language_url, args.language_model) if args.language_url else None
    cache = Cache(args.language_cache or f"{args.out.rstrip('/')}.language.jsonl")
    return Variation(cache, endpoint, model=args.language_model, share=args.language_share, seed=args.seed)


def run(args: argparse.Namespace) -> int:
    if sum(map(bool, (args.scenes, args.rooms, args.kind))) != 1:
        raise ValueError("give one of --scenes, --rooms and --import")
    chosen(args.families)
    running = ("out", "language_url")
    variation = _language(args)  # a bad address is told before the folder is taken
    writer = QuestionWriter(
        args.out,
        {
            "verb": "synthesize",
            **{k: v for k, v in sorted(vars(args).items()) if k not in running},
            "options": dataclasses.asdict(Options(profile=args.profile, wordings=args.wordings)),
        },
    )
    if writer.complete:
        print(f"{args.out} is complete already; delete it to make it again")
        return 0
    reasons: collections.Counter[str] = collections.Counter()
    items = (_from_scenes if args.scenes else _from_rooms if args.rooms else _from_import)(args, reasons)
    table, started = PriorTable(), time.monotonic()
    try:
        for item_id, records, why in items:
            if variation:
                records = list(variation(records))
            table.add(records)
            for record in records:
                writer.write(record)
            if not records:
                writer.skip(item_id, "synthesize", why)
        if variation:
            reasons.update({f"language: {k}": n for k, n in variation.reasons.items()})
            print(f"language variation changed {variation.changed} questions")
        rows = table.rows()
        manifest = writer.finish({"rows": rows, "not_asked": dict(reasons.most_common())})
    finally:
        writer.close()
    print_report(args.out, manifest, rows, reasons, time.monotonic() - started)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Makes a question dataset from a scene dataset.

    python -m data_prep.synthesize --scenes=DIR --out=DIR --families=all --per_scene=6 --profile=full --seed=0
"""
from __future__ import annotations

import argparse
import dataclasses
import sys
import time

from data_prep.synthesis.dataset import DatasetError, QuestionWriter, SceneDataset, WriterError
from data_prep.synthesis.generate import Generator
from data_prep.synthesis.options import PROFILES, Options
from data_prep.synthesis.priors import PriorTable, format_table
from data_prep.synthesis.registry import FAMILIES, chosen


def parser() -> argparse.ArgumentParser:
    chosen("all")
    lines = "\n".join(f"  {f.name:13} {f.example}\n  {'':13} needs {f.needs}" for f in FAMILIES.values())
    p = argparse.ArgumentParser(prog="python -m data_prep.synthesize", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                epilog=f"families:\n{lines}")
    p.add_argument("--scenes", required=True, help="scene dataset (made by python -m data_prep.annotate)")
    p.add_argument("--out", required=True, help="directory of the question dataset; a stopped run is finished, a finished one left as it is")
    p.add_argument("--families", default="all", help="comma-separated families (see below), or all")
    p.add_argument("--per_scene", type=int, default=6, help="questions a scene at most")
    p.add_argument("--profile", default="full", choices=PROFILES, help="plain: short wordings and word answers, for small models")
    p.add_argument("--wordings", type=int, default=0, help="use only the first so many wordings of each form; 0: all")
    p.add_argument("--limit", type=int, default=0, help="read only so many scenes; 0: all")
    p.add_argument("--seed", type=int, default=0)
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        return run(args)
    except (DatasetError, WriterError, ValueError) as error:
        print(f"synthesize: {error}", file=sys.stderr)
    except OSError as error:
        print(f"synthesize: cannot write {args.out}: {error.strerror or error}; free space or choose another --out", file=sys.stderr)
    return 2


def run(args: argparse.Namespace) -> int:
    options = Options(profile=args.profile, wordings=args.wordings)
    families = chosen(args.families)
    scenes = SceneDataset(args.scenes)
    if len(scenes) == 0:
        raise DatasetError(f"{args.scenes}: the dataset holds no scene; annotate some pictures first")
    config = {"verb": "synthesize", "scenes": args.scenes, "families": [f.name for f in families], "per_scene": args.per_scene, "limit": args.limit,
              "seed": args.seed, "options": dataclasses.asdict(options)}
    generator = Generator(families, options, per_scene=args.per_scene, seed=args.seed)
    writer, table, started = QuestionWriter(args.out, config), PriorTable(), time.monotonic()
    if writer.complete:
        print(f"{args.out} is complete already; delete it to make it again")
        return 0
    total = min(args.limit, len(scenes)) if args.limit else len(scenes)
    try:
        for number, scene in enumerate(scenes):
            if number == total:
                break
            records = generator(scene)
            table.add(records)
            for record in records:
                writer.write(record)
            if not records:
                writer.skip(scene.scene_id, "synthesize", "no question past its margins")
            if (number + 1) % 1000 == 0:
                rate = (number + 1) / (time.monotonic() - started)
                print(f"{number + 1} of {total} scenes, {rate:.0f} a second, {(total - number - 1) / rate:.0f} s left", flush=True)
        reasons = dict((generator.reasons + scenes.skipped).most_common())
        rows = table.rows()
        manifest = writer.finish({"rows": rows, "not_asked": reasons})
    finally:
        writer.close()
    print(format_table(rows))
    if reasons:
        print("not asked: " + "; ".join(f"{reason} {n}" for reason, n in list(reasons.items())[:20]))
    counts = ", ".join(f"{split} {entry['records']}" for split, entry in manifest["splits"].items()) or "no question"
    print(f"{args.out}: {counts} ({time.monotonic() - started:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A page of a dataset, for looking at it: scenes with boxes, masks, depth, point cloud and measures; questions with
truth and margins.

    python -m data_prep.inspect runs/scenes
    python -m data_prep.inspect runs/questions --limit=200 --out=questions.html

The page is one file without any request; everything from the data is escaped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data_prep.inspect.questions import questions_page
from data_prep.inspect.records import Records
from data_prep.inspect.scenes import scenes_page
from spatial_jax.data.records import QuestionRecord, SceneRecord
from spatial_jax.ending import leave
from spatial_jax.options import Parser
from spatial_jax.pages import ExampleFolder, say

SCENES, QUESTIONS = 24, 120  # that a page shows where nothing is told


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    p = Parser("python -m data_prep.inspect", __doc__, named="DATASET [options]")
    p.add_argument("dataset", help="directory of a scene or question dataset")
    p.add_argument("--out", help="the page (default: inspect.html in the dataset's directory)")
    p.add_argument(
        "--limit", type=int, default=0, help=f"records shown (default: {SCENES} scenes, {QUESTIONS} questions)"
    )
    p.add_argument(
        "--scenes",
        default="",
        help="scene dataset of the questions, to draw objects and depth (default: the one they were made from)",
    )
    p.add_argument("--seed", type=int, default=0, help="which records are drawn")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 with one clear line."""
    args = parser().parse_args(arguments)
    try:
        folder = ExampleFolder(args.dataset)
        out = Path(args.out) if args.out else folder.folder / "inspect.html"
        if "objects" in folder.fields:
            page = scenes_page(Records(folder, SceneRecord), args.limit or SCENES, args.seed)
        elif "question" in folder.fields:
            page = questions_page(Records(folder, QuestionRecord), args.limit or QUESTIONS, args.seed, args.scenes)
        else:
            raise ValueError(
                f"{args.dataset}: neither scenes nor questions (fields {', '.join(sorted(folder.fields)[:6])})"
            )
        page.write(out)
    except ValueError as error:
        say(f"inspect: {error}", stream=sys.stderr)
        return 2
    except OSError as error:
        print(f"inspect: cannot write the page ({error.strerror or error}); choose another --out", file=sys.stderr)
        return 2
    print(f"{out} ({out.stat().st_size / 1e6:.1f} MB, self-contained; open it in a browser)")
    return 0


if __name__ == "__main__":
    leave(main, "inspect")

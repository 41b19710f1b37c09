"""One self-contained page of a running or finished run, or of several runs compared.

    python -m spatial_jax.report runs/my_run
    python -m spatial_jax.report runs/kl_0 runs/kl_1e-4 --out=runs/kl.html --title="KL ablation"
    python -m spatial_jax.report runs/quickstart --story=runs/quickstart/story.json

A run is a directory with metrics.jsonl, gallery/ and eval/NAME.json, or a directory of such directories (its phases).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spatial_jax.data import QuestionRecord
from spatial_jax.ending import leave
from spatial_jax.metrics.report import build_report, load_run, read_story
from spatial_jax.options import Parser
from spatial_jax.pages import say


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    p = Parser("python -m spatial_jax.report", __doc__, named="RUN [RUN ...] [options]")
    p.add_argument("runs", nargs="+", metavar="RUN", help="directory of a run; several are compared")
    p.add_argument(
        "--out",
        help=(
            "the page (default: report.html in the run's directory; with several runs comparison.html beside the first)"
        ),
    )
    p.add_argument("--title", default="", help="the page's title")
    p.add_argument("--story", help='JSON list of {"title", "text", "command" or "commands", "seconds"}: what was done')
    p.add_argument("--gallery", type=int, default=60, help="questions shown with their answers, at most; 0: none")
    p.add_argument(
        "--next",
        action="append",
        default=[],
        metavar="COMMAND",
        help="a command to try next, shown at the end; may be repeated",
    )
    return p


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 with one clear line."""
    from spatial_jax.evals import compare
    from spatial_jax.evals.heldout import answers_of, resolved_dict, scored_item
    from spatial_jax.rewards.rule import stated_rule

    def scorer(
        record: QuestionRecord, row: dict[str, Any], result: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[float], Sequence[float]]:
        sizes = row.get("model_sizes")
        resolved, answers = resolved_dict(record, sizes), answers_of([str(t) for t in row["responses"]], row)
        item = scored_item(resolved, answers, rule=stated_rule(result.get("rule")), model_sizes=sizes)
        return resolved, item.scores, item.correct

    args = parser().parse_args(arguments)
    first = Path(args.runs[0])
    out = (
        Path(args.out)
        if args.out
        else (first / "report.html" if len(args.runs) == 1 else first.parent / "comparison.html")
    )
    try:
        runs = [load_run(Path(path)) for path in args.runs]
        story = read_story(Path(args.story)) if args.story else []
        page = build_report(
            runs,
            title=args.title,
            story=story,
            compare=compare,
            gallery=args.gallery,
            next_commands=args.next,
            scorer=scorer,
        ).write(out)
    except (ValueError, OSError) as error:
        say(f"report: {error}", stream=sys.stderr)
        return 2
    for warning in [warning for run in runs for warning in run.warnings]:
        say(f"report: {warning}", stream=sys.stderr)
    print(f"{page} ({page.stat().st_size / 1e6:.1f} MB, self-contained; open it in a browser)")
    return 0


if __name__ == "__main__":
    leave(main, "report")

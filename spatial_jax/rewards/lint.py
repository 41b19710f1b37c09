"""Reward lint: what each reward pays for empty, degenerate and adversarial answers.

    python -m spatial_jax.rewards.lint                                    # every kind, on a built-in question each
    python -m spatial_jax.rewards.lint --dataset DIR --limit 50           # a dataset's questions and their rewards
    python -m spatial_jax.rewards.lint --user my_reward.py:reward         # your own function
    python -m spatial_jax.rewards.lint --spec '{"kind": "mra"}'           # one spec on its kind's own question

Exit code 1 when a degenerate answer pays, when the truth does not, or when a response takes longer than --seconds; 2
when a reward never works: its file is missing or broken, its judge gives no verdict.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import sys
import time
from collections.abc import Iterable

from spatial_jax.ending import leave
from spatial_jax.reading import parse_json
from spatial_jax.rewards.attacks import Attack, attacks
from spatial_jax.rewards.base import Context, Record, RewardUnavailable, Spec
from spatial_jax.rewards.judge import Judge, JudgeConfig
from spatial_jax.rewards.probe import probe_reward
from spatial_jax.rewards.scoring import check_record, evaluate

# Continuous rewards give any positive number a trace; a trace is not pay.
TRACE = 0.01

_OPTIONS = ("chair", "table", "lamp", "sofa bed")
_LAMP = "[[100, 120], [260, 120], [260, 300], [100, 300]]"
_QUESTIONS: dict[str, dict] = {
    "mcq": {
        "question": "Which is closest? Options: A. chair B. table C. lamp D. sofa bed",
        "answer": "B",
        "options": _OPTIONS,
    },
    "number": {
        "question": "How far is the lamp in meters? The camera has fx = 525.0, fy = 525.0.",
        "answer": "3.5",
        "unit": "m",
    },
    "count": {"question": "How many chairs are there?", "answer": "4", "question_type": "number"},
    "box": {"question": "Where is the lamp? The picture is 640 x 480 pixels.", "answer": "[100, 120, 260, 300]"},
    "point": {"question": "Point at the lamp. The picture is 640 x 480 pixels.", "answer": _LAMP},
    "order": {"question": "Order the pieces 1, 2 and 3.", "answer": "3-1-2"},
    "word": {"question": "Is the lamp to the left or to the right of the chair?", "answer": "left"},
    "free": {"question": "Where is the lamp?", "answer": "on the table next to the window"},
}


def _question(name: str) -> dict:
    return {
        "question_id": f"lint/{name}",
        "question_type": name,
        "options": (),
        "unit": "",
        "meta": {},
        "response_tokens": 10,
        **_QUESTIONS[name],
    }


def built_in(user: str = "") -> list[tuple[str, Spec, Record]]:
    """(label, spec, record) of every kind in the forms that recipes use."""
    cases: list[tuple[str, Spec, str]] = [
        ("choice", {"kind": "choice"}, "mcq"),
        ("number", {"kind": "number"}, "count"),
        ("mra", {"kind": "mra"}, "number"),
        ("depth", {"kind": "depth"}, "number"),
        ("depth tol", {"kind": "depth", "form": "tolerance"}, "number"),
        ("iou", {"kind": "iou"}, "box"),
        ("point", {"kind": "point"}, "point"),
        ("point all", {"kind": "point", "aim": "all", "format": "think_answer"}, "point"),
        ("order", {"kind": "order"}, "order"),
        ("word", {"kind": "word"}, "word"),
        ("judge", {"kind": "judge"}, "free"),
        ("exact", {"kind": "exact"}, "word"),
        ("min_relative", {"kind": "min_relative"}, "number"),
        ("choice+think", {"kind": "choice", "format": "think_answer", "format_weight": 0.1}, "mcq"),
        ("mra+observe", {"kind": "mra", "format": "observe_answer", "format_weight": 0.1}, "number"),
        ("iou+boxed", {"kind": "iou", "format": "think_boxed", "format_weight": 0.1}, "box"),
        ("mra+drawing", {"kind": "mra", "format": "drawing", "format_weight": 0.5}, "number"),
        ("order+tag", {"kind": "order", "format": "answer_tag", "format_weight": 0.1}, "order"),
        ("ssrl", {"kind": "ssrl"}, "mcq"),
        ("vilasr", {"kind": "vilasr"}, "mcq"),
        ("vilasr num", {"kind": "vilasr"}, "number"),
        ("vsgrpo", {"kind": "vsgrpo"}, "number"),
        ("vsgrpo think", {"kind": "vsgrpo", "mode": "think"}, "number"),
        ("format", {"kind": "format", "format": "think_answer"}, "mcq"),
        ("overlong", {"kind": "overlong"}, "mcq"),
    ]
    if user:
        file, _, function = user.rpartition(":") if ":" in user else (user, "", "reward")
        cases = [(f"user/{name}", {"kind": "user", "file": file, "function": function}, name) for name in _QUESTIONS]
    return [(label, spec, _question(name)) for label, spec, name in cases]


@dataclasses.dataclass(frozen=True)
class Row:
    """What one response earned. `reward` None: excluded. `fault`: why that is wrong, "" when it is not."""

    label: str
    attack: Attack
    reward: float | None
    seconds: float
    fault: str


def lint_case(
    label: str, spec: Spec, record: Record, *, seconds: float = 5.0, context: Context | None = None, long: bool = True
) -> list[Row]:
    """A row for every attack on one spec and record (`long`: with those of a megabyte). `seconds` are of this thread's
    processor time, so that a busy host is no fault. A spec or truth that cannot be scored is one row with its fault.
    Attacks whose turn comes after the context's `until` are left out.
    """
    try:
        check_record(spec, record)
    except ValueError as error:
        return [Row(label, Attack("the record", "", "all"), None, 0.0, str(error))]
    rows = []
    for attack in attacks(spec, record):
        if attack.name.startswith("megabyte") and not long:
            continue
        if _is_late(context):
            break
        began = time.thread_time()
        try:
            result, correct = evaluate(spec, attack.response, record, context)
            reward, accuracy = result.reward, result.accuracy
        except RewardUnavailable:
            if _is_late(context):
                break
            reward, accuracy, correct = None, 0.0, False
        took = time.thread_time() - began
        rows.append(Row(label, attack, reward, took, _fault(attack, spec, reward, accuracy, correct, took, seconds)))
    return rows


def _is_late(context: Context | None) -> bool:
    return context is not None and context.until is not None and time.monotonic() >= context.until


def _fault(
    attack: Attack, spec: Spec, reward: float | None, accuracy: float, correct: bool, took: float, seconds: float
) -> str:
    if took > seconds:
        return f"took {took:.1f} s"
    if reward is None:
        return "the truth has no score" if attack.may_earn == "all" else ""
    if attack.may_earn == "nothing" and reward > TRACE:
        return f"pays {reward:.3f} for nothing"
    if attack.may_earn == "no accuracy" and accuracy > TRACE and spec["kind"] not in ("format", "overlong"):
        return f"pays accuracy {accuracy:.3f} for no answer"
    if attack.may_earn == "all" and not correct:
        return f"the truth counts as wrong (reward {reward:.3f})"
    return ""


def lint_records(records: Iterable[Record], *, seconds: float = 5.0, context: Context | None = None) -> list[Row]:
    """Rows for records with their own reward specs; megabyte cases only on the first record of a kind."""
    rows, seen = [], set()
    for record in records:
        spec = record["reward"]
        label = str(record.get("family") or spec.get("kind"))
        rows += lint_case(label, spec, record, seconds=seconds, context=context, long=spec.get("kind") not in seen)
        seen.add(spec.get("kind"))
    return rows


def table(rows: list[Row], columns: int = 11) -> str:
    """Attacks down, rewards across, mean reward in the cells; "!" marks a fault, "-" an excluded sample, blank a case
    that does not apply. More labels than `columns` make several tables.
    """
    labels, names = list(dict.fromkeys(r.label for r in rows)), list(dict.fromkeys(r.attack.name for r in rows))
    cells: dict[tuple[str, str], list[Row]] = collections.defaultdict(list)
    for row in rows:
        cells[row.attack.name, row.label].append(row)
    lines = []
    for start in range(0, len(labels), columns):
        part = labels[start : start + columns]
        lines.append(" " * 28 + " ".join(f"{label[:12]:>12}" for label in part))
        for name in names:
            if any((name, label) in cells for label in part):
                lines.append(
                    f"{name[:27]:<28}"
                    + " ".join(f"{_cell(cells.get((name, label), [])):>12}" for label in part).rstrip()
                )
        lines.append("")
    return "\n".join(lines)


def _cell(rows: list[Row]) -> str:
    paid = [row.reward for row in rows if row.reward is not None]
    text = "" if not rows else "-" if not paid else f"{sum(paid) / len(paid):.3f}".rstrip("0").rstrip(".")
    return text + ("!" if any(row.fault for row in rows) else "")


def read_questions(directory: str, split: str, limit: int) -> list[dict]:
    """`limit` question records spread evenly over a dataset directory, as dicts, in the pixels of their stored
    pictures. DatasetError where it cannot be read.
    """
    from spatial_jax.data import QuestionRecord, open_questions
    from spatial_jax.data.records import in_stored_pixels

    source = open_questions(directory, split, checksums=False)
    found = (source[len(source) * k // limit] for k in range(limit)) if limit < len(source) else iter(source)
    return [in_stored_pixels(record).as_dict() for record in found if isinstance(record, QuestionRecord)]


def _lint(options: argparse.Namespace) -> list[Row]:
    """The rows that the command line asks for. ValueError, one line, for a reward or a judge that never works."""
    judge = Judge(JudgeConfig(options.judge_endpoint, options.judge_model)) if options.judge_endpoint else None
    context = Context(judge=judge)
    if options.dataset:
        records = read_questions(options.dataset, options.split, options.limit)
        cases: list[tuple[str, Spec, Record]] = [
            (str(r.get("family") or r["reward"].get("kind")), r["reward"], r) for r in records
        ]
    else:
        cases = built_in(options.user)
        if options.spec:
            spec = parse_json(options.spec)
            kind = spec.get("kind") if isinstance(spec, dict) else None
            cases = [(label, spec, record) for label, base, record in cases if base["kind"] == kind][:1]
            if not cases:
                raise ValueError(f"no built-in question for reward kind {kind!r} of --spec={options.spec[:80]}")
    for kind in ["user"] * bool(options.user) + ["judge"] * (judge is not None):
        if found := [(spec, record) for _, spec, record in cases if spec.get("kind") == kind]:
            probe_reward(found[0][0], [record for _, record in found[: 1 if kind == "judge" else 4]], context)
    if options.dataset:
        return lint_records(records, seconds=options.seconds, context=context)
    return [
        row
        for label, spec, record in cases
        for row in lint_case(label, spec, record, seconds=options.seconds, context=context)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Prints the table and the faults; returns the exit code: 1 with faults, 2 with one line for a reward that never
    works.
    """
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=__doc__.split("\n", 2)[2],
    )
    parser.add_argument("--dataset", help="directory of question records")
    parser.add_argument("--split", default="train")
    parser.add_argument("--limit", type=int, default=50, help="how many records, spread over the dataset")
    parser.add_argument("--user", default="", help="FILE:FUNCTION of a reward of your own")
    parser.add_argument("--spec", help="one reward spec as JSON")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="most processor time that a single response may take"
    )
    parser.add_argument(
        "--judge-endpoint", help="OpenAI-compatible base URL; without it judged answers are shown as excluded"
    )
    parser.add_argument("--judge_model", default="judge")
    options = parser.parse_args(arguments)
    try:
        rows = _lint(options)
    except (ValueError, OSError) as error:
        print(f"lint: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(table(rows))
    faults = collections.Counter((row.label, row.attack.name, row.fault) for row in rows if row.fault)
    for (label, name, fault), count in faults.items():
        print(f"FAULT {label}: {name}: {fault}" + (f" ({count} records)" if count > 1 else ""))
    print(f"{len(rows)} responses, {sum(faults.values())} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    leave(main, "lint")

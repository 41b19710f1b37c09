"""VSR (Liu et al., arXiv 2205.00363): is the caption true of the picture. Published for classifiers; asked here as
VLMEvalKit does.

Reading: lower case, VLMEvalKit's punctuation rules, then "yes" xor "no" among the words, else Unknown (wrong; No for
precision and recall).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import Benchmark, Derived, Item, ItemError, Metrics, Outcome, Scored
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.sources import picture, read_rows

_PUNCTUATION = (
    ";",
    "/",
    "[",
    "]",
    '"',
    "{",
    "}",
    "(",
    ")",
    "=",
    "+",
    "\\",
    "_",
    "-",
    ">",
    "<",
    "@",
    "`",
    ",",
    "?",
    "!",
)
_COMMA, _PERIOD = re.compile(r"(\d)(,)(\d)"), re.compile(r"(?<!\d)\.(?!\d)")
MOST_PERIODS = 32  # re.UNICODE, which the published code passes as the count


def load(root: Path) -> list[dict[str, Any]]:
    items = []
    for number, row in enumerate(read_rows(root, ("*zeroshot*test*", "*test*", "*"))):
        name = str(row.get("image"))
        label = row.get("label", {"yes": 1, "no": 0}.get(str(row.get("answer", "")).strip().lower()))
        items.append(
            {
                **row,
                "id": str(row.get("index", number)),
                "label": label,
                "images": [picture(row.get("image"), row["_root"], "images", "trainval2017")],
                "scene": name if len(name) < 200 else str(number),
            }
        )
    return items


def prompt(item: Item, scoring: str) -> str:
    if "caption" in item:
        return f"{item['caption']} Please answer yes or no. Please answer strictly Yes or No."
    return str(item["question"])


def without_punctuation(text: str) -> str:
    """A mark that touches a blank somewhere (or any mark, when digits hold a comma) vanishes, the others become blanks;
    the first 32 periods that touch no digit vanish.
    """
    everywhere = _COMMA.search(text) is not None
    out = text
    for mark in _PUNCTUATION:
        out = out.replace(mark, "" if everywhere or f"{mark} " in text or f" {mark}" in text else " ")
    return _PERIOD.sub("", out, count=MOST_PERIODS)


def read(response: str) -> str:
    """Yes, No or Unknown."""
    words = set(without_punctuation(response.lower()).split())
    return "Unknown" if ("yes" in words) == ("no" in words) else "Yes" if "yes" in words else "No"


def truth(item: Item) -> str:
    label = item["label"]
    if str(label) not in ("0", "1"):
        raise ItemError(f"vsr: label {label!r} is not 0 or 1")
    return "Yes" if str(label) == "1" else "No"


def score(response: str, item: Item, scoring: str) -> Scored:
    said = read(response)
    return float(said == truth(item)), None if said == "Unknown" else said


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    return {"overall": pool(list(cells.values())).mean, **{name: cell.mean for name, cell in cells.items()}}


def derive(items: Sequence[Item], outcomes: Sequence[Outcome], scoring: str) -> dict[str, Derived]:
    """precision, recall and f1 of "Yes" (0-1); Unknown counts as No."""
    rows = [(truth(item), said or "No", str(item.get("scene", item["id"]))) for item, (_, said) in zip(items, outcomes)]
    precision: Derived = [(float(label == "Yes"), scene) for label, said, scene in rows if said == "Yes"]
    recall: Derived = [(float(said == "Yes"), scene) for label, said, scene in rows if label == "Yes"]
    hits, claimed, there = (
        sum(a == b == "Yes" for a, b, _ in rows),
        sum(b == "Yes" for _, b, _ in rows),
        sum(a == "Yes" for a, _, _ in rows),
    )
    return {"precision": precision, "recall": recall, "f1": 2 * hits / max(claimed + there, 1)}


BENCHMARK = Benchmark(
    name="vsr",
    title="VSR",
    hub="cambridgeltl/vsr_zeroshot",
    required=("label",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("relation", "all")),
    oracle=lambda item, scoring: truth(item),
    aggregate=aggregate,
    derived=derive,
    scorings=("official", "vlmevalkit"),
    guesses=lambda item: ["Yes", "No"],
    max_new_tokens=16,
)

"""ReVSI: VSI-Bench's scenes asked and annotated anew, one set of answers for each number of frames.

Each config (16_frame, 32_frame, 64_frame, all_frame) has its own videos and its own answers, so one config is read:
that of the folder given, else 32_frame, and its videos are shown whole. Both harnesses share one rule: the text up to
the first blank without trailing dots; overall = mean of seven metrics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Item,
    ItemError,
    Metrics,
    Scored,
    correct,
    rotated_index,
    rotated_list,
)
from spatial_jax.evals.intervals import Cell, macro
from spatial_jax.evals.mra import finite, mra_signed, to_float
from spatial_jax.evals.sources import as_list, below, data_files, read_rows

GROUPS: dict[str, tuple[str, ...]] = {
    "rel_direction": tuple(
        f"object_rel_direction_{way}_{level}" for way in ("forward", "backward") for level in ("easy", "hard")
    ),
    "rel_distance": ("object_rel_distance_closest", "object_rel_distance_farthest"),
    "route_planning": ("route_planning",),
    "object_counting": ("object_counting_single", "object_counting_multiple"),
    "object_abs_distance": ("object_abs_distance",),
    "object_size_estimation": ("object_size_estimation",),
    "room_size_estimation": ("room_size_estimation_single", "room_size_estimation_multiple"),
}
CHOICE = (*GROUPS["rel_direction"], *GROUPS["rel_distance"], "route_planning")
NUMERIC = tuple(name for group in GROUPS.values() for name in group if name not in CHOICE)
_CONFIG = re.compile(r"(16|32|64|all)_frame")
_LABEL = re.compile(r"^[A-F]\.\s*")


def load(root: Path) -> list[dict[str, Any]]:
    """Items of one config; the video is ROOT/{config}/{scene_id}.mp4 or below video/."""
    patterns = ("32_frame/*", "*/32_frame/*", "*32_frame*", "*")
    files = data_files(root, patterns)
    configs = {c.group() for path in files for c in [_CONFIG.search(str(path))] if c}
    if len(configs) > 1:
        raise ItemError(
            f"revsi: {root} holds {', '.join(sorted(configs))}, each with its own answers; give one of them"
        )
    config = next(iter(configs), "32_frame")
    items = []
    for number, row in enumerate(read_rows(root, patterns)):
        name = f"{config}/{row['scene_id']}.mp4"
        items.append(
            {
                **row,
                "id": str(row.get("id", number)),
                "options": as_list(row.get("options")) or None,
                "ground_truth": str(row.get("ground_truth")),
                "images": [],
                "video": below(row["_root"], name, "video", "..", "../video"),
                "scene": str(row["scene_id"]),
                "show_frames": 128 if config == "all_frame" else int(config.split("_")[0]),
            }
        )
    return items


def _kind(item: Item) -> str:
    kind = str(item["question_type"])
    if kind not in CHOICE and kind not in NUMERIC:
        raise ItemError(f"revsi: question_type {kind!r} is not one of its types")
    return kind


def prompt(item: Item, scoring: str) -> str:
    head = f"These are frames of a video.\n{item['question']}"
    if _kind(item) in NUMERIC:
        return f"{head}\nAnswer the question using a single integer or decimal number."
    shown = "\n".join(item["options"])
    return f"{head}\nOptions:\n{shown}\nAnswer with the option's letter from the given choices directly."


def first_word(response: str) -> str:
    """The text up to the first blank, without trailing dots; unlike VSI-Bench's, a leading blank does no harm."""
    return response.strip().split(" ", 1)[0].rstrip(".").strip()


def score(response: str, item: Item, scoring: str) -> Scored:
    kind, gold, word = _kind(item), str(item["ground_truth"]).strip(), first_word(response)
    if kind in CHOICE:
        return correct(word.lower() == gold.lower(), word)
    number, truth = to_float(word), to_float(gold)
    if truth is None or truth == 0:
        raise ItemError(f"revsi: ground_truth {gold!r} of a {kind} item is not a number that errors can be divided by")
    if number is None:
        return 0.0, None
    return (mra_signed(number, truth) if finite(number) else 0.0), number


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    """Mean a type, plain means of the types of a group, overall = mean of the groups."""
    types = {name: cell.mean for name, cell in cells.items()}
    groups = {
        group: macro([types[name] for name in members if name in types])
        for group, members in GROUPS.items()
        if any(name in types for name in members)
    }
    return {"overall": macro(list(groups.values())), **types, **groups}


def rotate(item: Item, n: int) -> dict[str, Any]:
    if not item.get("options"):
        return dict(item)
    texts = [_LABEL.sub("", option) for option in item["options"]]
    return {
        **item,
        "options": [f"{chr(65 + i)}. {text}" for i, text in enumerate(rotated_list(texts, n))],
        "ground_truth": chr(65 + rotated_index(ord(item["ground_truth"]) - 65, len(texts), n)),
    }


BENCHMARK = Benchmark(
    name="revsi",
    title="ReVSI",
    hub="3dlg-hcvc/ReVSI",
    required=("question_type", "ground_truth"),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item["question_type"]),
    oracle=lambda item, scoring: str(item["ground_truth"]),
    aggregate=aggregate,
    rotate=rotate,
    guesses=lambda item: ["A", "B", "C", "D"] if item["question_type"] in CHOICE else [],
    max_new_tokens=16,
    frames=32,
    notes="answers belong to the config's number of frames; all_frame is shown as 128",
)

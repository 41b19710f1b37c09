"""VSI-Bench (Yang et al., Thinking in Space, arXiv 2412.14171): eight tasks on indoor videos.

Official parser: the text up to the first blank, without trailing dots; letters compared in lower case, numbers by
Python's float and MRA divided by the signed truth. Overall = unweighted mean of the eight types, directions being one.
`vilasr`, `spatialladder` (and its thinking mode), `spatial_ssrl` and `spatial_ssrl_cot` (a reply without a box is
empty) are the scorings with which those three papers report.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.evals import spatialladder, vilasr
from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Item,
    ItemError,
    Metrics,
    Scored,
    boxed_for,
    correct,
    missing,
    rotated_index,
    rotated_list,
)
from spatial_jax.evals.intervals import Cell, macro, pool
from spatial_jax.evals.matching import closed_braces
from spatial_jax.evals.matching_spatial import match_number, option_score
from spatial_jax.evals.mra import FLOAT32, FLOAT64, TWENTY, finite, mra, mra_signed, mra_spatial_ssrl, to_float
from spatial_jax.evals.numbers import first_number
from spatial_jax.evals.sources import as_list, below, read_rows

DIRECTIONS = ("object_rel_direction_easy", "object_rel_direction_medium", "object_rel_direction_hard")
CHOICE = (*DIRECTIONS, "object_rel_distance", "route_planning", "obj_appearance_order")
NUMERIC = ("object_abs_distance", "object_counting", "object_size_estimation", "room_size_estimation")


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the parquet (test), jsonl or json; the video is ROOT/dataset/scene_name.mp4 (or mp4_path, video)."""
    items = []
    for number, row in enumerate(read_rows(root, ("test-0*", "test.*", "test*", "*"))):
        options = as_list(row.get("options")) or [row[c] for c in "ABCD" if not missing(row.get(c))]
        video = (
            row.get("video")
            or row.get("mp4_path")
            or (f"{row['dataset']}/{row['scene_name']}.mp4" if "scene_name" in row else "")
        )
        items.append(
            {
                **row,
                "id": str(row.get("id", number)),
                "options": options or None,
                "images": [],
                "ground_truth": str(row.get("ground_truth", row.get("answer"))),
                "video": below(row["_root"], str(video)) if video else None,
                "scene": str(row.get("scene_name") or video),
            }
        )
    return items


_SSRL_COT = (
    "You FIRST think about the reasoning process as an internal monologue and then provide the final answer. The"
    " reasoning process MUST BE enclosed within <think> </think> tags. The final answer MUST BE put in \\boxed{}."
)


def prompt(item: Item, scoring: str) -> str:
    kind = _kind(item)
    options = "" if kind in NUMERIC else "\n".join(item["options"])
    if scoring in spatialladder.SCORINGS:
        name = "number" if kind in NUMERIC else "choice"
        return spatialladder.prompt(str(item["question"]), name, scoring, options=options)
    if scoring.startswith("spatial_ssrl"):
        return _ssrl_prompt(item, kind in NUMERIC, scoring.endswith("_cot"))
    head = f"These are frames of a video.\n{item['question']}\n"
    if kind in NUMERIC:
        return head + (
            "Answer briefly and directly in one float number."
            if scoring == "vlmevalkit"
            else "Please answer the question using a single word or phrase."
        )
    return (
        head
        + ("" if scoring == "vlmevalkit" else "Options:\n")
        + options
        + "\nAnswer with the option's letter from the given choices directly."
    )


def _ssrl_prompt(item: Item, numeric: bool, thinks: bool) -> str:
    """As Spatial-SSRL asks: "anser" and options without breaks between them are part of the published text."""
    options = [] if numeric else [_LABEL.sub("", option) for option in item["options"]]
    head = f"Watch the given video and anser the following question.\n\n{item['question']}"
    head += "".join(f"{chr(65 + i)}. {text}" for i, text in enumerate(options))
    what = "a number(integer or decimal)" if numeric else "the option letter from the given choices"
    if thinks:
        return f"{head}\nThe final answer should be {what}.\n{_SSRL_COT}"
    return f"{head}\nAnswer directly with {what}."


def _kind(item: Item) -> str:
    kind = str(item["question_type"])
    if kind not in CHOICE and kind not in NUMERIC:
        raise ItemError(f"vsi_bench: question_type {kind!r} is not one of its types")
    return kind


def first_word(response: str) -> str:
    """The official parser: only a blank splits, so "3.5 meters" works and "about 3.5", " 3.5" and "3.5m" do not."""
    return response.split(" ", 1)[0].rstrip(".").strip()


_BOXED = re.compile(r"\\boxed\{([^}]*)\}")
_LABEL = re.compile(r"^[A-F]\.\s*")


def score(response: str, item: Item, scoring: str) -> Scored:
    kind, gold = _kind(item), str(item["ground_truth"]).strip()
    if scoring == "vilasr":
        return vilasr.score(response, gold, vilasr.problem_type(item, _PROBLEM_TYPES[kind in NUMERIC]))
    if scoring in spatialladder.SCORINGS:
        return spatialladder.score_item(response, item, scoring, choice=kind in CHOICE)
    if scoring.startswith("spatial_ssrl"):
        return _score_ssrl(response, gold, scoring)
    if kind in CHOICE:
        if scoring == "vlmevalkit":
            return option_score(response, gold)
        word = first_word(response)
        return correct(word.lower() == gold.lower(), word)
    truth = to_float(gold)
    if truth is None:
        raise ItemError(f"vsi_bench: ground_truth {gold!r} of a {kind} item is not a number")
    readers = {"lmms_eval": first_number, "vlmevalkit": match_number}
    number = readers[scoring](response) if scoring in readers else to_float(first_word(response))
    if number is None:
        return 0.0, None
    if truth == 0 and scoring in ("official", "lmms_eval"):
        raise ItemError("vsi_bench: ground_truth 0 stops the official script (division by zero)")
    rule = mra if scoring == "vlmevalkit" else mra_signed
    return (rule(number, truth) if finite(number) else 0.0), number


_PROBLEM_TYPES = ("multiple choice", "regression")


def _score_ssrl(response: str, gold: str, scoring: str) -> Scored:
    """Spatial-SSRL: what is read decides the rule, not the question: one letter is compared as a letter, everything
    else as a number. With chain of thought only the last box is read, and blanks inside it count.
    """
    said = response.strip()
    if scoring.endswith("_cot"):
        found = _BOXED.findall(closed_braces(response))
        said = found[-1] if found else ""
    if len(said) == 1 and said.isalpha():
        return correct(said.lower() == gold.lower(), said)
    number, truth = to_float(said), to_float(gold)
    if number is None or truth is None:
        return 0.0, said[:40] or None
    return mra_spatial_ssrl(number, truth), number


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    """Mean a type; rel_direction is one of eight: its three kinds' plain mean, pooled by item in ViLaSR and
    VLMEvalKit.
    """
    out: Metrics = {name: cell.mean for name, cell in cells.items()}
    if scoring in spatialladder.SCORINGS:
        return spatialladder.aggregate(out, NUMERIC)
    present = [name for name in DIRECTIONS if name in cells]
    parts = {name: mean for name, mean in out.items() if name not in DIRECTIONS}
    if present:
        pooled = scoring in ("vilasr", "vlmevalkit")
        parts["object_rel_direction"] = out["object_rel_direction"] = (
            pool([cells[n] for n in present]).mean if pooled else macro([out[n] for n in present])
        )
    numeric, choice = (
        [np.asarray(v) for k, v in parts.items() if (k in NUMERIC) == wanted] for wanted in (True, False)
    )
    if numeric:
        out["numeric"] = macro(numeric)
    if choice:
        out["choice"] = macro(choice)
    return {"overall": macro(list(parts.values())), **out}


def rotate(item: Item, n: int) -> dict[str, Any]:
    if not item.get("options"):
        return dict(item)
    texts = [_LABEL.sub("", o) for o in item["options"]]
    gold = rotated_index(ord(item["ground_truth"]) - 65, len(texts), n)
    return {
        **item,
        "options": [f"{chr(65 + i)}. {t}" for i, t in enumerate(rotated_list(texts, n))],
        "ground_truth": chr(65 + gold),
    }


def guesses(item: Item) -> list[str]:
    return ["A", "B", "C", "D"] if item["question_type"] in CHOICE else []


BENCHMARK = Benchmark(
    name="vsi_bench",
    title="VSI-Bench",
    hub="nyu-visionx/VSI-Bench",
    required=("question_type", "ground_truth"),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item["question_type"]),
    oracle=lambda item, scoring: (
        f"\\boxed{{{item['ground_truth']}}}" if scoring == "spatial_ssrl_cot" else str(item["ground_truth"])
    ),
    aggregate=aggregate,
    dress=boxed_for("_cot"),
    rotate=rotate,
    guesses=guesses,
    arithmetic={
        **dict.fromkeys(("official", "lmms_eval", "vlmevalkit", *spatialladder.SCORINGS), FLOAT64),
        **{"vilasr": FLOAT32, "spatial_ssrl": TWENTY, "spatial_ssrl_cot": TWENTY},
    },
    scorings=(
        "official",
        "lmms_eval",
        "vlmevalkit",
        "vilasr",
        "spatial_ssrl",
        "spatial_ssrl_cot",
        *spatialladder.SCORINGS,
    ),
    max_new_tokens=16,
    frames=32,
)
